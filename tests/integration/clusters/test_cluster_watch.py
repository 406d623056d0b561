"""A watch over real servers: what it says when they are killed, stopped and started, whoever it asks."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import attrs
import pytest
import trio

from beamline_trio import (
    Client,
    ClusterWatch,
    JetStream,
    LeaderChanged,
    NodeDown,
    NodeForgotten,
    NodeUp,
    QuorumLost,
    QuorumRestored,
    RegionCut,
    RegionHealed,
    StreamConfig,
    open_client,
)
from beamline_trio.cluster import META_GROUP, WatchOptions
from beamline_trio.connection import EventStream
from beamline_trio.jetstream import Placement
from beamline_trio.server_process import Node, RealCluster, RealSupercluster, open_cluster, open_supercluster
from tests.integration.clusters._waiting import LIMIT_SECONDS, eventually

E = TypeVar("E")
QUICK = WatchOptions(interval_seconds=0.5, answer_seconds=0.5)


async def the(events: EventStream, kind: type[E], **fields: str) -> E:
    """The next event of a kind with these fields."""
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            event = await events.receive()
            if isinstance(event, kind) and fields.items() <= attrs.asdict(event, recurse=False).items():
                return event


@asynccontextmanager
async def watched(
    nc: Client, node: Node, *, system: bool, **what: Any
) -> AsyncGenerator[tuple[ClusterWatch, EventStream]]:
    """A watch, with a client of the system account if it is to have one."""
    async with AsyncExitStack() as stack:
        asks = None
        if system:
            asks = await stack.enter_async_context(open_client(node.url, name="system", user="sys", password="sys"))
        watch = ClusterWatch(nc, system=asks, options=what.pop("options", QUICK), **what)
        async with nc.events() as events, trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            yield watch, events
            nursery.cancel_scope.cancel()


async def create(nc: Client, name: str, cluster: str, *, replicas: int = 3) -> None:
    """A stream of some replicas, once the servers make one."""
    config = StreamConfig(
        name=name, subjects=[f"{name.lower()}.>"], num_replicas=replicas, placement=Placement(cluster=cluster)
    )

    async def made() -> bool | None:
        try:
            await JetStream(nc).create_stream(config)
        except Exception:  # noqa: BLE001  # an election; the last one would show at the limit
            return None
        return True

    await eventually(made)


async def leader_of(cluster: RealCluster | RealSupercluster, name: str, stream: str) -> str:
    async def asked() -> Node | None:
        found = cluster if isinstance(cluster, RealCluster) else cluster.regions[name]
        return await found.leader(stream)

    return (await eventually(asked)).name


async def kill(*nodes: Node) -> None:
    for node in nodes:
        node.server.kill()
        await node.server.wait_exit()


async def test_nodes_leaders_and_the_quorum_of_a_cluster() -> None:
    """A killed follower is down and up, a killed leader is followed, and two killed are a lost quorum that comes back.

    The watch asks the API alone: nobody but the stream tells of its servers.
    """
    async with (
        open_cluster("east") as cluster,
        open_client(*cluster.urls) as nc,
    ):
        await create(nc, "ORDERS", "east")
        first = await leader_of(cluster, "east", "ORDERS")
        followers = [node for node in cluster.nodes if node.name != first]
        async with watched(nc, cluster[first], system=False, streams=["ORDERS"]) as (watch, events):
            assert watch.groups["ORDERS"].leader == first
            assert set(watch.nodes) == {node.name for node in cluster.nodes}
            await kill(followers[0])
            down = await the(events, NodeDown, node=followers[0].name)
            assert 5 <= down.unseen_seconds <= 12
            assert watch.quorum
            await followers[0].server.start()
            await the(events, NodeUp, node=followers[0].name)
            await cluster.wait_healthy()
            await kill(cluster[first])
            changed = await the(events, LeaderChanged, group="ORDERS", before=first)
            await the(events, NodeDown, node=first)
            assert watch.quorum
            await cluster[first].server.start()
            await cluster.wait_healthy()
            others = [node for node in cluster.nodes if node.name != changed.leader]
            await kill(*others)
            await the(events, QuorumLost, group="ORDERS")
            assert watch.lacking(["ORDERS"]) == ["stream ORDERS has no quorum"]
            for node in others:
                await node.server.start()
            await the(events, QuorumRestored, group="ORDERS")
            assert watch.lacking(["ORDERS"]) == []


@pytest.mark.parametrize("system", [True, False])
async def test_who_is_removed_for_good_is_forgotten(*, system: bool) -> None:
    """Not before: a dead one stays down, also when the others have begun anew meanwhile and do not know its name."""
    options = attrs.evolve(QUICK, forgotten_after_seconds=12.0)
    async with open_cluster("east") as cluster, open_client(*cluster.urls) as nc:
        await create(nc, "ORDERS", "east")
        first = await leader_of(cluster, "east", "ORDERS")
        gone, other = (node for node in cluster.nodes if node.name != first)
        async with watched(nc, cluster[first], system=system, streams=["ORDERS"], options=options) as (watch, events):
            await kill(gone)
            await the(events, NodeDown, node=gone.name)
            for node in (other, cluster[first]):
                await node.server.stop()
                await node.server.start()
            await leader_of(cluster, "east", "ORDERS")
            await trio.sleep(25)
            assert not watch.nodes[gone.name].up
            await gone.server.start()
            await the(events, NodeUp, node=gone.name)
            await cluster.wait_healthy()
            await kill(gone)
            await the(events, NodeDown, node=gone.name)
            async with open_client(cluster[first].url, name="operator", user="sys", password="sys") as operator:
                reply = await operator.request("$JS.API.SERVER.REMOVE", json.dumps({"peer": gone.name}).encode())
            assert json.loads(reply.payload).get("success"), reply.payload
            await the(events, NodeForgotten, node=gone.name)
            assert set(watch.nodes) == {first, other.name}
            assert watch.quorum


async def test_a_region_that_is_cut_off() -> None:
    """Stopped as one, its servers are seen by nobody: the region is cut, and healed when they go on.

    Half of all servers are gone, so the meta group has no quorum; the streams at home have.
    """
    async with (
        open_supercluster({"east": 3, "west": 3}) as regions,
        open_client(*regions.regions["east"].urls) as nc,
    ):
        for region in ("east", "west"):
            await create(nc, region.upper(), region)
        west = regions.regions["west"].nodes
        async with watched(nc, regions["east-1"], system=True, streams=["EAST", "WEST"]) as (watch, events):
            assert all(node.memory_bytes for node in watch.nodes.values())
            assert len(watch.nodes) == 6
            for node in west:
                node.server.pause()
            cut = await the(events, RegionCut)
            assert cut.region == "west"
            await the(events, QuorumLost, group=META_GROUP)
            assert watch.groups["EAST"].quorum
            assert watch.lacking(["EAST"]) == []
            assert watch.lacking(["WEST"]) == ["region west of stream WEST is cut off"]
            for node in west:
                node.server.resume()
            healed = await the(events, RegionHealed)
            assert healed.region == "west"
            await the(events, QuorumRestored, group=META_GROUP)
            assert not [name for name, node in watch.nodes.items() if not node.up]


async def test_a_region_that_is_shut_down() -> None:
    """The leader of the meta group says at once that its stream is offline: that is no word from over there."""
    async with (
        open_supercluster({"east": 3, "west": 2}) as regions,
        open_client(*regions.regions["east"].urls) as nc,
    ):
        await create(nc, "WEST", "west", replicas=2)
        async with watched(nc, regions["east-1"], system=False, streams=["WEST"]) as (watch, events):
            assert set(watch.nodes) == {"west-1", "west-2"}
            for node in regions.regions["west"].nodes:
                await node.server.stop()
            await the(events, RegionCut, region="west")
            assert watch.lacking(["WEST"]) == ["region west of stream WEST is cut off"]
            for node in regions.regions["west"].nodes:
                await node.server.start()
            await the(events, RegionHealed, region="west")


async def test_monitoring_endpoints_tell_as_much() -> None:
    """Without the system account and without streams: nodes, what they use, and the leader of the meta group."""

    async def fetch(url: str) -> bytes:
        host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /varz HTTP/1.0\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
        return answer.partition(b"\r\n\r\n")[2]

    async with open_cluster("east") as cluster, open_client(*cluster.urls) as nc:
        monitor = {node.name: node.monitoring_url for node in cluster.nodes}
        async with watched(nc, cluster.nodes[0], system=False, monitor=monitor, fetch=fetch) as (watch, events):
            assert {name for name, node in watch.nodes.items() if node.memory_bytes} == set(monitor)
            leader = watch.groups[META_GROUP].leader
            assert leader in monitor
            await kill(cluster[leader])
            changed = await the(events, LeaderChanged, group=META_GROUP, before=leader)
            assert changed.leader in monitor
            with trio.fail_after(LIMIT_SECONDS):
                while watch.nodes[leader].up:  # noqa: ASYNC110  # down before the election, or behind it
                    await trio.sleep(0.1)
