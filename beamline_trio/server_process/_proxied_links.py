"""Links between servers that each go through a `FaultProxy`: faults of the network for everybody, without root.

Every server dials every other through a proxy of its own, so that each pair can be cut alone, and one way. Servers
also tell each other where further servers are, and would then go round the proxies; so each advertises an address at
which nobody listens. What it was configured with is all that a server then has, and all that it needs.

Must not stand between clients and servers: an `open_fault_proxy` in front of a server's port does that.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from random import Random
from typing import final

import trio

from ._background import open_background
from ._links import DirectLinks
from ._proxy import FaultProxy

_NOBODY = "127.0.0.1:1"


@final
class ProxiedLinks(DirectLinks):
    """A proxy for each ordered pair of servers and each port. Made by `open_proxied_links`."""

    def __init__(self, nursery: trio.Nursery, chance: Random) -> None:
        self._nursery = nursery
        self._chance = chance
        self._proxies: dict[tuple[str, str], list[FaultProxy]] = {}

    async def address(self, source: str, target: str, port: int) -> str:
        """The address of a proxy in front of the port, for this source alone."""
        proxy = FaultProxy(("127.0.0.1", port), "127.0.0.1", self.port(target), self._chance, self._nursery)
        await proxy.listen()
        self._proxies.setdefault((source, target), []).append(proxy)
        return proxy.address

    def advertised(self, name: str) -> str | None:
        """An address at which nobody listens."""
        return _NOBODY

    def proxies(self, source: str, target: str) -> Sequence[FaultProxy]:
        """The proxies through which `source` dials `target`, for conditions, resets and refusals of one's own."""
        return tuple(self._proxies.get((source, target), ()))

    async def cut(self, these: Iterable[str], those: Iterable[str], *, one_way: bool = False) -> None:
        """Hold what these servers send to those and, unless `one_way`, what those send to these."""
        others = list(those)
        for source in these:
            for target in others:
                self._hold(source, target)
                if not one_way:
                    self._hold(target, source)
        await trio.lowlevel.checkpoint()

    async def heal(self) -> None:
        """Release every proxy."""
        for proxies in self._proxies.values():
            for proxy in proxies:
                proxy.release()
        await trio.lowlevel.checkpoint()

    def _hold(self, source: str, target: str) -> None:
        """Whichever of the two has dialled: what the source sends is held."""
        for proxy in self.proxies(source, target):
            proxy.to_target.hold()
        for proxy in self.proxies(target, source):
            proxy.to_client.hold()


@contextlib.asynccontextmanager
async def open_proxied_links(chance: Random | None = None) -> AsyncGenerator[ProxiedLinks]:
    """Links through proxies, for `open_cluster(links=...)` inside the block.

    Args:
        chance: where the proxies' jitter comes from; None = a source of their own.
    """
    async with open_background() as nursery:
        yield ProxiedLinks(nursery, chance or Random())
