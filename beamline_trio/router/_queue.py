"""A route's queue, where more than their coming decides who is next: order by key, tenants, a rate.

A task takes from the source and puts into the lanes; workers take from the lanes. Where there is order by key, a
message that is to be tried again does not go back to the server, behind the others of its key: it is parked here, its
key stays taken, and its worker is free. What the server delivers again meanwhile, because its ack wait was over, is
recognised and not handled twice. What a tenant has beyond its part of the queue is for `_overflow` to keep or refuse.

Of a stream without tenants no more is taken than `_ahead` allows, unless workers are idle because all that waits has
keys that are taken: then they find others among what follows, up to the queue's bounds.

Must not handle messages, and must not decide what becomes of a try.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Hashable
from typing import Final, Protocol

import trio

from ..client import Message
from ..connection import CALLS_PER_CHECK, ClientClosedError, Lot, Pace
from ..jetstream import JetStreamMessage
from ..protocol import NatsError
from ._ahead import Ahead
from ._delivery import Delivery
from ._lane_items import Item
from ._lanes import Lanes
from ._middleware import CallNext
from ._outcomes import HandlerOutcome
from ._overflow import Overflow
from ._rate import Rate
from ._recognition import Recognition
from ._route_options import QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, RouteOptions
from ._sources import Source
from ._statistics import RouteCounters

# What a settlement says of a message that is parked: it has no outcome yet.
PARKED: Final = "parked"
# Until payloads that could not be read are asked for again.
RESTORE_PAUSE_SECONDS: Final = 1.0
# Heartbeats that leave in one go: more would keep the other tasks waiting.
EXTENDED_AT_ONCE: Final = 500


class Line(Protocol):
    """What the queue asks of where messages wait, whether they are taken one by one or in batches."""

    @property
    def full(self) -> bool: ...

    def __len__(self) -> int: ...

    def put(
        self,
        value: Delivery,
        *,
        key: Hashable | None,
        tenant: Hashable | None,
        size: int,
        now: float,
        held: bool = False,
    ) -> None: ...

    def next_ready(self, now: float) -> float: ...

    def set_rate(self, per_second: float | None, now: float) -> None: ...


class RouteQueue:
    """The queue of one run of a route.

    Attributes:
        error: why the source ended, when it did not end cleanly.
    """

    def __init__(
        self,
        options: RouteOptions,
        rate: float | None,
        source: Source,
        counters: RouteCounters,
        deliver: Callable[[Message, float], Delivery],
        overflow: Overflow,
    ) -> None:
        self.error: NatsError | None = None
        self._key_of = options.ordered_by
        self._tenant_of = options.tenant_by
        self._source = source
        self._counters = counters
        self._deliver = deliver
        self._overflow = overflow
        waits_long = options.stream is not None and (self._key_of, self._tenant_of) != (None, None)
        self._recognition = Recognition() if waits_long else None
        self._lanes: Lanes[Delivery] = Lanes(
            messages_max=options.queue_messages_max or QUEUE_MESSAGES_MAX,
            bytes_max=options.queue_bytes_max or QUEUE_BYTES_MAX,
            held_max=options.held_max,
            quota=options.quota,
            weights=options.weights,
            rate=None if rate is None else Rate(rate),
        )
        self._line: Line = self._lanes
        self._here: dict[Delivery, Item[Delivery] | None] = {}
        self._parked: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()
        self._ahead: Ahead | None = None
        if options.stream is not None and self._tenant_of is None:
            self._ahead = Ahead(options.waiting_least, options.heartbeat_seconds / 2, trio.current_time())
        self._free = 0
        self._pace = Pace()
        self._room = Lot()
        self._ready = Lot()
        self._ended = False

    def __len__(self) -> int:
        """How many wait here; parked ones among them."""
        return len(self._line) + len(self._parked)

    # In

    async def fill(self) -> None:
        """Take from the source until it ends."""
        try:
            while True:
                while not self._has_room():
                    await self._room.wait()
                await self._put(await self._source.receive())
        except NatsError as error:
            self.error = error
        except (trio.EndOfChannel, trio.ClosedResourceError):
            pass
        finally:
            self._ended = True
            self._finish()
            self._ready.wake_all()

    def _has_room(self) -> bool:
        if self._line.full:
            return False
        if self._ahead is None:
            return True
        now = trio.current_time()
        if self._ahead.has_room(len(self._line), now):
            return True
        return bool(self._ready) and self._line.next_ready(now) == math.inf

    async def _put(self, message: Message) -> None:
        now = trio.current_time()
        size = len(message.payload)
        self._counters.queue(size)
        delivery = self._deliver(message, now)
        if self._recognition is not None and self._came_before(delivery, self._recognition):
            self._counters.end_pending("duplicate", size)
            return
        key, tenant = self._whose(delivery)
        held = self._tenant_of is not None and not self._lanes.has_room(tenant)
        if held:
            if self._lanes.overflow(tenant):
                self._overflow.tell(tenant)
            if not self._overflow.hold(delivery):
                await self._overflow.turn_away(delivery, size)
                return
            size = 0
        self._here[delivery] = None
        self._line.put(delivery, key=key, tenant=tenant, size=size, now=now, held=held)
        self._ready.wake_one()

    def _whose(self, delivery: Delivery) -> tuple[Hashable | None, Hashable | None]:
        """Its key and its tenant; None and None with a failure to raise where they cannot be told."""
        message = delivery.message
        try:
            key = None if self._key_of is None else self._key_of(message)
            tenant = None if self._tenant_of is None else self._tenant_of(message)
            hash((key, tenant))
        except Exception as error:  # noqa: BLE001  # of the user's function: as if the handler had raised it
            delivery.failure = error
            return None, None
        return key, tenant

    def _came_before(self, delivery: Delivery, recognition: Recognition) -> bool:
        """Whether a message of a stream is here, or was done with: then it is acked."""
        if recognition.was_done(delivery):
            assert isinstance(delivery.message, JetStreamMessage)
            delivery.message.ack_nowait()
            return True
        return not recognition.enter(delivery)

    # Out

    async def take(self) -> Delivery:
        """The next to work on. An amortised checkpoint; cancelled, none is lost.

        Raises:
            trio.EndOfChannel: the source has ended, and nothing waits here.
            NatsError: the same, when the source did not end cleanly.
        """
        if self._free <= 0:
            await self._pace.check()
            self._free = CALLS_PER_CHECK
        self._free -= 1
        while True:
            now = trio.current_time()
            delivery = self._next(now)
            if delivery is not None:
                if not delivery.references or await self._restored(delivery):
                    return delivery
                continue
            if self._ended and not len(self):
                self._ready.wake_all()
                raise self.error if self.error is not None else trio.EndOfChannel
            due = self._parked[0][0] if self._parked else math.inf
            if not self._line.full:
                self._room.wake_one()  # somebody is idle: what follows may be of other keys
            due = min(due, self._line.next_ready(now))
            if due == math.inf:  # as nearly always; a scope costs as much as the wait
                await self._ready.wait()
            else:
                with trio.CancelScope(deadline=due):
                    await self._ready.wait()
            self._pace.yielded()

    def _next(self, now: float) -> Delivery | None:
        if self._parked and self._parked[0][0] <= now:
            delivery = heapq.heappop(self._parked)[2]
        else:
            picked = self._pick(now)
            if picked is None:
                return None
            delivery = picked
            if not self._line.full:
                self._room.wake_one()
        self._begin(delivery, now)
        return delivery

    def _pick(self, now: float) -> Delivery | None:
        item = self._lanes.take(now)
        if item is None:
            return None
        self._here[item.value] = item
        return item.value

    def _begin(self, delivery: Delivery, now: float) -> None:
        delivery.began = now
        delivery.blocked = delivery.acking = False
        self._counters.unqueue(len(delivery.message.payload))

    async def _restored(self, delivery: Delivery) -> bool:
        """Whether its payload is here again; where it cannot be read now, it waits a little. Cancelled, it stays here.

        Raises:
            ClientClosedError: nothing can be read any more.
        """
        try:
            await self._overflow.restore(delivery.references)
        except BaseException as error:
            self._requeue(delivery)
            again = isinstance(error, NatsError) and not isinstance(error, ClientClosedError)
            due = trio.current_time() + (RESTORE_PAUSE_SECONDS if again else 0.0)
            heapq.heappush(self._parked, (due, next(self._numbers), delivery))
            if not again:
                raise
            return False
        return True

    def _requeue(self, delivery: Delivery) -> None:
        self._counters.requeue(len(delivery.message.payload))

    def _finish(self) -> None:
        """Nothing more comes."""

    def park(self, delivery: Delivery, seconds: float) -> str:
        """To be tried again here after so long; its key stays taken. Returns what to say of it."""
        delivery.tries += 1
        heapq.heappush(self._parked, (trio.current_time() + seconds, next(self._numbers), delivery))
        return PARKED

    def end(self, delivery: Delivery, outcome: str, seconds: float) -> None:
        """A worker is done with a try."""
        if outcome is PARKED:
            self._requeue(delivery)
        else:
            self._counters.end(outcome, seconds)
            self._forget(delivery, outcome)
        self._ready.wake_one()

    def _forget(self, delivery: Delivery, outcome: str) -> None:
        if self._ahead is not None:
            self._ahead.done()
        item = self._here.pop(delivery)
        if item is not None:
            self._lanes.done(item)
        if self._recognition is not None:
            self._recognition.leave(delivery, outcome)

    # Otherwise

    def guard(self, call: CallNext) -> CallNext:
        """The handler's call, for messages whose key could not be told too."""

        async def guarded(delivery: Delivery) -> HandlerOutcome:
            if delivery.failure is not None:
                raise delivery.failure
            return await call(delivery)

        return guarded

    async def extend(self, age: float) -> None:
        """Keep what waits here from being delivered to somebody else."""
        for number, delivery in enumerate(tuple(self._here), start=1):
            if isinstance(delivery.message, JetStreamMessage):
                delivery.message.extend(age)
            if number % EXTENDED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def set_rate(self, per_second: float | None) -> None:
        """Another rate from now on; None = no limit.

        Raises:
            OptionsError: it is not above 0 and finite.
        """
        self._line.set_rate(per_second, trio.current_time())
        self._ready.wake_all()

    def close(self) -> None:
        """The route ends: what waits goes back to its stream, in its order."""
        for delivery in self._leftovers():
            message = delivery.message
            outcome = "discarded"
            if isinstance(message, JetStreamMessage):
                message.give_back()
                outcome = "returned"
                self._counters.retries["backpressure"] += 1
            self._counters.end_pending(outcome, len(message.payload))
            self._overflow.forget(delivery)
            del self._here[delivery]

    def _leftovers(self) -> list[Delivery]:
        parked = [delivery for _, _, delivery in sorted(self._parked)]
        self._parked.clear()
        return parked + self._lanes.drain()
