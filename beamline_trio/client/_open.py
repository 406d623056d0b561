"""Opening a client: the nursery that holds it, and how errors leave it.

The body's own exception leaves bare: background tasks run in one child task that is stopped by
a scope of its own, shielded from the body's cancellation, so nothing of theirs is mixed into it. A bug in one of them
is raised as one InternalError.

Must not know what the client does.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import trio

from ..connection import (
    OPTION_NAMES,
    ClientOptions,
    Connection,
    InternalError,
    OptionsError,
    Supervisor,
    combine_options,
    hide_in_place,
    servers_of,
)
from ..protocol import NatsError, Secret
from ..transport import Dialer, TCPDialer, TLSFiles, WebSocketDialer, parse_address
from ._client import Client


class ClientContext:
    """What `open_client` returns: `async with` it, once."""

    def __init__(self, options: ClientOptions, dialer: Dialer) -> None:
        self._client = Client(Connection(options, dialer))
        self._scope = trio.CancelScope()
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    # An interrupt between the lines that hold the nursery by hand would tear it; it is delivered at the awaits instead.
    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Client:
        if self._manager is not None:
            raise RuntimeError("this client was opened already; call open_client() again")
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        try:
            await self._nursery.start(self._run)
        except BaseException:
            await self._stop()
            raise
        return self._client

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._client.drainer.drain()
        finally:
            await self._stop()

    @trio.lowlevel.enable_ki_protection
    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        """All background tasks of the client."""
        connection = self._client.connection
        failure: NatsError | None = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.sleeper.run, connection.deadlines.sweep)
                    nursery.start_soon(self._drain)
                    try:
                        await Supervisor(connection).run(_Started(task_status, self._scope))
                    except NatsError as error:  # the first connect failed: raised bare, not in the nursery's group
                        failure = error
                        nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _bare(group) from group
        if failure is not None:
            raise failure

    @trio.lowlevel.enable_ki_protection
    async def _drain(self) -> None:
        """When a drain is done there is nothing left to keep alive."""
        await self._client.drainer.run()
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _stop(self) -> None:
        """Close, stop the background tasks and wait for them. Raises only what is a bug of theirs."""
        self._client.connection.close()
        self._scope.cancel()
        manager, nursery = self._manager, self._nursery
        if manager is None or nursery is None:
            return
        nursery.cancel_scope.shield = True  # the body's cancellation is the body's; ours ends by our own scope
        try:
            await manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__


class _Started:
    """Reports started, and from then on keeps outer cancellations from the background tasks.

    They are for the body, which then leaves and stops the tasks; else the reader would be dead for a moment in which
    the client still says connected, and a shielded cleanup of the body would find nobody to talk to.
    """

    def __init__(self, task_status: trio.TaskStatus[None], scope: trio.CancelScope) -> None:
        self._task_status = task_status
        self._scope = scope

    def started(self, value: None = None) -> None:
        """See trio.TaskStatus."""
        self._scope.shield = True
        self._task_status.started(value)


def _bare(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Ctrl-C and its like as they are, everything else as a bug of this library."""
    _, ours = group.split(Exception)
    if ours is not None:
        leaf: BaseException = ours
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        return leaf
    return InternalError(f"a background task failed, please report this: {group.exceptions[0]!r}")


def open_client(
    *servers: str | Secret, options: ClientOptions | None = None, dialer: Dialer | None = None, **overrides: Any
) -> ClientContext:
    """Connect to NATS.

    `async with open_client("nats://127.0.0.1:4222", name="orders") as nc: ...`. Entering connects, in one pass over the
    servers, and raises if none can be reached; from then on the client stays connected by itself. Leaving drains within
    `drain_deadline_seconds`; leaving by an exception or a cancellation closes at once, and that exception leaves
    unchanged. Nothing outlives the block.

    Args:
        *servers: URLs; without any those of `options`, else `nats://127.0.0.1:4222`.
        options: all options in one record.
        dialer: how servers are reached; None = TCP, TLS, and WebSocket for ws:// and wss://.
        **overrides: single options, see ClientOptions.

    Raises:
        TypeError: an override is no option.
        OptionsError: an option is out of bounds.
        AddressError: a URL cannot be used.
        TLSFilesError: a file given as `tls` cannot be used.
        ConnectError: (on entering) the server cannot be reached; the subclass says why.
        AuthorizationError: (on entering) the server refuses the credentials.
        FileNotFoundError: (on entering) a file of credentials is not there; the text names it.
        UndeliveredError: (on leaving without an error) so many publishes that were accepted could not be delivered
            within `drain_deadline_seconds`. An exception of the block's own leaves alone: then the ledger, the log and
            `Dropped` events have the numbers.
        InternalError: (on leaving) a bug of this library.
    """
    servers = servers_of(servers) if servers else ()
    hide_in_place(overrides, OPTION_NAMES)
    combined = combine_options(servers, options, overrides)
    context = combined.tls if isinstance(combined.tls, (ssl.SSLContext, TLSFiles)) else None
    if isinstance(context, TLSFiles):
        context.context()  # what cannot be read is told now
    if dialer is None:
        dialer = dialer_of(combined)
    elif context is not None:
        raise OptionsError(f"tls is {type(context).__name__} and a dialer is given; give it to the dialer")
    elif combined.websocket_headers is not None:
        raise OptionsError("websocket_headers and a dialer are given; give the headers to its WebSocketDialer")
    return ClientContext(combined, dialer)


def dialer_of(options: ClientOptions) -> Dialer:
    """The dialer that `open_client` makes where it is given none: TCP, and WebSocket on it for such servers.

    Whoever wraps it gives the wrapper to `open_client`, with options whose `tls` is a flag and without
    `websocket_headers`: context, files and headers are the dialer's by then.
    """
    context = options.tls if isinstance(options.tls, (ssl.SSLContext, TLSFiles)) else None
    tcp = TCPDialer(ssl_context=context, keep_address_order=options.keep_server_order)
    if any(parse_address(server).is_websocket for server in options.servers):
        return WebSocketDialer(tcp, headers=options.websocket_headers)
    return tcp


async def run_client(
    options: ClientOptions,
    dialer: Dialer | None = None,
    *,
    task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The lower form: `nc = await nursery.start(run_client, options)`. Returns when the client was drained.

    Raises:
        NatsError: what entering `open_client` raises.
    """
    async with open_client(options=options, dialer=dialer) as client:
        task_status.started(client)
        await client.drainer.wait_closed()
