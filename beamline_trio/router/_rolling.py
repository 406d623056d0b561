"""How many calls there were, and how many of them failed, over the last so many seconds: in memory of a fixed size.

Time is cut into slots of a twelfth of the window. A call is forgotten with its slot, so that a window of 60 s covers
the last 55 to 60 s.

Must not know what a call is, and must not read a clock.
"""

from __future__ import annotations

from typing import Final

SLOTS: Final = 12


class RollingRate:
    """Calls and failures of a window.

    Args:
        window_seconds: how long a call counts; more than 0.
    """

    __slots__ = ("_at", "_calls", "_failures", "_width", "calls", "failures")

    def __init__(self, window_seconds: float) -> None:
        self._width = window_seconds / SLOTS
        self._calls = [0] * SLOTS
        self._failures = [0] * SLOTS
        self._at: int | None = None
        self.calls = 0
        self.failures = 0

    def add(self, calls: int, failures: int, now: float) -> None:
        """So many calls ended at this time, and so many of them failed. Time does not go back."""
        self.forget(now)
        assert self._at is not None
        slot = self._at % SLOTS
        self._calls[slot] += calls
        self._failures[slot] += failures
        self.calls += calls
        self.failures += failures

    def forget(self, now: float) -> None:
        """Let go what is too old at this time."""
        at = int(now // self._width)
        if self._at is not None:
            for gone in range(self._at + 1, min(at, self._at + SLOTS) + 1):
                slot = gone % SLOTS
                self.calls -= self._calls[slot]
                self.failures -= self._failures[slot]
                self._calls[slot] = self._failures[slot] = 0
        self._at = at

    def clear(self) -> None:
        """Begin anew."""
        self._calls = [0] * SLOTS
        self._failures = [0] * SLOTS
        self.calls = self.failures = 0

    def exceeds(self, rate: float, calls_min: int) -> bool:
        """Whether there were that many calls, and at least this share of them failed."""
        return self.calls >= calls_min and self.failures >= rate * self.calls
