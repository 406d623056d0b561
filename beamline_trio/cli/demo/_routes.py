"""The demo's router: a request/reply route that answers when the receiver has answered, and a forwarding route.

Both write their hop's book: a handler that could not pass a message on says so there, and raises, which the router
counts and answers.

Must not decide what an error means for the account.
"""

from __future__ import annotations

from typing import Final

import trio

from ...client import Client, Message
from ...protocol import NatsError
from ...router import Router
from ._books import Book
from ._messages import (
    FORWARD_SUBJECT,
    RECEIVER_FORWARD_SUBJECT,
    RECEIVER_REQUEST_SUBJECT,
    REQUEST_SUBJECT,
    decode_id,
)

CONCURRENCY: Final = 64
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"


class ErrorReplyError(NatsError):
    """A service answered with an error."""


def make_router(nc: Client, book: Book) -> Router:
    """The router of the demo, sending by `nc`."""
    router = Router("demo")

    @router.route(REQUEST_SUBJECT, queue_group="demo", concurrency=CONCURRENCY)
    async def request(msg: Message) -> bytes:
        leg = book.begin(decode_id(msg.payload), trio.current_time(), is_request=True)
        try:
            reply = await checked_request(nc, RECEIVER_REQUEST_SUBJECT, msg.payload)
        except NatsError as error:
            leg.failed(trio.current_time(), error)
            raise
        except trio.Cancelled:
            leg.withdrawn(trio.current_time(), nc.state)
            raise
        leg.succeeded(trio.current_time(), nc.server_info.server_id)
        return reply

    @router.route(FORWARD_SUBJECT, queue_group="demo", concurrency=CONCURRENCY)
    async def forward(msg: Message) -> None:
        leg = book.begin(decode_id(msg.payload), trio.current_time(), is_request=False)
        try:
            await nc.publish(RECEIVER_FORWARD_SUBJECT, msg.payload, confirm=True)
        except NatsError as error:
            leg.failed(trio.current_time(), error)
            raise
        except trio.Cancelled:
            leg.withdrawn(trio.current_time(), nc.state)
            raise
        leg.succeeded(trio.current_time(), nc.server_info.server_id)

    return router


async def checked_request(nc: Client, subject: str, payload: bytes) -> bytes:
    """A request to a service that answers with what it was asked.

    Raises:
        ErrorReplyError: it answered with an error, or with something else.
        NatsError: what `Client.request` raises.
    """
    reply = await nc.request(subject, payload)
    code = reply.headers.get(ERROR_CODE_HEADER) if reply.header_block is not None else None
    if code is not None or reply.payload != payload:
        raise ErrorReplyError(f"{subject} answered with error {code}" if code else f"{subject} answered wrongly")
    return reply.payload
