"""One instance of the router: a client and a router on a host of its own, that can be ended and started again.

Whether it is ready is what `/readyz` of such a program would say, with the word of a watch over its streams where there
is one. What it shows is scraped as that of a process of its own.

Must not decide when.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from ..client import Client
from ..cluster import ClusterWatch
from ..metrics import Collector
from ..metrics import Instance as ShownInstance
from ..operation import OperationApplication
from ..protocol import NatsError
from ..router import Router
from ._metering import Metering
from ._uses import Use

_START_AGAIN_SECONDS: Final = 0.5


class Leave(enum.StrEnum):
    """How an instance ends."""

    DRAIN = "drain"
    KILL = "kill"


class Instance:
    """An instance of the router, which `run` keeps.

    Args:
        name: also of its host.
        region: that it is in; empty = there are no regions.
        open_client: opens its client.
        make_router: makes its router, anew for each of its lives.
        watch: over the streams of its router; None = there is none.
        metering: scrapes it.

    Attributes:
        name: as given.
        restarts: how often it was ended.
        restart_seconds: from each end until it took messages again.
    """

    def __init__(
        self,
        name: str,
        region: str,
        open_client: Callable[[], AbstractAsyncContextManager[Client]],
        make_router: Callable[[], Router],
        watch: Callable[[], ClusterWatch | None],
        metering: Metering,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.restart_seconds: list[float] = []
        self._region = region
        self._open_client = open_client
        self._make_router = make_router
        self._watch = watch
        self._metering = metering
        self._recognised = 0
        self._left_at: float | None = None
        self._task: trio.lowlevel.Task | None = None
        self._client: Client | None = None
        self._router: Router | None = None
        self._application: OperationApplication | None = None
        self._scope = trio.CancelScope()
        self._wanted = trio.Event()
        self._wanted.set()
        self._ended = trio.Event()

    @property
    def ready(self) -> bool:
        """Whether it takes messages, and they can be had."""
        return self._application is not None and self._application.ready

    @property
    def recognised(self) -> int | None:
        """Messages that it was given, and that were done already, over all of its lives; None = that cannot be seen."""
        return self._recognised + (_hits(self._router) if self._router is not None else 0)

    @property
    def use(self) -> Use | None:
        """What it uses now; None = it is away."""
        if self._client is None or self._task is None:
            return None
        return Use(tasks=_tasks_of(self._task), connections=int(self._client.connection.link_is_up))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run it, life after life, while it is wanted; started when it first takes messages."""
        self._task = trio.lowlevel.current_task()
        started = False
        while True:
            await self._wanted.wait()
            self._ended = trio.Event()
            with trio.CancelScope() as self._scope, self._metering.target(self.name) as collector:
                async with self._open_client() as self._client, trio.open_nursery() as nursery:
                    self._router = await self._start(self._client, nursery)
                    self._show(self._client, self._router, collector)
                    if not started:
                        started = True
                        task_status.started()
            self._forget()
            self._ended.set()

    async def leave(self, how: Leave) -> None:
        """End it; it stays away until `come_back`."""
        self.restarts += 1
        self._left_at = trio.current_time()
        self._wanted = trio.Event()
        if how is Leave.DRAIN and self._router is not None:
            await self._router.drain()
        self._scope.cancel()
        await self._ended.wait()

    def come_back(self) -> None:
        """Start it again."""
        self._wanted.set()

    def _show(self, client: Client, router: Router, collector: Collector) -> None:
        """It takes messages."""
        self._application = OperationApplication(client, collector, [router], watch=self._watch())
        shown = ShownInstance(self.name, client, lambda: self.ready, region=self._region, routers=[router])
        collector.add_instance(shown)
        if self._left_at is not None:
            self.restart_seconds.append(trio.current_time() - self._left_at)
            self._left_at = None

    def _forget(self) -> None:
        """A life is over."""
        if self._router is not None:
            self._recognised += _hits(self._router)
        self._client = self._router = self._application = None

    async def _start(self, client: Client, nursery: trio.Nursery) -> Router:
        """Start a router; servers that cannot be asked for their consumers now are asked again."""
        while True:
            router = self._make_router()
            try:
                await nursery.start(router.run, client)
            except NatsError:
                await trio.sleep(_START_AGAIN_SECONDS)
            else:
                return router


def _hits(router: Router) -> int:
    return sum(route.counters.idempotency_hits for route in router.routes.values())


def _tasks_of(task: trio.lowlevel.Task) -> int:
    """How many tasks there are from this one on."""
    count, waiting = 0, [task]
    while waiting:
        count += 1
        waiting += [child for nursery in waiting.pop().child_nurseries for child in nursery.child_tasks]
    return count
