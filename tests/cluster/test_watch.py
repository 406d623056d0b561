"""A watch over servers that answer, fall silent and come back, in virtual time."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from beamline_trio import (
    Disconnected,
    InvalidSubjectError,
    Message,
    OptionsError,
    Reconnected,
    ReconnectFailed,
    State,
    open_client,
)
from beamline_trio.cluster import (
    META_GROUP,
    ClusterWatch,
    LeaderChanged,
    NodeDown,
    NodeForgotten,
    NodeUp,
    QuorumLost,
    QuorumRestored,
    RegionCut,
    RegionHealed,
    WatchOptions,
    _probes,
)
from beamline_trio.metrics import Collector
from beamline_trio.simulation import World
from tests.cluster._fakes import QUICK, FakeCluster, watched
from tests.cluster._regions import HERE, region


def one_region() -> FakeCluster:
    cluster = FakeCluster({"east": 3})
    cluster.add_stream("ORDERS", "east")
    return cluster


def two_regions() -> FakeCluster:
    cluster = FakeCluster({"east": 3, "west": 3})
    cluster.add_stream("EAST", "east")
    cluster.add_stream("WEST", "west")
    return cluster


@pytest.mark.parametrize("system", [True, False])
async def test_nothing_is_told_of_a_cluster_that_is_well(nats_world: World, *, system: bool) -> None:
    """Ten minutes of looks: no event, everything known, and nothing refused."""
    async with watched(nats_world, one_region(), system=system, streams=["ORDERS"]) as rig:
        assert await rig.told(600) == []
        assert [node.up for node in rig.watch.nodes.values()] == [True] * 3
        assert rig.watch.groups["ORDERS"].leader == "east-1"
        assert rig.watch.quorum
        assert rig.watch.lacking(["ORDERS", "OTHER"]) == []
        assert rig.watch.statistics().failures == 0
        assert 599 <= rig.watch.statistics().looks <= 602


@pytest.mark.parametrize("system", [True, False])
async def test_a_node_goes_and_comes(nats_world: World, *, system: bool) -> None:
    """By its silence, or by the age that the leader tells: down within 7 s, up within 2 s, and nothing else."""
    async with watched(nats_world, one_region(), system=system, streams=["ORDERS"]) as rig:
        rig.cluster.down("east-3")
        (down,) = await rig.told(7.5)
        assert isinstance(down, NodeDown)
        assert (down.node, down.region) == ("east-3", "east")
        assert 5 <= down.unseen_seconds <= 7
        assert not rig.watch.nodes["east-3"].up
        assert await rig.told(60) == []
        rig.cluster.up("east-3")
        (up,) = await rig.told(2)
        assert isinstance(up, NodeUp)
        assert 66 <= up.down_seconds <= 70


async def test_a_leader_is_followed(nats_world: World) -> None:
    """A new leader is told within a look, and counted."""
    async with watched(nats_world, one_region(), streams=["ORDERS"]) as rig:
        rig.cluster.move("ORDERS", "east-2")
        assert await rig.told(2) == [LeaderChanged("ORDERS", "east-1", "east-2")]
        assert rig.watch.statistics().leader_changes == 1


async def test_two_of_three_gone_is_a_lost_quorum_and_its_end_is_told(nats_world: World) -> None:
    """The stream and the meta group: told, readiness lacks the stream, and all is well by itself afterwards."""
    async with watched(nats_world, one_region(), streams=["ORDERS"]) as rig:
        rig.cluster.down("east-2", "east-3")
        events = await rig.told(13)
        assert {event.group for event in events if isinstance(event, QuorumLost)} == {META_GROUP, "ORDERS"}
        assert not rig.watch.quorum
        assert rig.watch.lacking(["ORDERS"]) == ["stream ORDERS has no quorum"]
        rig.cluster.up("east-2", "east-3")
        events = await rig.told(3)
        assert {event.group for event in events if isinstance(event, QuorumRestored)} == {META_GROUP, "ORDERS"}
        assert rig.watch.quorum
        assert rig.watch.statistics().quorums_lost == 2


@pytest.mark.parametrize("system", [True, False])
async def test_a_region_is_cut_off_and_heals(nats_world: World, *, system: bool) -> None:
    """Told once each, with how long; the streams of the other region go on, and are not lacking."""
    async with watched(nats_world, two_regions(), system=system, streams=["EAST", "WEST"]) as rig:
        rig.cluster.down("west-1", "west-2", "west-3")
        cut = [event for event in await rig.told(400) if isinstance(event, RegionCut)]
        assert [event.region for event in cut] == ["west"]
        assert 390 <= rig.watch.partition_seconds("west") <= 401
        assert rig.watch.partition_seconds("east") == rig.watch.partition_seconds("north") == 0
        assert rig.watch.lacking(["EAST", "WEST"]) == ["region west of stream WEST is cut off"]
        rig.cluster.up("west-1", "west-2", "west-3")
        (healed,) = [event for event in await rig.told(5) if isinstance(event, RegionHealed)]
        assert healed.region == "west"
        assert 400 <= healed.partition_seconds <= 405
        assert rig.watch.lacking(["EAST", "WEST"]) == []


async def test_an_outage_of_the_own_link_is_no_news_of_the_cluster(nats_world: World) -> None:
    """A minute without a link: nothing is given up, and nothing is told when it is back."""
    async with watched(nats_world, one_region(), system=True, streams=["ORDERS"]) as rig:
        server = nats_world.servers["nats"]
        server.stop()
        await trio.sleep(60)
        server.start()
        assert {type(event) for event in await rig.told(60)} == {Disconnected, ReconnectFailed, Reconnected}
        assert [node.up for node in rig.watch.nodes.values()] == [True] * 3
        assert rig.watch.quorum
        statistics = rig.watch.statistics()
        assert (statistics.nodes_down, statistics.quorums_lost) == (0, 0)


@pytest.mark.parametrize("what", [{"streams": ["ORDERS"]}, {"instances_of": "prices"}, {"system": True}])
async def test_an_own_server_that_hangs_is_no_news_of_the_cluster(nats_world: World, what: dict[str, Any]) -> None:
    """Through it nobody is heard, so nothing is given up until the pings notice, and nothing is told behind that."""
    async with watched(nats_world, one_region(), **what) as rig:
        await trio.sleep(0.8)
        server = nats_world.servers["nats"]
        server.pause()
        await trio.sleep(20)
        assert rig.nc.state is State.CONNECTED
        assert (rig.watch.quorum, rig.watch.instances) == (True, int("instances_of" in what))
        await trio.sleep(40)
        server.resume()
        assert {type(event) for event in await rig.told(60)} == {Disconnected, ReconnectFailed, Reconnected}
        assert (rig.watch.quorum, rig.watch.instances) == (True, int("instances_of" in what))
        statistics = rig.watch.statistics()
        assert (statistics.nodes_down, statistics.quorums_lost, statistics.failures) == (0, 0, 0)


async def test_a_look_during_which_the_link_was_lost_tells_nothing(nats_world: World) -> None:
    """Nobody could answer it, so its silence is not that of the cluster; it is not counted, be the link back or not."""
    hasty = WatchOptions(interval_seconds=1.0, answer_seconds=0.5, quorum_lost_after_seconds=0.6)
    async with watched(nats_world, one_region(), streams=["ORDERS"], options=hasty) as rig:
        await trio.sleep(0.8)
        rig.cluster.silent = True
        await trio.sleep(0.4)
        looks = rig.watch.statistics().looks
        nats_world.servers["nats"].stop()
        await trio.sleep(0.7)
        assert rig.nc.state is State.RECONNECTING
        assert rig.watch.statistics().looks == looks == 1
        assert rig.watch.statistics().quorums_lost == 0
        assert rig.watch.quorum


async def test_a_region_is_cut_off_by_no_look_that_is_too_old(nats_world: World) -> None:
    """While the own link is down what was seen before may be over; the next look has its say again."""
    async with watched(nats_world, two_regions(), streams=["EAST", "WEST"]) as rig:
        rig.cluster.down("west-1", "west-2", "west-3")
        await trio.sleep(60)
        assert rig.watch.is_cut("west")
        server = nats_world.servers["nats"]
        server.stop()
        await trio.sleep(5)
        assert rig.watch.is_cut("west")
        await trio.sleep(3)
        assert not rig.watch.is_cut("west")
        assert rig.watch.current
        assert not rig.watch.regions["west"].connected
        server.start()
        await trio.sleep(30)
        assert rig.watch.is_cut("west")


async def test_a_stream_that_is_gone_is_refused_once_and_has_no_quorum_to_lose(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted each time, logged once, and no event."""
    async with watched(nats_world, one_region(), streams=["ORDERS", "GONE"]) as rig:
        assert await rig.told(60) == []
        assert rig.watch.statistics().failures >= 59
        codes = [getattr(record, "event", "") for record in caplog.records]
        assert codes.count("CLUSTER_WATCH_ERROR") == 1


async def test_a_consumer_has_a_group_of_its_own(nats_world: World) -> None:
    """Named by its stream and itself."""
    async with watched(nats_world, one_region(), consumers=[("ORDERS", "worker")]) as rig:
        assert set(rig.watch.groups) == {META_GROUP, "ORDERS > worker"}
        assert rig.watch.groups["ORDERS > worker"].leader == "east-1"


async def test_instances_are_counted_by_their_identifiers(nats_world: World) -> None:
    """Those that answer at the last look, each once."""
    async with watched(nats_world, one_region(), instances_of="prices") as rig:
        assert rig.watch.instances == 1
        rig.cluster.instances = ["a", "b", "b"]
        await trio.sleep(2)
        assert rig.watch.instances == 2
        rig.cluster.instances = []
        await trio.sleep(2)
        assert rig.watch.instances == 0


async def test_instances_that_are_all_gone_are_none(nats_world: World) -> None:
    """When nobody listens any more the own server says so: that is an answer, and no silence."""
    server = await nats_world.start_server("nats")

    async def ping(asked: Message) -> bytes:
        return b'{"id": "a"}'

    async with (
        open_client(server.url, dialer=nats_world.dialer("service")) as service,
        open_client(server.url, dialer=nats_world.dialer("app")) as nc,
        trio.open_nursery() as nursery,
    ):
        watch = ClusterWatch(nc, instances_of="prices", options=QUICK)
        async with trio.open_nursery() as serving:
            await serving.start(service.serve, "$SRV.PING.prices", ping)
            await nursery.start(watch.run)
            assert watch.instances == 1
            serving.cancel_scope.cancel()
        await trio.sleep(3)
        assert watch.instances == 0
        nursery.cancel_scope.cancel()


async def test_of_too_many_answers_the_first_are_read(nats_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever floods a question takes no more than a bound, and it is told."""
    monkeypatch.setattr(_probes, "_ANSWERS_MAX", 5)
    async with watched(nats_world, one_region(), instances_of="prices") as rig:
        rig.cluster.instances = list("abcd")
        await trio.sleep(2)
        assert (rig.watch.instances, rig.watch.statistics().failures) == (4, 0)
        rig.cluster.instances = list("abcdefgh")
        await trio.sleep(2)
        assert rig.watch.instances == 5
        assert rig.watch.statistics().failures > 0


async def test_what_a_watch_that_looks_no_more_saw_last_is_no_word(nats_world: World) -> None:
    """A region is cut off as long as somebody looks for it; a publisher does not wait for who has stopped to look."""
    async with watched(nats_world, two_regions(), name="watched", streams=["EAST", "WEST"]) as rig:
        watch = ClusterWatch(rig.nc, streams=["EAST", "WEST"], options=QUICK)
        async with region(nats_world, HERE, watch=watch) as west, trio.open_nursery() as nursery:
            assert not watch.is_cut("west")
            await nursery.start(watch.run)
            rig.cluster.down("west-1", "west-2", "west-3")
            await trio.sleep(60)
            assert watch.is_cut("west")
            assert not watch.is_cut("east")
            with west.silent_home():
                nursery.start_soon(west.publish, "a", 0)
                await trio.sleep(60)
                assert west.acks == {}
                nursery.cancel_scope.cancel()
        with trio.fail_after(20):
            async with region(nats_world, HERE, watch=watch, host="later") as west:
                await west.publish("a", 1)
        assert not watch.is_cut("west")
        assert not watch.regions["west"].connected


@pytest.mark.parametrize("ending", ["cancelled", "closed"])
async def test_a_watch_that_has_ended_knows_of_no_trouble(nats_world: World, ending: str) -> None:
    """From its end on, at once: what it saw last stays to be read, and is no word any more."""
    cluster = two_regions()
    async with watched(nats_world, cluster, streams=["EAST"]), trio.open_nursery() as nursery:
        async with open_client(nats_world.servers["nats"].url, dialer=nats_world.dialer("other")) as nc:
            watch = ClusterWatch(nc, streams=["EAST", "WEST"], options=QUICK)
            assert not watch.current
            await nursery.start(watch.run)
            cluster.down("west-1", "west-2", "west-3", "east-2", "east-3")
            await trio.sleep(60)
            assert watch.current
            assert not watch.quorum
            assert watch.is_cut("west")
            assert watch.partition_seconds("west") > 50
            assert len(watch.lacking(["EAST", "WEST"])) == 2
            if ending == "cancelled":
                nursery.cancel_scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert_no_word(watch)
        assert_no_word(watch)


def assert_no_word(watch: ClusterWatch) -> None:
    assert not watch.current
    assert watch.quorum
    assert not watch.is_cut("west")
    assert watch.partition_seconds("west") == 0
    assert watch.lacking(["EAST", "WEST"]) == []
    assert not watch.regions["west"].connected
    assert not watch.groups["EAST"].quorum
    assert watch.statistics().regions_cut == 1


async def test_a_watch_that_runs_again_begins_anew(nats_world: World) -> None:
    """Its word counts from its first look; what was cut off is so still, told once; what was well has all its time."""
    cluster = two_regions()
    async with watched(nats_world, cluster, streams=["EAST"]) as rig:
        watch = ClusterWatch(rig.nc, system=rig.nc, streams=["EAST", "WEST"], options=QUICK)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            cluster.down("west-1", "west-2", "west-3")
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        await trio.sleep(600)
        cluster.down("east-3")
        before = watch.statistics()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await trio.testing.wait_all_tasks_blocked()
            assert not watch.is_cut("west")
            await trio.sleep(3)
            assert watch.is_cut("west")
            assert watch.partition_seconds("west") > 600
            assert watch.nodes["east-3"].up
            await trio.sleep(5)
            assert not watch.nodes["east-3"].up
            assert watch.statistics().regions_cut == before.regions_cut == 1
            assert watch.statistics().nodes_down == before.nodes_down + 1
            cluster.up("west-1", "west-2", "west-3")
            await trio.sleep(3)
            assert watch.regions["west"].connected
            nursery.cancel_scope.cancel()


async def test_a_watch_that_runs_late_gives_its_groups_their_time(nats_world: World) -> None:
    """A group without a leader when the first look comes may be choosing one, however long ago the watch was made."""
    cluster = one_region()
    async with watched(nats_world, cluster, system=True) as rig:
        watch = ClusterWatch(rig.nc, streams=["ORDERS"], options=QUICK)
        await trio.sleep(600)
        cluster.down("east-2", "east-3")
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            assert watch.lacking(["ORDERS"]) == []
            await trio.sleep(13)
            assert watch.lacking(["ORDERS"]) == ["stream ORDERS has no quorum"]
            nursery.cancel_scope.cancel()


async def test_a_system_client_that_no_server_answers_is_told(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """One of another account sees nothing, which is no good news: it is counted, and logged once with a remedy."""
    server = await nats_world.start_server("nats")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, trio.open_nursery() as nursery:
        watch = ClusterWatch(nc, system=nc, options=QUICK)
        await nursery.start(watch.run)
        await trio.sleep(60)
        assert watch.statistics().failures == watch.statistics().looks
        (told,) = [record for record in caplog.records if getattr(record, "event", "") == "CLUSTER_WATCH_ERROR"]
        assert "must be one of the system account" in getattr(told, "reason", "")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"9" * 5_000, b"a page of something else"])
@pytest.mark.parametrize("asks", ["system", "instances_of", "monitor"])
async def test_an_answer_that_cannot_be_read_is_counted(
    nats_world: World, caplog: pytest.LogCaptureFixture, asks: str, body: bytes
) -> None:
    """Whoever gives it: it is no sign of life, ends nothing, and is told once."""

    async def answer(asked: Message) -> bytes:
        return body

    async def fetch(url: str) -> bytes:
        return body

    server = await nats_world.start_server("nats")
    async with (
        open_client(server.url, dialer=nats_world.dialer("servers")) as servers,
        open_client(server.url, dialer=nats_world.dialer("app")) as nc,
        trio.open_nursery() as nursery,
    ):
        for subject in ("$SYS.REQ.SERVER.PING.STATSZ", "$SRV.PING.*"):
            await nursery.start(servers.serve, subject, answer)
        what: dict[str, dict[str, Any]] = {
            "system": {"system": nc},
            "instances_of": {"instances_of": "prices"},
            "monitor": {"monitor": {"east-1": "http://east-1:8222"}, "fetch": fetch},
        }
        watch = ClusterWatch(nc, options=QUICK, **what[asks])
        await nursery.start(watch.run)
        await trio.sleep(20)
        assert watch.statistics().failures == watch.statistics().looks
        assert [name for name, node in watch.nodes.items() if node.up] == []
        assert watch.instances == 0
        codes = [getattr(record, "event", "") for record in caplog.records]
        assert codes.count("CLUSTER_WATCH_ERROR") == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("system", [True, False])
async def test_who_was_removed_is_forgotten_and_who_is_dead_is_not(nats_world: World, *, system: bool) -> None:
    """By whoever may be asked: its gauge is gone, and with it its alert; a member stays down for ever."""
    cluster = FakeCluster({"east": 5})
    cluster.add_stream("ORDERS", "east")
    options = attrs.evolve(QUICK, forgotten_after_seconds=100.0)
    async with watched(nats_world, cluster, system=system, streams=["ORDERS"], options=options) as rig:
        collector = Collector()
        collector.add_watch(rig.watch)
        cluster.down("east-4", "east-5")
        assert {event.node for event in await rig.told(20) if isinstance(event, NodeDown)} == {"east-4", "east-5"}
        assert await rig.told(300) == []
        cluster.remove("east-5")
        assert await rig.told(95) == []
        assert [type(event) for event in await rig.told(10)] == [NodeForgotten]
        assert await rig.told(300) == []
        page = collector.render()
        assert b'router_cluster_node_up{client="default",node="east-4"} 0.0' in page
        assert b"east-5" not in page


@pytest.mark.parametrize("system", [True, False])
async def test_nobody_is_forgotten_whose_name_nobody_knows(nats_world: World, *, system: bool) -> None:
    """A leader that has begun while a server was dead lists it without a name, and it stays down."""
    cluster = FakeCluster({"east": 3})
    cluster.add_stream("ORDERS", "east")
    options = attrs.evolve(QUICK, forgotten_after_seconds=100.0)
    async with watched(nats_world, cluster, system=system, streams=["ORDERS"], options=options) as rig:
        cluster.down("east-3")
        assert [type(event) for event in await rig.told(20)] == [NodeDown]
        cluster.nameless.add("east-3")
        assert await rig.told(300) == []
        assert not rig.watch.nodes["east-3"].up


async def test_who_is_not_answered_forgets_nobody(nats_world: World) -> None:
    """The system account's answers stay away, and those of streams come: servers that only it knows are not removed."""
    cluster = FakeCluster({"east": 3, "west": 2})
    cluster.add_stream("ORDERS", "east")
    options = attrs.evolve(QUICK, forgotten_after_seconds=100.0)
    async with watched(nats_world, cluster, system=True, streams=["ORDERS"], options=options) as rig:
        cluster.down("west-2")
        assert [type(event) for event in await rig.told(20)] == [NodeDown]
        cluster.system_silent = True
        assert await rig.told(300) == []
        assert {name: node.up for name, node in rig.watch.nodes.items() if name.startswith("west")} == {
            "west-1": True,
            "west-2": False,
        }


async def test_names_that_cannot_be_written_do_not_end_the_metrics(nats_world: World) -> None:
    """JSON can escape half of a character, and a page of metrics cannot say it: it is replaced."""
    cluster = FakeCluster({"east": 3, "west\ud800": 1})
    cluster.add_stream("WEST", "west\ud800")
    for system in (False, True):
        async with watched(nats_world, cluster, system=system, streams=["WEST"], name=f"nats-{int(system)}") as rig:
            collector = Collector()
            collector.add_watch(rig.watch)
            page = collector.render()
            assert b'router_cluster_node_up{client="default",node="west?-1"} 1.0' in page
            assert b'router_region_connected{client="default",region="west?"} 1.0' in page


async def test_monitoring_endpoints_are_read_by_what_is_given(nats_world: World) -> None:
    """One that does not answer, or hangs, is a node that is not seen."""
    down: dict[str, OSError | float] = {}

    async def fetch(url: str) -> bytes:
        host = url.removeprefix("http://").removesuffix(":8222/varz")
        why = down.get(host)
        if isinstance(why, OSError):
            raise why
        await trio.sleep(why or 0)
        return json.dumps({"server_name": host, "cluster": {"name": "east"}, "mem": 5, "connections": 2}).encode()

    monitor = {name: f"http://{name}:8222/" for name in ("east-1", "east-2")}
    async with watched(nats_world, one_region(), monitor=monitor, fetch=fetch) as rig:
        assert {name: node.memory_bytes for name, node in rig.watch.nodes.items()} == {"east-1": 5, "east-2": 5}
        for why in (ConnectionRefusedError(), math.inf):
            down["east-2"] = why
            assert [type(event) for event in await rig.told(8)] == [NodeDown]
            down.clear()
            assert [type(event) for event in await rig.told(3)] == [NodeUp]


async def test_an_endpoint_whose_server_has_another_name_is_told_and_seen(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the name that it was given: else that one would be down while its server is there. Told once."""
    there = True

    async def fetch(url: str) -> bytes:
        await trio.lowlevel.checkpoint()
        if not there:
            raise ConnectionRefusedError
        return json.dumps({"server_name": "N1", "cluster": {"name": "east"}}).encode()

    async with watched(nats_world, one_region(), monitor={"east-1": "http://east-1:8222"}, fetch=fetch) as rig:
        assert await rig.told(8) == []
        assert {name: node.up for name, node in rig.watch.nodes.items()} == {"east-1": True}
        (record,) = (one for one in caplog.records if getattr(one, "event", "") == "CLUSTER_WATCH_ERROR")
        assert "calls itself 'N1'" in record.getMessage()
        there = False
        assert [event.node for event in await rig.told(8) if isinstance(event, NodeDown)] == ["east-1"]
        assert [event.node for event in await rig.told(8000) if isinstance(event, NodeDown)] == []
        assert not rig.watch.nodes["east-1"].up


async def test_an_error_of_whoever_fetches_is_told_and_ends_nothing(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP libraries have errors of their own for a server that is not there: the others go on being looked at."""

    async def fetch(url: str) -> bytes:
        await trio.lowlevel.checkpoint()
        if "east-2" in url:
            raise ValueError("no route to east-2")
        return json.dumps({"server_name": "east-1", "cluster": {"name": "east"}}).encode()

    monitor = {name: f"http://{name}:8222/" for name in ("east-1", "east-2")}
    async with watched(nats_world, one_region(), monitor=monitor, fetch=fetch) as rig:
        assert [event.node for event in await rig.told(8) if isinstance(event, NodeDown)] == ["east-2"]
        assert rig.watch.nodes["east-1"].up
        (record,) = (one for one in caplog.records if getattr(one, "event", "") == "CLUSTER_WATCH_ERROR")
        assert "no route to east-2" in record.getMessage()


async def test_it_ends_with_its_client(nats_world: World) -> None:
    """A drained client needs nobody who asks."""
    server = await nats_world.start_server("nats")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, open_client(server.url, dialer=nats_world.dialer("app")) as nc:
            watch = ClusterWatch(nc, streams=["ORDERS"], options=QUICK)
            await nursery.start(watch.run)
            assert watch.current
    assert not watch.current


async def test_cancelled_it_leaves_nothing(nats_world: World) -> None:
    """Also in the middle of a look."""
    cluster = one_region()
    async with watched(nats_world, cluster, streams=["ORDERS"]) as rig:
        cluster.silent = True
        with trio.move_on_after(0.25) as scope:
            await ClusterWatch(rig.nc, system=rig.nc, streams=["ORDERS"], options=QUICK).run()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await ClusterWatch(rig.nc, streams=["ORDERS"], options=QUICK).run()
        assert scope.cancelled_caught


async def test_one_task_runs_it(nats_world: World) -> None:
    """A second one is refused, as often as it comes, and the first looks on; when that has ended another may."""
    async with watched(nats_world, one_region(), streams=["ORDERS"]) as rig:
        watch = ClusterWatch(rig.nc, streams=["ORDERS"], options=QUICK)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            for _ in range(2):
                with (
                    trio.fail_after(5),
                    trio.testing.assert_checkpoints(),
                    pytest.raises(RuntimeError, match="runs already; one task runs it"),
                ):
                    await watch.run()
            looks = watch.statistics().looks
            await trio.sleep(10.5)
            assert watch.current
            assert watch.statistics().looks == looks + 10
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            nursery.cancel_scope.cancel()


async def test_a_look_without_a_link_is_a_checkpoint(nats_world: World) -> None:
    """It asks nobody, and lets others run."""
    server = await nats_world.start_server("nats")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        watch = ClusterWatch(nc, streams=["ORDERS"], options=QUICK)
        server.stop()
        await trio.sleep(1)
        with trio.testing.assert_checkpoints():
            await watch._look()  # the loop around it sleeps
        assert watch.statistics().looks == 0


async def test_names_that_are_no_list_are_refused(nats_world: World) -> None:
    """Nobody would be told of streams O, R, D, E and S; and of nothing that a list without entries watches."""
    server = await nats_world.start_server("nats")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        wrongs: list[dict[str, Any]] = [
            {"streams": "ORDERS"},
            {"consumers": ("ORDERS", "worker")},
            {"consumers": [("ORDERS",)]},
            {"monitor": {}, "fetch": trio.sleep},
        ]
        for wrong in wrongs:
            with pytest.raises(OptionsError, match=r"must be a list|must be a pair|nothing is to be watched"):
                ClusterWatch(nc, **wrong)
        watch = ClusterWatch(nc, streams=["ORDERS"])
        with pytest.raises(OptionsError, match=r"streams is 'ORDERS'; it must be a list, as \['ORDERS'\]"):
            watch.lacking("ORDERS")


async def test_what_cannot_be_watched_is_refused(nats_world: World) -> None:
    """Before anything is asked."""
    server = await nats_world.start_server("nats")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        with pytest.raises(OptionsError, match="nothing is to be watched"):
            ClusterWatch(nc)
        with pytest.raises(OptionsError, match="monitor and fetch"):
            ClusterWatch(nc, monitor={"a": "http://a:8222"})
        with pytest.raises(InvalidSubjectError):
            ClusterWatch(nc, streams=["a.b"])
        with pytest.raises(InvalidSubjectError):
            ClusterWatch(nc, instances_of="a b")
    with pytest.raises(OptionsError, match="interval_seconds"):
        WatchOptions(interval_seconds=0)
