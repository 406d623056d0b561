"""The task of one link: dial, shake hands, run, and close the stream, under one context of the dialer's.

A link has a task of its own because a dialer's context may hold a nursery (WebSocket), which only the task that opened
it can leave, and because for a moment there may be two links. An error is handed over as a value: raised, it would end
the nursery in which the other links live.

Must not decide what comes after a link.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from ..protocol import NatsError, ProtocolError
from ..transport import ServerAddress
from ._connection import Connection
from ._errors import ConnectTimeoutError, NotNatsServerError
from ._handshake import Established, Handshake
from ._link import Link

# What is done in the step in which a handshake is done.
TurnUp: TypeAlias = Callable[[Link, Established], None]
# What is waited for between the handshake and that step.
Preparation: TypeAlias = Callable[[Established], Awaitable[None]]


@trio.lowlevel.enable_ki_protection
async def serve_link(
    connection: Connection,
    address: ServerAddress,
    up: TurnUp,
    *,
    prepare: Preparation | None = None,
    task_status: trio.TaskStatus[Link | NatsError],
) -> None:
    """Report started with the link, or with why it could not be established; run it and return when it is lost.

    Cancelled: the stream is closed at once, and the connection is told.

    Args:
        connection: whose link it is.
        address: where it leads.
        up: the turn that makes it the client's link.
        prepare: waited for before that turn; may raise NatsError to give the new link up.
        task_status: hears of it, once.
    """
    limit = connection.options.connect_timeout_seconds
    try:
        with trio.CancelScope(deadline=trio.current_time() + limit) as scope:
            async with connection.dialer.open(address) as stream:
                established = await _shake_hands(connection, stream, address)
                scope.deadline = float("inf")
                if scope.cancel_called:  # it struck in this very step: all or nothing
                    await trio.lowlevel.checkpoint()
                if prepare is not None:
                    await prepare(established)
                connection.check_open()  # a drain may have ended in this very step
                link = Link(connection, established)
                up(link, established)
                task_status.started(link)
                await link.run()
    except NatsError as error:  # of dial, handshake and preparation: a link that runs raises none
        task_status.started(error)
        return
    if scope.cancelled_caught:
        task_status.started(
            ConnectTimeoutError(
                f"{address} did not finish the handshake within {limit:g} s (connect_timeout_seconds); "
                "a server that accepts and stays silent may be stopped, wait for TLS first, or be no NATS server",
                address=str(address),
            )
        )


async def _shake_hands(connection: Connection, stream: trio.abc.Stream, address: ServerAddress) -> Established:
    try:
        return await Handshake(connection, stream, address).run()
    except ProtocolError as error:
        raise NotNatsServerError(f"{address} breaks the protocol: {error}", address=str(address)) from error
