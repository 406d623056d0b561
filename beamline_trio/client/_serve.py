"""Serving a subject: a fixed number of workers over one subscription, replies, and errors as answers.

A worker is a task that takes the next message when it is free: no task per message. A handler that raises is logged,
counted and answered; the service lives on.

Must not know sockets or routers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

from ..protocol import NatsError
from ._message import Message
from ._subscription import Subscription

if TYPE_CHECKING:
    from ._client import Client

Handler: TypeAlias = Callable[[Message], Awaitable[bytes | None]]

log = logging.getLogger("beamline_trio")

# ADR-32: how a service answers with an error.
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_HEADERS: Final = {ERROR_CODE_HEADER: "500", ERROR_HEADER: "internal error"}


@attrs.define
class Service:
    """One `serve` under way: what drain has to wait for.

    Attributes:
        handling: the tasks that are inside the handler now.
        idle: parks drain until fewer are.
        error: why the subscription ended, when it did not end cleanly.
    """

    subscription: Subscription
    handling: set[trio.lowlevel.Task] = attrs.field(factory=set)
    idle: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    error: NatsError | None = None

    async def finished(self, but: set[trio.lowlevel.Task]) -> None:
        """Wait until no task but these is inside the handler."""
        while self.handling - but:
            await self.idle.park()


async def serve(
    client: Client,
    subject: str,
    handler: Handler,
    *,
    queue_group: str | None,
    concurrency: int,
    on_outcome: Callable[[Message, BaseException | None, float], None] | None,
    task_status: trio.TaskStatus[Subscription],
) -> None:
    """See `Client.serve`; `on_outcome` hears of each handled message, the handler's error, and its seconds."""
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; it must be at least 1")
    async with client.subscribe(subject, queue_group=queue_group) as subscription:
        service = Service(subscription)
        client.services.append(service)
        try:
            await subscription.confirmed()
            async with trio.open_nursery() as nursery:
                for _ in range(concurrency):
                    nursery.start_soon(_work, service, handler, on_outcome)
                task_status.started(subscription)
        finally:
            client.services.remove(service)
            service.idle.unpark_all()
        if service.error is not None:
            raise service.error


async def _work(
    service: Service,
    handler: Handler,
    on_outcome: Callable[[Message, BaseException | None, float], None] | None,
) -> None:
    task = trio.lowlevel.current_task()
    while True:
        try:
            message = await service.subscription.receive()
        except trio.EndOfChannel:
            return
        except NatsError as error:  # the same for all workers: raised once, by serve
            service.error = error
            return
        began = trio.current_time()
        service.handling.add(task)
        failure: Exception | None = None
        try:
            failure = await _handle(message, handler)
        finally:
            service.handling.discard(task)
            service.idle.unpark_all()
        if on_outcome is not None:
            on_outcome(message, failure, trio.current_time() - began)


async def _handle(message: Message, handler: Handler) -> Exception | None:
    """Run the handler and answer; returns what it raised."""
    try:
        reply = await handler(message)
        if reply is not None and message.reply_bytes is not None:
            await message.respond(reply)
    except Exception as error:
        log.error(
            "handler of %s raised",
            message.subject,
            exc_info=error,
            extra={"event": "NATS_HANDLER_ERROR", "subject": message.subject},
        )
        await _answer_error(message)
        return error
    return None


async def _answer_error(message: Message) -> None:
    if message.reply_bytes is None:
        return
    try:
        await message.respond(b"", headers=ERROR_HEADERS)
    except NatsError as error:
        log.warning("no error reply to %s: %s", message.subject, error, extra={"event": "NATS_PUBLISH_ERROR"})
