"""How much of a stream may wait in a route's queue: as much as is worked off before it would need heartbeats.

Each message that waits here longer is kept by heartbeats, and each of them costs the server what an ack costs: with
replicas, an entry that a majority writes. A queue that fills up with a backlog would so take from the servers what they
need to work it off, for as long as there is a backlog. What does not wait here waits in the stream, for nothing, and
other instances can have it.

Must not wait or read a clock.
"""

from __future__ import annotations

from typing import Final

# How fast a route works is looked at so often.
LOOK_SECONDS: Final = 1.0


class Ahead:
    """The bound of a queue by time.

    Args:
        least: so many may wait however slow the work is.
        seconds: what waits beyond that is to be worked off within so long.
        now: the time, in seconds.
    """

    def __init__(self, least: int, seconds: float, now: float) -> None:
        self._least = least
        self._seconds = seconds
        self._most = 0.0
        self._done = 0
        self._since = now

    def done(self) -> None:
        """The work of a message has ended, however."""
        self._done += 1

    def has_room(self, waiting: int, now: float) -> bool:
        """Whether one more may wait beside so many, by how fast the work was lately."""
        if waiting < self._least:
            return True
        elapsed = now - self._since
        if elapsed >= LOOK_SECONDS:
            self._most = self._done / elapsed * self._seconds
            self._done, self._since = 0, now
        return waiting < self._most
