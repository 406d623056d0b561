"""The router as users declare and run it: routes from subjects to handlers, and one run at a time on a client.

Must not know messages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import trio

from ..client import Client
from ..connection import OptionsError
from ..jetstream import ConsumerConfig
from ._backpressure import Backpressure
from ._batches import Batch
from ._breaker import Breaker
from ._claims import IdempotenceSource
from ._declaration import Declaration, names_of_caller
from ._drain import DrainReport, RouterDrain
from ._guards import RouterGuards
from ._idempotence import MemoryIdempotence
from ._kill_switch import KillSwitch
from ._middleware import Middleware
from ._outcomes import Retry
from ._route import Route
from ._route_options import DEADLINE_SECONDS
from ._route_run import RouteRun, run_routes
from ._slots import Slots
from ._store_books import StoreBooks

GRACE_SECONDS = 25.0
H = TypeVar("H", bound=Callable[..., Any])


class Router:
    """Routes from subjects to handlers.

    Args:
        name: shown in logs and metrics.
        version: of the program, as `$SRV` discovery shows it.
        concurrency_max: handlers of all routes that run at once, shared by the weights of the routes; None = no limit.
        kill_switch: pauses the intake of all routes while too many messages fail; None: nothing does.
        backpressure: at what numbers the router says that it is pressed; None = `Backpressure()`.
        idempotence: where routes with `idempotent_by` keep which keys are done, or an async function that opens it on
            the client, as `lambda nc: KVIdempotence.open(JetStream(nc))`; None = `MemoryIdempotence()`.
        grace_seconds: at a drain, how long handlers may go on.
        middleware: around the handlers of all routes; the first is the outermost.

    Attributes:
        routes: name -> route.
        guards: the kill switch and the backpressure level.
        report: how its last run ended.

    Example:
        router = Router("prices")

        @router.route("price.get", queue_group="prices", concurrency=16)
        async def price(msg: Message) -> bytes | None:
            return b"42"

        await nursery.start(router.run, nc)
    """

    def __init__(
        self,
        name: str = "router",
        *,
        version: str = "0.1.0",
        concurrency_max: int | None = None,
        kill_switch: KillSwitch | None = None,
        backpressure: Backpressure | None = None,
        idempotence: IdempotenceSource | None = None,
        grace_seconds: float = GRACE_SECONDS,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        if not grace_seconds >= 0:
            raise OptionsError(f"grace_seconds is {grace_seconds!r}; it must be 0 or more")
        if concurrency_max is not None:
            Slots(concurrency_max)
        self.name = name
        self.version = version
        self.concurrency_max = concurrency_max
        self.idempotence = idempotence if idempotence is not None else MemoryIdempotence()
        self.grace_seconds = grace_seconds
        self.middleware = tuple(middleware)
        self.guards = RouterGuards(name, kill_switch, backpressure if backpressure is not None else Backpressure())
        self.routes: dict[str, Route] = {}
        self.report = DrainReport()
        self._client: Client | None = None
        self._books = StoreBooks()
        if not callable(self.idempotence):
            self._books.use(self.idempotence)
        self._drain: RouterDrain | None = None

    def route(
        self,
        subject: str,
        *,
        queue_group: str | None = None,
        stream: str | None = None,
        durable: str | None = None,
        consumer: ConsumerConfig | None = None,
        name: str | None = None,
        concurrency: int = 1,
        weight: float = 1.0,
        ordered_by: Callable[[Any], Hashable] | None = None,
        tenant_by: Callable[[Any], Hashable] | None = None,
        quota: int | None = None,
        weights: Mapping[Any, int] | None = None,
        batch: Batch | None = None,
        queue_messages_max: int | None = None,
        queue_bytes_max: int | None = None,
        held_messages_max: int | None = None,
        retry: Retry | None = None,
        dead_letter: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        rate: float | None = None,
        double_ack: bool = False,
        recreate: bool = False,
        idempotent_by: Callable[[Any], str] | None = None,
        breaker: Breaker | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> Callable[[H], H]:
        """Add a route: a decorator for an async function of a message, a payload, or a payload and its delivery.

        What it returns are effects: None, bytes or `Reply` (the answer), `Publish`, a list of those; or `Retry`, or
        `DeadLetter`. Without a stream a message comes at most once. From a stream it comes at least once: it is acked
        when the effects are confirmed, tried again where that fails, and given up after `retry.max_deliver` deliveries.

        Args:
            subject: may have wildcards.
            queue_group: of the routers of one group each message reaches one; not with a stream.
            stream: the messages come from this stream, by a durable consumer that all instances share.
            durable: the durable's name; None = the route's name.
            consumer: more of the durable's configuration.
            name: of the route, and the label of its metrics; None = the handler's name.
            concurrency: how many messages are handled at once.
            weight: of two routes that always want more, each has its part of the router's `concurrency_max` by it.
            ordered_by: message -> key; of one key messages are handled one by one, in their order.
            tenant_by: message -> tenant; tenants take turns.
            quota: of one tenant so many messages are handled at once; None = no limit.
            weights: tenant -> messages in its turn; who is not in it has 1.
            batch: the handler takes a list of payloads, and one of their deliveries if it wants them; what it returns
                or raises holds for all of them. Only with a stream.
            queue_messages_max: messages that wait here; None = 1000 from a stream, else the client's
                `subscription_pending_messages_max`. Of a stream without tenants fewer wait where the work is slow: no
                more than are worked off before they would need heartbeats.
            queue_bytes_max: the same in bytes; None = 64 MiB, or `subscription_pending_bytes_max`.
            held_messages_max: messages of a stream that are held here without their payloads, since their tenants have
                more than their part of the queue; None = 20,000. Beyond it all tenants wait.
            retry: how often and when a message of a stream comes again; None = `Retry()`.
            dead_letter: the subject, of a stream, for what is given up; None: it is terminated, and counted.
            deadline_seconds: a handler and its effects are cancelled after it, and the message is tried again.
            rate: messages per second; None = no limit.
            double_ack: each ack waits until the server has said that it knows.
            recreate: make the durable again when it was deleted, or its server has lost it; messages may come again, by
                its deliver policy. Else its route stops, and the others go on.
            idempotent_by: message -> key; of one key one message is handled, whatever publishes or delivers it again.
            breaker: the circuit breakers before the handler.
            middleware: around this handler, inside the router's.

        Raises:
            InvalidSubjectError: subject, stream, durable, queue group or dead letter cannot go on the wire.
            OptionsError, ValueError: a number is out of its bounds, options contradict each other, or the name is
                taken.
            HandlerError: the function cannot be a handler.
        """
        given: dict[str, Any] = {
            "queue_group": queue_group, "stream": stream, "durable": durable, "consumer": consumer,
            "concurrency": concurrency, "weight": weight, "ordered_by": ordered_by, "tenant_by": tenant_by,
            "quota": quota, "weights": weights, "batch": batch, "queue_messages_max": queue_messages_max,
            "queue_bytes_max": queue_bytes_max, "held_messages_max": held_messages_max,
            "retry": retry if retry is not None else Retry(),
            "dead_letter": dead_letter, "deadline_seconds": deadline_seconds, "rate": rate, "double_ack": double_ack,
            "recreate": recreate,
            "idempotent_by": idempotent_by, "breaker": breaker, "middleware": tuple(middleware),
        }  # fmt: skip
        declaration = Declaration(name, {"subject": subject, **given})
        names = names_of_caller()

        def add(handler: H) -> H:
            self._add(declaration, handler, names)
            return handler

        return add

    def _add(self, declaration: Declaration, handler: Callable[..., Any], names: Mapping[str, Any]) -> None:
        """A declared route has its handler."""
        label = declaration.label(handler)
        if label in self.routes:
            raise ValueError(f"a route named {label!r} exists; give this one another name=")
        route = declaration.route(handler, names, self.name, self.middleware)
        if route.claims is not None and not callable(self.idempotence):
            route.claims.use(self.idempotence)
        self.routes[label] = route

    @property
    def ready(self) -> bool:
        """Whether the client is connected, and every route takes messages."""
        client = self._client
        connected = client is not None and client.connection.link_is_up
        return connected and all(route.consuming for route in self.routes.values())

    def store_counts(self) -> dict[str, int]:
        """What its stores of keys had to do, by the names of `IdempotenceStatistics` but for hits and misses."""
        return self._books.counts()

    async def run(self, client: Client, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all routes: `await nursery.start(router.run, nc)`.

        Started when the server has confirmed every route. Returns when the router or its client was drained;
        cancelled, handlers are cancelled, and what they had of streams is given back.

        Raises:
            PermissionsError: the server refuses a subject.
            ConsumerDeletedError: all routes have lost their durables, which were not to be made again; while others
                run, `failure` of the route has it, and the router is not ready.
            NatsError: a stream is not there, or the store of keys cannot be opened.
            ValueError: there is no route.
            RuntimeError: it runs already.
        """
        if not self.routes:
            raise ValueError(f"router {self.name!r} has no route; add one with @router.route(subject)")
        if self._drain is not None:
            raise RuntimeError(f"router {self.name!r} runs already; make another to run on a second client")
        runs: list[RouteRun] = []
        self._client, self._drain = client, RouterDrain(client, runs, self.grace_seconds)
        try:
            await self._run(client, self._drain, runs, task_status)
        finally:
            self._drain.end()
            self.report = self._drain.report
            self._drain.ended.set()
            self._client = self._drain = None

    async def drain(self) -> DrainReport:
        """End its run in order, and tell how it ended; the client stays open.

        Nothing more is taken from the server; what is here is finished within `grace_seconds`; then what is left is
        cancelled, and goes back to its stream. Cancelled, the drain goes on.

        Returns:
            What was unfinished and unknown; zeros when it does not run.
        """
        drain = self._drain
        if drain is None:
            await trio.lowlevel.checkpoint()
            return DrainReport()
        drain.request()
        await drain.ended.wait()
        return self.report

    async def _run(
        self, client: Client, drain: RouterDrain, runs: list[RouteRun], task_status: trio.TaskStatus[None]
    ) -> None:
        if callable(self.idempotence):
            store = await self.idempotence(client)
            self._books.use(store)
            for route in self.routes.values():
                if route.claims is not None:
                    route.claims.use(store)
        slots = None if self.concurrency_max is None else Slots(self.concurrency_max)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain.run)
            nursery.start_soon(self.guards.run, client, self.routes)
            failure = await run_routes(client, self.routes.values(), runs, drain.account, slots, task_status)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
