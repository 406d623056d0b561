"""The servers a client knows, the book of each, and the order of trying them. Pure decisions.

Explicit servers are the user's and stay. Implicit ones were discovered, and stay as long as the cluster tells of them.
The order is drawn once (or kept as given); after that, whoever failed or was lost goes to the end, and whoever
announced its shutdown behind all others.

Must not dial.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import cast

import attrs

from ..protocol import AuthorizationError, Secret, frozen
from ..transport import AddressError, ServerAddress, parse_address


@frozen(kw_only=True)
class PoolServer:
    """A server of the pool at one moment, as `choose_server` is given it. No credentials are in it.

    Attributes:
        url: scheme, host and port.
        explicit: whether the user gave it; otherwise the cluster told of it.
        current: whether the client is, or was last, connected to it.
        attempts: to reach it since it was last reached.
        failures: one after another: attempts that failed and links that were lost before their time.
        last_attempt_at: in trio's time (seconds); None = never tried.
        last_error: the last one in words; empty once it was reached again.
        last_auth_error: the last refusal of the credentials in words, likewise.
        lame_duck: whether it announced its shutdown.
    """

    url: str
    explicit: bool
    current: bool
    attempts: int
    failures: int
    last_attempt_at: float | None
    last_error: str
    last_auth_error: str
    lame_duck: bool


@attrs.define(eq=False)
class KnownServer:
    """One server and its book; see PoolServer."""

    address: ServerAddress
    explicit: bool = True
    attempts: int = 0
    failures: int = 0
    last_attempt_at: float | None = None
    last_error: str = ""
    last_auth_error: str = ""
    refusals: int = 0
    given_up: bool = False
    server_id: str = ""
    lame_duck: bool = False


class ServerPool:
    """All servers of one client.

    Args:
        urls: the explicit ones.
        rng: draws the order; None = it is kept as given.

    Attributes:
        current: the one that the client is, or was last, connected to.

    Raises:
        AddressError: a URL cannot be used.
    """

    def __init__(self, urls: Sequence[str | Secret], rng: random.Random | None = None) -> None:
        self._rng = rng
        self._servers: list[KnownServer] = []
        self._servers = self._parse(urls)
        self.current: KnownServer | None = None

    def __len__(self) -> int:
        return len(self._servers)

    def __contains__(self, server: KnownServer) -> bool:
        return server in self._servers

    def replace(self, urls: Sequence[str | Secret]) -> None:
        """These and no others from now on; the book of whoever stays is kept.

        Raises:
            AddressError: a URL cannot be used. Nothing has changed.
        """
        books = {server.address: server for server in self._servers}
        self._servers = [books.get(server.address, server) for server in self._parse(urls)]
        for server in self._servers:
            server.explicit = True
        self.forgive()

    def discover(self, addresses: Iterable[ServerAddress]) -> list[ServerAddress]:
        """The cluster tells of these: others that it once told of go, except the current one. None tells nothing.

        Returns:
            those that are new.
        """
        told = {(address.host, address.port): address for address in addresses}
        if not told:
            return []
        self._servers = [
            server
            for server in self._servers
            if server.explicit or server is self.current or _place(server.address) in told
        ]
        known = {_place(server.address) for server in self._servers}
        new = [address for place, address in told.items() if place not in known]
        for address in new:
            at = len(self._servers) if self._rng is None else self._rng.randint(0, len(self._servers))
            self._servers.insert(at, KnownServer(address, explicit=False))
        return new

    def one_pass(self) -> list[KnownServer]:
        """Every server once, in the order to try them; not those that were given up."""
        return sorted((one for one in self._servers if not one.given_up), key=lambda server: server.lame_duck)

    def give_up(self, server: KnownServer) -> None:
        """It refused the same credentials again, in the same words: it is tried no more."""
        server.given_up = True

    def forgive(self) -> None:
        """Try those again that were given up."""
        for server in self._servers:
            server.given_up, server.refusals = False, 0

    def find(self, url: object) -> KnownServer | None:
        """The server of a URL, as PoolServer has it or as the user gave it. Raises nothing."""
        try:
            wanted = str(parse_address(cast("str", url)))
        except (AddressError, TypeError):
            return None
        return next((server for server in self._servers if str(server.address) == wanted), None)

    def snapshot(self) -> tuple[PoolServer, ...]:
        """A copy of everything, in the order of the next pass."""
        return tuple(
            PoolServer(
                url=str(server.address),
                explicit=server.explicit,
                current=server is self.current,
                attempts=server.attempts,
                failures=server.failures,
                last_attempt_at=server.last_attempt_at,
                last_error=server.last_error,
                last_auth_error=server.last_auth_error,
                lame_duck=server.lame_duck,
            )
            for server in self.one_pass()
        )

    def attempted(self, server: KnownServer, now: float) -> None:
        """An attempt on it begins."""
        server.attempts += 1
        server.last_attempt_at = now

    def succeeded(self, server: KnownServer, server_id: str = "") -> None:
        """A link to it was established."""
        self.current = server
        server.attempts = server.failures = 0
        server.last_error = server.last_auth_error = ""
        server.refusals = 0
        server.server_id = server_id
        server.lame_duck = False

    def failed(self, server: KnownServer, error: object) -> None:
        """An attempt on it failed, or its link was lost: it is tried last from now on."""
        server.failures += 1
        server.last_error = str(error)
        if isinstance(error, AuthorizationError):
            server.refusals = server.refusals + 1 if server.last_auth_error == str(error) else 1
            server.last_auth_error = str(error)
        self.left(server)

    def left(self, server: KnownServer) -> None:
        """Its link was given up on purpose: it is tried last from now on, and nothing is held against it."""
        if server in self._servers:
            self._servers.remove(server)
            self._servers.append(server)

    def shuts_down(self, server_id: str) -> None:
        """The current server announced its shutdown: it is tried behind all others, under all its addresses."""
        for server in self._servers:
            if server is self.current or (server_id and server.server_id == server_id):
                server.lame_duck = True

    def _parse(self, urls: Sequence[str | Secret]) -> list[KnownServer]:
        unique: dict[str, ServerAddress] = {}
        for address in map(parse_address, urls):
            if unique.setdefault(str(address), address) != address:
                raise AddressError(f"{address} is given twice with different credentials; give it once")
        kinds = {server.address.is_websocket for server in self._servers} | {
            address.is_websocket for address in unique.values()
        }
        if len(kinds) > 1:
            raise AddressError("some servers are WebSocket (ws://, wss://) and some are not; a client uses one kind")
        servers = [KnownServer(address) for address in unique.values()]
        if self._rng is not None:
            self._rng.shuffle(servers)
        return servers


def _place(address: ServerAddress) -> tuple[str, int]:
    return address.host, address.port
