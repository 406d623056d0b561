"""The HTTP server: binds, accepts, and gives each connection its deadline and its place.

When all places are taken the oldest connection goes: an honest one takes milliseconds, so the oldest is one that does
not want to end. A slow peer holds a place and its deadline, and nothing that others need.

Must not know HTTP or what is served.
"""

from __future__ import annotations

import errno
import os
from typing import Final

import trio

from ._errors import ListenError, PortInUseError
from ._http import Application, HTTPLimits, converse, require_h11

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 128


async def serve_http(
    application: Application,
    port: int,
    *,
    host: str = LOOPBACK,
    limits: HTTPLimits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application over HTTP: `port = await nursery.start(serve_http, app, 9001)`.

    Started when it listens, with the port that it listens on. Runs until it is cancelled; then nothing of it is left.

    Args:
        application: method and path -> response; called once per request, in this task's thread.
        port: 0 = any free one.
        host: the address to listen on; "0.0.0.0" = all.
        limits: what a peer may take; None = `HTTPLimits()`.
        task_status: gives the port.

    Raises:
        MissingExtraError: h11 is not installed.
        PortInUseError: somebody else listens there.
        ListenError: the address is not this machine's, or the port is not to be had.
        ValueError: the port is not 0 to 65535.
    """
    require_h11()
    if not 0 <= port <= 65_535:
        raise ValueError(f"port is {port}; it must be 1 to 65535, or 0 for any free one")
    listeners = await _open_listeners(host, port)
    places = _Places(application, limits if limits is not None else HTTPLimits())
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(places.serve, listeners)


class _Places:
    """The connections under way, oldest first."""

    def __init__(self, application: Application, limits: HTTPLimits) -> None:
        self._application = application
        self._limits = limits
        self._scopes: dict[trio.CancelScope, None] = {}

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """One connection, from its accept to its close."""
        deadline = trio.current_time() + self._limits.connection_deadline_seconds
        if len(self._scopes) >= self._limits.connections_max:
            oldest = next(iter(self._scopes))
            del self._scopes[oldest]
            oldest.cancel()
        scope = trio.CancelScope(deadline=deadline)
        self._scopes[scope] = None
        try:
            with scope:
                await converse(stream, self._application, self._limits)
        finally:
            self._scopes.pop(scope, None)
            await trio.aclose_forcefully(stream)  # what the peer has not read by now it does not want


async def _open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except OSError as error:
        code = error.errno
        if code == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use; give another one with --metrics-port (0 = any free one)",
                host=host,
                port=port,
            ) from error
        reason = os.strerror(code) if code is not None and code > 0 else str(error)
        raise ListenError(
            f"cannot listen on {host} port {port}: {reason}; choose with --metrics-host and --metrics-port",
            host=host,
            port=port,
        ) from error
