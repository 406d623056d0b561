"""A subscription: the reader appends, the consumer pops, and neither waits for the other.

The reader never stops for a slow subscription: beyond its bounds messages are dropped by policy, counted, and told by
one event each time it begins. `receive` checks cancellation, waits, and pops last: between the pop and the return there
is no await, so a message is either returned or still pending.

Must not touch the socket.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ..connection import CALLS_PER_CHECK, ClientClosedError, Interest, Pace, Waiter
from ..protocol import PermissionsError, decode_subject
from ._errors import SlowConsumerError
from ._message import Message

if TYPE_CHECKING:
    from ._client import Client

MessageCallback: TypeAlias = Callable[[Message], object]

# What every subscription has pending before its first message: an empty deque costs more than all the rest of it.
_NOTHING: Final[deque[Message]] = deque(maxlen=0)


class Subscription:
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

    # Programs hold tens of thousands of these: no dict, no queue for waiters, no Event before somebody needs one.
    __slots__ = (
        "_bytes_max",
        "_callback",
        "_client",
        "_consumer",
        "_emptied",
        "_ended",
        "_error",
        "_free",
        "_full",
        "_interest",
        "_maximum",
        "_messages_max",
        "_pace",
        "_pattern",
        "_pending",
        "_pending_bytes",
        "_refusals_before",
        "_waiters",
        "delivered",
        "discarded",
        "dropped",
        "queue_group",
        "subject",
    )

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
        self.subject = subject
        self.queue_group = queue_group
        self.delivered = 0
        self.dropped = 0
        self.discarded = 0
        self._client = client
        self._pattern = pattern
        self._maximum: float = maximum if maximum is not None else math.inf
        self._callback = callback
        self._interest: Interest | None = None
        self._pending: deque[Message] = _NOTHING
        self._pending_bytes = 0
        self._messages_max = pending_messages_max
        self._bytes_max = pending_bytes_max
        self._full = False
        self._ended = False
        self._error: Exception | None = None
        self._waiters: list[Waiter] = []
        self._pace = Pace()
        self._free = 0
        self._emptied: trio.Event | None = None
        self._consumer: trio.lowlevel.Task | None = None

    async def __aenter__(self) -> Subscription:
        await self._client.wait_control_room()
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

        Returns when nothing more can come; then the consumer gets what is pending and a clean end. Cancelled: the
        server was told already, and it ends when the client closes.

        Raises:
            NatsError: what `Client.flush` raises; it ends all the same.
        """
        interest = self._check_entered()
        connection = self._client.connection
        connection.unsubscribe(interest, keep_route=True)
        try:
            if connection.link_is_up:
                await self._client.sender.ping()
            else:
                await trio.lowlevel.checkpoint()
        finally:
            connection.interests.forget_route(interest)
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

    async def emptied(self) -> None:
        """Wait until it has ended and everything was received (or it was left)."""
        while not (self._ended and not self._pending):
            if self._emptied is None:
                self._emptied = trio.Event()
            await self._emptied.wait()

    @property
    def consumer(self) -> trio.lowlevel.Task | None:
        """The task that received last; None if none ever did, or it has ended."""
        task = self._consumer
        if task is not None and inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED:
            return None
        return task

    # The route

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """One message from the reader."""
        if self._ended:  # left or failed in the middle of this chunk
            self._client.connection.on_unroutable(self._sid(), 1)
            return
        self.delivered += 1
        if self._callback is not None:
            self._call(Message(self._client, subject, payload, reply, header))
        else:
            size = len(payload) if header is None else len(payload) + len(header)
            total = self._pending_bytes + size
            pending = self._pending
            if pending is _NOTHING:
                pending = self._pending = deque()
            if len(pending) < self._messages_max and total <= self._bytes_max:
                pending.append(Message(self._client, subject, payload, reply, header))
                self._pending_bytes = total
                if self._waiters:
                    self._waiters.pop(0).succeed(None)
                if self._full:
                    self._look_recovered()
            else:
                self._overflow(Message(self._client, subject, payload, reply, header))
        if self.delivered >= self._maximum:
            self._reached_maximum()

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Messages running from the reader."""
        count = len(payloads)
        size = count * len(payloads[0])
        fits = len(self._pending) + count <= self._messages_max and self._pending_bytes + size <= self._bytes_max
        if (
            self._callback is not None
            or not fits
            or self._full
            or self._ended
            or self.delivered + count >= self._maximum
        ):
            for payload in payloads:
                self.deliver(subject, None, None, payload)
            return
        client = self._client
        self.delivered += count
        self._pending_bytes += size
        if self._pending is _NOTHING:
            self._pending = deque()
        self._pending.extend([Message(client, subject, payload, None, None) for payload in payloads])
        waiters = self._waiters
        while waiters and count:
            waiters.pop(0).succeed(None)
            count -= 1

    def refused(self, error: PermissionsError) -> None:
        """The server refuses it."""
        self._fail(error)

    def closed(self) -> None:
        """The client is closed without a drain: what is pending can still be received, then it is an error."""
        if not self._ended:
            self._fail(ClientClosedError("the client was closed; this subscription gets no more messages"))

    def _call(self, message: Message) -> None:
        callback = self._callback
        if callback is None:
            return
        try:
            callback(message)
        except Exception as error:  # noqa: BLE001  # whatever a user's callback raises must not end the reader
            self._client.connection.on_callback_error(self.subject, error)

    def _overflow(self, message: Message) -> None:
        connection = self._client.connection
        if not self._full:
            self._full = True
            connection.on_slow_consumer(self.subject, len(self._pending), self._pending_bytes)
        policy = connection.options.subscription_pending_policy
        if policy == "drop_oldest" and message.size <= self._bytes_max:
            self._displace(message)
            return
        self._count_drop()
        if policy == "error":
            if self._interest is not None:
                connection.unsubscribe(self._interest)
            self._fail(
                SlowConsumerError(
                    f"subscription to {self.subject} is full with {len(self._pending)} messages and "
                    f"{self._pending_bytes} bytes pending; receive faster, or raise subscription_pending_messages_max"
                )
            )

    def _displace(self, message: Message) -> None:
        """Drop the oldest until a message fits that is not too large by itself."""
        pending = self._pending
        while len(pending) >= self._messages_max or self._pending_bytes + message.size > self._bytes_max:
            self._pending_bytes -= pending.popleft().size
            self._count_drop()
        pending.append(message)
        self._pending_bytes += message.size

    def _count_drop(self) -> None:
        self.dropped += 1
        self._client.connection.counters.slow_consumer += 1

    def _look_recovered(self) -> None:
        """An episode of dropping is over when the consumer has come below half of both bounds."""
        self._full = len(self._pending) * 2 > self._messages_max + 1 or self._pending_bytes * 2 > self._bytes_max

    def _sid(self) -> bytes:
        return self._interest.sid if self._interest is not None else b""

    def _reached_maximum(self) -> None:
        if self._interest is not None:
            self._client.connection.interests.remove(self._interest)
        self._end()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._end()

    def _end(self) -> None:
        """Nothing more comes: waiting receivers look again."""
        self._ended = True
        self._free = 0
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.succeed(None)
        if not self._pending:
            self._tell_emptied()

    def _tell_emptied(self) -> None:
        if self._ended and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.set()

    def _check_entered(self) -> Interest:
        if self._interest is None:
            raise RuntimeError("enter the subscription first: async with nc.subscribe(...) as sub")
        return self._interest

    def __repr__(self) -> str:
        return f"<Subscription {decode_subject(self._pattern)!r} pending={len(self._pending)}>"
