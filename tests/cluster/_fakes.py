"""A cluster that answers as real servers do, behind one simulated server: which nodes are up is the test's to say.

What it answers has the form that nats-server 2.15.1 showed in a supercluster of two regions with three servers each.

Must not know who asks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from beamline_trio import Client, Message, open_client
from beamline_trio.cluster import ClusterWatch, WatchOptions
from beamline_trio.connection import Event, EventStream
from beamline_trio.simulation import ServerConfig, World

QUICK = WatchOptions(
    interval_seconds=1.0,
    answer_seconds=0.5,
    node_down_after_seconds=5.0,
    quorum_lost_after_seconds=10.0,
    region_cut_after_seconds=5.0,
)


@attrs.define
class FakeNode:
    """A server that is there, or not, since a time."""

    name: str
    region: str
    heard_at: float = 0.0
    up: bool = True

    def silent_seconds(self, now: float) -> float:
        """For how long nobody has heard it."""
        return 0.0 if self.up else now - self.heard_at


@attrs.define
class FakeGroup:
    """A stream's group."""

    name: str
    members: list[FakeNode]
    leader: str = ""

    @property
    def led(self) -> bool:
        """Whether most are up; the first of them leads where the last leader does not."""
        up = [node.name for node in self.members if node.up]
        if 2 * len(up) <= len(self.members):
            return False
        if self.leader not in up:
            self.leader = up[0]
        return True


class FakeCluster:
    """Nodes of regions, groups of streams, and a meta group over all nodes.

    Attributes:
        nodes: name -> a server.
        groups: stream -> its group.
        silent: nobody answers anything.
        system_silent: nobody answers for the system account.
        nameless: servers whose names leaders do not know.
        instances: identifiers of the instances of the service.
    """

    def __init__(self, regions: dict[str, int]) -> None:
        self.nodes = {
            f"{region}-{number}": FakeNode(f"{region}-{number}", region)
            for region, count in regions.items()
            for number in range(1, count + 1)
        }
        self.groups: dict[str, FakeGroup] = {}
        self.meta = FakeGroup("_meta_", list(self.nodes.values()))
        self.silent = False
        self.system_silent = False
        self.nameless: set[str] = set()
        self.instances = ["a"]

    def add_stream(self, name: str, region: str) -> FakeGroup:
        """A stream of a region, on all of its servers."""
        members = [node for node in self.nodes.values() if node.region == region]
        self.groups[name] = FakeGroup(name, members)
        return self.groups[name]

    def down(self, *names: str) -> None:
        """These servers are gone, or cannot be reached."""
        for name in names:
            self.nodes[name].up = False
            self.nodes[name].heard_at = trio.current_time()

    def up(self, *names: str) -> None:
        """They are back."""
        for name in names:
            self.nodes[name].up = True

    def remove(self, name: str) -> None:
        """An operator removes a server: it is a member of nothing any more."""
        node = self.nodes.pop(name)
        for group in (self.meta, *self.groups.values()):
            group.members = [member for member in group.members if member is not node]

    def move(self, stream: str, leader: str) -> None:
        """A stream has another leader."""
        self.groups[stream].leader = leader

    # What it answers

    async def answer(self, nc: Client, nursery: trio.Nursery) -> None:
        """Answer by a client from now on."""
        for subject, handler in (
            ("$SYS.REQ.SERVER.PING.STATSZ", self.statuses),
            ("$JS.API.>", self.api),
            ("$SRV.PING.*", self.ping),
        ):
            await nursery.start(nc.serve, subject, handler)

    async def statuses(self, asked: Message) -> None:
        """`$SYS.REQ.SERVER.PING.STATSZ`: an answer from each server."""
        for node in self.nodes.values():
            if node.up and not self.silent and not self.system_silent:
                await asked.respond(json.dumps(self.status(node)).encode())

    def status(self, node: FakeNode) -> dict[str, Any]:
        """What a server says of itself."""
        leader = self.meta.leader if self.meta.led else ""
        meta: dict[str, Any] = {"name": "_meta_", "cluster_size": len(self.nodes)} | (
            {"leader": leader} if leader else {}
        )
        if leader == node.name:
            meta["replicas"] = self.section(self.meta)["replicas"]
        return {
            "server": {"name": node.name, "cluster": node.region, "ver": "2.15.1", "jetstream": True},
            "statsz": {"mem": 20_000_000, "connections": 3, "jetstream": {"meta": meta}},
        }

    async def api(self, asked: Message) -> bytes | None:
        """`$JS.API.>`: the account from the meta leader, a stream from its leader or the meta leader."""
        operation = asked.subject.removeprefix("$JS.API.")
        if self.silent:
            return None
        if operation == "INFO":
            return b"{}" if self.meta.led else _UNAVAILABLE
        name = operation.rpartition(".")[2]
        if operation.startswith("CONSUMER.INFO."):
            name = operation.split(".")[2]
        if name not in self.groups:
            return json.dumps({"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}).encode()
        group = self.groups[name]
        if not any(node.up for node in group.members):
            return _UNAVAILABLE
        return json.dumps({"config": {"name": name}, "cluster": self.section(group)}).encode()

    def section(self, group: FakeGroup) -> dict[str, Any]:
        """The `cluster` section of a stream's information."""
        now = trio.current_time()
        told = [
            {"name": self._told_name(node), "current": True, "active": 1 + round(node.silent_seconds(now) * 1e9)}
            for node in group.members
            if not group.led or node.name != group.leader
        ]
        section: dict[str, Any] = {"name": group.members[0].region, "replicas": told}
        return section | ({"leader": group.leader} if group.led else {})

    def _told_name(self, node: FakeNode) -> str:
        return f"Server name unknown at this time (peerID: {node.name})" if node.name in self.nameless else node.name

    async def ping(self, asked: Message) -> None:
        """`$SRV.PING.NAME`: an answer from each instance."""
        for identifier in self.instances:
            await asked.respond(json.dumps({"id": identifier}).encode())


_UNAVAILABLE = json.dumps(
    {"error": {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}}
).encode()


class Rig:
    """A watch over a fake cluster, and what it has told.

    Attributes:
        nc: the client that watches.
        cluster: what it watches.
        watch: it.
        events: those that have come since they were last looked at.
    """

    def __init__(self, nc: Client, cluster: FakeCluster, watch: ClusterWatch, events: EventStream) -> None:
        self.nc = nc
        self.cluster = cluster
        self.watch = watch
        self._events = events

    async def told(self, seconds: float) -> list[Event]:
        """The events of the next so many seconds."""
        found: list[Event] = []
        with trio.move_on_after(seconds):
            while True:
                found.append(await self._events.receive())
        return found


@asynccontextmanager
async def watched(
    world: World, cluster: FakeCluster, *, system: bool = False, name: str = "nats", **what: Any
) -> AsyncGenerator[Rig]:
    """A client that watches a cluster, whose servers answer through one simulated server."""
    home = next(iter(cluster.nodes.values())).region
    server = await world.start_server(name, ServerConfig(cluster=home))
    async with (
        open_client(server.url, dialer=world.dialer(f"{name}-servers")) as servers,
        open_client(server.url, dialer=world.dialer(f"{name}-app")) as nc,
        trio.open_nursery() as nursery,
    ):
        await cluster.answer(servers, nursery)
        watch = ClusterWatch(nc, system=nc if system else None, options=what.pop("options", QUICK), **what)
        async with nc.events() as events:
            await nursery.start(watch.run)
            yield Rig(nc, cluster, watch, events)
        nursery.cancel_scope.cancel()
