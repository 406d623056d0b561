"""The stage of real servers: in network namespaces where root allows, else on links that cannot break.

Must not know loads or what is measured.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import final

import trio

from beamline_trio.server_process import (
    NamespaceLinks,
    Node,
    RealSupercluster,
    open_namespace_links,
    open_supercluster,
)
from beamline_trio.transport import Dialer

from ._stage import Stage

LAME_DUCK = 'lame_duck_grace_period: "2s"\nlame_duck_duration: "30s"'
"""A server's own times are longer than a measurement should be."""


@final
class RealStage:
    """See `Stage`. `links` are None where namespaces cannot be made; nothing is cut then."""

    def __init__(self, world: RealSupercluster, links: NamespaceLinks | None) -> None:
        self._world = world
        self._links = links
        self._down: set[str] = set()

    @property
    def regions(self) -> Mapping[str, Sequence[str]]:
        return {name: [node.name for node in region.nodes] for name, region in self._world.regions.items()}

    def url(self, name: str) -> str:
        return self._world[name].url

    def dialer(self, client: int) -> Dialer | None:
        return None

    async def leader(self, stream: str) -> str | None:
        for region in self._world.regions.values():
            if (node := await region.leader(stream)) is not None:
                return node.name
        return None

    async def healthy(self) -> bool:
        return all([await node.healthy() for node in self._world.nodes])

    async def start(self, name: str) -> None:
        await self._node(name).server.wait_exit()
        await self._node(name).server.start()

    async def kill(self, name: str) -> None:
        self._node(name).server.kill()
        await trio.lowlevel.checkpoint()

    async def stop(self, name: str) -> None:
        await self._node(name).server.stop()

    async def pause(self, name: str) -> None:
        self._node(name).server.pause()
        await trio.lowlevel.checkpoint()

    async def resume(self, name: str) -> None:
        self._node(name).server.resume()
        await trio.lowlevel.checkpoint()

    async def lame_duck(self, name: str) -> None:
        self._node(name).server.lame_duck()
        await trio.lowlevel.checkpoint()

    async def link_down(self, name: str) -> None:
        self._down.add(name)
        await self._breakable().link_down(name)

    async def cut(self, these: Iterable[str], those: Iterable[str]) -> None:
        await self._breakable().cut(these, those)

    async def heal(self) -> None:
        for name in sorted(self._down):
            await self._breakable().link_up(name)
        self._down.clear()
        await self._breakable().heal()

    def _node(self, name: str) -> Node:
        return self._world[name]

    def _breakable(self) -> NamespaceLinks:
        assert self._links is not None, "faults of links are left out without namespaces"
        return self._links


@asynccontextmanager
async def open_real_stage(regions: Mapping[str, int], *, with_links: bool) -> AsyncGenerator[Stage]:
    """Real servers, ready when the block begins and gone when it ends."""
    if not with_links:
        async with open_supercluster(regions, config=LAME_DUCK) as world:
            yield RealStage(world, None)
        return
    async with open_namespace_links() as links, open_supercluster(regions, links=links, config=LAME_DUCK) as world:
        yield RealStage(world, links)
