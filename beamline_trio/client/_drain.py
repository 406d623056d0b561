"""The orderly end of a client: UNSUB all, deliver what is pending, finish handlers, flush, close.

The steps run in a task of the client's own, so that whoever asked may be cancelled, or may be a handler: a handler that
drains is not waited for before it is told that all others are done, and the client closes when it has returned.

Must not outlive the client, and takes at most `drain_deadline_seconds`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from ..connection import ClientClosedError, ClientLog, Ledger, State, ledger_of
from ..protocol import NatsError
from ._errors import UndeliveredError

if TYPE_CHECKING:
    from ._client import Client


class Drainable(Protocol):
    """What a drain ends in order: subscriptions, and what stages above receive with."""

    @property
    def pending_messages(self) -> int:
        """Messages that wait to be received."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether it has ended and everything was received."""
        ...

    @property
    def consumer(self) -> trio.lowlevel.Task | None:
        """The task that received last; None if none ever did, or it has ended."""
        ...

    async def drain(self) -> None:
        """Let nothing more come, wait until what is on its way is here, and end."""
        ...

    def end(self) -> None:
        """Nothing more comes; what is pending can be received."""
        ...


class Serving(Protocol):
    """Handlers at work on a subscription, which a drain waits for: those of `serve`, or of a stage above."""

    @property
    def subscription(self) -> Drainable:
        """Where their messages come from."""
        ...

    @property
    def handling(self) -> Set[trio.lowlevel.Task]:
        """The tasks that are inside the handler now."""
        ...

    @property
    def finished(self) -> bool:
        """Whether every message that came was handled, and none will come."""
        ...


class Drain:
    """The drain of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._requested = trio.Event()
        self._others_done = trio.Event()
        self._closed = trio.Event()
        self._before: Ledger | None = None
        self._undelivered: Undelivered | None = None
        self._callers: set[trio.lowlevel.Task] = set()
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def requested(self) -> bool:
        """Whether a drain was asked for."""
        return self._requested.is_set()

    async def drain(self) -> None:
        """Ask for it, and wait until it is done; see `Client.drain`."""
        connection = self._client.connection
        if connection.state is State.CLOSED:
            await trio.lowlevel.checkpoint()
            if self._undelivered is not None and not self._undelivered.told:
                self._undelivered.tell()
            return
        task = self._handler_of(trio.lowlevel.current_task())
        self._callers.add(task)
        if self._before is None:
            self._before = ledger_of(connection)
        self._requested.set()
        self.look_again()
        handler = any(task in service.handling for service in self._client.services)
        try:
            await (self._others_done if handler else self._closed).wait()
        finally:
            if not handler:
                self._callers.discard(task)
        if not handler and self._undelivered is not None:
            self._undelivered.tell()

    def _handler_of(self, task: trio.lowlevel.Task) -> trio.lowlevel.Task:
        """The handler's task that a task was started by, directly or not; itself when there is none."""
        ancestor: trio.lowlevel.Task | None = task
        while ancestor is not None:
            if any(ancestor in service.handling for service in self._client.services):
                return ancestor
            nursery = ancestor.parent_nursery
            ancestor = nursery.parent_task if nursery is not None else None
        return task

    async def wait_requested(self) -> None:
        """Wait until a drain is asked for."""
        await self._requested.wait()

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
            unread = [subscription for subscription in client.subscriptions if subscription.pending_messages]
            client.connection.log(
                logging.WARNING,
                "NATS_DRAIN_DEADLINE",
                unfinished=unfinished,
                unread=len(unread),
                words=f"the drain was cut short after {limit:g} s (drain_deadline_seconds), "
                f"not read to the end: {', '.join(map(repr, unread)) or 'none'}",
            )
        for subscription in list(client.subscriptions):  # also those that were made while it drained
            subscription.end()
        reason = f"the state was {client.connection.state}"
        client.connection.close()
        if self._before is not None:
            self._undelivered = Undelivered.between(self._before, ledger_of(client.connection), reason)
        self._others_done.set()
        self._closed.set()

    async def _steps(self) -> None:
        client = self._client
        subscriptions = list(client.subscriptions)
        async with trio.open_nursery() as nursery:
            for subscription in subscriptions:
                nursery.start_soon(_drain_quietly, client.connection.log, subscription)
        await self._until(lambda: not any(map(self._is_awaited, client.subscriptions)))
        await self._until(lambda: all(map(self._others_finished, client.services)))
        await self._flush()
        self._others_done.set()
        await self._until(lambda: all(service.finished for service in client.services))
        await self._flush()

    def _is_awaited(self, subscription: Drainable) -> bool:
        """Whether somebody else is still receiving what is pending in a subscription of no service.

        One that nobody has received from, or whose own task drains, keeps its messages for later.
        """
        if subscription.exhausted or any(service.subscription is subscription for service in self._client.services):
            return False
        consumer = subscription.consumer
        return consumer is not None and consumer not in self._callers

    def _others_finished(self, service: Serving) -> bool:
        """Whether nothing of a service but the handlers that drain holds the drain up."""
        if service.handling & self._callers:
            return service.handling <= self._callers
        return service.finished

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait; looked at again whenever a handler ends, a subscription is empty, or somebody else drains."""
        while not done():
            await self._changed.park()

    def look_again(self) -> None:
        """Something has changed that a drain may be waiting for."""
        self._changed.unpark_all()

    async def _flush(self) -> None:
        """A PONG behind everything that is open, on this link or the next, as long as there is hope for one."""
        connection = self._client.connection
        while connection.link_is_up or connection.pending:
            try:
                await self._client.sender.ping()
            except ClientClosedError:  # left at once while it drained
                return
            except NatsError as error:
                _log_flush_error(connection.log, "", error)
                if connection.state is State.EXHAUSTED or not ledger_of(connection).open:
                    return
            else:
                return


@attrs.define
class Undelivered:
    """What a drain could not deliver of what had been accepted.

    Attributes:
        told: whether somebody has got the error.
    """

    unsent: int
    unknown: int
    reason: str
    told: bool = False

    @classmethod
    def between(cls, before: Ledger, after: Ledger, reason: str) -> Undelivered | None:
        """The difference that a drain made; None when everything was delivered, or refused by the server."""
        unsent = after.dropped - before.dropped + after.expired - before.expired
        unknown = after.unknown - before.unknown
        return cls(unsent, unknown, reason) if unsent or unknown else None

    def tell(self) -> None:
        """Raise it.

        Raises:
            UndeliveredError: always.
        """
        self.told = True
        raise UndeliveredError(unsent=self.unsent, unknown=self.unknown, reason=self.reason)


async def _drain_quietly(log: ClientLog, subscription: Drainable) -> None:
    try:
        await subscription.drain()
    except ClientClosedError:
        return
    except NatsError as error:
        _log_flush_error(log, f" of {subscription!r}", error)


def _log_flush_error(log: ClientLog, whose: str, error: NatsError) -> None:
    log(logging.WARNING, "NATS_DRAIN_FLUSH", reason=str(error), words=f"the flush of a drain{whose} failed")


def living(task: trio.lowlevel.Task | None) -> trio.lowlevel.Task | None:
    """The task, unless it has ended."""
    if task is not None and inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED:
        return None
    return task
