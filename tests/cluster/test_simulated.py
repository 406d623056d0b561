"""The watch and the publisher of a region on simulated clusters and regions: whole servers, elections, partitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from beamline_trio import ClusterWatch, JetStream, NatsError, RegionPublisher, StreamConfig, open_client
from beamline_trio.client._open import ClientContext
from beamline_trio.cluster import (
    META_GROUP,
    Home,
    LeaderChanged,
    LocalStream,
    NodeDown,
    NodeUp,
    QuorumLost,
    QuorumRestored,
    RegionCut,
    RegionHealed,
)
from beamline_trio.connection import Event, EventStream
from beamline_trio.jetstream import Placement
from beamline_trio.simulation import ServerConfig, SimulatedServer, User, World, run

USERS = (User("app", "app"), User("sys", "sys", system=True))
SYNCED = ServerConfig(jetstream_sync_interval_seconds=0.0, users=USERS)
# Until gateways stand and the meta group has a leader.
STARTED_SECONDS = 10.0
Regions = dict[str, list[SimulatedServer]]


def play(main: Callable[[World, Regions], Awaitable[None]], seed: int, **regions: int) -> None:
    """In regions of so many servers with JetStream."""

    async def started(world: World) -> None:
        made = await world.add_regions(regions, jetstream=True, config=SYNCED)
        await trio.sleep(STARTED_SECONDS)
        await main(world, made)

    run(started, seed=seed, ends_within_seconds=10_000)


def client(world: World, servers: list[SimulatedServer], host: str = "app", user: str = "app") -> ClientContext:
    return open_client(*(server.url for server in servers), dialer=world.dialer(host), user=user, password=user)


async def create(js: JetStream, name: str, region: str, *, replicas: int = 3, **more: object) -> None:
    """A stream of some replicas at home in a region."""
    config = StreamConfig(name=name, num_replicas=replicas, placement=Placement(cluster=region), **more)  # type: ignore[arg-type]
    with trio.fail_after(60):
        while True:
            try:
                await js.create_stream(config)
            except NatsError:
                await trio.sleep(0.5)
            else:
                return


async def told(events: EventStream, seconds: float) -> list[Event]:
    """What comes within so many seconds of the cluster."""
    found: list[Event] = []
    with trio.move_on_after(seconds):
        while True:
            event = await events.receive()
            if type(event).__module__.startswith("beamline_trio.cluster"):
                found.append(event)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_what_a_watch_says_of_a_cluster_whose_servers_are_killed(seed: int) -> None:
    """A follower, the leader, and two of three: down, another leader, no quorum; and all of it back by itself."""

    async def scenario(world: World, regions: Regions) -> None:
        servers = {server.name: server for server in regions["east"]}
        async with client(world, regions["east"]) as nc, trio.open_nursery() as nursery, nc.events() as events:
            await create(JetStream(nc), "ORDERS", "east", subjects=["orders.>"])
            watch = ClusterWatch(nc, streams=["ORDERS"])
            await nursery.start(watch.run)
            first = watch.groups["ORDERS"].leader
            assert set(watch.nodes) == set(servers)
            assert await told(events, 60) == []

            follower = next(name for name in servers if name != first)
            servers[follower].kill()
            assert [(type(event), event.node) for event in await told(events, 10) if isinstance(event, NodeDown)] == [
                (NodeDown, follower)
            ]
            servers[follower].start()
            assert NodeUp in map(type, await told(events, 20))

            servers[first].kill()
            changed = [event for event in await told(events, 20) if isinstance(event, LeaderChanged)]
            assert "ORDERS" in {event.group for event in changed}
            assert watch.quorum
            servers[first].start()
            await told(events, 20)

            leader = watch.groups["ORDERS"].leader
            others = [name for name in servers if name != leader]
            for name in others:
                servers[name].kill()
            lost = {event.group for event in await told(events, 25) if isinstance(event, QuorumLost)}
            assert lost == {META_GROUP, "ORDERS"}
            assert watch.lacking(["ORDERS"]) == ["stream ORDERS has no quorum"]
            for name in others:
                servers[name].start()
            back = {event.group for event in await told(events, 40) if isinstance(event, QuorumRestored)}
            assert back == {META_GROUP, "ORDERS"}
            assert watch.quorum
            nursery.cancel_scope.cancel()

    play(scenario, seed, east=3)


@pytest.mark.parametrize("seed", range(2))
def test_an_election_of_servers_that_all_live_is_told_as_a_change_of_leader_alone(seed: int) -> None:
    """A follower that was paused stands for election when it goes on, and the leader of long standing steps down.

    Until there is another one each of the three answers for the stream, and says of the others what it last knew.
    """

    async def scenario(world: World, regions: Regions) -> None:
        servers = {server.name: server for server in regions["east"]}
        async with client(world, regions["east"]) as nc, trio.open_nursery() as nursery, nc.events() as events:
            await create(JetStream(nc), "ORDERS", "east", subjects=["orders.>"])
            watch = ClusterWatch(nc, streams=["ORDERS"])
            await nursery.start(watch.run)
            leaderless = 0.0
            for turn in range(6):
                await told(events, 60)
                others = (watch.groups["ORDERS"].leader, nc.server_info.server_name)
                follower = next(name for name in servers if name not in others)
                servers[follower].pause()  # until its routes are given up, so that not all hear it at the same time
                await told(events, 120 + 20 * turn)
                await JetStream(nc).publish("orders.new", b"that it lacks")
                servers[follower].resume()
                since = world.now()
                while world.now() < since + 30:
                    for event in await told(events, 1):
                        assert isinstance(event, (LeaderChanged, NodeUp)), event
                    leaderless = max(leaderless, watch.groups["ORDERS"].leaderless_seconds)
            assert leaderless >= 4.0
            nursery.cancel_scope.cancel()

    play(scenario, seed, east=3)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_a_watch_says_of_a_region_whose_servers_are_gone(how: str) -> None:
    """Cut off, once, for as long as they are: also when the others say that its stream is offline."""

    async def scenario(world: World, regions: Regions) -> None:
        async with client(world, regions["east"]) as nc, trio.open_nursery() as nursery, nc.events() as events:
            await create(JetStream(nc), "WEST", "west", subjects=["west.>"], replicas=2)
            watch = ClusterWatch(nc, streams=["WEST"])
            await nursery.start(watch.run)
            for server in regions["west"]:
                getattr(server, how)()
            found = await told(events, 400)
            assert [event.region for event in found if isinstance(event, RegionCut)] == ["west"]
            assert not [event for event in found if isinstance(event, (RegionHealed, QuorumLost))]
            assert watch.statistics().failures == 0
            for server in regions["west"]:
                server.start()
            assert [event.region for event in await told(events, 40) if isinstance(event, RegionHealed)] == ["west"]
            nursery.cancel_scope.cancel()

    play(scenario, 1, east=3, west=2)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("system", [True, False], ids=["by all servers", "by streams"])
def test_what_a_watch_says_of_a_region_that_is_cut_off(system: bool, seed: int) -> None:
    """Cut within seconds, healed within seconds, each once; the own stream is not lacking for a moment."""

    async def scenario(world: World, regions: Regions) -> None:
        async with (
            client(world, regions["east"]) as nc,
            client(world, regions["east"], "tool", "sys") as asks,
            trio.open_nursery() as nursery,
            nc.events() as events,
        ):
            for region in regions:
                await create(JetStream(nc), region.upper(), region, subjects=[f"{region}.>"])
            watch = ClusterWatch(nc, streams=["EAST", "WEST"], system=asks if system else None)
            await nursery.start(watch.run)
            assert await told(events, 30) == []
            if system:
                assert len(watch.nodes) == 6
                assert all(node.memory_bytes and node.connections is not None for node in watch.nodes.values())
                assert watch.groups[META_GROUP].leader in watch.nodes
            sides = [[server.host for server in servers] for servers in regions.values()]
            with world.network.partition(*sides):
                cut = [event for event in await told(events, 330) if isinstance(event, RegionCut)]
                assert [event.region for event in cut] == ["west"]
                assert watch.partition_seconds("west") > 300
                assert watch.lacking(["EAST"]) == []
            healed = [event for event in await told(events, 30) if isinstance(event, RegionHealed)]
            assert [event.region for event in healed] == ["west"]
            assert 325 < healed[0].partition_seconds < 360
            await told(events, 20)
            assert watch.quorum
            nursery.cancel_scope.cancel()

    play(scenario, seed, east=3, west=3)


async def stored(js: JetStream, stream: str) -> dict[str, list[int]]:
    """Key -> the numbers that a stream has, in its order."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    info = await js.stream_info(stream)
    for sequence in range(max(info.state.first_seq, 1), info.state.last_seq + 1):
        message = await js.get_message(stream, sequence=sequence)
        key, _, number = bytes(message.payload).decode().partition(":")
        found[key].append(int(number))
    return dict(found)


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(
    "seconds", [20.0, *(pytest.param(seconds, marks=pytest.mark.slow) for seconds in (180.0, 400.0))]
)
@pytest.mark.parametrize("local", [True, False], ids=["kept", "waits"])
def test_what_is_published_to_a_region_that_is_cut_off(local: bool, seconds: float, seed: int) -> None:
    """From another region, over the cut and the heal, past the duplicate window: stored at home once, and in order."""
    kept = LocalStream(stream="KEEP", subject="kept.west.app") if local else None
    home = Home(region="west", stream="WEST", local=kept)

    async def scenario(world: World, regions: Regions) -> None:
        async with client(world, regions["east"]) as nc, trio.open_nursery() as nursery:
            js = JetStream(nc)
            await create(js, "WEST", "west", subjects=["west.>"])
            await create(js, "KEEP", "east", subjects=["kept.>"], retention="workqueue")
            watch = ClusterWatch(nc, streams=["WEST", "KEEP"])
            publisher = RegionPublisher(js, home, watch=watch)
            await nursery.start(watch.run)
            await nursery.start(publisher.run)
            ends = trio.current_time() + seconds + 30
            counts: dict[str, int] = {}

            async def publish(key: str) -> None:
                number = 0
                while trio.current_time() < ends:
                    await publisher.publish(f"west.{key}", f"{key}:{number}".encode())
                    counts[key] = number = number + 1
                    await trio.sleep(1.0)

            async with trio.open_nursery() as load:
                for key in "abc":
                    load.start_soon(partial(publish, key))
                await trio.sleep(5)
                sides = [[server.host for server in servers] for servers in regions.values()]
                with world.network.partition(*sides):
                    await trio.sleep(seconds)
            with trio.fail_after(120):
                while publisher.away or publisher.statistics().waiting:  # noqa: ASYNC110  # it has no event
                    await trio.sleep(0.5)
            async with client(world, regions["west"], "reader") as reader:
                assert await stored(JetStream(reader), "WEST") == {key: list(range(n)) for key, n in counts.items()}
            statistics = publisher.statistics()
            assert statistics.kept == statistics.waiting == 0
            assert (statistics.local > 0) is local
            assert statistics.local == statistics.drained
            nursery.cancel_scope.cancel()

    play(scenario, seed, east=3, west=3)
