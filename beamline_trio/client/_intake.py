"""The reader's side of a subscription: what it does with the messages that come, and what may be pending.

The reader appends and waits for nobody: beyond its bounds messages are dropped by policy, each counted, and each
episode of dropping told by one event. A callback is called here, in the reader's batch.

Must not be used by tasks that receive: their side is `_subscription`.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from ..connection import ClientClosedError, Interest, Waiter
from ..protocol import PermissionsError
from ._errors import SlowConsumerError
from ._message import Message

if TYPE_CHECKING:
    from ._client import Client

MessageCallback: TypeAlias = Callable[[Message], object]

# What every subscription has pending before its first message: an empty deque costs more than all the rest of it.
_NOTHING: Final[deque[Message]] = deque(maxlen=0)


def check_callback(callback: MessageCallback | None) -> None:
    """Raise TypeError for what cannot be called, and for an async function: nobody would await it."""
    if callback is None:
        return
    if not callable(callback):
        raise TypeError(f"callback must be a function, not {type(callback).__name__}")
    if inspect.iscoroutinefunction(callback):
        raise TypeError("callback is async, and the reader awaits nothing; give a synchronous one, or use nc.serve()")


class Intake:
    """The route of a subscription.

    Attributes:
        subject: the pattern it was made for.
        delivered: messages that came so far, over all links; those that were dropped are among them.
        dropped: messages dropped because it was full.
    """

    # Programs hold tens of thousands of these: no dict, and no queue before the first message.
    __slots__ = (
        "_bytes_max",
        "_callback",
        "_client",
        "_ended",
        "_error",
        "_free",
        "_full",
        "_interest",
        "_maximum",
        "_messages_max",
        "_pending",
        "_pending_bytes",
        "_waiters",
        "delivered",
        "dropped",
        "subject",
    )

    def __init__(
        self,
        client: Client,
        subject: str,
        maximum: int | None,
        callback: MessageCallback | None,
        pending_messages_max: int,
        pending_bytes_max: int,
    ) -> None:
        self.subject = subject
        self.delivered = 0
        self.dropped = 0
        self._client = client
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
        self._free = 0

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """One message from the reader."""
        if self._ended:  # left or failed in the middle of this chunk
            self._client.connection.incidents.unroutable(1)
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

    def skipped(self, subject: bytes, reason: str) -> None:
        """A message that could not be decoded counts as delivered, since the server has counted it."""
        self.delivered += 1
        if self.delivered >= self._maximum:
            self._reached_maximum()

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
            self._client.connection.incidents.callback_failed(self.subject, error)

    def _overflow(self, message: Message) -> None:
        connection = self._client.connection
        if not self._full:
            self._full = True
            connection.incidents.slow_consumer(self.subject, len(self._pending), self._pending_bytes)
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
        if self._ended:
            self._client.drainer.look_again()
