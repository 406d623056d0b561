"""Servers reached through anyio: whatever gives an `anyio.abc.ByteStream` (a tunnel, a proxy, a Unix socket).

Must not import anyio before it is used.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from ._address import ServerAddress
from ._dialer import Dialer
from ._environment import Environment
from ._errors import ServerUnreachableError
from ._tls import TLSFiles, upgrade

if TYPE_CHECKING:
    from anyio.abc import ByteStream

Connect: TypeAlias = "Callable[[str, int], Awaitable[ByteStream]]"


def from_anyio(
    connect: Connect, *, tls: ssl.SSLContext | TLSFiles | None = None, environment: Environment | None = None
) -> Dialer:
    """A dialer over anyio: `open_client(url, dialer=from_anyio(anyio.connect_tcp))`.

    Args:
        connect: `async def connect(host, port) -> anyio.abc.ByteStream`; an OSError of it means that the server cannot
            be reached.
        tls: as TCPDialer's ssl_context.
        environment: wall clock and chance; None = the real ones.
    """
    return _AnyioDialer(connect, tls, environment if environment is not None else Environment())


class _AnyioDialer:
    def __init__(self, connect: Connect, tls: ssl.SSLContext | TLSFiles | None, environment: Environment) -> None:
        self._connect = connect
        self._tls = tls
        self._environment = environment

    @property
    def environment(self) -> Environment:
        return self._environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        try:
            stream = await self._connect(address.host, address.port)
        except OSError as error:
            raise ServerUnreachableError(f"cannot connect to {address}: {error}", address=str(address)) from error
        adapted = AnyioStream(stream)
        try:
            yield adapted
        finally:
            with trio.CancelScope(shield=True):  # it is closed at once: its own close is cancelled
                await adapted.aclose()

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await upgrade(stream, host, self._tls)


class AnyioStream(trio.abc.Stream):
    """An anyio byte stream as one of trio's."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the stream."""
        return self._stream.extra_attributes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""
        import anyio

        try:
            await self._stream.send(bytes(data))
        except anyio.BrokenResourceError as exc:
            raise trio.BrokenResourceError(str(exc.__cause__ or exc)) from exc.__cause__
        except anyio.ClosedResourceError:
            raise trio.ClosedResourceError from None
        except anyio.BusyResourceError as exc:
            raise trio.BusyResourceError(str(exc)) from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing: anyio has no such question."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes; empty at the end."""
        import anyio

        try:
            return await self._stream.receive(65_536 if max_bytes is None else max_bytes)
        except anyio.EndOfStream:
            return b""
        except anyio.BrokenResourceError as exc:
            raise trio.BrokenResourceError(str(exc.__cause__ or exc)) from exc.__cause__
        except anyio.ClosedResourceError:
            raise trio.ClosedResourceError from None
        except anyio.BusyResourceError as exc:
            raise trio.BusyResourceError(str(exc)) from None

    async def aclose(self) -> None:
        """Close at once."""
        import anyio

        await anyio.aclose_forcefully(self._stream)
