"""The account of a retry: what was pending when a link came up, and what became of it on this link.

Of what was handed to the link, a success is what the server has confirmed; what it refused, what is too large for it
and what was written to a link that died is a failure. What was never written goes back to the queue, with the deadline
it has had from the beginning, and is neither.

Must not send.
"""

from __future__ import annotations

import logging
from collections import Counter

from ._log import ClientLog
from ._outbox import Outbox
from ._pending import PendingOperation
from ._statistics import Counters
from ._waiters import Waiter


class Retry:
    """The retries of one client, one after another.

    Args:
        outbox: where what was pending goes.
        counters: the client's.
        log: the client's.
    """

    def __init__(self, outbox: Outbox, counters: Counters, log: ClientLog) -> None:
        self._outbox = outbox
        self._counters = counters
        self._log = log
        self._handed: dict[int, PendingOperation] = {}
        self._subjects: Counter[str] = Counter()
        self._sent = self._too_large = self._refused = 0
        self._under_way = False

    @property
    def under_way(self) -> bool:
        """Whether the account of a link is still open."""
        return self._under_way

    def begin(self, pending: int) -> None:
        """A link is up, and so many publishes are pending."""
        self._handed.clear()
        self._subjects.clear()
        self._sent = self._too_large = self._refused = 0
        self._under_way = True
        if pending:
            self._log(logging.INFO, "NATS_RETRY_PENDING", pending=pending)

    def hand_over(self, operation: PendingOperation) -> None:
        """Put one into the outbox."""
        self._handed[id(operation.frame or operation.waiter)] = operation
        if operation.frame:
            self._sent += 1
            self._subjects[operation.subject] += 1
            self._counters.pending_retried += 1
        self._outbox.put(operation.frame, operation.waiter, accepted_before=True)

    def taken(self) -> None:
        """The writer has taken all that was handed over."""
        self._handed.clear()

    def find(self, frame: bytes, waiter: Waiter | None) -> PendingOperation | None:
        """The operation that was handed over as this frame and waiter, and not taken."""
        return self._handed.get(id(frame or waiter))

    def too_large(self) -> None:
        """One is more than what this server takes."""
        self._too_large += 1

    def refused(self, subject: str) -> None:
        """The server refuses a subject. It answers in the order of the writes: those that were pending come first."""
        if self._under_way and self._subjects[subject] > 0:
            self._subjects[subject] -= 1
            self._refused += 1

    def ask(self) -> None:
        """All is handed over: a PING behind it; its PONG ends the account."""
        self._outbox.put(b"", _Answer(self))

    def end(self) -> None:
        """The server has confirmed what was handed over, or the link is about to go. Without effect when it ended."""
        if not self._under_way:
            return
        self._under_way = False
        written = min(self._sent, self._outbox.coverage.written)
        success = max(0, min(self._sent, self._outbox.coverage.covered) - self._refused)
        failed = written - success + self._too_large
        self._counters.pending_retry_success += success
        self._counters.pending_retry_failed += failed
        if self._sent or self._too_large:
            self._log(logging.INFO, "NATS_RETRY_COMPLETE", success=success, failed=failed)


class _Answer(Waiter):
    """The PONG behind what was pending. No task waits for it, and it is of its link."""

    __slots__ = ("_retry",)

    def __init__(self, retry: Retry) -> None:
        super().__init__(keepalive=True)
        self._retry = retry

    def succeed(self, value: object) -> None:
        """It came."""
        self._retry.taken()
        self._retry.end()
