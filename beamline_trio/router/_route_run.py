"""One run of one route: its source, its workers and its clock, from the confirmed interest to the last message.

To the client it is what `serve` is: its drain waits for the workers.

Must not decide about single messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import attrs
import trio

from ..client import Client, Drainable
from ..jetstream import ConsumerDeletedError, unconfirmed_acks
from ..protocol import NatsError
from ._advisories import MaxDeliverAdvisories
from ._overflow import Overflow
from ._pool import Pool
from ._queue import RouteQueue
from ._queue_batches import BatchQueue
from ._route import Route
from ._settlement import StreamSettlement
from ._settlement_batch import BatchSettlement
from ._settlement_claimed import ClaimedSettlement
from ._settlement_core import CoreSettlement
from ._slots import Slots
from ._sources import Source, open_source
from ._sweeper import Sweeper
from ._trace import TraceReader
from ._worker import Settlement


@attrs.define
class Account:
    """What the routes of a router leave behind at their end.

    Attributes:
        unfinished: messages that were in hand when it was cut short; those of streams were given back.
        unknown: acks of the client that are not known to have arrived.
        ending: the router is being drained, so a route that is only beginning ends at once.
    """

    unfinished: int = 0
    unknown: int = 0
    ending: bool = False


class RouteRun:
    """A route at work for one client.

    Attributes:
        pool: its workers.
        queue: what waits for them; None: they take from the source.
        ending: nothing more is taken from the server.
        finished: every message that came was handled, none will come, and the server has the acks.
    """

    def __init__(self, client: Client, route: Route, source: Source, account: Account, slots: Slots | None) -> None:
        self.ending = False
        self.finished = False
        self._account = account
        self._client = client
        self._route = route
        self._source = source
        options, counters = route.options, route.counters
        self.queue = _queue(client, route, source)
        settlement = _settlement(client, route, self.queue)
        self._room = None if slots is None else slots.join(route.name, options.weight)
        self.pool = Pool(
            client,
            source,
            route.call,
            settlement,
            route.gate,
            counters,
            route.deliver,
            queue=self.queue,
            room=self._room,
        )
        self._advisories: MaxDeliverAdvisories | None = None
        if options.stream is not None and options.dead_letter is not None:
            self._advisories = MaxDeliverAdvisories(client, options, counters)
        self._sweeper = Sweeper(options, self.pool, source, self.queue)

    @property
    def waiting(self) -> int:
        """Messages that are here and that no worker has."""
        return self._source.waiting + (0 if self.queue is None else len(self.queue))

    # For the client's drain

    @property
    def subscription(self) -> Drainable:
        """Where its messages come from."""
        return self._source.subscription

    @property
    def handling(self) -> Set[trio.lowlevel.Task]:
        """The tasks that have a message in hand."""
        return {slot.task for slot in self.pool.slots if slot.delivery is not None and slot.task is not None}

    # Its life

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Work until the source ends.

        Raises:
            NatsError: the source did not end cleanly.
        """
        route, client = self._route, self._client
        route.traces = TraceReader(client.connection.environment.random)
        route.gate.begin()
        route.attach(self, client)
        client.services.append(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweeper.run)
                if self._account.ending:
                    self.end_intake()
                    nursery.start_soon(self.drain_source)
                if self._advisories is not None:
                    await self._advisories.open()
                    nursery.start_soon(self._advisories.run)
                if self.queue is not None:
                    nursery.start_soon(self.queue.fill)
                await self.pool.run(route.concurrency, task_status)
                nursery.cancel_scope.cancel()
            await self._flush_acks()
        finally:
            self.ending = self.finished = True
            if self.queue is not None:
                self.queue.close()
            if self._room is not None:
                self._room.leave()
            self._account.unfinished += self.pool.abandoned
            client.services.remove(self)
            route.detach()
            client.drainer.look_again()
        if self.pool.error is not None:
            raise self.pool.error

    async def _flush_acks(self) -> None:
        """Behind the last message: wait until the server has the acks, and tell of what is not known."""
        if self._route.options.stream is None:
            return
        try:
            await self._client.flush()
        except NatsError:
            self._account.unknown = max(self._account.unknown, unconfirmed_acks(self._client))

    def end_intake(self) -> None:
        """The source is being drained, by whomever: what is here is worked on, or goes back if the route is held."""
        self.ending = True
        self._route.gate.end()

    async def drain_source(self) -> None:
        """Let nothing more come. What that could not be confirmed for, is counted and logged where it happened."""
        try:
            await self._source.drain()
        except NatsError:
            return

    def cut(self) -> None:
        """The grace is over: what is in hand goes back."""
        self.pool.cut()


def _queue(client: Client, route: Route, source: Source) -> RouteQueue | None:
    options, rate, counters = route.options, route.rate, route.counters
    overflow = Overflow(client, route.name, counters)
    if options.batch is not None:
        return BatchQueue(options, options.batch, rate, source, counters, route.deliver, overflow, route.join)
    if options.is_laned or rate is not None:
        return RouteQueue(options, rate, source, counters, route.deliver, overflow)
    return None


def _settlement(client: Client, route: Route, queue: RouteQueue | None) -> Settlement:
    if route.options.stream is None:
        settlement: Settlement = CoreSettlement(client, route.counters, route.gate, route.claims)
    else:
        park = queue.park if queue is not None and route.options.ordered_by is not None else None
        kind = StreamSettlement if route.options.batch is None else BatchSettlement
        settlement = kind(client, route.options, route.counters, route.gate, park, route.claims)
    return settlement if route.claims is None else ClaimedSettlement(settlement, route.claims)


async def run_routes(
    client: Client,
    routes: Iterable[Route],
    runs: list[RouteRun],
    account: Account,
    slots: Slots | None,
    task_status: trio.TaskStatus[None],
) -> NatsError | None:
    """Run these until the client, or the router, was drained. Started when the server has confirmed every interest.

    A route whose consumer is gone stops, and the others go on; any other failure ends all.

    Returns:
        Why one of them failed, which has ended the others, or why all of them stopped; raised by who calls, bare and
        once.
    """
    routes = tuple(routes)
    failures: list[NatsError] = []
    stopped: list[NatsError] = []
    async with trio.open_nursery() as nursery:

        async def run_one(route: Route, started: Started) -> None:
            try:
                await run_route(client, route, runs, account, slots, started)
            except ConsumerDeletedError as error:
                stopped.append(error)
                route.stop(error, client)
            except NatsError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        for route in routes:
            started = Started()
            nursery.start_soon(run_one, route, started)
            await started.event.wait()
        task_status.started()
    if len(stopped) == len(routes):
        failures = stopped
    return failures[0] if failures else None


async def run_route(
    client: Client,
    route: Route,
    runs: list[RouteRun],
    account: Account,
    slots: Slots | None,
    task_status: trio.TaskStatus[None],
) -> None:
    """Run a route until its client, or its router, was drained. Started when the server has confirmed its interest.

    The slots are those that all routes share, and the account gets what was left unfinished or unknown at its end.

    Raises:
        NatsError: the server refuses it, now or later, or its consumer is gone.
    """
    async with open_source(client, route.options) as source:
        if source is None:  # drained before it began: a route without messages
            task_status.started()
            return
        run = RouteRun(client, route, source, account, slots)
        runs.append(run)
        try:
            await run.run(task_status)
        finally:
            runs.remove(run)


class Started:
    """A task status that can be waited for beside the failure of its task."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def started(self, value: None = None) -> None:
        """The task has said so."""
        self.event.set()
