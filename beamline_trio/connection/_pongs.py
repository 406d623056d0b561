"""The PONGs that have to come on a link: what each will confirm, and who waits for it.

A server answers PINGs in their order, so a PONG is that of the oldest PING, and shows that everything written before
that PING has arrived.

Must not wake who waits: its user tells them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

from ._coverage import Coverage
from ._waiters import NEVER, Waiter


@attrs.define
class Expectation:
    """A PING that was written and the PONG that has to come.

    Attributes:
        position: publishes written before the PING, in this link.
        waiters: who waits for it.
        sent_at: when it was written, in trio's time.
    """

    position: int
    waiters: list[Waiter]
    sent_at: float


class Pongs:
    """The PONGs of one link after another.

    Args:
        coverage: is told what they confirm.

    Attributes:
        answered: PONGs that somebody waited for who is no keep-alive.
    """

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._expectations: deque[Expectation] = deque()
        self.answered = 0

    def __bool__(self) -> bool:
        """Whether a PING was written whose PONG has not come."""
        return bool(self._expectations)

    def expect(self, position: int, waiters: list[Waiter], now: float) -> None:
        """A PING is about to be written, behind so many publishes of this link."""
        self._expectations.append(Expectation(position, waiters, now))

    def come(self) -> Expectation | None:
        """The PONG of the oldest PING came: what was written before it is confirmed. None = nobody asked."""
        if not self._expectations:
            return None
        expectation = self._expectations.popleft()
        self._coverage.cover(expectation.position)
        self.answered += not all(waiter.keepalive for waiter in expectation.waiters)
        return expectation

    def blamed(self, subject: bytes, reply: bytes = b"") -> list[Waiter]:
        """The waiters of written publishes to a subject or with a reply subject, for an error that names it."""
        return [waiter for waiter in self._waiting() if waiter.is_about(subject, reply)]

    def settle_counted(self, subject: bytes, reply: bytes) -> bool:
        """Whether an error is about a publish whose failure was counted before: its next one is not that publish's."""
        for waiter in self._waiters():
            if waiter.counted and waiter.is_about(subject, reply):
                waiter.counted = False
                return True
        return False

    def next_deadline(self, timeout: float) -> float:
        """When the oldest waiter runs out of time."""
        return min((waiter.written_at + timeout for waiter in self._waiting()), default=NEVER)

    def overdue(self, now: float, timeout: float) -> list[Waiter]:
        """The waiters that have run out of time."""
        return [waiter for waiter in self._waiting() if waiter.written_at + timeout <= now]

    def lose(self) -> tuple[list[Waiter], int]:
        """The link is gone, and no PONG comes: who waits, and how many unconfirmed were counted as failed before."""
        covers = self._coverage.covers
        waiting = list(self._waiting())
        counted = sum(waiter.counted and not covers(waiter.place) for waiter in self._waiters())
        self._expectations.clear()
        return waiting, counted

    def _waiters(self) -> Iterator[Waiter]:
        return (waiter for expectation in self._expectations for waiter in expectation.waiters)

    def _waiting(self) -> Iterator[Waiter]:
        return (waiter for waiter in self._waiters() if waiter.waiting and not waiter.keepalive)
