"""How the servers of a cluster reach each other: which address one dials for another, and what may break there.

A strategy is asked before the servers start, since their configuration holds the addresses. Here is the plainest,
the loopback interface, on which nothing can break; the others are `_proxied_links` and `_namespaces`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ._ports import choose_port


class Links(Protocol):
    """The ways between servers, which are known by their names."""

    async def prepare(self, names: Sequence[str]) -> None:
        """Make what these servers need; it comes before every other question about them."""
        ...

    def host(self, name: str) -> str:
        """The address on which this server listens."""
        ...

    def port(self, name: str) -> int:
        """A port of this server's that is free."""
        ...

    def namespace(self, name: str) -> str | None:
        """The network namespace in which this server runs; None = the one of this process."""
        ...

    async def address(self, source: str, target: str, port: int) -> str:
        """The `host:port` at which `source` reaches the port `port` of `target`."""
        ...

    def advertised(self, name: str) -> str | None:
        """What this server tells others of its address for routes and gateways; None = the truth."""
        ...


class BreakableLinks(Links, Protocol):
    """Links that can be cut, and healed."""

    async def cut(self, these: Iterable[str], those: Iterable[str], *, one_way: bool = False) -> None:
        """Let nothing pass between these servers and those, or only not from these to those.

        Connections stand and are silent, as in a partition; what is held or sent again comes when it is healed.
        Cancelled, it may have cut a part; `heal` mends it in any case.
        """
        ...

    async def heal(self) -> None:
        """Undo every cut. Cancelled, it may have undone a part; call it again."""
        ...


class DirectLinks:
    """Everything on the loopback interface."""

    async def prepare(self, names: Sequence[str]) -> None:
        """Nothing is needed."""

    def host(self, name: str) -> str:
        """127.0.0.1."""
        return "127.0.0.1"

    def port(self, name: str) -> int:
        """One outside the range of outgoing connections."""
        return choose_port("127.0.0.1")

    def namespace(self, name: str) -> str | None:
        """This process's own."""
        return None

    async def address(self, source: str, target: str, port: int) -> str:
        """The port itself."""
        return f"127.0.0.1:{port}"

    def advertised(self, name: str) -> str | None:
        """The truth."""
        return None
