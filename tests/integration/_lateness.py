"""How late a task of the same event loop is: a ticker that notes the worst delay of its own wake-ups.

Must not wait for anything but its clock.
"""

from __future__ import annotations

import trio

TICK_SECONDS = 0.005
# Far above what a loaded machine does to a loop that yields, far below what a loop that does not shows.
LATE_MAX_SECONDS = 0.25


class Ticker:
    """Started with `nursery.start_soon(ticker.run)`; `worst_seconds` is the longest delay beyond a tick so far."""

    def __init__(self) -> None:
        self.worst_seconds = 0.0
        self.ticks = 0

    def restart(self) -> tuple[int, float]:
        """Begin anew; returns the ticks and the worst delay so far."""
        seen = (self.ticks, self.worst_seconds)
        self.ticks, self.worst_seconds = 0, 0.0
        return seen

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due = trio.current_time() + TICK_SECONDS
            await trio.sleep_until(due)
            self.worst_seconds = max(self.worst_seconds, trio.current_time() - due)
            self.ticks += 1
