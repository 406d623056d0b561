"""A cluster of real servers: its nodes, what they say of themselves, and whether they are one.

Everything here is read from the servers' monitoring endpoints (`_monitoring`), never from a client: tests may judge
clients by it. What is done to a node (kill, stop, pause, lame duck, start) is done to its `Server`.

Must not open or end processes (`_open_cluster`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, final

import trio

from ._errors import MonitoringError, ServerStartError
from ._layout import Place
from ._monitoring import ask
from ._process import Server

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 2.0


@final
class Node:
    """One server of a cluster: its process, and what it says of itself.

    Attributes:
        name: its name, as `east-1`.
        cluster: the name of its cluster.
        server: its process, to kill, stop, pause and start.
    """

    def __init__(self, place: Place, server: Server) -> None:
        self.name = place.name
        self.cluster = place.cluster
        self.server = server
        self._host = place.host
        self._monitoring_port = place.monitoring_port

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.server!r}>"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.server.url

    @property
    def monitoring_url(self) -> str:
        """Where its monitoring endpoints are."""
        return f"http://{self._host}:{self._monitoring_port}"

    async def ask(self, path: str) -> dict[str, Any]:
        """Return what it answers to a monitoring path, as "/varz" or "/jsz?streams=true".

        Raises:
            MonitoringError: it does not answer, or not within 2 s, as when it is stopped or cut off.
        """
        with trio.move_on_after(_ANSWER_SECONDS):
            return await ask(self._host, self._monitoring_port, path)
        raise MonitoringError(
            f"{self.name} did not answer {self.monitoring_url}{path} within {_ANSWER_SECONDS:g} s; is it stopped?"
        )

    async def healthy(self) -> bool:
        """Whether it says that it is well: connected, caught up with the meta group and its streams."""
        try:
            return (await self.ask("/healthz")).get("status") == "ok"
        except MonitoringError:
            return False

    async def meta(self) -> Mapping[str, Any]:
        """What it knows of the meta group of JetStream: `leader`, `cluster_size`, `replicas`; empty without."""
        found = (await self.ask("/jsz")).get("meta_cluster")
        return found if isinstance(found, dict) else {}


@final
class RealCluster:
    """Servers that are joined by routes. Made by `open_cluster`, or as a region by `open_supercluster`."""

    def __init__(self, name: str, nodes: Sequence[Node]) -> None:
        self.name = name
        self.nodes = tuple(nodes)

    def __getitem__(self, name: str) -> Node:
        """The node of that name.

        Raises:
            KeyError: there is none.
        """
        return _named(self.nodes, name)

    @property
    def urls(self) -> list[str]:
        """Where clients connect: every server's address."""
        return [node.url for node in self.nodes]

    async def meta_leader(self) -> Node | None:
        """The leader of JetStream's meta group, if it is one of this cluster's and says so itself."""
        return await _who(self.nodes, _meta_leader_seen_by)

    async def leader(self, stream: str, consumer: str | None = None, *, account: str = "$G") -> Node | None:
        """The node that leads a stream's group, or a consumer's, and says so itself; None while there is none."""
        return await _who(self.nodes, lambda node: leader_seen_by(node, stream, consumer, account))

    async def wait_healthy(self, names: Iterable[str] | None = None) -> None:
        """Return when all nodes that run say that they are well; `names` = only these, which must run.

        It waits for as long as it takes: bound it by a cancel scope.
        """
        chosen = [self[name] for name in names] if names is not None else list(self.nodes)
        await until_all(chosen, lambda node: node.healthy())


@final
class RealSupercluster:
    """Clusters that are joined by gateways, one a region. Made by `open_supercluster`."""

    def __init__(self, regions: Mapping[str, RealCluster]) -> None:
        self.regions = dict(regions)
        self.nodes = tuple(node for region in regions.values() for node in region.nodes)

    def __getitem__(self, name: str) -> Node:
        """The node of that name, in whichever region.

        Raises:
            KeyError: there is none.
        """
        return _named(self.nodes, name)

    async def meta_leader(self) -> Node | None:
        """The leader of the meta group that spans all regions, if there is one that says so itself."""
        return await _who(self.nodes, _meta_leader_seen_by)

    async def wait_healthy(self) -> None:
        """Return when all nodes say that they are well; bound it by a cancel scope."""
        for region in self.regions.values():
            await region.wait_healthy()


async def leader_seen_by(node: Node, stream: str, consumer: str | None, account: str) -> str | None:
    """Return the name of the leader that a node knows for a stream or a consumer; None when it knows none, or is
    silent.
    """
    query = f"/jsz?acc={account}&streams=true" + ("&consumers=true" if consumer else "")
    try:
        report = await node.ask(query)
    except MonitoringError:
        return None
    for found in _accounts(report):
        for detail in found.get("stream_detail") or ():
            if detail.get("name") == stream:
                return _leader_of(detail, consumer)
    return None


async def _meta_leader_seen_by(node: Node) -> str | None:
    try:
        return (await node.meta()).get("leader") or None
    except MonitoringError:
        return None


async def _who(nodes: Sequence[Node], leader_known: Callable[[Node], Awaitable[str | None]]) -> Node | None:
    """Ask all at once, since one that is stopped keeps its questioner waiting, and return who names itself."""
    found: list[Node] = []

    async def ask_one(node: Node) -> None:
        if await leader_known(node) == node.name:
            found.append(node)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(ask_one, node)
    return found[0] if found else None


def _accounts(report: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = report.get("account_details") or ()
    return found


def _leader_of(detail: Mapping[str, Any], consumer: str | None) -> str | None:
    if consumer is not None:
        consumers = detail.get("consumer_detail") or ()
        detail = next((each for each in consumers if each.get("name") == consumer), {})
    leader = (detail.get("cluster") or {}).get("leader")
    return leader if isinstance(leader, str) and leader else None


async def wait_formed(nodes: Sequence[Node], clusters: Mapping[str, int], *, jetstream: bool, seconds: float) -> None:
    """Return when all have routes to all of their cluster, gateways to all others, and one meta leader.

    Raises:
        ServerStartError: not within so many seconds; the message tells of one that is not.
    """
    lacking = "nothing was asked"

    async def joined(node: Node) -> bool:
        nonlocal lacking
        lacking = await _lacks(node, clusters, jetstream=jetstream)
        return not lacking

    with trio.move_on_after(seconds) as scope:
        await until_all(nodes, joined)
    if scope.cancelled_caught:
        raise ServerStartError(f"the cluster was not ready after {seconds:g} s (ready_timeout_seconds): {lacking}")


async def _lacks(node: Node, clusters: Mapping[str, int], *, jetstream: bool) -> str:
    """What a node has not yet; an empty text when nothing is missing."""
    try:
        routed = {route.get("remote_name") for route in (await node.ask("/routez")).get("routes") or ()}
        if len(routed) < clusters[node.cluster] - 1:
            return f"{node.name} has routes to {len(routed)} of {clusters[node.cluster] - 1} servers"
        if len(clusters) > 1:
            gateways = (await node.ask("/gatewayz")).get("outbound_gateways") or {}
            if len(gateways) < len(clusters) - 1:
                return f"{node.name} has gateways to {sorted(gateways)}"
        if jetstream:
            meta = await node.meta()
            if not meta.get("leader") or meta.get("cluster_size") != sum(clusters.values()):
                return f"{node.name} knows no leader of a meta group of {sum(clusters.values())}: {dict(meta)}"
        return "" if await node.healthy() else f"{node.name} is not healthy"
    except MonitoringError as error:
        return str(error)


async def until_all(nodes: Iterable[Node], holds: Callable[[Node], Awaitable[bool]]) -> None:
    """Return when it holds for every one of them, asked one after the other."""
    for node in nodes:
        while not await holds(node):  # noqa: ASYNC110 - another process does it
            await trio.sleep(_POLL_SECONDS)


def _named(nodes: Iterable[Node], name: str) -> Node:
    for node in nodes:
        if node.name == name:
            return node
    raise KeyError(f"there is no node {name!r}; the nodes are {', '.join(node.name for node in nodes)}")
