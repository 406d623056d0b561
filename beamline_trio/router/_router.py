"""The router in its first form: routes, each a subscription with workers; a returned value is the reply.

A handler that raises is an outcome, not a crash: it is logged, counted, answered where an answer is wanted, and the
router lives on.

Must not know sockets, and must not keep a message after its handler is done.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from ..client import Client, Handler, Message, serve
from ..protocol import NatsError, encode_pattern, encode_queue_group
from ._backpressure import Backpressure
from ._guards import RouteBreaker, RouterGuards
from ._statistics import RouteCounters


class _Add(Protocol):
    def __call__(self, handler: Handler) -> Handler: ...


@attrs.define
class Route:
    """One route and its counters.

    Attributes:
        subject: the pattern it takes messages from.
        counters: what it has counted.
        breaker: its circuit breakers; None: it has none.
    """

    subject: str
    handler: Handler
    queue_group: str | None
    concurrency: int
    name: str
    counters: RouteCounters = attrs.field(factory=RouteCounters)
    breaker: RouteBreaker | None = None

    def count(self, message: Message, error: BaseException | None, seconds: float) -> None:
        """Note the outcome of one message."""
        self.counters.take(len(message.payload))
        self.counters.failures += error is not None
        self.counters.end("ok" if error is None else "error", seconds)


class Router:
    """Routes from subjects to handlers.

    Args:
        name: shown in logs and metrics.

    Example:
        router = Router("prices")

        @router.route("price.get", queue_group="prices", concurrency=16)
        async def price(msg: Message) -> bytes | None:
            return b"42"

        await nursery.start(router.run, nc)
    """

    def __init__(self, name: str = "router") -> None:
        self.name = name
        self.guards = RouterGuards(name, None, Backpressure())
        self.routes: list[Route] = []

    def route(
        self, subject: str, *, queue_group: str | None = None, concurrency: int = 1, name: str | None = None
    ) -> _Add:
        """Add a route: a decorator for `async def handler(msg) -> bytes | None`.

        Bytes that are returned are the reply; an exception is the outcome `error`.

        Args:
            subject: may have wildcards.
            queue_group: of the routers of one group each message reaches one.
            concurrency: how many messages are handled at once.
            name: the label of its metrics; None = the handler's name.

        Raises:
            InvalidSubjectError: subject or queue_group cannot be subscribed to.
            ValueError: concurrency is less than 1, or the name is taken.
        """
        encode_pattern(subject)
        if queue_group is not None:
            encode_queue_group(queue_group)
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be at least 1")

        def add(handler: Handler) -> Handler:
            label = name if name is not None else getattr(handler, "__name__", subject)
            if any(route.name == label for route in self.routes):
                raise ValueError(f"a route named {label!r} exists; give this one another name=")
            self.routes.append(Route(subject, handler, queue_group, concurrency, label))
            return handler

        return add

    async def run(self, client: Client, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all routes: `await nursery.start(router.run, nc)`.

        Started when the server has confirmed the interest of every route. Returns when the client was
        drained; cancelled, handlers are cancelled.

        Raises:
            PermissionsError: the server refuses a subject.
            ValueError: there is no route.
        """
        if not self.routes:
            raise ValueError(f"router {self.name!r} has no route; add one with @router.route(subject)")
        failures: list[NatsError] = []
        async with trio.open_nursery() as nursery:

            async def run_route(route: Route, started: trio.Event) -> None:
                try:
                    await _serve(client, route, started)
                except NatsError as error:  # raised bare, and once, below
                    failures.append(error)
                    nursery.cancel_scope.cancel()

            for route in self.routes:
                started = trio.Event()
                nursery.start_soon(run_route, route, started)
                await started.wait()
            task_status.started()
        if failures:
            raise failures[0]


async def _serve(client: Client, route: Route, started: trio.Event) -> None:
    class Started:
        def started(self, value: object = None) -> None:
            started.set()

    await serve(
        client,
        route.subject,
        route.handler,
        queue_group=route.queue_group,
        concurrency=route.concurrency,
        on_outcome=route.count,
        task_status=Started(),
    )
