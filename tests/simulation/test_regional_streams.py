"""Streams of regions: where they are at home, what a cut region means for them, and copies across."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from beamline_trio import JetStream, NatsError
from beamline_trio.jetstream import APIError, ConsumerConfig, StreamConfig
from beamline_trio.simulation import Conditions, ServerConfig, SimulatedServer, World, run

from ._clustered_rig import ask, client, leader, make, until
from .test_clustered_sources import messages

SYNCED = ServerConfig(jetstream_sync_interval_seconds=0.0)
STARTED = 9.0  # seconds until the gateways stand and the meta group of two regions has a leader, at most
Regions = dict[str, list[SimulatedServer]]
Scenario = Callable[[World, Regions, dict[str, JetStream]], Awaitable[None]]


@asynccontextmanager
async def at(world: World, regions: Regions) -> AsyncGenerator[dict[str, JetStream]]:
    """A client in each region."""
    if not regions:
        yield {}
        return
    name, servers = next(iter(regions.items()))
    rest = {other: those for other, those in regions.items() if other != name}
    async with client(world, servers[0]) as nc, at(world, rest) as others:
        yield {name: JetStream(nc), **others}


def play(scenario: Scenario, *, seed: int = 1, **servers: int) -> None:
    async def main(world: World) -> None:
        sizes = servers or {"east": 3, "west": 3}
        regions = await world.add_regions(sizes, jetstream=True, config=SYNCED)
        await trio.sleep(STARTED)
        async with at(world, regions) as clients:
            await scenario(world, regions, clients)

    run(main, seed=seed)


def names(servers: list[SimulatedServer]) -> list[str]:
    return [server.name for server in servers]


def everyone(regions: Regions) -> list[SimulatedServer]:
    return [server for servers in regions.values() for server in servers]


def homes(regions: Regions, stream: str) -> set[str]:
    """The regions that have replicas of it."""
    return {
        name for name, servers in regions.items() for one in servers if stream in [each.name for each in one.streams]
    }


async def publish(js: JetStream, subject: str, identity: str) -> int:
    """Publish until it is acked, under one id; its sequence."""
    while True:
        try:
            return (await js.publish(subject, identity.encode(), message_id=identity)).sequence
        except NatsError:
            await trio.sleep(0.2)


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_at_home_where_it_is_placed_and_else_where_it_is_made(seed: int) -> None:
    """All its replicas, and its name in the information is the region's."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        for name, js in clients.items():
            reply = await ask(js, f"STREAM.CREATE.{name}", {"name": name, "num_replicas": 3})
            assert reply["cluster"]["name"] == name
            assert homes(regions, name) == {name}
        placed = {"name": "P", "num_replicas": 3, "placement": {"cluster": "west"}}
        reply = await ask(clients["east"], "STREAM.CREATE.P", placed)
        assert reply["config"]["placement"] == {"cluster": "west"}
        assert reply["cluster"]["name"] == "west"
        await trio.sleep(0.5)
        assert homes(regions, "P") == {"west"}
        # Published and read from the other region.
        assert (await clients["east"].publish("P", b"x")).sequence == 1
        assert (await ask(clients["east"], "STREAM.INFO.P"))["state"]["messages"] == 1

    play(scenario, seed=seed)


def test_placements_that_cannot_be() -> None:
    """No such region, not enough servers in it, a server of one's own choice; what is not modelled is said."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        for placement, replicas, code in (
            ({"cluster": "south"}, 3, 10005),
            ({"cluster": "west"}, 5, 10005),
            ({"preferred": "west-1"}, 1, 10052),
            ({"tags": ["ssd"]}, 1, 0),
        ):
            body = {"name": "X", "num_replicas": replicas, "placement": placement}
            reply = await ask(clients["east"], "STREAM.CREATE.X", body)
            assert reply["error"]["err_code"] == code, reply
        await make(clients["east"], "S")
        moved = {"name": "S", "subjects": ["S.>"], "num_replicas": 3, "placement": {"cluster": "west"}}
        reply = await ask(clients["east"], "STREAM.UPDATE.S", moved)
        assert reply["error"]["code"] == 501

    play(scenario)


def test_a_server_that_is_gone_is_no_home() -> None:
    """Also when another region's leader places the stream: regions tell each other which servers they reach."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        victim = next(one for one in regions["west"][1:] if not one.leads(""))
        victim.stop()
        await trio.sleep(0.5)
        for number in range(4):
            body = {"name": f"S{number}", "num_replicas": 2, "placement": {"cluster": "west"}}
            assert "error" not in await ask(clients["east"], f"STREAM.CREATE.S{number}", body)
        body = {"name": "T", "num_replicas": 3, "placement": {"cluster": "west"}}
        assert (await ask(clients["east"], "STREAM.CREATE.T", body))["error"]["err_code"] == 10005
        victim.start()
        await trio.sleep(2)
        assert "error" not in await ask(clients["east"], "STREAM.CREATE.T", body)

    play(scenario)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("seconds", [12.0, pytest.param(90.0, marks=pytest.mark.slow)])
def test_a_region_that_is_cut_off_goes_on_at_home(seconds: float, seed: int) -> None:
    """Streams at home are acked all the time; the others' when the cut is healed, soon, and none is lost or twice."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        for name, js in clients.items():
            await make(js, name)
        acked: dict[str, list[tuple[float, int]]] = {}

        async def keep_publishing(source: str, stream: str, until_time: float) -> None:
            number = 0
            times = acked.setdefault(f"{source} to {stream}", [])
            while trio.current_time() < until_time:
                sequence = await publish(clients[source], f"{stream}.x", f"{source}/{stream}/{number}")
                times.append((trio.current_time(), sequence))
                number += 1
                await trio.sleep(0.1)

        began = trio.current_time()
        end = began + seconds + 30
        async with trio.open_nursery() as nursery:
            for source in regions:
                for stream in regions:
                    nursery.start_soon(keep_publishing, source, stream, end)
            await trio.sleep(2)
            with world.network.partition(names(regions["east"]), names(regions["west"])):
                cut = trio.current_time()
                await trio.sleep(seconds)
            healed = trio.current_time()
        for way, times in acked.items():
            source, _, stream = way.split(" ")
            moments = [time for time, _ in times]
            gap = max(after - before for before, after in itertools.pairwise(moments))
            if source == stream:
                assert gap < 0.5, f"{way}: {gap}"
            else:
                assert not [time for time in moments if cut + 0.1 < time < healed]
                assert min(time for time in moments if time > healed) < healed + 15
        await trio.sleep(1)
        for stream, servers in regions.items():
            sequences = sorted(sequence for way in acked if way.endswith(f" {stream}") for _, sequence in acked[way])
            assert len(sequences) == len(set(sequences))
            for server in servers:
                having = messages(server, stream)
                assert set(sequences) <= {sequence for sequence, *_ in having}
                payloads = [payload for _, _, payload, _ in having]
                assert len(payloads) == len(set(payloads))

    play(scenario, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_mirror_in_another_region_catches_up(seed: int) -> None:
    """It falls behind while the regions are apart, and has everything soon after; reading it needs no way across."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        await make(clients["east"], "O")
        body = {"name": "M", "num_replicas": 3, "mirror": {"name": "O"}, "placement": {"cluster": "west"}}
        assert "error" not in await ask(clients["west"], "STREAM.CREATE.M", body)
        for number in range(3):
            await publish(clients["east"], "O.x", f"{number}")
        await until(lambda: all(len(messages(server, "M")) == 3 for server in regions["west"]), 3)
        with world.network.partition(names(regions["east"]), names(regions["west"])):
            for number in range(3, 200):
                await publish(clients["east"], "O.x", f"{number}")
                await trio.sleep(0.1)
            assert len(messages(regions["west"][0], "M")) == 3
            told = (await ask(clients["west"], "STREAM.INFO.M"))["mirror"]
            assert told["active"] > 15 * 10**9
        await until(lambda: all(len(messages(server, "M")) == 200 for server in regions["west"]), 30)
        for server in regions["west"]:
            assert messages(server, "M") == messages(regions["east"][0], "O")

    play(scenario, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_begins_at_once_however_slowly_interest_spreads(seed: int) -> None:
    """The first answer to a copy's first question finds straight back, as that of a client does."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        await make(clients["east"], "O")
        await publish(clients["east"], "O.x", "1")
        for servers in regions.values():
            for one in servers:
                for other in servers:
                    if one is not other:
                        world.network.set_conditions(one.name, other.name, Conditions(latency_seconds=0.3))
        body = {"name": "M", "num_replicas": 1, "mirror": {"name": "O"}, "placement": {"cluster": "west"}}
        assert "error" not in await ask(clients["west"], "STREAM.CREATE.M", body)
        await trio.sleep(4)
        assert [len(messages(server, "M")) for server in regions["west"] if messages(server, "M")] == [1]

    play(scenario, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_who_has_just_come_reads_from_another_region(seed: int) -> None:
    """Deliveries that find straight back are what they are elsewhere: with their own subject, and an ack's way."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        await make(clients["east"], "S")
        await clients["east"].create_consumer("S", ConsumerConfig(durable_name="D"))
        for number in range(9):
            await publish(clients["east"], f"S.{number}", f"{number}")
        for number, server in enumerate(regions["west"]):
            async with client(world, server) as nc:
                consumer = await JetStream(nc).consumer("S", "D")
                for message in await consumer.fetch(3):
                    assert message.subject == f"S.{message.payload.decode()}"
                    await message.ack_sync()
                info = await consumer.info()
                assert (info.num_ack_pending, info.num_pending) == (0, 6 - 3 * number)

    play(scenario, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_consumer_is_used_from_another_region(seed: int) -> None:
    """Pulls, deliveries and acks cross; what was not acked when the regions were parted comes again, and no more."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        east, west = clients["east"], clients["west"]
        await make(east, "S")
        await east.create_consumer("S", ConsumerConfig(durable_name="D", ack_wait_seconds=20.0))
        for number in range(20):
            await publish(east, "S.x", f"{number}")
        consumer = await west.consumer("S", "D")
        first = await consumer.fetch(12)
        for message in first[:10]:
            await message.ack_sync()
        with world.network.partition(names(regions["east"]), names(regions["west"])):
            await trio.sleep(30)
        # TCP tries again later and later; a link is given up, and dialled again, when three pings were not answered.
        await trio.sleep(40)
        again: list[bytes] = []
        with trio.fail_after(60):
            while len(again) < 10:
                for message in await consumer.fetch(10, expires_seconds=2.0):
                    again.append(message.payload)
                    await message.ack_sync()
        assert sorted(again, key=int) == [b"%d" % number for number in range(10, 20)]
        assert (await consumer.info()).num_ack_pending == 0

    play(scenario, seed=seed)


def test_the_meta_group_needs_more_than_half_of_all_regions() -> None:
    """Of three regions two still make streams, the third cannot; when it is back it knows what was made."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        rest = names(regions["east"]) + names(regions["west"])
        with world.network.partition(names(regions["north"]), rest):
            await trio.sleep(70)
            await make(clients["east"], "S")
            with pytest.raises((APIError, NatsError)):
                await clients["north"].create_stream(StreamConfig(name="T", subjects=("T",)))
        await trio.sleep(15)
        reply = await ask(clients["north"], "STREAM.NAMES")
        assert reply["streams"] == ["S"]
        assert (await ask(clients["north"], "STREAM.INFO.S"))["cluster"]["name"] == "east"

    play(scenario, north=3, east=3, west=3)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_nothing_that_was_acked_is_lost_whatever_happens_to_regions(seed: int) -> None:
    """Kills, pauses and cuts one after another: each acked message is in all replicas, and once."""

    async def scenario(world: World, regions: Regions, clients: dict[str, JetStream]) -> None:
        random = world.random("faults")
        await make(clients["east"], "S")
        body: dict[str, Any] = {"name": "M", "num_replicas": 3, "mirror": {"name": "S"}}
        assert "error" not in await ask(clients["west"], "STREAM.CREATE.M", {**body, "placement": {"cluster": "west"}})
        acked: list[int] = []

        async def keep_publishing(source: str) -> None:
            for number in range(150):
                acked.append(await publish(clients[source], "S.x", f"{source}/{number}"))
                await trio.sleep(0.4)

        async with trio.open_nursery() as nursery:
            for source in regions:
                nursery.start_soon(keep_publishing, source)
            for _ in range(4):
                victim = random.choice([server for servers in regions.values() for server in servers[1:]])
                match random.randrange(3):
                    case 0:
                        victim.kill()
                        await trio.sleep(random.uniform(1, 8))
                        victim.start()
                    case 1:
                        victim.pause()
                        await trio.sleep(random.uniform(1, 8))
                        victim.resume()
                    case _:
                        with world.network.partition(names(regions["east"]), names(regions["west"])):
                            await trio.sleep(random.uniform(1, 20))
                await trio.sleep(6)
        last = max(acked)
        await until(lambda: all(len(messages(one, "M")) >= last for one in regions["west"]), 60)
        await until(lambda: all(len(messages(one, "S")) >= last for one in regions["east"]), 60)
        stored = messages(leader(regions["east"], "S"), "S")
        assert len({payload for _, _, payload, _ in stored}) == len(stored)
        for server in everyone(regions):
            assert set(acked) <= {sequence for sequence, *_ in messages(server, "S") + messages(server, "M")}
            assert messages(server, "S") in ([], stored)
            assert messages(server, "M") in ([], stored)

    play(scenario, seed=seed)
