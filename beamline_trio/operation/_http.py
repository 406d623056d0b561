"""One HTTP request over one stream, and the answer to it. h11 knows HTTP; here are the limits.

A connection carries one request and is closed, so one deadline bounds all that a slow or hostile peer can hold. Bodies
are never read: the head says whether they are wanted, and they are not.

Must not know what is served, and must not raise for anything that a peer does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from ..protocol import MissingExtraError

if TYPE_CHECKING:
    import h11

log = logging.getLogger("beamline_trio.operation")

_RECEIVE_BYTES: Final = 4_096


@attrs.frozen
class Response:
    """What to answer.

    Attributes:
        status: the code.
        body: its bytes.
        content_type: what they are.
        allow: the methods that would do, for 405.
    """

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    allow: str | None = None


# Method and path (without its query) -> the answer. Synchronous: what it reads is in memory.
Application: TypeAlias = Callable[[str, str], Response]


def _at_least(least: float) -> Callable[[Any, Any, Any], None]:
    def check(_: object, field: attrs.Attribute[float], value: float) -> None:
        if not value >= least:
            raise ValueError(f"{field.name} is {value!r}; it must be at least {least:g}")

    return check


@attrs.frozen(kw_only=True)
class HTTPLimits:
    """What a peer may take.

    Attributes:
        connections_max: connections at once; beyond that the oldest is closed, since every honest one is brief.
        request_bytes_max: of a request's head.
        connection_deadline_seconds: from the accept to the close.
        linger_seconds: for a peer that is still sending to read the answer; within the deadline.
        linger_bytes_max: how much of what it is still sending is read and thrown away meanwhile.
    """

    connections_max: int = attrs.field(default=64, validator=_at_least(1))
    request_bytes_max: int = attrs.field(default=8_192, validator=_at_least(64))
    connection_deadline_seconds: float = attrs.field(default=5.0, validator=_at_least(0.001))
    linger_seconds: float = attrs.field(default=0.5, validator=_at_least(0))
    linger_bytes_max: int = attrs.field(default=65_536, validator=_at_least(0))


def require_h11() -> None:
    """Raise now what would otherwise be raised under the first request.

    Raises:
        MissingExtraError: h11 is not installed.
    """
    try:
        import h11  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the HTTP server needs h11, which is not installed; pip install 'beamline-trio[cli]'"
        ) from error


async def converse(stream: trio.abc.HalfCloseableStream, application: Application, limits: HTTPLimits) -> None:
    """Read one request and answer it; the stream is of no use afterwards. Closing it is the caller's."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.request_bytes_max)
    body_wanted = True
    try:
        try:
            request = await _receive_request(stream, connection)
            if request is None:
                return
            body_wanted = request.method != b"HEAD"
            response = _answer(application, request)
        except h11.RemoteProtocolError as error:
            response = _plain(error.error_status_hint)
        await stream.send_all(_encode(connection, response, body_wanted=body_wanted))
        await _linger(stream, limits)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # the peer is gone


async def _receive_request(stream: trio.abc.ReceiveStream, connection: h11.Connection) -> h11.Request | None:
    """The head of the request; None when the peer closed without one."""
    import h11

    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if isinstance(event, h11.ConnectionClosed):
            return None
        connection.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))


def _answer(application: Application, request: h11.Request) -> Response:
    method = request.method.decode("ascii")
    path = request.target.decode("ascii").partition("?")[0]
    try:
        return application(method, path)
    except Exception:  # a bug of the application must not end the server
        log.exception("HTTP_ERROR path=%s: %s failed", path, method, extra={"event": "HTTP_ERROR", "path": path})
        return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(status: int) -> Response:
    return Response(status, f"{HTTPStatus(status).phrase.lower()}\n".encode())


def _encode(connection: h11.Connection, response: Response, *, body_wanted: bool) -> bytes:
    """The bytes of an answer, the last of its connection."""
    import h11

    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    if response.allow is not None:
        headers.append(("Allow", response.allow))
    reason = HTTPStatus(response.status).phrase
    head = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    return head + response.body if body_wanted else head


async def _linger(stream: trio.abc.HalfCloseableStream, limits: HTTPLimits) -> None:
    """Let the peer read the answer: a close on unread bytes is a reset, which may overtake it."""
    await stream.send_eof()
    left = limits.linger_bytes_max
    with trio.move_on_after(limits.linger_seconds):
        while left > 0:
            data = await stream.receive_some(_RECEIVE_BYTES)
            if not data:
                return
            left -= len(data)
