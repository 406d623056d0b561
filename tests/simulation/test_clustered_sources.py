"""Mirrors and sources of streams with replicas: whoever leads them copies, from whoever leads what they copy."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from beamline_trio import JetStream
from beamline_trio.simulation import SimulatedServer, World
from beamline_trio.simulation._server import StreamView

from ._clustered_rig import ask, leader, make, play, until


def view(server: SimulatedServer, name: str) -> StreamView | None:
    return next((one for one in server.streams if one.name == name), None)


def messages(server: SimulatedServer, name: str) -> list[tuple[int, str, bytes, float]]:
    stream = view(server, name)
    found = () if stream is None else stream.messages
    return [(one.sequence, one.subject, one.payload, one.stored_at) for one in found]


async def copy(js: JetStream, name: str, **config: Any) -> None:
    reply = await ask(js, f"STREAM.CREATE.{name}", {"name": name, "num_replicas": 3, **config})
    assert "error" not in reply, reply


@pytest.mark.parametrize("dies", ["O", "M", "A"])
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_goes_on_when_a_leader_dies(dies: str, seed: int) -> None:
    """The origin's or the copy's: nothing is missing, nothing twice, and all replicas of a mirror are the same."""

    async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
        await make(js, "O")
        await copy(js, "M", mirror={"name": "O"})
        await copy(js, "A", sources=[{"name": "O"}])
        await trio.sleep(1)
        acked = [(await js.publish("O.a", b"%d" % number)).sequence for number in range(3)]
        await until(lambda: all(len(messages(server, name)) == 3 for server in servers for name in ("M", "A")), 2)
        victim = leader(servers, dies)
        victim.kill()
        await trio.sleep(12)
        victim.start()
        await trio.sleep(5)
        acked += [(await js.publish("O.a", b"%d" % number)).sequence for number in range(3, 6)]
        assert acked == [1, 2, 3, 4, 5, 6]
        await until(lambda: all(len(messages(server, name)) == 6 for server in servers for name in ("M", "A")), 25)
        for server in servers:
            assert messages(server, "M") == messages(server, "O")
            assert [one[2] for one in messages(server, "A")] == [b"%d" % number for number in range(6)]

    play(scenario, seed=seed)
