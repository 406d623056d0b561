"""The times of one connection: when what waits for the server, or for a connection, has waited long enough.

One sweeper sleeps until the earliest of them and ends all that is due then: no scope for each call.

Must not send, and must not end what has a deadline of its own (keep-alive, handshake, drain).
"""

from __future__ import annotations

from ..protocol import decode_subject
from ._errors import OperationTimeoutError
from ._losses import Losses
from ._options import ClientOptions
from ._outbox import Outbox
from ._pending import PendingQueue
from ._requests import RequestInbox
from ._waiters import NEVER, Sleeper, Waiter


class Deadlines:
    """The deadlines of one client.

    Args:
        options: the client's.
        sleeper: is told when the next one is due; it runs `sweep`.
        outbox: where operations wait for a PONG.
        inbox: where requests wait for replies.
        pending: where operations wait for a connection.
        losses: ends those that waited too long for one.
    """

    def __init__(
        self,
        options: ClientOptions,
        sleeper: Sleeper,
        outbox: Outbox,
        inbox: RequestInbox,
        pending: PendingQueue,
        losses: Losses,
    ) -> None:
        self._timeout = options.operation_timeout_seconds
        self._sleeper = sleeper
        self._pongs = outbox.pongs
        self._inbox = inbox
        self._pending = pending
        self._losses = losses

    def on_written(self, now: float) -> None:
        """Operations that wait for an answer were handed to the link."""
        if self._timeout is not None:
            self._sleeper.tell(now + self._timeout)
        self._sleeper.tell(self._inbox.first_end(now))

    def sweep(self, now: float) -> float:
        """End what has run out of time; returns the next deadline."""
        timeout = self._timeout
        following = NEVER
        if timeout is not None:
            for waiter in self._pongs.overdue(now, timeout) + self._inbox.take_overdue(now, timeout):
                waiter.fail(_timeout_error(waiter, timeout))
            following = min(self._pongs.next_deadline(timeout), self._inbox.next_deadline(timeout))
        self._inbox.end_overdue(now)
        following = min(following, self._inbox.next_end())
        expired = self._pending.expire(now)
        if expired:
            self._losses.expire(expired)
        return min(following, self._pending.next_deadline())


def _timeout_error(waiter: Waiter, timeout: float) -> Exception:
    subject = f" to {decode_subject(waiter.subject)}" if waiter.subject else ""
    if waiter.token:
        what = f"no reply to a request{subject}"
    else:
        what = f"no PONG behind a publish{subject}" if waiter.frame else "no PONG to a flush"
    return OperationTimeoutError(
        f"{what} within {timeout:g} s (operation_timeout_seconds); it may or may not have arrived"
    )
