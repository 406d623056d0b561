"""Who takes what became of the messages: effects and dead letters, of each stream one after the other.

It is a plain consumer and no router: all that is asked of it is that each message is noted, and acked behind that.

Must not judge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import attrs
import trio

from ..client import Client
from ..jetstream import ConsumerConfig, JetStream, JetStreamMessage
from ..protocol import NatsError

_AGAIN_SECONDS: Final = 0.5

T = TypeVar("T")


@attrs.frozen
class Taking:
    """What a sink takes of one stream.

    Attributes:
        stream: which.
        durable: the name of the consumer; it outlives the sink.
        subject: all that is taken of it.
        note: called with each message before its ack.
    """

    stream: str
    durable: str
    subject: str
    note: Callable[[JetStreamMessage], None]


class Sink:
    """Takes messages from streams until it is cancelled.

    Args:
        takings: one of each stream.
    """

    def __init__(self, takings: Sequence[Taking]) -> None:
        self._takings = takings

    async def run(self, client: Client, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take them; started when there is a consumer of each stream. Cancelled, what is not acked comes again."""
        js = JetStream(client)
        async with trio.open_nursery() as nursery:
            for taking in self._takings:
                await nursery.start(_take, js, taking)
            task_status.started()


async def until_done(call: Callable[[], Awaitable[T]]) -> T:
    """Call it again while the servers are not ready for it."""
    while True:
        try:
            return await call()
        except NatsError:
            await trio.sleep(_AGAIN_SECONDS)


async def _take(js: JetStream, taking: Taking, *, task_status: trio.TaskStatus[None]) -> None:
    config = ConsumerConfig(durable_name=taking.durable, filter_subject=taking.subject)
    consumer = await until_done(lambda: js.create_consumer(taking.stream, config))
    task_status.started()

    async def session() -> None:
        async with consumer.messages() as messages:
            async for message in messages:
                taking.note(message)
                await message.ack()

    while True:
        await until_done(session)
        await trio.sleep(_AGAIN_SECONDS)  # the client is being drained
