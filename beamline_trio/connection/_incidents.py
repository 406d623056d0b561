"""What goes wrong with what comes in: messages for nobody, in no form, too late or too many, and callbacks that raise.

Each is counted once, and logged and told by an event where it is more than a race with an end; what goes out and never
arrives is in `_losses`.

Must not decide what becomes of a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ._events import CallbackFailed, Event, MessageSkipped, SlowConsumer
from ._log import ClientLog
from ._statistics import Counters


class Incidents:
    """The incidents of one client.

    Args:
        counters: the client's.
        log: the client's.
        emit: takes the events.
    """

    def __init__(self, counters: Counters, log: ClientLog, emit: Callable[[Event], None]) -> None:
        self._counters = counters
        self._log = log
        self._emit = emit

    def unroutable(self, count: int) -> None:
        """Messages came for an interest that is gone."""
        self._counters.unroutable += count

    def late_reply(self) -> None:
        """A reply came after its request had ended."""
        self._counters.late_replies += 1

    def malformed(self, subject: str, reason: str) -> None:
        """A message was skipped."""
        self._counters.malformed += 1
        self._log(logging.WARNING, "NATS_MESSAGE_SKIPPED", subject=subject, reason=reason)
        self._emit(MessageSkipped(subject, reason))

    def replies_overflow(self, subject: str, messages: int, size: int) -> None:
        """More replies to one request came than may be pending; it was ended, and the last one dropped."""
        self._counters.slow_consumer += 1
        self.slow_consumer(subject, messages, size)

    def slow_consumer(self, subject: str, messages: int, size: int) -> None:
        """A subscription begins to drop."""
        self._log(logging.WARNING, "NATS_SLOW_CONSUMER", subject=subject, pending=messages, pending_bytes=size)
        self._emit(SlowConsumer(subject, messages, size))

    def callback_failed(self, subject: str, error: Exception) -> None:
        """A callback or a hook of the user's raised."""
        self._counters.callback_errors += 1
        self._log(
            logging.ERROR, "NATS_CALLBACK_ERROR", subject=subject, words="a callback for it raised", exc_info=error
        )
        self._emit(CallbackFailed(subject, f"{type(error).__name__}: {error}"))
