"""How hard a router is pressed: a level from what waits, what is worked on, and how long it takes.

It looks at the router's totals from time to time, so that a message costs nothing. A level rises at once, and falls
when the lower one has held for a while. How long messages take is the difference between two moments of a histogram
that only grows, so a rolling percentile needs a fixed number of copies of it.

Must not read a clock, and must not act on the level.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from ..protocol import frozen
from ._statistics import DURATION_BOUNDS_SECONDS

_COPIES: Final = 12
_QUANTILE: Final = 0.95
# With fewer durations than this the percentile would be the slowest one, which says nothing.
_DURATIONS_MIN: Final = 20


class BackpressureLevel(enum.Enum):
    """How many thresholds are reached: none, one, or more."""

    INACTIVE = "inactive"
    WARNING = "warning"
    ACTIVE = "active"


@frozen(kw_only=True)
class Backpressure:
    """The thresholds of a router's backpressure levels: one that is reached is a warning, two are active.

    Attributes:
        pending: messages that wait, of all routes; at least 1.
        p95_seconds: of the time that a message takes, 19 of 20 stay below; more than 0, and at most the greatest bound
            of the histogram, 10.
        in_flight: messages that are worked on; at least 1.
        window_seconds: over which the time is looked at, more than 0.
        recovery_seconds: a lower level must have held for so long; 0 or more.
    """

    pending: int = 1000
    p95_seconds: float = 5.0
    in_flight: int = 500
    window_seconds: float = 60.0
    recovery_seconds: float = 5.0

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: an option is out of its bounds.
        """
        for name in ("pending", "in_flight"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.p95_seconds <= DURATION_BOUNDS_SECONDS[-1]:
            raise ValueError(
                f"p95_seconds is {self.p95_seconds}; it must be more than 0 and at most {DURATION_BOUNDS_SECONDS[-1]}"
            )
        if not self.window_seconds > 0:
            raise ValueError(f"window_seconds is {self.window_seconds}; it must be more than 0")
        if not self.recovery_seconds >= 0:
            raise ValueError(f"recovery_seconds is {self.recovery_seconds}; it must be 0 or more")


@frozen(kw_only=True)
class BackpressureStatus:
    """What the level is, and from which numbers: `pending` messages, `in_flight` messages, `p95_seconds`."""

    level: BackpressureLevel
    pending: int
    in_flight: int
    p95_seconds: float


_LEVELS: Final = (BackpressureLevel.INACTIVE, BackpressureLevel.WARNING, BackpressureLevel.ACTIVE)


class BackpressureMeter:
    """The level of a router, and how it came there.

    Attributes:
        status: at the last look.
        events: level -> times that it was entered.
    """

    def __init__(self, options: Backpressure) -> None:
        self._options = options
        self._percentile = RollingPercentile(options.window_seconds)
        self._lower_since: float | None = None
        self.events: dict[BackpressureLevel, int] = dict.fromkeys(BackpressureLevel, 0)
        self.status = BackpressureStatus(level=BackpressureLevel.INACTIVE, pending=0, in_flight=0, p95_seconds=0.0)

    @property
    def level(self) -> BackpressureLevel:
        """The level at the last look."""
        return self.status.level

    def look(self, *, pending: int, in_flight: int, duration_counts: Sequence[int], now: float) -> bool:
        """Look at the router's numbers: returns whether the level is another one now.

        Args:
            pending: messages that wait now.
            in_flight: messages that are worked on now.
            duration_counts: per bound of DURATION_BOUNDS_SECONDS, since the router began.
            now: not before the last look.
        """
        p95 = self._percentile.look(duration_counts, now)
        options = self._options
        reached = (pending >= options.pending) + (in_flight >= options.in_flight) + (p95 >= options.p95_seconds)
        level = self._settled_level(_LEVELS[min(reached, 2)], now)
        changed = level is not self.level
        if changed:
            self.events[level] += 1
        self.status = BackpressureStatus(level=level, pending=pending, in_flight=in_flight, p95_seconds=p95)
        return changed

    def _settled_level(self, level: BackpressureLevel, now: float) -> BackpressureLevel:
        if _LEVELS.index(level) >= _LEVELS.index(self.level):
            self._lower_since = None
            return level
        if self._lower_since is None:
            self._lower_since = now
        if now - self._lower_since < self._options.recovery_seconds:
            return self.level
        self._lower_since = None
        return level


class RollingPercentile:
    """The 95th percentile of the durations of the last so many seconds, from a histogram that only grows."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._copies: deque[tuple[float, tuple[int, ...]]] = deque()

    def look(self, counts: Sequence[int], now: float) -> float:
        """The percentile in seconds, 0 where too few ended in the window; between two bounds it is interpolated."""
        copies = self._copies
        while len(copies) > 1 and copies[1][0] <= now - self._window_seconds:
            copies.popleft()
        if not copies or now - copies[-1][0] >= self._window_seconds / _COPIES:
            copies.append((now, tuple(counts)))
        before = copies[0][1]
        return percentile([mine - earlier for mine, earlier in zip(counts, before, strict=True)])


def percentile(counts: Sequence[int]) -> float:
    """The 95th percentile of durations given per bound; above the last bound it is the last bound."""
    total = sum(counts)
    if total < _DURATIONS_MIN:
        return 0.0
    rank = _QUANTILE * total
    reached = list(accumulate(counts))
    number = bisect_left(reached, rank)
    if number == len(DURATION_BOUNDS_SECONDS):
        return DURATION_BOUNDS_SECONDS[-1]
    low = DURATION_BOUNDS_SECONDS[number - 1] if number else 0.0
    high = DURATION_BOUNDS_SECONDS[number]
    return low + (high - low) * (rank - (reached[number] - counts[number])) / counts[number]
