"""The seam: a server's address -> a byte stream. Everything above it is the same over a simulated network.

`open` gives the stream under an async context manager (which may own a nursery, as WebSocket needs) and closes it at
the end, at once and whatever happens. `start_tls` upgrades it in band, since NATS does so after INFO.

Must not know NATS operations.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from ._address import ServerAddress
from ._environment import Environment
from ._errors import NameResolutionError, ServerUnreachableError, TLSError


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
    """TCP by happy eyeballs (all addresses of a name), TLS by an `ssl.SSLContext`.

    Args:
        ssl_context: for the upgrade; None = the platform's trusted certificates, host name checked.
        environment: wall clock and chance; None = the real ones.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, environment: Environment | None = None) -> None:
        self._ssl_context = ssl_context
        self._environment = environment if environment is not None else Environment()

    @property
    def environment(self) -> Environment:
        """Wall clock and chance that go with this network."""
        return self._environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial; see `Dialer.open`."""
        stream = await _dial(address)
        try:
            yield stream
        finally:
            stream.socket.close()  # trio's own close would be a checkpoint, and there is nothing to wait for

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade; see `Dialer.start_tls`."""
        context = self._ssl_context if self._ssl_context is not None else ssl.create_default_context()
        secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as exc:
            reason = exc.__cause__ if exc.__cause__ is not None else exc
            raise TLSError(
                f"TLS handshake with {host} failed: {reason}; check the certificate, its host name and the CA given "
                "as tls=ssl.SSLContext",
                address=host,
            ) from exc
        return secured


async def _dial(address: ServerAddress) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(address.host, address.port)
    except (socket.gaierror, UnicodeError) as exc:  # UnicodeError: not even a host name
        reason = exc.strerror if isinstance(exc, socket.gaierror) else exc
        raise NameResolutionError(
            f"cannot resolve {address.host!r} of {address}: {reason}; check the host name and DNS",
            address=str(address),
        ) from exc
    except OSError as exc:
        cause = exc.__cause__
        reasons = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause or exc,)
        raise ServerUnreachableError(
            f"cannot connect to {address}: {'; '.join(dict.fromkeys(str(reason) for reason in reasons))}; "
            "is a nats-server listening there?",
            address=str(address),
        ) from exc
