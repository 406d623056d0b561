"""The queue of a route whose handler takes lists: workers take batches, of which each message is counted for itself.

Where there is order by key, what is left of a batch after a try that failed is parked as one, and its keys with it.

Must not handle messages, and must not decide what becomes of a try.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import trio

from ..client import Message
from ._batches import Batch, Batches
from ._delivery import Delivery
from ._delivery_batch import DeliveryBatch, batch_of
from ._lane_items import Item
from ._overflow import Overflow
from ._queue import PARKED, RouteQueue
from ._route_options import RouteOptions
from ._sources import Source
from ._statistics import RouteCounters


class BatchQueue(RouteQueue):
    """See `RouteQueue`; what it gives, and is told the end of, are batches."""

    def __init__(
        self,
        options: RouteOptions,
        batch: Batch,
        rate: float | None,
        source: Source,
        counters: RouteCounters,
        deliver: Callable[[Message, float], Delivery],
        overflow: Overflow,
        join: Callable[[list[Item[Delivery]], float], DeliveryBatch],
    ) -> None:
        super().__init__(options, rate, source, counters, deliver, overflow)
        self._line = self._batches = Batches(self._lanes, batch)
        self._join = join
        self._delays: dict[Delivery, float] = {}

    def __len__(self) -> int:
        """How many messages wait here; parked ones among them."""
        return len(self._batches) + sum(parked.count for _, _, parked in self._parked)

    def park(self, delivery: Delivery, seconds: float) -> str:
        """To be tried again here, with what else is left of its batch."""
        delivery.tries += 1
        self._delays[delivery] = seconds
        return PARKED

    def end(self, delivery: Delivery, outcome: str, seconds: float) -> None:
        """A worker is done with a batch: each of its messages has the outcome that the batch says."""
        batch = batch_of(delivery)
        left = [one for one in batch.deliveries if batch.ended[one] is PARKED]
        for one in batch.deliveries:
            ended = batch.ended[one]
            if ended is PARKED:
                self._counters.requeue(len(one.message.payload))
            else:
                self._counters.end(ended, seconds)
                self._forget(one, ended)
        if left:
            batch.keep(left)
            due = trio.current_time() + max(self._delays.pop(one) for one in left)
            heapq.heappush(self._parked, (due, next(self._numbers), batch))
        else:
            self._batches.done(batch.items)
        self._ready.wake_one()

    def _finish(self) -> None:
        self._batches.finish()

    def _pick(self, now: float) -> Delivery | None:
        items = self._batches.take(now)
        return None if items is None else self._join(items, now)

    def _begin(self, delivery: Delivery, now: float) -> None:
        batch = batch_of(delivery)
        batch.begin(now)
        for one in batch.deliveries:
            self._counters.unqueue(len(one.message.payload))

    def _requeue(self, delivery: Delivery) -> None:
        for one in batch_of(delivery).deliveries:
            self._counters.requeue(len(one.message.payload))

    def _leftovers(self) -> list[Delivery]:
        parked = [one for _, _, batch in sorted(self._parked) for one in batch_of(batch).deliveries]
        self._parked.clear()
        return parked + self._batches.drain()
