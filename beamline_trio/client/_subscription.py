"""A subscription as its consumer holds it. The reader's side is `_intake`; neither waits for the other.

`receive` checks cancellation, waits, and pops last: between the pop and the return there is no await, so a message is
either returned or still pending.

Must not touch the socket.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from ..connection import CALLS_PER_CHECK, Interest, Pace, Waiter
from ..protocol import NatsError, decode_subject
from ._drain import living
from ._intake import Intake, MessageCallback
from ._message import Message

if TYPE_CHECKING:
    from ._client import Client


class Subscription(Intake):
    """A subscription, made by `Client.subscribe`; enter it with `async with`.

    Leaving it unsubscribes; what was pending is counted in `discarded`. It ends cleanly (EndOfChannel, the end of
    `async for`) after `drain`, after its last message when it has a maximum, and when the client drains.

    Attributes:
        subject: the pattern it was made for.
        queue_group: its queue group, or None.
        delivered: messages that came so far, over all links; those that were dropped are among them.
        dropped: messages dropped because it was full.
        discarded: messages that were pending when it was left.
    """

    __slots__ = ("_consumer", "_pace", "_pattern", "_refusals_before", "discarded", "queue_group")

    def __init__(
        self,
        client: Client,
        subject: str,
        pattern: bytes,
        queue_group: str | None,
        maximum: int | None,
        callback: MessageCallback | None,
        pending_messages_max: int,
        pending_bytes_max: int,
    ) -> None:
        super().__init__(client, subject, maximum, callback, pending_messages_max, pending_bytes_max)
        self.queue_group = queue_group
        self.discarded = 0
        self._pattern = pattern
        self._pace = Pace()
        self._consumer: trio.lowlevel.Task | None = None
        self._refusals_before = 0

    async def __aenter__(self) -> Subscription:
        await self._client.sender.wait_control_room()
        if self._interest is not None:
            raise RuntimeError("a subscription is entered once; make another with Client.subscribe()")
        maximum = None if self._maximum == math.inf else int(self._maximum)
        queue_group = self.queue_group.encode() if self.queue_group is not None else None
        self._refusals_before = self._client.connection.subscriptions_refused
        self._interest = self._client.connection.subscribe(self._pattern, queue_group, maximum, self)
        self._client.register(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Consuming

    @property
    def pending_messages(self) -> int:
        """Messages that wait to be received."""
        return len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes of headers and payloads that wait to be received."""
        return self._pending_bytes

    async def receive(self) -> Message:
        """The next message.

        An amortised checkpoint while messages are pending: cancellation is looked at every few calls, and the task
        yields at least every 1024 calls or 2 ms. Cancelled, no message is lost: it goes to the next `receive`.

        Raises:
            trio.EndOfChannel: it ended cleanly and all messages were received.
            PermissionsError: the server refused it.
            SlowConsumerError: it was full, and its policy is `error`.
            ClientClosedError: the client was closed.
            RuntimeError: it was not entered.
            trio.ClosedResourceError: it was left.
        """
        if self._pending and self._free > 0:
            self._free -= 1
            message = self._pending.popleft()
            header = message.header_block
            self._pending_bytes -= len(message.payload) if header is None else message.size
            return message
        await self._wait_pending()
        return self._pop()

    async def receive_batch(self, max_messages: int = 500) -> list[Message]:
        """All messages that are pending, at most `max_messages`, at least one; the fastest way to receive.

        Checkpoints, cancellation and errors are those of `receive`.
        """
        if max_messages < 1:
            raise ValueError(f"max_messages is {max_messages}; it must be at least 1")
        await self._wait_pending()
        pending = self._pending
        if len(pending) <= max_messages:
            batch = list(pending)
            pending.clear()
            self._pending_bytes = 0
            self._tell_emptied()
            return batch
        popleft = pending.popleft
        batch = [popleft() for _ in range(max_messages)]
        self._pending_bytes -= sum(message.size for message in batch)
        return batch

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        if self._pending and self._free > 0:
            self._free -= 1
            message = self._pending.popleft()
            header = message.header_block
            self._pending_bytes -= len(message.payload) if header is None else message.size
            return message
        try:
            await self._wait_pending()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return self._pop()

    def _pop(self) -> Message:
        message = self._pending.popleft()
        self._pending_bytes -= message.size
        if not self._pending:
            self._tell_emptied()
        return message

    async def _wait_pending(self) -> None:
        """Look at cancellation, yield where it is due, and wait until a message is pending. Takes nothing."""
        self._consumer = trio.lowlevel.current_task()
        if self._pending:
            await self._pace.check()
        while not self._pending:
            if self._ended:
                self._tell_emptied()
                await trio.lowlevel.checkpoint()
                raise self._error.with_traceback(None) if self._error is not None else trio.EndOfChannel
            if self._interest is None:  # nothing could ever come
                await trio.lowlevel.checkpoint()
                self._check_entered()
            waiter = Waiter(on_cancel=self._waiters.remove)
            self._waiters.append(waiter)
            await waiter.wait()
            self._pace.yielded()
        self._free = 0 if self._ended else CALLS_PER_CHECK - 1  # an ended one is watched until it is empty

    # Steering

    async def confirmed(self) -> None:
        """Wait until the server has the interest in force: one PING.

        Raises:
            PermissionsError: the server refused it.
            ServerError: the server refused it, or another subscription made since, for its number (the server does
                not say which).
            OperationTimeoutError: no PONG in time.
            ConnectionLostError: the link died meanwhile; the interest is replayed on the next one.
            ClientClosedError: the client was closed meanwhile.
        """
        self._check_entered()
        try:
            await self._client.sender.ping()
        except trio.TooSlowError:
            self._client.connection.counters.subscribe_failures["timeout"] += 1
            raise
        except trio.BrokenResourceError:
            self._client.connection.counters.subscribe_failures["disconnected"] += 1
            raise
        except trio.ClosedResourceError:
            self._client.connection.counters.subscribe_failures["closed"] += 1
            raise
        if self._error is not None:
            raise self._error.with_traceback(None)
        refusal = self._client.connection.subscription_refusal
        if refusal is not None and self._client.connection.subscriptions_refused > self._refusals_before:
            raise refusal.with_traceback(None)

    async def unsubscribe(self, *, after: int | None = None) -> None:
        """End it now (what is pending can still be received), or when `after` messages have come in all.

        Raises:
            ValueError: `after` is less than 1.
        """
        await trio.lowlevel.checkpoint()
        interest = self._check_entered()
        if after is not None and after < 1:
            raise ValueError(f"after is {after}; it must be at least 1")
        self._client.connection.unsubscribe(interest, after)
        if after is not None:
            self._maximum = after
        if after is None or self.delivered >= after:
            self._end()

    async def drain(self) -> None:
        """Unsubscribe, wait until the server has sent all it will send, and let the consumer read to the end.

        Returns when nothing more can come; then the consumer gets what is pending and a clean end. Cancelled, it ends
        at once: what the server sent and had not arrived by then is not delivered.

        Raises:
            NatsError: what `Client.flush` raises; it ends all the same.
        """
        interest = self._check_entered()
        connection = self._client.connection
        connection.unsubscribe(interest, keep_route=True)
        try:
            if connection.link_is_up:
                await self._client.sender.ping()
                await connection.wait_one_link()
            else:
                await trio.lowlevel.checkpoint()
        finally:
            connection.interests.forget_route(interest)
            self._end()

    def end(self) -> None:
        """Nothing more comes; what is pending can be received, and then it ends cleanly."""
        self._end()

    def close(self) -> None:
        """Leave it at once: unsubscribe and discard what is pending. Waiting receivers get ClosedResourceError."""
        if self._interest is not None:
            self._client.connection.unsubscribe(self._interest)
        self._client.unregister(self)
        self.discarded += len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if self._error is None:
            self._error = trio.ClosedResourceError("the subscription was left")
        self._end()
        self._tell_emptied()

    @property
    def failure(self) -> NatsError | None:
        """Why it ended, if it did not end cleanly."""
        return self._error if isinstance(self._error, NatsError) else None

    @property
    def exhausted(self) -> bool:
        """Whether it has ended and everything was received (or it was left)."""
        return self._ended and not self._pending

    @property
    def consumer(self) -> trio.lowlevel.Task | None:
        """The task that received last; None if none ever did, or it has ended."""
        return living(self._consumer)

    def _check_entered(self) -> Interest:
        if self._interest is None:
            raise RuntimeError("enter the subscription first: async with nc.subscribe(...) as sub")
        return self._interest

    def __repr__(self) -> str:
        return f"<Subscription {decode_subject(self._pattern)!r} pending={len(self._pending)}>"
