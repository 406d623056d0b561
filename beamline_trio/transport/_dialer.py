"""The seam: a server's address -> a byte stream. Everything above it is the same over a simulated network.

`open` gives the stream under an async context manager (which may own a nursery, as WebSocket needs) and closes it at
the end, at once and whatever happens. `start_tls` upgrades it in band, since NATS does so after INFO.

Must not know NATS operations.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from ._address import ServerAddress
from ._environment import Environment
from ._tcp import connect_tcp
from ._tls import TLSFiles, upgrade


class Dialer(Protocol):
    """How servers are reached. A dialer serves any number of links, one after another or at once."""

    @property
    def environment(self) -> Environment:
        """Wall clock and chance that go with this network."""
        ...

    def open(self, address: ServerAddress) -> AbstractAsyncContextManager[trio.abc.Stream]:
        """Dial. Leaving the context closes the stream at once, without a TLS farewell.

        Raises:
            ConnectError: nothing could be reached; the subclass says why.
        """
        ...

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade a stream that `open` gave; host is the name the certificate must have.

        Raises:
            TLSError: the handshake failed. The stream is of no use any more.
        """
        ...


class TCPDialer:
    """TCP over all addresses of a name, resolved anew for each dial; TLS by an `ssl.SSLContext`.

    Args:
        ssl_context: for the upgrade, a context or the files to make one of; None = the platform's trusted certificates,
            host name checked.
        environment: wall clock and chance; None = the real ones.
        keep_address_order: a name's addresses are tried in the order in which DNS gives them; otherwise in one drawn
            by chance.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | TLSFiles | None = None,
        environment: Environment | None = None,
        keep_address_order: bool = False,
    ) -> None:
        self._ssl_context = ssl_context
        self._environment = environment if environment is not None else Environment()
        self._keep_address_order = keep_address_order

    @property
    def environment(self) -> Environment:
        """Wall clock and chance that go with this network."""
        return self._environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial; see `Dialer.open`."""
        rng = None if self._keep_address_order else self._environment.random
        stream = await connect_tcp(address, rng)
        try:
            yield stream
        finally:
            stream.socket.close()  # trio's own close would be a checkpoint, and there is nothing to wait for

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade; see `Dialer.start_tls`."""
        return await upgrade(stream, host, self._ssl_context)
