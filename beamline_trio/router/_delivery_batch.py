"""Deliveries that are handled and settled as one: what a worker of a route with `batch` has in hand.

To middleware, the breaker and the clock it is a delivery: that of its first message. What its handler is given, and how
each of its messages has ended, is asked of itself.

Must not settle the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from ..jetstream import JetStreamMessage
from ._delivery import Delivery
from ._lane_items import Item
from ._route_options import RouteOptions
from ._trace import TraceContext

_DIGEST_BYTES: Final = 8


class DeliveryBatch(Delivery):
    """Several deliveries to one route, in hand together; attributes of a single one are those of the first.

    Attributes:
        deliveries: those of this try, in their order.
        items: what the queue has to be told when all have ended.
        ended: how those of this try have ended so far.
    """

    __slots__ = ("deliveries", "ended", "items")

    def __init__(self, options: RouteOptions, items: list[Item[Delivery]], began: float) -> None:
        super().__init__(options, items[0].value.message, began)
        self.items = items
        self.deliveries: Sequence[Delivery] = [item.value for item in items]
        self.ended: dict[Delivery, str] = {}

    @property
    def handled(self) -> list[Delivery]:
        """Those that the handler is given: all but what failed before it could be called."""
        return [delivery for delivery in self.deliveries if delivery.failure is None]

    @property
    def links(self) -> tuple[TraceContext, ...]:
        """Where those of its messages that have a trace stand in it; its own `trace` is another."""
        return tuple(delivery.trace for delivery in self.deliveries if delivery.trace is not None)

    @property
    def references(self) -> list[Delivery]:
        """Those that have no payload here."""
        return [delivery for delivery in self.deliveries if delivery.held]

    @property
    def count(self) -> int:
        """How many of its messages have not ended."""
        return len(self.deliveries) - len(self.ended)

    @property
    def identity(self) -> str:
        """What its effects' message ids begin with: the same for the same messages in the same order, and only then.

        `<stream>:<first sequence>-<last sequence>.<count>:<route>`; where sequences are missing in between, or their
        order is another, the count is followed by a digest of them: two batches with the same ends and the same number
        of messages must not pass for one, since the effects of the second would be thrown away.
        """
        of = self.handled or self.deliveries
        positions = [one.message.position for one in of if isinstance(one.message, JetStreamMessage)]
        sequences = [sequence for _, sequence in positions]
        first, last, count = sequences[0], sequences[-1], len(sequences)
        which = f"{first}-{last}.{count}"
        if sequences != list(range(first, first + count)):
            text = ",".join(map(str, sequences)).encode()
            which = f"{which}.{blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()}"
        return f"{positions[0][0]}:{which}:{self.route}"

    def begin(self, now: float) -> None:
        """A worker has taken it, for the first time or again."""
        self.began = now
        self.blocked = self.acking = False
        for delivery in self.deliveries:
            delivery.blocked = delivery.acking = False

    def keep(self, left: list[Delivery]) -> None:
        """A try has ended, and these of it are to be tried again."""
        self.deliveries = left
        self.ended = {}

    def __repr__(self) -> str:
        return f"<DeliveryBatch of {len(self.deliveries)} to {self.route!r}, the first is {self.message!r}>"


def batch_of(delivery: Delivery) -> DeliveryBatch:
    """What a worker of such a route has in hand is always a batch."""
    assert isinstance(delivery, DeliveryBatch)
    return delivery
