"""The handshake of a link: INFO, TLS if either side wants it, CONNECT and PING in one write, PONG.

Until it is done nothing that comes is for a subscription, and whatever came in plain text before TLS is a stranger's.
The outcome is one record, `Established`, of which a `Link` is made.

Must not touch the state of the connection.
"""

from __future__ import annotations

import ssl
from typing import Final

import trio

from .._version import __version__
from ..protocol import (
    PING,
    AuthorizationError,
    ConnectOptions,
    Parser,
    ProtocolError,
    ServerError,
    ServerInfo,
    encode_connect,
    frozen,
    server_error,
)
from ..transport import ServerAddress, TLSError
from ._connection import Connection
from ._discovery import Origin
from ._errors import HandshakeError, NotNatsServerError
from ._sources import ask_credentials

RECEIVE_BYTES: Final = 65_536


@frozen
class Established:
    """What a handshake gives.

    Attributes:
        stream: the stream, with TLS where it was wanted.
        parser: has parsed all that came so far.
        info: the last INFO.
        owes_pong: the server sent a PING meanwhile.
        origin: where it leads, and what servers inherit that are told of there.
    """

    stream: trio.abc.Stream
    parser: Parser
    info: ServerInfo
    owes_pong: bool
    origin: Origin


class Handshake:
    """One handshake; it is the parser's receiver until it is done.

    Args:
        connection: whose options, credentials and counters are used.
        stream: open, nothing read yet.
        address: where it leads.
    """

    def __init__(self, connection: Connection, stream: trio.abc.Stream, address: ServerAddress) -> None:
        self._connection = connection
        self._stream = stream
        self._address = address
        self._parser = Parser({}, self, payload_bytes_max=connection.options.message_bytes_max)
        self._info: ServerInfo | None = None
        self._pong = False
        self._pinged = False
        self._secure = address.scheme == "wss"
        self._greeted = False
        self._error: ServerError | None = None

    async def run(self) -> Established:
        """Shake hands.

        Raises:
            NotNatsServerError: what came first was not INFO.
            TLSError: the handshake failed, or the server has no TLS and the user asked for it.
            AuthorizationError: the credentials were refused.
            CredentialsError: there are none to be had.
            HandshakeError: the server hung up or answered with another error.
        """
        try:
            if self._connection.options.tls_first and not self._secure:
                await self._start_tls()
            info = await self._receive_info()
            if not self._secure and self._wants_tls(info):
                await self._start_tls()
                self._forget_plaintext()
            broken = await self._send_hello(await self._connect_options(info))
            if broken is not None:
                raise self._broken_off(broken)
            await self._receive_pong()
            if self._info is None:
                await self._receive_info_inside_tls()
            if self._secure and self._info is not None and self._info.headers and not info.headers:
                raise TLSError(
                    f"{self._address} says inside TLS that it knows headers, and said otherwise before; somebody "
                    "changes what it says in plain text",
                    address=str(self._address),
                )
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken_off(_reason(exc)) from exc
        last = self._info if self._info is not None else ServerInfo(headers=info.headers)
        return Established(self._stream, self._parser, last, self._pinged, self._origin())

    def _forget_plaintext(self) -> None:
        """What a stranger put behind the plaintext INFO goes, and whatever it made us believe.

        All that is used of that INFO is what the server says nowhere else before CONNECT: its nonce, whose signature
        leaves inside TLS only, and whether it knows headers, which is compared with what it says inside TLS.
        """
        self._parser.take_rest()
        self._pong = False
        self._pinged = False
        self._error = None
        self._info = None

    async def _receive_pong(self) -> None:
        while not self._pong:
            await self._receive()
            if self._error is not None:
                raise self._refusal(self._error)

    async def _receive_info_inside_tls(self) -> None:
        """nats-server puts an INFO behind its first PONG; behind a second PONG there is none to wait for."""
        self._pong = False
        await self._stream.send_all(PING)
        self._connection.counters.bytes_out += len(PING)
        await self._receive_pong()

    def _origin(self) -> Origin:
        """What servers inherit that are told of on this link.

        A context that does not check whom it speaks with proves nothing. A stream that does not show its context has
        the user's, or is of a dialer that has promised to check.
        """
        given = self._connection.options.tls
        context = getattr(self._stream, "context", given if isinstance(given, ssl.SSLContext) else None)
        checked = context is None or (context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname)
        vouched = (self._secure and checked) or self._connection.options.trust_discovered
        return Origin(self._address, self._secure, vouched)

    async def _start_tls(self) -> None:
        try:
            self._stream = await self._connection.dialer.start_tls(
                self._stream, self._address.tls_name or self._address.host
            )
        except TLSError as exc:  # the seam knows the host only
            raise TLSError(f"{self._address}: {exc}", address=str(self._address)) from exc.__cause__
        self._secure = True

    def _broken_off(self, cause: BaseException) -> Exception:
        address = str(self._address)
        if isinstance(cause, ssl.SSLError):
            return TLSError(
                f"{address} refused TLS: {cause}; it may want a client certificate: load one into the ssl.SSLContext "
                "given as tls, or give TLSFiles",
                address=address,
            )
        return HandshakeError(
            f"{address} broke the connection off ({cause}); look into the server's log", address=address
        )

    async def _receive_info(self) -> ServerInfo:
        while self._info is None:
            try:
                await self._receive()
            except ProtocolError as exc:
                raise NotNatsServerError(
                    f"{self._address} is not a NATS server: {exc}; check host and port",
                    address=str(self._address),
                ) from exc
            if self._error is not None:
                raise self._refusal(self._error)
        return self._info

    async def _receive(self) -> None:
        data = await self._stream.receive_some(RECEIVE_BYTES)
        if not data:
            if self._error is not None:
                raise self._refusal(self._error)
            before = "CONNECT was answered" if self._greeted else "it sent INFO; it may want TLS first (tls_first)"
            raise HandshakeError(f"{self._address} closed the connection before {before}", address=str(self._address))
        self._connection.counters.bytes_in += len(data)
        self._parser.feed(bytes(data))

    def _wants_tls(self, info: ServerInfo) -> bool:
        asked = self._address.wants_tls or bool(self._connection.options.tls)
        if self._address.is_websocket:  # what the server wants of others is nothing to us: there is no TLS in band
            if asked and not self._secure:
                raise TLSError(
                    f"TLS was asked for, and {self._address} has none; use wss://", address=str(self._address)
                )
            return False
        if asked and not (info.tls_required or info.tls_available):
            raise TLSError(
                f"TLS was asked for, but {self._address} has none; use nats:// and no tls option, or enable TLS there",
                address=str(self._address),
            )
        return asked or info.tls_required

    async def _connect_options(self, info: ServerInfo) -> ConnectOptions:
        options = self._connection.options
        return ConnectOptions(
            name=options.name,
            version=__version__,
            verbose=options.verbose,
            pedantic=options.pedantic,
            echo=options.echo,
            headers=info.headers,
            no_responders=info.headers,
            tls_required=self._secure,
            credentials=self._address.credentials or await ask_credentials(options, str(self._address), info.nonce),
        )

    async def _send_hello(self, options: ConnectOptions) -> BaseException | None:
        """CONNECT and PING in one write; returns why it could not be sent.

        It does not raise it: in the frames below, which a traceback with locals would show, the secrets stand in plain.
        """
        hello = encode_connect(options) + PING
        try:
            await self._stream.send_all(hello)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            return _reason(exc).with_traceback(None)
        self._connection.counters.bytes_out += len(hello)
        return None

    def _refusal(self, error: ServerError) -> Exception:
        if isinstance(error, AuthorizationError):
            return AuthorizationError(error.text, address=str(self._address))
        refused = HandshakeError(f"{self._address} refused the connection: {error.text}", address=str(self._address))
        refused.__cause__ = error
        return refused

    # What the parser tells

    def on_info(self, info: ServerInfo) -> None:
        """INFO: the first, or one behind the PONG."""
        self._greeted = True
        self._info = info

    def on_error(self, text: str) -> None:
        """`-ERR`: the refusal."""
        self._error = server_error(text)

    def on_ping(self) -> None:
        """PING: the link answers it."""
        self._pinged = True

    def on_pong(self) -> None:
        """PONG: done."""
        self._pong = True

    def on_malformed(self, sid: bytes, subject: bytes, reason: str) -> None:
        """A message, before anything was subscribed to: nobody's."""

    def on_unroutable(self, sid: bytes, count: int) -> None:
        """Messages for nobody."""
        self._connection.incidents.unroutable(count)


def _reason(error: BaseException) -> BaseException:
    """What is behind an error of a stream."""
    return error.__cause__ if error.__cause__ is not None else error
