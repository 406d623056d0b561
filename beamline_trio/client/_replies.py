"""The replies to one request that many may answer (ADR-47), as their receiver holds them.

They are collected in `connection`; here they become messages, and the receiver's own word ends them: the sentinel, or
leaving them. The status "no responders" in place of a reply is an error, whenever it comes.

Must not keep time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import trio

from ..connection import Pace, RepliesEnd, ReplyCollection, ReplyLimits
from ..protocol import check_number
from ._errors import NoRespondersError, SlowConsumerError
from ._message import Message, says_no_responders

if TYPE_CHECKING:
    from ._client import Client

Sentinel: TypeAlias = Callable[[Message], bool]


def empty_payload(reply: Message) -> bool:
    """The usual sentinel of `Client.request_many`: the reply without a payload is behind the last one (ADR-47)."""
    return not reply.payload


def check_least_one(**bounds: int | None) -> None:
    """Raise TypeError when one of some bounds is given and no whole number, ValueError when it is less than 1."""
    for name, value in bounds.items():
        check_number(name, value, least=1, whole=True)


def reply_limits(
    *,
    max_replies: int | None,
    stall_seconds: float | None,
    deadline_seconds: float | None,
    operation_timeout_seconds: float | None,
    pending_messages_max: int,
    pending_bytes_max: int,
) -> ReplyLimits:
    """The limits of a request for many replies, checked; the deadline is the operation timeout unless given.

    Raises:
        ValueError: `max_replies` is less than 1, or a time is not more than 0 seconds.
    """
    check_least_one(max_replies=max_replies)
    for name, seconds in (("stall_seconds", stall_seconds), ("deadline_seconds", deadline_seconds)):
        check_number(name, seconds, above=0)
    return ReplyLimits(
        max_replies=max_replies,
        stall_seconds=stall_seconds,
        deadline_seconds=deadline_seconds if deadline_seconds is not None else operation_timeout_seconds,
        pending_messages_max=pending_messages_max,
        pending_bytes_max=pending_bytes_max,
    )


class Replies:
    """The replies to a request, made by `Client.request_many`; enter it with `async with`.

    Entering sends the request, or lets it wait for a connection as a publish does. Leaving ends the collecting at
    once: a request that was not written is withdrawn, replies that still come are counted as late. Nothing else of it
    stays, since all requests of a client share one subscription.

    Attributes:
        subject: where the request goes.
        ended: why no more replies are given; None until the last one was received, and when they were left before.
    """

    def __init__(self, client: Client, subject: str, collection: ReplyCollection, sentinel: Sentinel | None) -> None:
        self.subject = subject
        self.ended: RepliesEnd | None = None
        self._client = client
        self._collection = collection
        self._sentinel = sentinel
        self._pace = Pace()
        self._entered = False
        self._error: BaseException | None = None

    async def __aenter__(self) -> Replies:
        if self._entered:
            raise RuntimeError("a request is entered once; make another with Client.request_many()")
        self._entered = True
        await self._client.sender.collect(self._collection, self.subject)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Replies:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Message:
        """The next reply.

        An amortised checkpoint while replies are pending, like `Subscription.receive`. Cancelled, no reply is lost: it
        goes to the next `receive`, and replies are collected on.

        Raises:
            trio.EndOfChannel: a limit was reached, and all replies were received; `ended` says which.
            NoRespondersError: nobody is subscribed.
            SlowConsumerError: more replies were pending than may be; those that fitted were received.
            ProtocolError: a reply has headers that cannot be decoded.
            PermissionsError: the server refuses the subject, or the inbox.
            ConnectionLostError: the link was lost behind the write; who has received the request is unknown.
            PendingTimeoutError: no connection in time; nothing was sent.
            ClientClosedError: the client was closed.
            trio.ClosedResourceError: it was left.
        """
        if not self._entered:
            raise RuntimeError("enter the request first: async with nc.request_many(...) as replies")
        await self._wait_pending()
        subject, reply, header, payload = self._collection.take()
        if says_no_responders(header, payload):
            self._stop(RepliesEnd.FAILED, NoRespondersError(self.subject))
            raise self._reason()
        message = Message(self._client, subject, payload, reply, header)
        if self._sentinel is not None and self._sentinel(message):
            self._stop(RepliesEnd.SENTINEL, trio.EndOfChannel())
            raise self._reason()
        return message

    def close(self) -> None:
        """Leave them at once; a waiting `receive` gets ClosedResourceError."""
        if self._error is None:
            self._stop(None, trio.ClosedResourceError("the replies were left"))

    async def _wait_pending(self) -> None:
        """Look at cancellation, yield where it is due, and wait until a reply is pending. Takes nothing."""
        collection = self._collection
        if collection.pending:
            await self._pace.check()
        while not collection.pending:
            if collection.ended is not None:
                self._look_why()
                await trio.lowlevel.checkpoint()
                raise self._reason()
            await collection.wait_change()
            self._pace.yielded()

    def _look_why(self) -> None:
        """All replies were received: remember why no more come."""
        if self._error is not None:
            return
        collection = self._collection
        self.ended = collection.ended
        self._error = trio.EndOfChannel()
        if collection.ended is RepliesEnd.OVERFLOW:
            self._error = SlowConsumerError(
                f"more replies to {self.subject} came than may be pending (pending_messages_max, pending_bytes_max), "
                "and the collecting was ended; receive faster, or raise the bounds"
            )
        elif collection.error is not None:
            self._error = collection.error

    def _reason(self) -> BaseException:
        """Why no more replies come, to be raised once more."""
        assert self._error is not None
        return self._error.with_traceback(None)

    def _stop(self, ended: RepliesEnd | None, error: BaseException) -> None:
        """The receiver wants no more."""
        collection = self._collection
        self.ended = ended
        self._error = error
        connection = self._client.connection
        connection.inbox.discard(collection.token)
        connection.withdraw(collection)
        collection.discard_pending()
        collection.end(RepliesEnd.FAILED)

    def __repr__(self) -> str:
        return f"<Replies to {self.subject!r} pending={len(self._collection.pending)}>"
