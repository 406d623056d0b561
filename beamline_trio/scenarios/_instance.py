"""One instance of the router: a client and a router on a host of its own, that can be ended and started again.

Must not decide when.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from ..client import Client
from ..protocol import NatsError
from ..router import Router

_START_AGAIN_SECONDS: Final = 0.5


class Leave(enum.StrEnum):
    """How an instance ends."""

    DRAIN = "drain"
    KILL = "kill"


class Instance:
    """An instance of the router, which `run` keeps.

    Args:
        name: also of its host.
        open_client: opens its client.
        make_router: makes its router, anew for each of its lives.

    Attributes:
        name: as given.
        restarts: how often it was ended.
    """

    def __init__(
        self,
        name: str,
        open_client: Callable[[], AbstractAsyncContextManager[Client]],
        make_router: Callable[[], Router],
    ) -> None:
        self.name = name
        self.restarts = 0
        self._open_client = open_client
        self._make_router = make_router
        self._router: Router | None = None
        self._scope = trio.CancelScope()
        self._wanted = trio.Event()
        self._wanted.set()
        self._ended = trio.Event()

    @property
    def ready(self) -> bool:
        """Whether it takes messages."""
        return self._router is not None and self._router.ready

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run it, life after life, while it is wanted; started when it first takes messages."""
        started = False
        while True:
            await self._wanted.wait()
            self._ended = trio.Event()
            with trio.CancelScope() as self._scope:
                async with self._open_client() as client, trio.open_nursery() as nursery:
                    self._router = await self._start(client, nursery)
                    if not started:
                        started = True
                        task_status.started()
            self._router = None
            self._ended.set()

    async def leave(self, how: Leave) -> None:
        """End it; it stays away until `come_back`."""
        self.restarts += 1
        self._wanted = trio.Event()
        if how is Leave.DRAIN and self._router is not None:
            await self._router.drain()
        self._scope.cancel()
        await self._ended.wait()

    def come_back(self) -> None:
        """Start it again."""
        self._wanted.set()

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
