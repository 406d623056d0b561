"""Accepted operations that will never be sent: each counted once, told to whoever waits for it, logged, and an event
for each subject.

They have left the queue when they come here, so that at every event the gauge is the length of the queue and the ledger
adds up.

Must not decide which operations go, and must not touch the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from ._errors import PendingFullError, PendingTimeoutError, closed_under
from ._events import Dropped
from ._log import ClientLog
from ._options import ClientOptions
from ._pending import PendingOperation
from ._requests import RequestInbox
from ._statistics import Counters


class _Listener(Protocol):
    def __call__(self, event: Dropped) -> None: ...


class _Witness(Protocol):
    def __call__(self, operations: list[PendingOperation], error: Callable[[], Exception]) -> None: ...


class Losses:
    """The losses of one client.

    Args:
        options: the client's.
        counters: the client's.
        inbox: where requests wait.
        log: the client's.
        emit: takes the events.
        given_up: is told of the operations themselves, and why.

    Attributes:
        expired: publishes that waited longer than the pending timeout.
        dropped: publishes that left the queue for any other reason, or never got into it under the policy `drop_new`.
        refused: of the dropped those that `drop_new` kept out of the queue.
    """

    def __init__(
        self,
        options: ClientOptions,
        counters: Counters,
        inbox: RequestInbox,
        log: ClientLog,
        emit: _Listener,
        given_up: _Witness,
    ) -> None:
        self._options = options
        self._counters = counters
        self._inbox = inbox
        self._log = log
        self._emit = emit
        self._given_up = given_up
        self.expired = 0
        self.dropped = 0
        self.refused = 0
        self._unlogged = 0
        self._logged_full = False

    def expire(self, operations: list[PendingOperation]) -> None:
        """These have waited longer than `pending_timeout_seconds`."""
        limit = self._options.pending_timeout_seconds
        reason = f"no connection for {limit:g} s (pending_timeout_seconds)"
        unsent = _publishes(operations)
        self.expired += len(unsent)
        self._count("pending_timeout", unsent)
        if unsent:
            self._log(logging.WARNING, "NATS_PENDING_EXPIRED", count=len(unsent), subject=unsent[0].subject)
        self._tell(operations, reason, lambda: PendingTimeoutError(f"{reason}; nothing was sent"))

    def too_large(self, operation: PendingOperation, error: Exception) -> None:
        """It is larger than what the server of the new link takes."""
        self._drop([operation], "too_large", str(error), lambda: error)

    def close(self, operations: list[PendingOperation]) -> None:
        """The client is closed."""
        self._drop(
            operations,
            "closed",
            "closed",
            lambda: closed_under(written=False),
        )

    def drop_oldest(self, size: int, operations: list[PendingOperation]) -> None:
        """The queue is full: these were its oldest, and went for a newer one."""
        self._full(size, len(operations))
        self._drop_full(operations, "the pending queue is full, and a newer operation took its place")

    def drop_new(self, size: int, operation: PendingOperation) -> None:
        """The queue is full: this one does not get in."""
        self.refused += 1
        self._full(size, 1)
        self._drop_full([operation], "the pending queue is full, and new operations are dropped")

    def refuse(self, size: int) -> None:
        """The queue is full: its caller is told and keeps the operation, which was never accepted."""
        self._full(size, 1)
        self._counters.publish_failures["pending_full"] += 1

    def hold_back(self, size: int) -> None:
        """The queue is full, and its callers begin to wait for room."""
        self._note_full(size, 1)

    def outage_over(self, size: int) -> None:
        """A link is up, or the client closed: what was refused, dropped or held back behind the first line is told."""
        self._logged_full = False
        if self._unlogged:
            self._log_full(size)

    def _full(self, size: int, count: int) -> None:
        self._counters.pending_dropped[self._options.pending_policy] += count
        self._note_full(size, count)

    def _note_full(self, size: int, count: int) -> None:
        """Logged once for each outage, when it begins: a flood of publishes is none of lines."""
        self._unlogged += count
        if not self._logged_full:
            self._logged_full = True
            self._log_full(size)

    def _log_full(self, size: int) -> None:
        options = self._options
        count, self._unlogged = self._unlogged, 0
        self._log(
            logging.WARNING,
            "NATS_QUEUE_FULL",
            size=size,
            max_size=options.pending_operations_max,
            policy=options.pending_policy,
            count=count,
        )

    def _drop_full(self, operations: list[PendingOperation], reason: str) -> None:
        policy = self._options.pending_policy
        text = f"{reason} (pending_policy {policy}); nothing was sent: publish less, or raise pending_operations_max"
        self._drop(operations, "pending_full", reason, lambda: PendingFullError(text), log_it=False)

    def _drop(
        self,
        operations: list[PendingOperation],
        failure: str,
        reason: str,
        error: Callable[[], Exception],
        *,
        log_it: bool = True,
    ) -> None:
        unsent = _publishes(operations)
        self.dropped += len(unsent)
        self._count(failure, unsent)
        if unsent and log_it:
            subject = unsent[0].subject
            self._log(logging.WARNING, "NATS_PENDING_DROPPED", count=len(unsent), subject=subject, reason=reason)
        self._tell(operations, reason, error)

    def _count(self, failure: str, unsent: list[PendingOperation]) -> None:
        self._counters.publish_failures[failure] += len(unsent)

    def _tell(self, operations: list[PendingOperation], reason: str, error: Callable[[], Exception]) -> None:
        by_subject: dict[str, int] = {}
        for operation in _publishes(operations):
            by_subject[operation.subject] = by_subject.get(operation.subject, 0) + 1
        for subject, count in by_subject.items():
            self._emit(Dropped(subject, count, reason))
        for operation in operations:
            waiter = operation.waiter
            if waiter is not None:
                self._inbox.discard(waiter.token)
                waiter.fail(error())
        self._given_up(operations, error)


def _publishes(operations: Iterable[PendingOperation]) -> list[PendingOperation]:
    """Those that are no bare waiters."""
    return [operation for operation in operations if operation.frame]
