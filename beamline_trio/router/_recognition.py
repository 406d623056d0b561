"""What a queue knows of messages of a stream that may come a second time: those that are here, and those done with.

What waits for long, through an outage or between its tries, is delivered again when its ack wait is over. A message is
known by its place in the stream and when it was stored there: a stream that was made again begins its places anew.

Must not settle messages.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

from ._delivery import Delivery

# Messages that were done with, whose second coming is recognised.
REMEMBERED_MAX: Final = 4_096
# Outcomes of a message that its stream delivers again.
COMES_AGAIN: Final = frozenset(("retried", "returned"))
# Sequence, and when it was stored.
_Mark: TypeAlias = tuple[int, int]


class Recognition:
    """The messages of one run of a route."""

    def __init__(self) -> None:
        self._here: dict[_Mark, None] = {}
        self._done: OrderedDict[_Mark, None] = OrderedDict()

    def was_done(self, delivery: Delivery) -> bool:
        """Whether it was done with not long ago: only its ack is missing."""
        return _mark_of(delivery) in self._done

    def enter(self, delivery: Delivery) -> bool:
        """It has come; False: it is here already."""
        mark = _mark_of(delivery)
        if mark in self._here:
            return False
        self._here[mark] = None
        return True

    def leave(self, delivery: Delivery, outcome: str) -> None:
        """It is here no longer."""
        mark = _mark_of(delivery)
        del self._here[mark]
        if outcome in COMES_AGAIN:
            return
        self._done[mark] = None
        if len(self._done) > REMEMBERED_MAX:
            self._done.popitem(last=False)


def _mark_of(delivery: Delivery) -> _Mark:
    metadata = delivery.metadata
    assert metadata is not None
    return metadata.stream_sequence, metadata.timestamp_ns
