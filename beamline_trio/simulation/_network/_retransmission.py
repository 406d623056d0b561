"""When TCP sends again what was not acknowledged, and when it gives up: Linux's figures, computed, never ticked.

The timeout begins at 0.2 s and doubles up to 120 s; after 15 times (tcp_retries2), 924.6 s after the first try, the
connection is broken. A SYN goes out again after 1, 2, 4, ... s, six times (tcp_syn_retries); 127 s after the first the
dial fails.

Must not know pipes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .._events import Events, Timer

TIMEOUT_FIRST_SECONDS: Final = 0.2
_TIMEOUT_MAX_SECONDS: Final = 120.0
_TRIES: Final = 15
_TIMEOUTS: Final = [min(TIMEOUT_FIRST_SECONDS * 2**n, _TIMEOUT_MAX_SECONDS) for n in range(_TRIES + 1)]
_MOMENTS: Final = list(accumulate(_TIMEOUTS))
# Less is the same instant: sums of floats.
_INSTANT_SECONDS: Final = 1e-6

# The last of them is no try any more: then it gives up.
GIVE_UP_SECONDS: Final = _MOMENTS.pop()

SYN_MOMENTS_SECONDS: Final = (0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0)
DIAL_GIVE_UP_SECONDS: Final = 127.0


class Retransmission:
    """There is something that is not acknowledged and will not be by itself.

    Args:
        first_try: when the oldest of it was sent, in seconds.
        again: called at a moment that was planned.
        give_up: called 924.6 s behind the first try.
    """

    __slots__ = ("_again", "_events", "_give_up", "_retry", "first_try")

    def __init__(
        self, events: Events, first_try: float, again: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self.first_try = first_try
        self._events = events
        self._again = again
        self._retry: Timer | None = None
        self._give_up = events.call_at(first_try + GIVE_UP_SECONDS, give_up)

    def holds_back(self, departure: float) -> bool:
        """Whether bytes of that time wait: behind the first timeout TCP sends again, and nothing new."""
        return departure > self.first_try + TIMEOUT_FIRST_SECONDS

    def plan(self) -> None:
        """Send it again at the next moment, if there is one. In between nothing needs to be done."""
        if self._retry is None or not self._retry.pending:
            moment = _next_try(self.first_try, self._events.now())
            if moment is not None:
                self._retry = self._events.call_at(moment, self._again)

    def cancel(self) -> None:
        """It is acknowledged, or nobody is there any more to send it."""
        self._give_up.cancel()
        if self._retry is not None:
            self._retry.cancel()


def _next_try(first_try: float, now: float) -> float | None:
    """The next moment at which it is sent again, later than now, or None when no try is left."""
    index = bisect_right(_MOMENTS, now - first_try + _INSTANT_SECONDS)
    return first_try + _MOMENTS[index] if index < len(_MOMENTS) else None
