"""The message ids that a stream has seen within its window: what makes a message a duplicate.

A busy stream has many of them, on each of its servers: one record an id, and no copy for what the disk has.

Must not know messages beyond their ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

_Record: TypeAlias = tuple[int, bytes, int]


class Duplicates:
    """The ids of one stream.

    Attributes:
        last_id: of the last message, if it had one.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, _Record] = {}
        self._order: deque[_Record] = deque()
        self._count = 0
        self.last_id = b""

    def __iter__(self) -> Iterator[_Record]:
        """What is remembered: when it came, the id, and the sequence of its message."""
        for record in self._order:
            if self._seen.get(record[1]) is record:
                yield record

    def place(self) -> tuple[int, bytes]:
        """Where it stands, for `cut`."""
        return self._count, self.last_id

    def cut(self, place: tuple[int, bytes]) -> None:
        """Forget what was remembered behind a place; what was forgotten since is too old for ever."""
        count, self.last_id = place
        while self._count > count:
            self._count -= 1
            if self._order:
                self._drop(self._order.pop())

    def sequence_of(self, identity: bytes, oldest: int) -> int:
        """The sequence of the message with this id, if it came behind `oldest`; else 0."""
        self._forget(oldest)
        record = self._seen.get(identity)
        return 0 if record is None else record[2]

    def remember(self, identity: bytes, sequence: int, now: int, oldest: int) -> None:
        """A message was stored; an empty id is remembered as the last one only."""
        self.last_id = identity
        if identity:
            self._forget(oldest)
            self.recall(identity, sequence, now)

    def recall(self, identity: bytes, sequence: int, time: int) -> None:
        """A message that is there has this id."""
        record = self._seen[identity] = (time, identity, sequence)
        self._order.append(record)
        self._count += 1

    def _forget(self, oldest: int) -> None:
        order = self._order
        while order and order[0][0] <= oldest:
            self._drop(order.popleft())

    def _drop(self, record: _Record) -> None:
        """Forget a record, unless its id came again."""
        if self._seen.get(record[1]) is record:
            del self._seen[record[1]]
