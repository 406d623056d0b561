"""Where a route's messages come from: a core subscription, or a durable consumer of a stream.

Must not handle messages, and must not decide when to take one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs

from ..client import Client, Subscription, in_force
from ..jetstream import Consumer, ConsumerConfig, ConsumerExistsError, JetStream, Messages
from ..protocol import NatsError
from ._route_options import RouteOptions


class Source:
    """A route's open source: `receive` gives its messages one by one, as `Subscription.receive` does.

    Attributes:
        subscription: what a drain of the client ends.
        receive: takes the next message.
    """

    def __init__(self, subscription: Subscription | Messages) -> None:
        self.subscription = subscription
        self.receive = subscription.receive

    @property
    def waiting(self) -> int:
        """Messages that are here and were not taken."""
        return self.subscription.pending_messages

    def extend(self, older_than_seconds: float) -> None:
        """Keep what waits here from being delivered to somebody else meanwhile."""
        if isinstance(self.subscription, Messages):
            self.subscription.extend(older_than_seconds)

    @property
    def failure(self) -> NatsError | None:
        """Why it ended, where its workers were not told because they did not ask."""
        return self.subscription.failure if isinstance(self.subscription, Subscription) else None

    async def drain(self) -> None:
        """Let nothing more come; what is here can be taken.

        Raises:
            NatsError: that could not be confirmed; it ends all the same.
        """
        await self.subscription.drain()


@asynccontextmanager
async def open_source(client: Client, options: RouteOptions) -> AsyncGenerator[Source | None]:
    """The source of a route, confirmed by the server; None when the client was drained before.

    Left, what waits in it goes back (to a stream), or is counted as discarded.

    Raises:
        NatsError: the server refuses it, or there is no such stream.
    """
    if options.stream is None:
        # With tenants the queue's bounds are the queue's alone: a burst of one must not fill what all come through.
        bounds = (None, None) if options.tenant_by else (options.queue_messages_max, options.queue_bytes_max)
        subscription = client.subscribe(
            options.subject,
            queue_group=options.queue_group,
            pending_messages_max=bounds[0],
            pending_bytes_max=bounds[1],
        )
        async with subscription:
            yield Source(subscription) if await in_force(client, subscription) else None
        return
    consumer = await _open_consumer(JetStream(client), options.stream, options.consumer_config())
    async with consumer.messages(options.prefetch, recreate=options.recreate) as messages:
        yield Source(messages)


async def _open_consumer(jetstream: JetStream, stream: str, config: ConsumerConfig) -> Consumer:
    """The durable, made, or given this configuration where it has another: a new version of a program may have one."""
    try:
        return await jetstream.create_consumer(stream, config)
    except ConsumerExistsError:
        pass
    assert config.durable_name is not None
    info = await jetstream.consumer_info(stream, config.durable_name)
    wanted = {name: value for name, value in attrs.asdict(config, recurse=False).items() if value is not None}
    wanted["extra"] = {**info.config.extra, **config.extra}
    await jetstream.update_consumer(stream, attrs.evolve(info.config, **wanted))
    return await jetstream.consumer(stream, config.durable_name)
