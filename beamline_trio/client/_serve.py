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

from ..connection import ClientClosedError, ClientLog, ConnectionLostError, State
from ..protocol import NatsError, check_given, check_number
from ._message import Message
from ._subscription import Subscription

if TYPE_CHECKING:
    from ._client import Client

Handler: TypeAlias = Callable[[Message], Awaitable[bytes | None]]


# ADR-32: how a service answers with an error.
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_HEADERS: Final = {ERROR_CODE_HEADER: "500", ERROR_HEADER: "internal error"}


@attrs.define
class Service:
    """One `serve` under way: what drain has to wait for.

    Attributes:
        handling: the tasks that are inside the handler now.
        error: why the subscription ended, when it did not end cleanly.
    """

    client: Client
    subscription: Subscription
    handling: set[trio.lowlevel.Task] = attrs.field(factory=set)
    error: NatsError | None = None

    @property
    def finished(self) -> bool:
        """Whether every message that came was handled, and none will come."""
        return self.subscription.exhausted and not self.handling


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
    if not callable(handler):
        await trio.lowlevel.checkpoint()
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}")
    try:
        check_given(concurrency=concurrency)
        check_number("concurrency", concurrency, least=1, whole=True)
    except (TypeError, ValueError):
        await trio.lowlevel.checkpoint()
        raise
    async with client.subscribe(subject, queue_group=queue_group) as subscription:
        service = Service(client, subscription)
        client.services.append(service)
        try:
            if not await in_force(client, subscription):
                task_status.started(subscription)  # drained before it began: a service without messages
                return
            async with trio.open_nursery() as nursery:
                for _ in range(concurrency):
                    nursery.start_soon(_work, service, handler, on_outcome)
                task_status.started(subscription)
        finally:
            client.services.remove(service)
            client.drainer.look_again()
        if service.error is not None:
            raise service.error


async def in_force(client: Client, subscription: Subscription) -> bool:
    """Wait until the server has confirmed the interest, on whichever link; False when the client was drained."""
    while True:
        try:
            await subscription.confirmed()
        except ConnectionLostError:  # it is replayed on the next link, and confirmed there
            if client.state is State.EXHAUSTED:
                raise
        except ClientClosedError:
            if not client.drainer.requested:
                raise
            return False
        else:
            return True


async def _work(
    service: Service,
    handler: Handler,
    on_outcome: Callable[[Message, BaseException | None, float], None] | None,
) -> None:
    task = trio.lowlevel.current_task()
    while True:
        if service.client.state is State.CLOSED:  # what is still pending could not be answered any more
            service.error = service.subscription.failure
            return
        try:
            message = await service.subscription.receive()
        except NatsError as error:  # the same for all workers: raised once, by serve
            service.error = error
            return
        except (trio.EndOfChannel, trio.ClosedResourceError):  # ended, or left by whoever was given it
            return
        began = trio.current_time()
        service.handling.add(task)
        failure: Exception | None = None
        try:
            failure = await _handle(service.client.connection.log, message, handler)
        finally:
            service.handling.discard(task)
            service.client.drainer.look_again()
        if on_outcome is not None:
            on_outcome(message, failure, trio.current_time() - began)


async def _handle(log: ClientLog, message: Message, handler: Handler) -> Exception | None:
    """Run the handler and answer; returns what it raised."""
    try:
        reply = await handler(message)
        if reply is not None and message.reply_bytes is not None:
            await message.respond(reply)
    except Exception as error:  # noqa: BLE001  # whatever it is, the service goes on
        words = "the handler raised; its service goes on"
        log(logging.ERROR, "NATS_HANDLER_ERROR", subject=message.subject, words=words, exc_info=error)
        await _answer_error(log, message)
        return error
    return None


async def _answer_error(log: ClientLog, message: Message) -> None:
    if message.reply_bytes is None:
        return
    try:
        await message.respond(b"", headers=ERROR_HEADERS)
    except NatsError as error:
        words = f"no error reply to a request to {message.subject}"
        log(logging.WARNING, "NATS_PUBLISH_ERROR", subject=message.reply, reason=str(error), words=words)
