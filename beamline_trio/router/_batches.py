"""Batches by size and time out of a route's lanes. A pure decision.

One batch forms at a time. What may be taken joins it at once, by the turns of the lanes; it is given out when it has
its size, when its oldest item has waited for the time, or when the queue is full. A key belongs to one batch at a time,
and within a batch several of a key stand in their order: a batch is worked on as one.

Must not wait or read a clock: `now` is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from ..connection import OptionsError
from ..protocol import frozen
from ._lane_items import Item
from ._lanes import Lanes

T = TypeVar("T")


@frozen
class Batch:
    """That a route's handler takes lists of messages.

    Attributes:
        size: messages in a batch at most; at least 1.
        seconds: how long the oldest waits for the others at most, from when it was queued; 0 = what is there at once.

    Raises:
        OptionsError: a number is out of its bounds.
    """

    size: int
    seconds: float

    def __attrs_post_init__(self) -> None:
        if self.size < 1:
            raise OptionsError(f"the size of a batch is {self.size}; it must be at least 1")
        if not 0 <= self.seconds < math.inf:
            raise OptionsError(f"the seconds of a batch are {self.seconds}; they must be 0 or more, and finite")


class Batches(Generic[T]):
    """Lanes that are taken from by the batch: the same calls, with lists of items.

    Quota and rate count items, when they join a batch: a tenant with a quota below the size has its batches by time.
    What joined a batch that nobody has taken still counts as queued.

    Args:
        lanes: where items are queued; only this takes from them.
        batch: size and time.

    Raises:
        OptionsError: the queue is too short for a batch.
    """

    def __init__(self, lanes: Lanes[T], batch: Batch) -> None:
        if batch.size > lanes.messages_max:
            raise OptionsError(
                f"the size of a batch is {batch.size}, the queue takes {lanes.messages_max}; "
                "raise queue_messages_max or make the batch smaller"
            )
        self._lanes = lanes
        self._size = batch.size
        self._seconds = batch.seconds
        self._finishing = False
        self._start_batch()

    def __len__(self) -> int:
        """How many are queued, in a batch that forms or before it."""
        return len(self._lanes)

    @property
    def bytes(self) -> int:
        """The same in bytes."""
        return self._lanes.bytes

    @property
    def full(self) -> bool:
        """Whether nothing more can be put until a batch is taken."""
        return self._lanes.full

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing taken: no key and no tenant is remembered."""
        return self._lanes.idle

    def put(
        self,
        value: T,
        *,
        key: Hashable | None,
        tenant: Hashable | None,
        size: int,
        now: float,
        held: bool = False,
    ) -> None:
        """As for Lanes."""
        self._lanes.put(value, key=key, tenant=tenant, size=size, now=now, held=held)
        self._fill(now, (key,) if key in self._keys else ())

    def take(self, now: float) -> list[Item[T]] | None:
        """The next batch, or None: it still forms. Hand it to `done` afterwards."""
        self._fill(now, ())
        if not self._complete(now):
            return None
        batch = self._forming
        self._lanes.leave(batch)
        self._start_batch()
        return batch

    def done(self, batch: list[Item[T]]) -> None:
        """The work on a batch has ended, however. Once per batch, with the list that `take` gave."""
        self._lanes.done_all(batch)
        self._retry_behind()

    def next_ready(self, now: float) -> float:
        """When a take can give something or let the batch grow; inf: never unless something is put or done."""
        if self._complete(now):
            return now
        return max(now, min(self._due, self._retry_at, self._lanes.next_ready(now)))

    def set_rate(self, per_second: float | None, now: float) -> None:
        """As for Lanes: items per second.

        Raises:
            OptionsError: it is not above 0 and finite; the old limit stays.
        """
        self._lanes.set_rate(per_second, now)
        self._retry_behind()

    def finish(self) -> None:
        """Nothing more will be put: from now on a batch does not wait for others."""
        self._finishing = True

    def drain(self) -> list[T]:
        """Everything that was never taken, the forming batch too, in order within each key; it is queued no longer."""
        behind = self._lanes.drain()
        formed = self._forming
        self._lanes.leave(formed)
        self._lanes.done_all(formed)
        self._start_batch()
        return [item.value for item in formed] + behind

    def _start_batch(self) -> None:
        self._forming: list[Item[T]] = []
        self._keys: dict[Hashable, None] = {}
        self._due = math.inf
        self._behind = False  # more of its keys is queued, kept out by a quota or the rate
        self._retry_at = math.inf  # when that may join after all

    def _complete(self, now: float) -> bool:
        formed = len(self._forming)
        return formed >= self._size or (formed > 0 and (self._finishing or self._due <= now or self._lanes.full))

    def _retry_behind(self) -> None:
        """What was kept out may have room now: the next call tries."""
        if self._behind:
            self._retry_at = -math.inf

    def _fill(self, now: float, keys: Iterable[Hashable]) -> None:
        """Let join what may. `keys`: those of the batch of which more has just been queued."""
        room = self._size - len(self._forming)
        if not room:
            return
        if self._retry_at <= now:
            keys, self._behind, self._retry_at = self._keys, False, math.inf
        joined, behind = self._lanes.take_more(now, room, keys)
        if behind:
            self._behind = True
            rate = self._lanes.rate
            if rate is not None and rate.ready_at(now) > now:  # else a quota is in the way, until something is done
                self._retry_at = rate.ready_at(now)
        self._forming += joined
        for item in joined:
            if item.key is not None:
                self._keys[item.key] = None
            self._due = min(self._due, item.since + self._seconds)
