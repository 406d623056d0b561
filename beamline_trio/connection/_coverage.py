"""What the server is known to have of the publishes that were written on a link: the books behind `confirmed`.

A server works a link off in order. So an answer to anything that was written on it shows that everything before that
had arrived: the PONG of a PING, and just so the reply to a request, and a PubAck. Every publish has a place, one more
than that of the publish before it, over all links. Whoever hears an answer raises `proven` to the place of what was
answered; that is all it costs, and what follows is settled when somebody asks. A place on an earlier link proves
nothing on this one.

A refusal names no place, and may overtake the answer to what was written before it. Then as many of the publishes
before the answer as can be are taken for the refused ones: what is called confirmed is never too much.

Must not know frames, or who waits.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

# Beyond so many publishes withdrawn on a link before the server's next answer, what was written before the oldest of
# them may be confirmed one answer later.
VOIDS_MAX: Final = 64


class Coverage:
    """The coverage of one link after another.

    Attributes:
        proven: the highest place of a publish that was answered.
        written: publishes written on this link.
        failed: publishes that the server refused, over all links.
        unknown: publishes that were neither confirmed nor refused when their link died, over all links.
    """

    __slots__ = ("_confirmed", "_covered", "_refused", "_start", "_voids", "failed", "proven", "unknown", "written")

    def __init__(self) -> None:
        self._confirmed = 0
        self._covered = 0
        self._refused = 0  # of those behind what is covered
        self._start = 0  # the last place of the link before
        self._voids: list[int] = []  # places behind what is covered whose publishes were withdrawn, in order
        self.proven = 0
        self.written = 0
        self.failed = 0
        self.unknown = 0

    @property
    def confirmed(self) -> int:
        """Publishes that the server has, over all links."""
        self._settle()
        return self._confirmed

    @property
    def covered(self) -> int:
        """How many of the publishes written on this link came before the last answer: confirmed or refused."""
        self._settle()
        return self._covered

    @property
    def unconfirmed(self) -> int:
        """Publishes written on this link and neither confirmed nor refused."""
        return self.written - self.covered - self._refused

    def covers(self, place: int) -> bool:
        """Whether an answer has come to the publish of this place, or to what was written behind it."""
        return self._position(place) <= self.covered

    def cover(self, position: int) -> None:
        """The server has answered behind so many publishes of this link."""
        count = position - self._covered
        if count <= 0:
            return
        failed = min(self._refused, count)
        self._confirmed += count - failed
        self._refused -= failed
        self._covered = position
        while self._voids and self._voids[0] - self._start - 1 <= position:
            self._fold()

    def refuse(self) -> bool:
        """The server refused one of the publishes it has not confirmed; False when there is none left to blame."""
        if self.unconfirmed <= 0:
            return False
        self._refused += 1
        self.failed += 1
        return True

    def withdraw(self, place: int) -> None:
        """The publish of this place will not be written."""
        self._settle()
        insort(self._voids, place)
        if len(self._voids) > VOIDS_MAX:
            self._fold()

    def begin(self, place: int) -> None:
        """Another link: of what was written before, this is the last place."""
        self._settle()
        self._start = place
        self._voids.clear()
        self.written = self._covered = self._refused = 0

    def lose(self, place: int) -> int:
        """The link is gone, and this is the last place before the next: returns how many are unknown."""
        unknown = self.unconfirmed
        self.unknown += unknown
        self.begin(place)
        return unknown

    def _settle(self) -> None:
        if self.proven > self._start:
            self.cover(min(self._position(self.proven), self.written))

    def _position(self, place: int) -> int:
        """How many publishes of this link were written up to a place: never too many."""
        return place - self._start - bisect_left(self._voids, place)

    def _fold(self) -> None:
        """Forget the oldest void: exact for all that is behind it."""
        del self._voids[0]
        self._start += 1
