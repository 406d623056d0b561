"""Operations that wait for a connection: first in, first out, bounded in number, bytes and time.

What was accepted before the link died is taken in above the bounds (it must not be dropped, and the outbox bounds it);
the bounds hold for what comes after. Waiters without a frame (flush, confirmed) keep their place and count for nothing.

Must not send, and must not raise: its owner tells the callers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from ..protocol import decode_subject
from ._waiters import NEVER, Lot, Waiter


@attrs.define(eq=False)
class PendingOperation:
    """One operation: its frame (empty for a bare waiter), who waits for it, when it expires, where it goes."""

    frame: bytes
    waiter: Waiter | None
    deadline: float
    subject: str

    @property
    def is_confirmed_publish(self) -> bool:
        """Whether somebody waits for the server's confirmation of it."""
        return bool(self.frame) and self.waiter is not None and self.waiter.wants_pong


class PendingQueue:
    """The queue of one client.

    Args:
        operations_max: publishes it takes.
        bytes_max: bytes of frames it takes.
        timeout_seconds: how long an operation waits in it; None = for ever.
    """

    def __init__(self, operations_max: int, bytes_max: int, timeout_seconds: float | None = None) -> None:
        self._operations_max = operations_max
        self._bytes_max = bytes_max
        self._timeout = timeout_seconds if timeout_seconds is not None else NEVER
        self._queue: deque[PendingOperation] = deque()
        self.operations = 0
        self.bytes = 0
        self.room = Lot()

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def ratio(self) -> float:
        """How full it is: of its bounds the nearer one, 1 at most, and 1 while somebody waits for room."""
        if self.room:
            return 1.0
        if not (self._operations_max and self._bytes_max):
            return 0.0
        return min(1.0, max(self.operations / self._operations_max, self.bytes / self._bytes_max))

    def pass_room_on(self) -> None:
        """Let the next in if another publish may fit."""
        if self.room and self.fits(0):
            self.room.wake_one()

    def can_fit(self, size: int) -> bool:
        """Whether a publish of so many bytes may ever be added."""
        return self._operations_max > 0 and size <= self._bytes_max

    def fits(self, size: int) -> bool:
        """Whether a publish of so many bytes may be added."""
        return self.operations < self._operations_max and self.bytes + size <= self._bytes_max

    def operation(self, frame: bytes, waiter: Waiter | None, since: float) -> PendingOperation:
        """An entry, not added yet, for what has been waiting for a connection since then."""
        subject = decode_subject(frame.split(b" ", 2)[1]) if frame else ""
        return PendingOperation(frame, waiter, since + self._timeout, subject)

    def add(self, operation: PendingOperation) -> None:
        """Append one."""
        self._queue.append(operation)
        self._count(operation, 1)

    def put_back(self, operations: Iterable[PendingOperation]) -> None:
        """Put these, in their order, before all others."""
        for operation in reversed(list(operations)):
            self._queue.appendleft(operation)
            self._count(operation, 1)

    def take(self, most: int) -> list[PendingOperation]:
        """The oldest `most` publishes, with the bare waiters among and behind them."""
        taken: list[PendingOperation] = []
        while self._queue and (most > 0 or not self._queue[0].frame):
            operation = self._queue.popleft()
            most -= bool(operation.frame)
            self._count(operation, -1)
            taken.append(operation)
        self._wake()
        return taken

    def withdraw(self, waiter: Waiter) -> PendingOperation | None:
        """Take back the operation of a waiter; None when it is not here."""
        for operation in self._queue:
            if operation.waiter is waiter:
                self._queue.remove(operation)
                self._count(operation, -1)
                self._wake()
                return operation
        return None

    def make_room(self, size: int) -> list[PendingOperation]:
        """Remove and return the oldest publishes, until one of so many bytes fits: no more than it takes.

        Where more is here than the bounds allow, it is enough that the queue does not grow.
        """
        operations_max = max(self._operations_max, self.operations)
        bytes_max = max(self._bytes_max, self.bytes)
        removed: list[PendingOperation] = []
        bare: list[PendingOperation] = []
        while self.operations and (self.operations >= operations_max or self.bytes + size > bytes_max):
            operation = self._queue.popleft()
            (removed if operation.frame else bare).append(operation)
            self._count(operation, -1)
        self._queue.extendleft(reversed(bare))
        return removed

    def frames(self) -> list[bytes]:
        """The frames of all publishes, in order."""
        return [operation.frame for operation in self._queue if operation.frame]

    def next_deadline(self) -> float:
        """When the oldest expires."""
        return min((operation.deadline for operation in self._queue), default=NEVER)

    def expire(self, now: float) -> list[PendingOperation]:
        """Remove and return those whose deadline has passed."""
        return self.remove(lambda operation: operation.deadline <= now)

    def remove(self, goes: Callable[[PendingOperation], bool]) -> list[PendingOperation]:
        """Remove and return those of which this is true."""
        removed = [operation for operation in self._queue if goes(operation)]
        if removed:
            self._queue = deque(operation for operation in self._queue if not goes(operation))
            for operation in removed:
                self._count(operation, -1)
            self._wake()
        return removed

    def clear(self) -> list[PendingOperation]:
        """Remove and return everything."""
        everything = list(self._queue)
        self._queue.clear()
        self.operations = 0
        self.bytes = 0
        self.room.wake_all()
        return everything

    def _count(self, operation: PendingOperation, sign: int) -> None:
        if operation.frame:
            self.operations += sign
            self.bytes += sign * len(operation.frame)

    def _wake(self) -> None:
        if self.room:
            self.room.wake_one()
