"""The message ids that a stream has seen within its window: what makes a message a duplicate.

Must not know messages beyond their ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator


class Duplicates:
    """The ids of one stream.

    Attributes:
        last_id: of the last message, if it had one.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, int]] = {}
        self._order: deque[tuple[int, bytes]] = deque()
        self.last_id = b""

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        """What is remembered: when it came, the id, and the sequence of its message."""
        for time, identity in self._order:
            sequence, at = self._seen.get(identity, (0, 0))
            if at == time:
                yield time, identity, sequence

    def copy(self) -> Duplicates:
        """What is remembered now."""
        other = Duplicates()
        other.remember_all(self, self.last_id)
        return other

    def remember_all(self, ids: Iterable[tuple[int, bytes, int]], last_id: bytes) -> None:
        """Remember what another one does."""
        for time, identity, sequence in ids:
            self._seen[identity] = (sequence, time)
            self._order.append((time, identity))
        self.last_id = last_id

    def sequence_of(self, identity: bytes, oldest: int) -> int:
        """The sequence of the message with this id, if it came behind `oldest`; else 0."""
        self._forget(oldest)
        return self._seen.get(identity, (0, 0))[0]

    def remember(self, identity: bytes, sequence: int, now: int, oldest: int) -> None:
        """A message was stored; an empty id is remembered as the last one only."""
        self.last_id = identity
        if identity:
            self._forget(oldest)
            self.recall(identity, sequence, now)

    def recall(self, identity: bytes, sequence: int, time: int) -> None:
        """A message that is there has this id."""
        self._seen[identity] = (sequence, time)
        self._order.append((time, identity))

    def _forget(self, oldest: int) -> None:
        order = self._order
        while order and order[0][0] <= oldest:
            time, identity = order.popleft()
            if self._seen.get(identity, (0, 0))[1] == time:
                del self._seen[identity]
