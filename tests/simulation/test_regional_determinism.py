"""One seed is one run, with regions, streams at home in them, copies, cuts and kills."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import JetStream, NatsError, open_client
from beamline_trio.simulation import ServerConfig, World, run

from ._clustered_rig import ask, make


def digest(seed: int) -> tuple[str, int]:
    async def scenario(world: World) -> World:
        random = world.random("what")
        config = ServerConfig(jetstream_sync_interval_seconds=0.0)
        regions = await world.add_regions({"east": 3, "west": 2, "north": 2}, jetstream=True, config=config)
        await trio.sleep(9)
        server = regions["west"][0]
        dialer = world.dialer("app")
        async with open_client(server.url, dialer=dialer, operation_timeout_seconds=2.0) as nc:
            js = JetStream(nc)
            await make(js, "S", replicas=2)
            assert "error" not in await ask(js, "STREAM.CREATE.M", {"name": "M", "mirror": {"name": "S"}})
            cut = world.network.partition(["east-1", "east-2", "east-3"], ["west-1", "west-2"])
            for number in range(40):
                if number % 13 == 5:
                    victim = random.choice(regions["east"])
                    victim.kill()
                    await trio.sleep(random.random())
                    victim.start()
                if number == 20:
                    cut.start()
                if number == 30:
                    cut.stop()
                try:
                    await js.publish("S.a", b"%d" % number, message_id=f"{number}")
                except NatsError:
                    await trio.sleep(0.2)
        return world

    world = run(scenario, seed=seed)
    return world.trace.digest(), world.trace.count


@pytest.mark.parametrize("seed", [1, 2])
def test_one_seed_is_one_run(seed: int) -> None:
    """The same trace, twice; another seed has another one."""
    first = digest(seed)
    assert first == digest(seed)
    assert first != digest(seed + 100)
    assert first[1] > 1000
