"""A rig of real nats-servers: one, a cluster, or regions that are joined by gateways.

What lies between clients and servers is cut in this process (`_ways`), what lies between servers by the proxies that
their routes and gateways go through.

Must not know loads or faults.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Final

import trio

from ..server_process import (
    ProxiedLinks,
    Server,
    ServerNotFoundError,
    find_nats_server,
    open_proxied_links,
    open_server,
    open_supercluster,
)
from ..transport import Dialer, TCPDialer
from ._errors import ScenarioError
from ._memory import resident_bytes
from ._rig import End, Health, has_quorum
from ._scenario import Topology
from ._uses import Use
from ._ways import Ways

_SERVER: Final = "server"
# As short as nats-server lets lame duck mode be.
_LAME_DUCK: Final = 'lame_duck_grace_period: "1s"\nlame_duck_duration: "30s"'


class RealRig:
    """Real servers. See `Rig`. Made by `open_real_rig`.

    Args:
        topology: what there is.
        servers: by name.
        ways: between clients and servers.
        links: between servers; None = there is one server.
        seed: of all chance that is ours.
    """

    def __init__(
        self, topology: Topology, servers: Mapping[str, Server], ways: Ways, links: ProxiedLinks | None, seed: int
    ) -> None:
        self._topology = topology
        self._servers = servers
        self._ways = ways
        self._links = links
        self._seed = seed
        self._paused: set[str] = set()

    @property
    def servers(self) -> Sequence[str]:
        """See `Rig`."""
        return list(self._servers)

    def urls(self, region: str = "") -> list[str]:
        """See `Rig`."""
        return [server.url for name, server in self._servers.items() if name.startswith(region)]

    def dialer(self, host: str) -> Dialer:
        """See `Rig`."""
        return self._ways.dialer(host, TCPDialer())

    def random(self, name: str) -> Random:
        """See `Rig`."""
        return Random(f"{self._seed}/{name}")

    def health(self) -> Health:
        """See `Rig`."""
        up = {name: server.running and name not in self._paused for name, server in self._servers.items()}
        return Health(
            up=up,
            quorum=has_quorum(up, self._topology),
            connections=self._ways.open_count,
            nodes={
                name: Use(memory_bytes=resident_bytes(server.pid))
                for name, server in self._servers.items()
                if server.running
            },
        )

    async def each(self, seconds: float, look: Callable[[], object]) -> None:
        """See `Rig`."""
        while True:
            look()
            await trio.sleep(seconds)

    async def end_server(self, name: str, how: End) -> None:
        """See `Rig`."""
        server = self._servers[name]
        if how is End.LAME_DUCK:
            server.lame_duck()
            await server.wait_exit()
        elif how is End.STOP:
            await server.stop()
        else:
            server.kill()
            await server.wait_exit()

    async def start_server(self, name: str) -> None:
        """See `Rig`."""
        if not self._servers[name].running:
            await self._servers[name].start()

    def pause_server(self, name: str) -> None:
        """See `Rig`."""
        self._servers[name].pause()
        self._paused.add(name)

    def resume_server(self, name: str) -> None:
        """See `Rig`."""
        self._servers[name].resume()
        self._paused.discard(name)

    def cut(self, one: Sequence[str], others: Sequence[str]) -> AbstractAsyncContextManager[object]:
        """See `Rig`. One side is hosts of clients, the other all servers."""
        hosts = [host for host in (*one, *others) if host not in self._servers]
        return self._ways.cut(hosts)

    @asynccontextmanager
    async def cut_region(self, name: str) -> AsyncGenerator[None]:
        """See `Rig`."""
        assert self._links is not None
        inside = [server for server in self._servers if server.startswith(f"{name}-")]
        await self._links.cut(inside, [server for server in self._servers if server not in inside])
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._links.heal()

    @asynccontextmanager
    async def lose_host(self, host: str) -> AsyncGenerator[None]:
        """See `Rig`. Here the kernel closes what a process that is killed had open, so there is nothing to do."""
        yield


@asynccontextmanager
async def open_real_rig(topology: Topology, seed: int) -> AsyncGenerator[RealRig]:
    """Start the servers; they are gone when this is left.

    Args:
        topology: what there is to be.
        seed: of all chance that is ours.

    Raises:
        ScenarioError: there is no nats-server.
        ServerProcessError: one did not get ready.
    """
    try:
        find_nats_server()
    except ServerNotFoundError as error:
        raise ScenarioError(str(error)) from error
    ways = Ways()
    if topology.nodes == 1:
        async with open_server(jetstream=True, jetstream_settings="sync_interval: always", config=_LAME_DUCK) as server:
            yield RealRig(topology, {_SERVER: server}, ways, None, seed)
        return
    regions = dict.fromkeys(topology.regions or (topology.cluster,), topology.nodes)
    async with (
        open_proxied_links(Random(seed)) as links,
        open_supercluster(regions, links=links, config=_LAME_DUCK) as servers,
    ):
        yield RealRig(topology, {node.name: node.server for node in servers.nodes}, ways, links, seed)
