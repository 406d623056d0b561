"""How often something may start: so many a second, with bursts of a given size. A pure decision.

One number is kept, the moment at which the bucket is full again. A start moves it by an interval; a start that would
move it further than a burst ahead of now has to wait. Nothing runs while nobody asks.

Must not read a clock: `now` is handed in, and only ever grows.
"""

from __future__ import annotations

import math
from typing import Final

from ..connection import OptionsError

# Workers wake a little late; a bucket of a tenth of a second's starts lets them make up for it.
BURST_SECONDS: Final = 0.1
# In starts: so that the rounding of floats does not cost the last of a burst.
SLACK: Final = 1e-6


class Rate:
    """A limit on starts per second.

    Between any two moments at most `burst + (later - earlier) * per_second` starts are allowed.

    Args:
        per_second: starts per second; more than 0, finite.
        burst: how many may start at one moment after a pause; at least 1. None: a tenth of a second's, at least one.

    Raises:
        OptionsError: a number is out of its bounds.
    """

    __slots__ = ("_ahead_max", "_burst", "_full_at", "_interval", "per_second")

    def __init__(self, per_second: float, burst: int | None = None) -> None:
        if burst is not None and burst < 1:
            raise OptionsError(f"the burst of a rate is {burst}; it must be at least 1")
        self._burst = burst
        self._full_at = -math.inf
        self._set(per_second)

    @property
    def burst(self) -> int:
        """How many may start at one moment after a pause."""
        return self._burst if self._burst is not None else max(1, math.ceil(self.per_second * BURST_SECONDS))

    def _set(self, per_second: float) -> None:
        if not 0 < per_second < math.inf:
            raise OptionsError(f"rate is {per_second} per second; it must be above 0 and finite (None = no limit)")
        self.per_second = per_second
        self._interval = 1.0 / per_second
        self._ahead_max = (self.burst - 1 + SLACK) * self._interval

    def take(self, now: float) -> bool:
        """Whether one may start now; then it counts as started."""
        full_at = self._full_at
        if now < full_at - self._ahead_max:
            return False
        self._full_at = (full_at if full_at > now else now) + self._interval
        return True

    def ready_at(self, now: float) -> float:
        """When the next may start: now, or the moment to wait for."""
        return max(now, self._full_at - self._ahead_max)

    def change(self, per_second: float, now: float) -> None:
        """Another limit from now on. What was started lately still counts, as so many starts, not as seconds.

        Raises:
            OptionsError: it is not above 0 and finite; the old limit stays.
        """
        owed = max(0.0, self._full_at - now) / self._interval
        self._set(per_second)
        self._full_at = now + min(owed, self.burst) * self._interval
