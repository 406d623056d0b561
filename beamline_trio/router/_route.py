"""A route as it lives: what it was declared with, what it counts, and what can be changed while it runs.

A route outlives its runs: counters, concurrency, rate and holds stay when the router runs again, on another client.

Must not know how messages are handled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ..client import Client, Message
from ..connection import OptionsError
from ..protocol import NatsError
from ._admission import behind_breaker
from ._claims import RouteClaims
from ._delivery import Delivery
from ._delivery_batch import DeliveryBatch
from ._events import RouteStopped
from ._gate import Gate
from ._guards import RouteBreaker
from ._lane_items import Item
from ._middleware import CallNext
from ._outcomes import one_line
from ._rate import Rate
from ._route_options import RouteOptions, check_concurrency
from ._statistics import RouteCounters, RouteStatistics
from ._trace import TraceReader

if TYPE_CHECKING:
    from ._route_run import RouteRun

USER: Final = "user"


class Route:
    """One route; `Router.routes[name]` has it.

    Attributes:
        name: its own among the routes of its router; the label of its metrics.
        options: what it was declared with.
        counters: what it has counted; `statistics()` is a snapshot of them.
        gate: its holds.
        breaker: its circuit breakers; None: it has none.
        claims: the keys of its deliveries; None: they have none.
        failure: why it stopped while its router went on; None: it did not.

    Args:
        options: what it is declared with.
        call: its handler, with the middleware around it.
        router: the name of its router.
    """

    def __init__(self, options: RouteOptions, call: CallNext, router: str = "router") -> None:
        self.name = options.name
        self.options = options
        self.counters = RouteCounters()
        self.gate = Gate()
        self.breaker = None if options.breaker is None else RouteBreaker(options.name, options.breaker)
        self.claims = self._claims(router)
        if self.breaker is not None:
            call = behind_breaker(call, self.breaker, self.counters)
        self.call = call if self.claims is None else self.claims.around(call)
        self.failure: NatsError | None = None
        self.traces: TraceReader | None = None
        self._concurrency = options.concurrency
        self._rate = options.rate
        self._run: RouteRun | None = None

    @property
    def subject(self) -> str:
        """The pattern it takes messages from."""
        return self.options.subject

    @property
    def concurrency(self) -> int:
        """How many messages are handled at once; set it at any time. Fewer: those too many end with what they have."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None:
        check_concurrency(value)
        self._concurrency = value
        if self._run is not None:
            self._run.pool.resize(value)

    @property
    def rate(self) -> float | None:
        """Messages per second at the most; set it at any time, None = no limit.

        Raises:
            OptionsError: it is not above 0 and finite; or the route runs and was started without a queue (`rate`,
                `ordered_by`, `tenant_by`, `batch`): then it holds from the next run on.
        """
        return self._rate

    @rate.setter
    def rate(self, value: float | None) -> None:
        if value is not None:
            Rate(value)
        self._rate = value
        if self._run is None:
            return
        if self._run.queue is None:
            raise OptionsError(
                f"the route {self.name!r} runs without a queue, so its rate of {value} holds from its next run on; "
                "declare it with a rate to change it while it runs"
            )
        self._run.queue.set_rate(value)

    def pause(self) -> None:
        """Take no more messages until `resume`; what is in hand is finished. At a drain what waits goes back."""
        self.hold(USER)

    def resume(self) -> None:
        """Take messages again, unless something else holds it too."""
        self.release(USER)

    @property
    def paused(self) -> bool:
        """Whether it takes no messages, for whatever reason."""
        return bool(self.gate.holds)

    def hold(self, reason: str) -> None:
        """Take no more messages until all reasons are released."""
        self.gate.hold(reason)
        if self._run is not None:
            self._run.pool.interrupt_idle()

    def release(self, reason: str) -> None:
        """This reason is gone."""
        self.gate.release(reason)

    @property
    def waiting(self) -> int:
        """Messages that are here and that no worker has."""
        return 0 if self._run is None else self._run.waiting

    @property
    def consuming(self) -> bool:
        """Whether it runs, its source is in force, and it takes messages."""
        return self._run is not None and not self._run.ending and not self.gate.shut

    def statistics(self) -> RouteStatistics:
        """What it has counted by now, over all runs."""
        return self.counters.snapshot()

    def _claims(self, router: str) -> RouteClaims | None:
        """The keys of its deliveries: those of each route of each router are its own."""
        by = self.options.idempotent_by
        if by is None:
            return None
        gate = None if self.options.stream is None else self.gate
        return RouteClaims(by, router, self.name, self.options.deadline_seconds, gate, self.counters)

    # For its run

    def attach(self, run: RouteRun, client: Client) -> None:
        """It runs, on this client."""
        self._run = run
        self.failure = None
        for teller in (self.breaker, self.claims):
            if teller is not None:
                teller.attach(client)

    def detach(self) -> None:
        """It runs no longer."""
        self._run = None

    def stop(self, error: NatsError, client: Client) -> None:
        """It has lost its source, for good, and tells so."""
        self.failure = error
        reason = one_line(error)
        client.connection.log(logging.ERROR, "ROUTER_ROUTE_STOPPED", route=self.name, reason=reason)
        client.connection.emit(RouteStopped(self.name, reason))

    def deliver(self, message: Message, now: float) -> Delivery:
        """A message that a worker has taken."""
        delivery = Delivery(self.options, message, now)
        if message.header_block is not None and self.traces is not None:
            delivery.trace = self.traces.read(message)
        return delivery

    def join(self, items: list[Item[Delivery]], now: float) -> DeliveryBatch:
        """Messages of its queue that a worker has taken together."""
        batch = DeliveryBatch(self.options, items, now)
        if self.traces is not None:
            batch.trace = self.traces.join(batch.links)
        return batch

    def __repr__(self) -> str:
        return f"<Route {self.name!r} from {self.subject!r}>"
