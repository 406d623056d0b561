"""How a drain ends under any traffic: how many messages may be kept while it goes on, and who waits for that.

While home answers, half of what goes home may be kept anew, so that less is kept each time; and behind the last of it
nothing, so that who comes then waits for the end of the drain. Whenever home is away, or the drain is in trouble or
over, there is room for all, and whoever waits decides anew.

Must not know messages or streams.
"""

from __future__ import annotations

import math
from typing import Final

import trio

# A drain that takes nothing home for so long, as when acks got lost, holds nobody back any more.
HELD_BACK_SECONDS: Final = 5.0
# Of what goes home so much may be kept anew.
LET_IN: Final = 0.5


class Room:
    """The room that a drain leaves."""

    def __init__(self) -> None:
        self._left = math.inf
        self._waiting = trio.lowlevel.ParkingLot()
        self._progress_at = 0.0

    @property
    def there_is(self) -> bool:
        """Whether a message may be kept now."""
        return self._left >= 1

    def take(self) -> None:
        """A message is being kept."""
        self._left -= 1

    async def wait(self) -> None:
        """Wait until there may be room, or the drain is over; look again then. Cancelled: as if it had never waited."""
        await self._waiting.park()

    def fetched(self, *, messages: bool, last: bool) -> None:
        """Home answers, and the drain has fetched some messages or none.

        Args:
            messages: it has some.
            last: nothing is kept behind them.
        """
        now = trio.current_time()
        if messages:
            self._progress_at = now
            if last or self._left == math.inf:
                self._left = 0
        elif now - self._progress_at > HELD_BACK_SECONDS:
            self.open()

    def went_home(self, messages: int) -> None:
        """So many went home while it answers, behind which some may be kept."""
        self._progress_at = trio.current_time()
        self._left = messages * LET_IN + (0 if self._left == math.inf else self._left)
        self._waiting.unpark(count=int(min(self._left, len(self._waiting))))

    def open(self) -> None:
        """Nobody waits any more."""
        self._left = math.inf
        self._waiting.unpark_all()
