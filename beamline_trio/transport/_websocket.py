"""NATS over WebSocket: a dialer on top of another one, by trio-websocket.

For wss, TLS comes before the HTTP upgrade; NATS's own upgrade in band does not take place. The frames of the server are
an arbitrary chunking of the byte stream, so messages are handed on as chunks. What a peer can make us hold is bounded:
the answer to the upgrade, and one message being read beside one waiting. The library's reader waits for nothing but the
client's, which never stops.

Must not know NATS operations.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ..protocol import InvalidHeaderError, Secret, hidden
from ._address import ServerAddress
from ._dialer import Dialer, TCPDialer
from ._environment import Environment
from ._errors import AddressError, TLSError, WebSocketError

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

MESSAGE_BYTES_MAX: Final = 67_108_864
_ANSWER_BYTES_MAX: Final = 65_536
_RECEIVE_BYTES: Final = 65_536
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CLEAN_CODES: Final = (1000, 1001, 1005)

WebSocketHeaders: TypeAlias = Mapping[str, str | Secret]
HeadersCallback: TypeAlias = Callable[[], WebSocketHeaders | Awaitable[WebSocketHeaders]]


def checked_headers(headers: WebSocketHeaders) -> dict[str, Secret]:
    """Headers of an HTTP request, their values hidden.

    Raises:
        InvalidHeaderError: a name is no token, or a value has a line end or another control character.
    """
    found = {name: hidden(value) for name, value in headers.items()}
    for name, value in found.items():
        if not isinstance(name, str) or not name or not _TOKEN.issuperset(name):
            raise InvalidHeaderError(f"WebSocket header {name!r} is no name of an HTTP header; nothing was sent")
        if not _is_header_value(value):
            raise InvalidHeaderError(
                f"the value of the WebSocket header {name!r} has characters that HTTP does not take; nothing was sent"
            )
    return found


def _is_header_value(value: Secret) -> bool:
    text = value.reveal()
    return isinstance(text, str) and all(" " <= letter <= "~" for letter in text)


class WebSocketDialer:
    """WebSocket (ws:// and wss://) over what another dialer gives.

    Args:
        inner: gives the connection, and TLS for wss; None = a TCPDialer.
        headers: of the upgrade request, for a proxy on the way as much as for the server, or a callback that gives
            them, which may be async and is asked anew for each dial; values are never shown.
        message_bytes_max: the largest WebSocket message that is taken. nats-server may put all that waits for a client
            into one.
    """

    def __init__(
        self,
        inner: Dialer | None = None,
        *,
        headers: WebSocketHeaders | HeadersCallback | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        self._inner: Dialer = inner if inner is not None else TCPDialer()
        self._headers = headers if callable(headers) else checked_headers(headers or {})
        self._message_bytes_max = message_bytes_max

    @property
    def environment(self) -> Environment:
        """Wall clock and chance of the dialer below."""
        return self._inner.environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial, TLS for wss, and the HTTP upgrade; see `Dialer.open`."""
        if not address.is_websocket:
            raise AddressError(
                f"{address} is no WebSocket address, and this dialer does nothing else; use ws:// or wss://"
            )
        headers = await self._ask_headers(address)
        failure: BaseException | None = None
        async with self._inner.open(address) as plain:
            stream = await self._start_inner_tls(plain, address) if address.scheme == "wss" else plain
            try:
                async with trio.open_nursery() as nursery:
                    yield await self._upgrade(nursery, stream, address, headers)
                    nursery.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                failure = _bare(group)
        if failure is not None:  # not inside the except: it keeps its own cause and context
            raise failure

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Raise TLSError: WebSocket has TLS before it begins, or never."""
        raise TLSError("WebSocket has no TLS in band; use wss://", address=host)

    async def _start_inner_tls(self, stream: trio.abc.Stream, address: ServerAddress) -> trio.abc.Stream:
        try:
            return await self._inner.start_tls(stream, address.tls_name or address.host)
        except TLSError as exc:  # the seam knows the host only
            raise TLSError(f"{address}: {exc}", address=str(address)) from exc.__cause__

    async def _ask_headers(self, address: ServerAddress) -> dict[str, Secret]:
        if not callable(self._headers):
            return self._headers
        try:
            headers = self._headers()
            given = await headers if inspect.isawaitable(headers) else headers
        except Exception as error:
            raise WebSocketError(
                f"no headers for {address}: the callback raised {type(error).__name__}; its traceback is the cause of "
                "this error",
                address=str(address),
            ) from error
        if not isinstance(given, Mapping):
            raise WebSocketError(
                f"no headers for {address}: the callback gave a {type(given).__name__}; it must give a mapping of str "
                "to str",
                address=str(address),
            )
        return checked_headers(given)

    async def _upgrade(
        self, nursery: trio.Nursery, stream: trio.abc.Stream, address: ServerAddress, headers: dict[str, Secret]
    ) -> WebSocketStream:
        """The HTTP upgrade."""
        from trio_websocket import wrap_client_stream

        opening = _Opening(nursery, stream)
        connection: WebSocketConnection | None = None
        with opening.scope:
            connection = await wrap_client_stream(
                opening,  # type: ignore[arg-type]  # it starts one task
                opening.stream,  # type: ignore[arg-type]  # it asks for a socket's stream and uses any
                address.authority,
                address.resource.reveal() or "/",
                extra_headers=[(name.encode(), value.reveal().encode()) for name, value in headers.items()],
                message_queue_size=1,
                max_message_size=self._message_bytes_max,
                receive_buffer_size=_RECEIVE_BYTES,
            )
        if connection is None:
            raise WebSocketError(f"{address} {opening.failure}; check host, port and path", address=str(address))
        opening.stream.opened = True
        return WebSocketStream(connection, stream, self._message_bytes_max)


class _Opening:
    """The nursery that the library starts its reader in: what ends the reader ends the wait for the upgrade too.

    The library itself would wait for ever. Whatever a hostile answer makes its reader raise stays here; whoever
    receives then finds the connection closed.
    """

    def __init__(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
        self._nursery = nursery
        self.stream = _Answer(stream)
        self.scope = trio.CancelScope()
        self.failure = ""

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._read, reader)

    async def _read(self, reader: Callable[[], Awaitable[None]]) -> None:
        from trio_websocket import ConnectionRejected

        try:
            await reader()
            self.failure = self.stream.failure or "answered the WebSocket upgrade with something else"
        except ConnectionRejected as rejected:
            self.failure = f"refused the WebSocket upgrade with HTTP status {rejected.status_code}"
        except Exception:  # noqa: BLE001  # whatever a hostile answer finds in the parsers below
            self.failure = "answered the WebSocket upgrade with something that is no HTTP"
        self.scope.cancel()


class _Answer(trio.abc.Stream):
    """The stream below, with a bound for the answer to the upgrade; says how it ended."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = 0
        self.opened = False
        self.failure = ""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.failure = f"broke the connection off ({exc.__cause__ or exc})"
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.failure = f"broke the connection off ({exc.__cause__ or exc})"
            raise
        if not data:
            self.failure = "closed the connection instead of answering the WebSocket upgrade"
        if not self.opened:
            self._received += len(data)
            if self._received > _ANSWER_BYTES_MAX:
                self.failure = f"answered the WebSocket upgrade with more than {_ANSWER_BYTES_MAX} bytes"
                raise trio.BrokenResourceError(self.failure)
        return data

    async def aclose(self) -> None:
        """Nothing: the library closes what is no HTTP, and the stream belongs to the dialer below."""
        await trio.lowlevel.checkpoint()


class WebSocketStream(trio.abc.Stream):
    """The byte stream inside WebSocket messages.

    Args:
        connection: whose handshake is done.
        transport: what it runs over.
        message_bytes_max: its bound, for the error's text.
    """

    def __init__(self, connection: WebSocketConnection, transport: trio.abc.Stream, message_bytes_max: int) -> None:
        self._connection = connection
        self._message_bytes_max = message_bytes_max
        self._rest = b""
        self.transport_stream = transport

    @property
    def context(self) -> object:
        """The ssl.SSLContext below, or None."""
        return getattr(self.transport_stream, "context", None)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message."""
        from trio_websocket import ConnectionClosed

        if not data:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._connection.send_message(bytes(data))
        except ConnectionClosed as closed:
            raise trio.BrokenResourceError(_reason(closed)) from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing: the library has no such question."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes of the next message; empty when the peer closed in order."""
        from trio_websocket import ConnectionClosed

        if self._rest:
            await trio.lowlevel.checkpoint()
        while not self._rest:
            try:
                message = await self._connection.get_message()
            except ConnectionClosed as closed:
                if closed.reason is not None and closed.reason.code in _CLEAN_CODES:
                    return b""
                raise trio.BrokenResourceError(_reason(closed)) from None
            if isinstance(message, str):
                raise trio.BrokenResourceError("the server sent a WebSocket text message; NATS uses binary ones")
            self._rest = message
        data = self._rest if max_bytes is None else self._rest[:max_bytes]
        self._rest = self._rest[len(data) :]
        return data

    async def aclose(self) -> None:
        """Close the stream below, without a WebSocket farewell."""
        await trio.aclose_forcefully(self.transport_stream)


def _reason(closed: BaseException) -> str:
    reason = getattr(closed, "reason", None)
    if reason is None:
        return "the WebSocket was closed"
    if reason.code == 1006:  # nothing was said: the connection below ended
        return "the connection below the WebSocket ended"
    words = f": {reason.reason}" if reason.reason else ""
    return f"the WebSocket was closed with code {reason.code} ({reason.name}){words}"


def _bare(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the body raised, without the group of the nursery, whose one task raises nothing."""
    _, other = group.split(trio.Cancelled)
    leaf: BaseException = other if other is not None else group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
