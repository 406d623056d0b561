"""The replies to one request that is answered by many: what has come, what may be pending, and why no more will come.

The inbox adds replies as they arrive and waits for nobody; whoever receives takes them. How long replies are awaited is
measured where they arrive, so that the time in which a receiver handles one is never held against the service. The
sweeper ends what has run out of time.

Must not send, decode a reply, or know which of them is the last to its receiver (the sentinel).
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TypeAlias

from ..protocol import frozen
from ._waiters import NEVER, Lot, Waiter

Reply: TypeAlias = "tuple[bytes, bytes | None, bytes | None, bytes]"


class RepliesEnd(StrEnum):
    """Why no more replies are given.

    Attributes:
        MAX_REPLIES: so many came as were asked for.
        STALL: none came for `stall_seconds` after the last one.
        SENTINEL: the reply came that marks the end.
        DEADLINE: the time for all of them is over.
        OVERFLOW: more were pending than may be; those that came later are dropped and counted.
        FAILED: an error ended it, and was raised.
    """

    MAX_REPLIES = "max_replies"
    STALL = "stall"
    SENTINEL = "sentinel"
    DEADLINE = "deadline"
    OVERFLOW = "overflow"
    FAILED = "failed"


@frozen(kw_only=True)
class ReplyLimits:
    """What ends a collection, and what may be pending in it.

    Attributes:
        max_replies: it ends with this many; None = unlimited.
        stall_seconds: it ends when none came for so long behind another one; None = never.
        deadline_seconds: it ends so long after the write of its request; None = never.
        pending_messages_max: replies that may wait to be received.
        pending_bytes_max: the bytes of their headers and payloads.
    """

    max_replies: int | None
    stall_seconds: float | None
    deadline_seconds: float | None
    pending_messages_max: int
    pending_bytes_max: int


class ReplyCollection(Waiter):
    """A request that waits for replies until one of its limits is reached.

    Attributes:
        ended: why nothing more is collected; None while replies are awaited.
        error: what failed it.
        pending: replies that were not received yet, the oldest first.
        pending_bytes: the bytes of their headers and payloads.
    """

    __slots__ = ("_arrived_at", "_arrived_count", "_limits", "_receivers", "ended", "error", "pending", "pending_bytes")

    def __init__(self, frame: bytes, subject: bytes, token: bytes, limits: ReplyLimits) -> None:
        super().__init__(frame, subject, wants_pong=False, token=token)
        self._limits = limits
        self._receivers = Lot()
        self._arrived_count = 0
        self._arrived_at = NEVER
        self.ended: RepliesEnd | None = None
        self.error: BaseException | None = None
        self.pending: deque[Reply] = deque()
        self.pending_bytes = 0

    # What the inbox and the sweeper use

    def collect(self, reply: Reply, now: float) -> None:
        """A reply came. The last one, or one too many, ends it."""
        limits = self._limits
        size = _size(reply)
        if len(self.pending) >= limits.pending_messages_max or self.pending_bytes + size > limits.pending_bytes_max:
            self.end(RepliesEnd.OVERFLOW)
            return
        self.pending.append(reply)
        self.pending_bytes += size
        self._arrived_count += 1
        self._arrived_at = now
        self._receivers.wake_one()
        if self._arrived_count == limits.max_replies:
            self.end(RepliesEnd.MAX_REPLIES)

    def fail(self, error: BaseException) -> None:
        """No more will come, by an error: raised behind what is pending. The first end counts."""
        if self.ended is None:
            self.error = error
            self.end(RepliesEnd.FAILED)

    def end(self, reason: RepliesEnd) -> None:
        """Nothing more is collected: receivers take what is pending, and then look why. The first end counts."""
        if self.ended is None:
            self.ended = reason
        self._receivers.wake_all()

    def expire(self, now: float) -> bool:
        """End it if its time is over; returns whether it has ended."""
        if self.deadline <= now:
            overdue = self._total_deadline <= now
            self.end(RepliesEnd.DEADLINE if overdue else RepliesEnd.STALL)
        return self.ended is not None

    @property
    def deadline(self) -> float:
        """When it ends unless another reply comes, in trio's time; NEVER before its request was written."""
        stall = self._limits.stall_seconds
        total = self._total_deadline
        return total if stall is None or self._arrived_at == NEVER else min(total, self._arrived_at + stall)

    @property
    def deadline_seconds(self) -> float:
        """How long after its write it ends at the latest; NEVER = unlimited."""
        limit = self._limits.deadline_seconds
        return NEVER if limit is None else limit

    @property
    def _total_deadline(self) -> float:
        return self.written_at + self.deadline_seconds

    # What receivers use

    async def wait_change(self) -> None:
        """Wait for a reply or the end. Cancelled: nothing is lost."""
        await self._receivers.wait()

    def take(self) -> Reply:
        """The oldest reply that is pending."""
        reply = self.pending.popleft()
        self.pending_bytes -= _size(reply)
        return reply

    def discard_pending(self) -> None:
        """Nobody wants what is pending."""
        self.pending.clear()
        self.pending_bytes = 0


def _size(reply: Reply) -> int:
    header = reply[2]
    return len(reply[3]) + (len(header) if header is not None else 0)
