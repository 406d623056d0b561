"""Before a handler: may this message go to it now? A circuit breaker says no, and hears how each call went.

Who is refused raises instead of the handler, and the settlement makes of it what can be made: a message of a stream
comes again later, a request is told at once.

Must not settle anything, and is not there on a route that has nothing to ask.
"""

from __future__ import annotations

from typing import Any

import trio

from ._guards import Admitted, RouteBreaker
from ._middleware import CallNext
from ._outcomes import DeadLetter, HandlerOutcome, Retry, read_error
from ._payload import BadPayloadError
from ._statistics import RouteCounters


class AlreadyDoneError(Exception):
    """The work of this message was done before: nothing is left to do."""

    def __init__(self) -> None:
        super().__init__("it was handled before")


class GoneError(Exception):
    """A message that was held without its payload is in its stream no longer: a limit or somebody took it out."""


class RefusedError(Exception):
    """This message does not reach its handler now.

    Attributes:
        reason: of DEAD_LETTER_REASONS, if it was the message's last delivery.
        delay_seconds: when it should come again; None: as a message that failed.
    """

    def __init__(self, reason: str, text: str, delay_seconds: float | None) -> None:
        super().__init__(text)
        self.reason = reason
        self.delay_seconds = delay_seconds


def behind_breaker(call: CallNext, breaker: RouteBreaker, counters: RouteCounters) -> CallNext:
    """The same call, made where the breaker admits it.

    It raises RefusedError where not, and what the breaker's key function raises; the handler has not run.
    """

    async def admitted(delivery: Any) -> HandlerOutcome:
        began = trio.current_time()
        admitted = breaker.admit(delivery.message, began)
        if admitted is None:
            counters.breaker_refusals += 1
            delay = breaker.retry_after(delivery.message, began)
            raise RefusedError("breaker_open", "its circuit breaker is open", delay)
        try:
            outcome = await call(delivery)
        except BaseException as error:
            _tell(breaker, admitted, _has_failed(error, overdue=trio.current_time() >= delivery.deadline), began)
            raise
        _tell(breaker, admitted, isinstance(outcome, Retry), began)
        return outcome

    return admitted


def _has_failed(error: BaseException, *, overdue: bool) -> bool | None:
    """Whether what ended a call is a failure of what it called; None: it says nothing.

    A rejection is the handler's own good judgement. What is cancelled was too slow if its deadline has passed, else the
    router ends. A payload that cannot be read has called nothing.
    """
    if isinstance(error, BadPayloadError):
        return None
    if isinstance(error, Exception):
        return not isinstance(read_error(error), DeadLetter)
    return True if overdue else None


def _tell(breaker: RouteBreaker, admitted: Admitted, failed: bool | None, began: float) -> None:
    if failed is None:
        breaker.withdraw(admitted)
    else:
        now = trio.current_time()
        breaker.settle(admitted, failed=failed, seconds=now - began, now=now)
