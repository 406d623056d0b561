"""The message ids that a stream has seen within its window: what makes a message a duplicate.

A busy stream has a hundred thousand of them on each of its servers. They are kept in batches, of which each is let go
as a whole: a dictionary that loses its oldest entries one by one would grow to twice its size. A batch has its numbers
in arrays, which need no object for each.

Must not know messages beyond their ids.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

# A batch is full with so many ids, or with this part of all that are known.
_BATCH_IDS_MIN: Final = 1024
_BATCH_SHARE: Final = 4
_EVER: Final = -(2**63)


class _Batch:
    """Ids that came one behind the other.

    Attributes:
        places: id -> where its last coming stands; in the order of places.
        times: when each came.
        sequences: of the messages.
    """

    __slots__ = ("places", "sequences", "times")

    def __init__(self) -> None:
        self.places: dict[bytes, int] = {}
        self.times = array("q")
        self.sequences = array("q")

    def add(self, identity: bytes, sequence: int, time: int) -> None:
        self.places.pop(identity, None)
        self.places[identity] = len(self.times)
        self.times.append(time)
        self.sequences.append(sequence)

    def drop_last(self) -> None:
        self.times.pop()
        self.sequences.pop()
        if next(reversed(self.places.values()), -1) == len(self.times):
            self.places.popitem()


class Duplicates:
    """The ids of one stream.

    Args:
        batch_ids_min: a batch is not full with less.

    Attributes:
        last_id: of the last message, if it had one.
    """

    def __init__(self, batch_ids_min: int = _BATCH_IDS_MIN) -> None:
        self._batches: deque[_Batch] = deque()
        self._batch_ids_min = batch_ids_min
        self._room = 0
        self._count = 0
        self._oldest = _EVER
        self.last_id = b""

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        """What is remembered, in the order in which it came: the time, the id, and the sequence of its message."""
        for number, batch in enumerate(self._batches, 1):
            newer = list(islice(self._batches, number, None))
            for identity, place in batch.places.items():
                if batch.times[place] > self._oldest and not any(identity in other.places for other in newer):
                    yield batch.times[place], identity, batch.sequences[place]

    def place(self) -> tuple[int, bytes]:
        """Where it stands, for `cut`."""
        return self._count, self.last_id

    def cut(self, place: tuple[int, bytes]) -> None:
        """Forget what was remembered behind a place; what was forgotten since is too old for ever."""
        count, self.last_id = place
        for _ in range(self._count - count):
            if self._batches:
                self._batches[-1].drop_last()
                self._drop_empty()
        self._count = min(self._count, count)

    def sequence_of(self, identity: bytes, oldest: int) -> int:
        """The sequence of the message with this id, if it came behind `oldest`; else 0."""
        self._forget(oldest)
        for batch in reversed(self._batches):
            place = batch.places.get(identity)
            if place is not None:
                return batch.sequences[place] if batch.times[place] > self._oldest else 0
        return 0

    def remember(self, identity: bytes, sequence: int, now: int, oldest: int) -> None:
        """A message was stored; an empty id is remembered as the last one only."""
        self.last_id = identity
        if identity:
            self._forget(oldest)
            self.recall(identity, sequence, now)

    def recall(self, identity: bytes, sequence: int, time: int) -> None:
        """A message that is there has this id."""
        if not self._batches or len(self._batches[-1].times) >= self._room:
            known = sum(len(batch.times) for batch in self._batches)
            self._room = max(self._batch_ids_min, known // _BATCH_SHARE)
            self._batches.append(_Batch())
        self._batches[-1].add(identity, sequence, time)
        self._count += 1

    def _forget(self, oldest: int) -> None:
        """What came by then is not known any more, also by a later question about less time."""
        self._oldest = max(self._oldest, oldest)
        while self._batches and self._batches[0].times[-1] <= self._oldest:
            self._batches.popleft()

    def _drop_empty(self) -> None:
        if not self._batches[-1].times:
            self._batches.pop()
