"""What a session has asked for and not got, over all pulls that its server may have.

The server serves its open pulls in turn, and of one that is full it says nothing. So which pull a message was of cannot
be told, only how many are to come from all of them; and the end of any of them is news, also of one that could be full.

Must not send, and knows no time but what it is told.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from ..connection import NEVER

# No number of a pull is longer.
NUMBER_DIGITS_MAX: Final = 20


@attrs.frozen(eq=False)
class OpenPull:
    """A pull that the server may have: its number, how many messages it asked for, and when it must have ended."""

    number: bytes
    batch: int
    deadline: float


class PullAccount:
    """The account of one session.

    Attributes:
        expected: messages that are to come.
    """

    def __init__(self) -> None:
        self.expected = 0
        self._pulls: deque[OpenPull] = deque()
        self._asked = 0
        self._last = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._pulls)

    @property
    def next_deadline(self) -> float:
        """When the first pull that may still give something must have ended."""
        return self._pulls[0].deadline if self._pulls else NEVER

    def add(self, number: bytes, batch: int, deadline: float) -> None:
        """A pull is sent; its number is greater than those before it."""
        self._last = int(number)
        self._pulls.append(OpenPull(number, batch, deadline))
        self._asked += batch
        self.expected += batch

    def count_one(self) -> None:
        """A message came."""
        self._expect(self.expected - 1)

    def knows(self, number: bytes) -> bool:
        """Whether it is a pull that was made since all were forgotten last, though it may be full."""
        if not number.isdigit() or len(number) > NUMBER_DIGITS_MAX:
            return False
        return self._forgotten < int(number) <= self._last

    def close(self, number: bytes, undelivered: int | None) -> None:
        """A pull is over. The server's count of what it did not give is exact, whichever pull gave the rest."""
        for pull in self._pulls:
            if pull.number == number:
                self._pulls.remove(pull)
                self._asked -= pull.batch
                break
        self._expect(self.expected - (undelivered or 0))

    def close_overdue(self, now: float) -> bool:
        """End the oldest pull if it should have ended by now; False when none should."""
        if self.next_deadline > now:
            return False
        self.close(self._pulls[0].number, None)
        return True

    def forget(self) -> None:
        """Nothing is to come, and what these pulls say of their ends is no news."""
        self._forgotten = self._last
        self._pulls.clear()
        self.expected = self._asked = 0

    def _expect(self, expected: int) -> None:
        """So many are to come. The oldest pulls, which end first, are not watched when the others may give as many."""
        pulls = self._pulls
        self.expected = max(0, min(expected, self._asked))
        while pulls and self._asked - pulls[0].batch >= self.expected:
            self._asked -= pulls.popleft().batch
