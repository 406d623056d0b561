"""The seam over the simulated network: a `transport.Dialer`, with TCPDialer's errors and its TLS.

Must not know NATS operations.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from ...transport import Environment, NameResolutionError, ServerAddress, ServerUnreachableError, TCPDialer
from ._stream import SimulatedStream


class SimulatedDialer:
    """How a client on one host reaches servers; `Network.dialer` makes it.

    Args:
        connect: to a host and port.
        environment: wall clock and chance of the client.
        ssl_context: for TLS; None = the platform's trusted certificates.
    """

    def __init__(
        self,
        connect: Callable[[str, int], Awaitable[SimulatedStream]],
        environment: Environment,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._connect = connect
        # TLS is in band and the same over any stream.
        self._tls = TCPDialer(ssl_context=ssl_context, environment=environment)

    @property
    def environment(self) -> Environment:
        """Wall clock and chance that go with this network."""
        return self._tls.environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial; leaving the context closes the stream at once.

        Raises:
            NameResolutionError: the host name has no address in this network.
            ServerUnreachableError: refused, or nothing came back for 127 s.
        """
        stream = await self._dial(address)
        try:
            yield stream
        finally:
            stream.close()

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade a stream that `open` gave, with real TLS in band.

        Raises:
            TLSError: the handshake failed. The stream is of no use any more.
        """
        return await self._tls.start_tls(stream, host)

    async def _dial(self, address: ServerAddress) -> SimulatedStream:
        try:
            return await self._connect(address.host, address.port)
        except socket.gaierror as exc:
            raise NameResolutionError(
                f"cannot resolve {address.host!r} of {address}: {exc.strerror}; check the host name and DNS",
                address=str(address),
            ) from exc
        except OSError as exc:
            raise ServerUnreachableError(
                f"cannot connect to {address}: {exc}; is a nats-server listening there?", address=str(address)
            ) from exc
