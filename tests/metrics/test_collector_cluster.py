"""What the collector shows of a watch and of an instance, and what stays of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from beamline_trio import ClusterWatch, Message, OptionsError, Router, State
from beamline_trio.cluster._records import GroupSeen, NodeSeen, Sighting
from beamline_trio.metrics import Collector, Instance
from beamline_trio.simulation import World
from tests.cluster._fakes import QUICK, FakeCluster, watched
from tests.metrics._clients import make_client, scrape, value


def look(watch: ClusterWatch, now: float, leader: str, *names: str) -> None:
    """A look at which these servers answer, and this one leads."""
    nodes = tuple(
        NodeSeen(name=name, region=name[:4], age_seconds=0.0, memory_bytes=7, connections=3) for name in names
    )
    groups = (GroupSeen(name="ORDERS", region="east", led=bool(leader), leader=leader),)
    watch.state.take([Sighting(nodes=nodes, groups=groups, all_nodes=True)], "east", now)


async def test_a_watch_shows_what_it_knows(autojump_clock: trio.testing.MockClock) -> None:
    """Nodes, regions, the quorum of all groups and changes of leaders, at this moment."""
    client, collector = make_client(), Collector()
    watch = ClusterWatch(client, streams=["ORDERS"])
    collector.add_watch(watch)
    collector.add_watch(watch)
    look(watch, 0.0, "east-1", "east-1", "west-1")
    assert value(collector, "cluster_quorum") == 1
    await trio.sleep(20)
    for moment in (5.0, 10.0, 15.0, 20.0):
        look(watch, moment, "east-2", "east-1")
    assert value(collector, "cluster_node_up", node="east-1") == 1
    assert value(collector, "cluster_node_up", node="west-1") == 0
    assert value(collector, "region_connected", region="east") == 1
    assert value(collector, "region_connected", region="west") == 0
    assert value(collector, "region_partition_seconds", region="west") == 20
    assert value(collector, "region_partition_seconds", region="east") == 0
    assert value(collector, "node_memory_bytes", node="east-1") == 7
    assert value(collector, "node_connections", node="east-1") == 3
    assert value(collector, "cluster_leader_changes_total") == 1
    await trio.sleep(20)
    for moment in (25.0, 30.0, 35.0, 40.0):
        look(watch, moment, "", "east-1")
    assert value(collector, "cluster_quorum") == 0
    assert not any(name == "router_instances_active" for name, _ in scrape(collector))


class Growing(ClusterWatch):
    """A watch that learns of another server and region whenever it is asked, as from another thread it may."""

    def learn(self) -> None:
        self.number = getattr(self, "number", 0) + 1
        look(self, 0.0, "east-1", f"n{self.number:03}-1")

    def partition_seconds(self, region: str) -> float:
        self.learn()
        return super().partition_seconds(region)


async def test_a_scrape_lives_with_a_look_between_its_lines() -> None:
    """What the watch learns in its own thread meanwhile is in the next one."""
    client, collector = make_client(), Collector()
    watch = Growing(client, streams=["ORDERS"])
    collector.add_watch(watch)
    for _ in range(10):
        watch.learn()
    assert len([name for name, _ in scrape(collector) if name == "router_region_connected"]) == 11
    assert len([name for name, _ in scrape(collector) if name == "router_region_connected"]) == 22


async def test_of_two_watches_under_one_label_the_worse_is_shown() -> None:
    """They look at the same servers: nothing of it is a sum."""
    client, collector = make_client(), Collector()
    for names in (("east-1", "east-2"), ("east-1",)):
        watch = ClusterWatch(client, streams=["ORDERS"])
        look(watch, 0.0, "east-1", "east-1", "east-2")
        look(watch, 6.0, "east-1", *names)
        collector.add_watch(watch)
    assert value(collector, "cluster_node_up", node="east-1") == 1
    assert value(collector, "cluster_node_up", node="east-2") == 0


async def test_of_a_watch_whose_client_is_closed_only_what_it_has_counted_stays() -> None:
    """No gauge says that a server is up which nobody looks at."""
    client, collector = make_client(), Collector()
    watch = ClusterWatch(client, streams=["ORDERS"])
    collector.add_watch(watch)
    look(watch, 0.0, "east-1", "east-1")
    look(watch, 1.0, "east-2", "east-1")
    client.connection.state = State.CLOSED
    shown = scrape(collector)
    assert value(collector, "cluster_leader_changes_total") == 1
    assert not [name for name, _ in shown if name.startswith(("router_cluster_n", "router_cluster_q", "router_region"))]


async def test_a_watch_has_gauges_while_it_looks(nats_world: World) -> None:
    """None before its first look and from its end on; they are back when it looks again, and what it counted stays."""
    collector, cluster = Collector(), FakeCluster({"east": 3})
    cluster.add_stream("ORDERS", "east")
    async with watched(nats_world, cluster, streams=["ORDERS"]) as rig:
        watch = ClusterWatch(rig.nc, streams=["ORDERS"], instances_of="prices", options=QUICK)
        collector.add_watch(watch)
        gauges = {f"router_{name}" for name in ("cluster_quorum", "cluster_node_up", "instances_active")}
        for looked in range(2):
            assert of_watches(collector) == {"router_cluster_leader_changes_total"}
            async with trio.open_nursery() as nursery:
                await nursery.start(watch.run)
                assert of_watches(collector) > gauges
                cluster.move("ORDERS", f"east-{2 + looked}")
                await trio.sleep(3)
                nursery.cancel_scope.cancel()
        assert of_watches(collector) == {"router_cluster_leader_changes_total"}
        (changes,) = [count for (name, _), count in scrape(collector).items() if name.endswith("leader_changes_total")]
        assert changes == 2


async def test_a_watch_that_has_ended_is_not_the_worse_of_two() -> None:
    """What it saw last does not hide what one that looks sees under the same label."""
    client, collector = make_client(), Collector()
    ended, looks = ClusterWatch(client, streams=["ORDERS"]), ClusterWatch(client, streams=["ORDERS"])
    for watch, names in ((ended, ("east-1",)), (looks, ("east-1", "east-2"))):
        look(watch, 0.0, "east-1", "east-1", "east-2")
        look(watch, 6.0, "east-1", *names)
        collector.add_watch(watch)
    assert value(collector, "cluster_node_up", node="east-2") == 0
    ended.state.end()
    assert value(collector, "cluster_node_up", node="east-2") == 1


def of_watches(collector: Collector) -> set[str]:
    parts = ("router_cluster_", "router_region_", "router_node_", "router_instances_")
    return {name for name, _ in scrape(collector) if name.startswith(parts)}


async def test_an_instance_shows_itself() -> None:
    """Ready or not, its messages under its region, its tasks, links and memory; also to a scrape of another thread."""
    client, collector, router = make_client(), Collector(), Router("r")
    ready = False

    @router.route("a.b", name="a")
    async def handler(message: Message) -> bytes | None:
        return None

    instance = Instance("r-1", client, lambda: ready, region="east", routers=[router])
    collector.add_instance(instance)
    counters = router.routes["a"].counters
    counters.take(2)
    counters.end("ok", 0.1)
    counters.end("error", 0.1)
    assert value(collector, "instance_ready", instance="r-1") == 0
    ready = True
    assert value(collector, "instance_ready", instance="r-1") == 1
    assert value(collector, "messages_total", instance="r-1", region="east") == 2
    assert value(collector, "instance_connections", instance="r-1") == 0
    assert value(collector, "instance_memory_bytes", instance="r-1") > 1_000_000
    tasks = value(collector, "instance_tasks", instance="r-1")
    assert tasks >= 2
    elsewhere: list[float] = []
    thread = threading.Thread(target=lambda: elsewhere.append(value(collector, "instance_tasks", instance="r-1")))
    thread.start()
    thread.join()
    assert elsewhere == [tasks]


async def test_an_instance_has_a_name_that_can_be_a_label() -> None:
    """Printable, and not too long."""
    for name in ("", "a\n", "a" * 129):
        with pytest.raises(OptionsError, match="the name of the instance"):
            Instance(name, make_client(), lambda: True)
    with pytest.raises(OptionsError, match="the region of the instance"):
        Instance("a", make_client(), lambda: True, region="\0")


async def test_memory_is_the_most_that_it_was_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc there is another number."""
    monkeypatch.setattr("beamline_trio.metrics._instance._STATM", Path("nowhere"))
    assert Instance("a", make_client(), lambda: True).memory_bytes > 1_000_000
