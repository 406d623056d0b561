"""The orderly end of a client: UNSUB all, deliver what is pending, finish handlers, flush, close.

The steps run in a task of the client's own, so that whoever asked may be cancelled, or may be a handler: a handler that
drains is not waited for before it is told that all others are done, and the client closes when it has returned.

Must not outlive the client, and takes at most `drain_deadline_seconds`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from ..connection import ClientClosedError, State
from ..protocol import NatsError

if TYPE_CHECKING:
    from ._client import Client
    from ._subscription import Subscription

log = logging.getLogger("beamline_trio")


class Drain:
    """The drain of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._requested = trio.Event()
        self._others_done = trio.Event()
        self._closed = trio.Event()
        self._callers: set[trio.lowlevel.Task] = set()

    @property
    def requested(self) -> bool:
        """Whether a drain was asked for."""
        return self._requested.is_set()

    async def drain(self) -> None:
        """Ask for it, and wait until it is done; see `Client.drain`."""
        connection = self._client.connection
        if connection.state is State.CLOSED:
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._callers.add(task)
        self._requested.set()
        handler = any(task in service.handling for service in self._client.services)
        try:
            await (self._others_done if handler else self._closed).wait()
        finally:
            if not handler:
                self._callers.discard(task)

    async def wait_closed(self) -> None:
        """Wait until a drain is done."""
        await self._closed.wait()

    async def run(self) -> None:
        """Wait until it is asked for, then do it. A task of the client's."""
        await self._requested.wait()
        client = self._client
        limit = client.connection.options.drain_deadline_seconds
        with trio.move_on_after(limit) as scope:
            await self._steps()
        if scope.cancelled_caught:
            unfinished = sum(len(service.handling) for service in client.services)
            log.warning(
                "drain was cut short after %g s (drain_deadline_seconds), %d handlers unfinished",
                limit,
                unfinished,
                extra={"event": "NATS_DRAIN_DEADLINE", "unfinished": unfinished},
            )
        client.connection.close()
        self._others_done.set()
        self._closed.set()

    async def _steps(self) -> None:
        client = self._client
        subscriptions = list(client.subscriptions)
        async with trio.open_nursery() as nursery:
            for subscription in subscriptions:
                nursery.start_soon(_drain_quietly, subscription)
        served = {service.subscription for service in client.services}
        for subscription in subscriptions:
            # One that nobody has received from, or that its own task drains, keeps its messages for later.
            consumer = subscription.consumer
            if subscription not in served and consumer is not None and consumer not in self._callers:
                await subscription.emptied()
        for service in list(client.services):
            if not service.handling & self._callers:
                await service.subscription.emptied()
            await service.finished(self._callers)
        await self._flush()
        self._others_done.set()
        for service in list(client.services):
            await service.subscription.emptied()
            await service.finished(set())
        await self._flush()

    async def _flush(self) -> None:
        """A PONG behind everything; without a connection only when something is waiting for one."""
        connection = self._client.connection
        if not connection.link_is_up and not connection.pending:
            return
        try:
            await self._client.sender.ping()
        except ClientClosedError:  # left at once while it drained
            return
        except NatsError as error:
            log.warning("the flush of a drain failed: %s", error, extra={"event": "NATS_DRAIN_FLUSH"})


async def _drain_quietly(subscription: Subscription) -> None:
    try:
        await subscription.drain()
    except ClientClosedError:
        return
    except NatsError as error:
        log.warning("%r: drain failed: %s", subscription, error, extra={"event": "NATS_DRAIN_FLUSH"})
