"""A route's workers: each takes a message, has it handled and settled, and takes the next. No task per message.

A worker has one cancel scope, which is entered again only after it fired (a scope for each delivery would cost 8 us).
Whoever cancels it (a deadline, a smaller pool, a hold) says so in the worker's slot first; what is left in the slot
behind the scope is the delivery whose deadline has passed.

Must not decide what a message's outcome means.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from ..client import Client, Message
from ..connection import State
from ..protocol import NatsError
from ._delivery import Delivery
from ._gate import Gate
from ._middleware import CallNext
from ._queue import RouteQueue
from ._settlement import log_handler_error
from ._slots import RouteSlots
from ._sources import Source
from ._statistics import RouteCounters
from ._worker import Settlement, Slot


class Pool:
    """The workers of one route while it runs.

    Attributes:
        slots: the workers, in the order they were started.
        abandoned: messages that were in hand when it was cancelled.
        error: why the source ended, when it did not end cleanly.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        call: CallNext,
        settlement: Settlement,
        gate: Gate,
        counters: RouteCounters,
        deliver: Callable[[Message, float], Delivery],
        *,
        queue: RouteQueue | None,
        room: RouteSlots | None,
    ) -> None:
        self.slots: dict[Slot, None] = {}
        self.error: NatsError | None = None
        self.abandoned = 0
        self._connection = client.connection
        self._drainer = client.drainer
        self._source = source
        self._call = call if queue is None else queue.guard(call)
        self._queue = queue
        self._room = room
        self._settlement = settlement
        self._gate = gate
        self._counters = counters
        self._deliver = deliver
        self._nursery: trio.Nursery | None = None

    async def run(self, concurrency: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until the source ends. Cancelled, what is in hand goes back."""
        async with trio.open_nursery() as self._nursery:
            self.resize(concurrency)
            task_status.started()
        self._nursery = None

    def resize(self, concurrency: int) -> None:
        """So many workers from now on; those too many end with what they have in hand."""
        if self._nursery is None:
            return
        working = [slot for slot in self.slots if not slot.retired]
        for _ in range(concurrency - len(working)):
            slot = Slot()
            self.slots[slot] = None
            self._nursery.start_soon(self._work, slot)
        for slot in working[concurrency:]:
            slot.retired = True
        self.interrupt_idle()

    def interrupt_idle(self) -> None:
        """Let the workers that wait for a message look again at what they may do."""
        for slot in self.slots:
            if slot.delivery is None:
                slot.interrupt()

    def cut(self) -> None:
        """End at once: what is in hand goes back."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _work(self, slot: Slot) -> None:
        slot.task = trio.lowlevel.current_task()
        try:
            while slot.held or not slot.retired:
                slot.interrupted = False
                try:
                    with trio.CancelScope() as slot.scope:
                        await self._take(slot)
                except BaseExceptionGroup as errors:
                    await self._check_cancelled(slot, errors)
                if slot.delivery is not None and not slot.held:
                    await self._expire(slot, slot.delivery)
        finally:
            if slot.delivery is not None:
                self.abandoned += slot.delivery.count
                self._end(slot, slot.delivery, await self._settlement.abandon(slot.delivery))
            del self.slots[slot]

    async def _check_cancelled(self, slot: Slot, errors: BaseExceptionGroup[BaseException]) -> None:
        """A handler has nurseries of its own: what else its tasks raised when they were cancelled ends no router."""
        _, others = errors.split((Exception, trio.Cancelled))
        if slot.delivery is None or others is not None:
            raise errors
        await trio.lowlevel.checkpoint_if_cancelled()
        if not slot.interrupted:
            raise errors
        log_handler_error(self._connection.log, slot.delivery, errors)

    async def _take(self, slot: Slot) -> None:
        """Messages, one after the other, until the worker is interrupted or retires."""
        counters, call, settlement, queue = self._counters, self._call, self._settlement, self._queue
        current_time = trio.current_time
        while True:
            if slot.held:
                slot.held = False
            elif slot.interrupted or slot.retired or not await self._receive(slot):
                return
            delivery = slot.delivery
            assert delivery is not None
            if self._room is not None:
                await self._acquire(self._room, slot, delivery)
            try:
                outcome = await call(delivery)
            except Exception as error:  # noqa: BLE001  # of the handler: what it means is the settlement's to say
                ended = await settlement.fail(delivery, error)
            else:
                ended = await settlement.settle(delivery, outcome)
            if queue is None:
                counters.end(ended, current_time() - delivery.began)
            else:
                queue.end(delivery, ended, current_time() - delivery.began)
            slot.delivery = None
            if slot.has_room:
                self._release(slot)
            if self._gate.shut or self._drainer.requested:
                self._look_again()

    async def _receive(self, slot: Slot) -> bool:
        """Take the next message into the slot; False: there is none, or it has to begin with it in another scope."""
        if self._connection.state is State.CLOSED:  # what is still pending could not be settled any more
            self.error, slot.retired = self._source.failure, True
            return False
        try:
            if self._gate.shut:
                await self._gate.admit()
            if self._queue is None:
                message = await self._source.receive()
                slot.delivery = self._deliver(message, trio.current_time())
                self._counters.take(len(message.payload))
            else:
                slot.delivery = await self._queue.take()
        except NatsError as error:  # the same for all workers: raised once, by the route
            self.error, slot.retired = error, True
            return False
        except (trio.EndOfChannel, trio.ClosedResourceError):
            slot.retired = True
            return False
        if slot.interrupted:  # together with its wake-up: the scope would cancel the handler
            slot.held = True
            return False
        return True

    async def _acquire(self, room: RouteSlots, slot: Slot, delivery: Delivery) -> None:
        """Wait until the router may run one handler more; the delivery's time begins then."""
        delivery.began = math.inf
        await room.acquire()
        slot.has_room = True
        delivery.began = trio.current_time()

    def _release(self, slot: Slot) -> None:
        slot.has_room = False
        if self._room is not None:
            self._room.release()

    async def _expire(self, slot: Slot, delivery: Delivery) -> None:
        slot.settling = True
        try:
            ended = await self._settlement.expire(delivery)
        finally:
            slot.settling = False
        self._end(slot, delivery, ended)

    def _end(self, slot: Slot, delivery: Delivery, ended: str) -> None:
        seconds = max(0.0, trio.current_time() - delivery.began)
        if slot.has_room:
            self._release(slot)
        if self._queue is None:
            self._counters.end(ended, seconds)
        else:
            self._queue.end(delivery, ended, seconds)
        slot.delivery = None
        self._look_again()

    def _look_again(self) -> None:
        self._gate.leave()
        self._drainer.look_again()
