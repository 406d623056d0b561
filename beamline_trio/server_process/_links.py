"""How the servers of a cluster reach each other: which address one dials for another, and what may break there.

A strategy is asked before the servers start, since their configuration holds the addresses. Here is the plainest,
the loopback interface, on which nothing can break; the others are `_proxied_links` and `_namespaces`.
"""

from __future__ import annotations

from typing import Protocol

from ._ports import choose_port


class Links(Protocol):
    """The ways between servers, which are known by their names."""

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


class DirectLinks:
    """Everything on the loopback interface."""

    def host(self, name: str) -> str:
        return "127.0.0.1"

    def port(self, name: str) -> int:
        return choose_port("127.0.0.1")

    def namespace(self, name: str) -> str | None:
        return None

    async def address(self, source: str, target: str, port: int) -> str:
        return f"127.0.0.1:{port}"

    def advertised(self, name: str) -> str | None:
        return None
