"""What a fault can be brought upon, real or simulated: servers in regions, by their names, and the ways between them.

Must not know loads or what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from beamline_trio.transport import Dialer


class Stage(Protocol):
    """Servers with JetStream, and what can be done to them."""

    @property
    def regions(self) -> Mapping[str, Sequence[str]]:
        """The names of the servers, by region."""
        ...

    def url(self, name: str) -> str:
        """Where clients connect to this server."""
        ...

    def dialer(self, client: int) -> Dialer | None:
        """How the client of this number reaches servers; None = as it does by itself."""
        ...

    async def leader(self, stream: str) -> str | None:
        """Who leads the stream's group; None while nobody does."""
        ...

    async def healthy(self) -> bool:
        """Whether all servers run and are well."""
        ...

    async def start(self, name: str) -> None:
        """Start a server that is down, or goes down."""
        ...

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        ...

    async def stop(self, name: str) -> None:
        """SIGTERM; returns when it is down."""
        ...

    async def pause(self, name: str) -> None:
        """SIGSTOP."""
        ...

    async def resume(self, name: str) -> None:
        """SIGCONT."""
        ...

    async def lame_duck(self, name: str) -> None:
        """SIGUSR2."""
        ...

    async def link_down(self, name: str) -> None:
        """Nothing comes from the server or to it, clients' traffic included."""
        ...

    async def cut(self, these: Iterable[str], those: Iterable[str]) -> None:
        """Nothing passes between these servers and those."""
        ...

    async def heal(self) -> None:
        """Undo every cut, and every link that is down."""
        ...
