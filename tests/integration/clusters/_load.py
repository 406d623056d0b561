"""A load on a stream with three replicas, and the books of it: what was published, acknowledged, delivered, stored.

Messages are numbered and start at an even rate, whether those before have been acknowledged or not: so each moment is
probed, and the longest time without a PubAck is the cluster's and not that of a publisher who waits. Each is published
under one id until it is acknowledged, whatever happens; what happens meanwhile is noted.

Must not know what is done to the servers.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import TypeVar

import attrs
import trio

from beamline_trio import Client, JetStream, NatsError, open_client
from beamline_trio.jetstream import APIError, ConsumerConfig, Placement, StreamConfig
from beamline_trio.transport import Dialer

T = TypeVar("T")
STREAM = "LOAD"
SUBJECT = "load.in"
WORKER = "worker"
DUPLICATE_WINDOW_SECONDS = 300.0
RATE = 100.0
ATTEMPT_SECONDS = 2.0
"""For one attempt of a publish, as `PublishRetry` has it."""
RETRY_SECONDS = (0.3, 0.7)
IN_FLIGHT_MAX = 5000
CONSUMER = -1
SETUP_SECONDS = 30.0


@attrs.define
class Books:
    """What became of the messages, which are known by their numbers. Times are of trio's clock.

    Attributes:
        published: how many were begun.
        acked: number -> when its PubAck came.
        begun: number -> when its first attempt began.
        duplicates: how many PubAcks told that an attempt before had been stored: its own PubAck was lost.
        errors: when an attempt of which client's failed, and with which error, the oldest first; -1 = the consumer's.
        delivered: number -> how often the consumer was given it.
        deliveries: when each was given.
    """

    published: int = 0
    acked: dict[int, float] = attrs.field(factory=dict)
    begun: dict[int, float] = attrs.field(factory=dict)
    duplicates: int = 0
    errors: list[tuple[float, int, str]] = attrs.field(factory=list)
    delivered: Counter[int] = attrs.field(factory=Counter)
    deliveries: list[float] = attrs.field(factory=list)

    @property
    def unacked(self) -> int:
        """How many have no PubAck yet."""
        return self.published - len(self.acked)


class Load:
    """Publishers, one for each client in turn, and a consumer. Made by `open_load`.

    Attributes:
        books: what became of the messages.
        rate: messages a second.
    """

    def __init__(self, clients: Sequence[Client], rate: float, nursery: trio.Nursery, chance: Random) -> None:
        self.books = Books()
        self._publishing = [JetStream(nc) for nc in clients]
        self.rate = rate
        self._nursery = nursery
        self._chance = chance
        self._slots = trio.Semaphore(IN_FLIGHT_MAX)
        self._ended = trio.CancelScope()

    async def run(self) -> None:
        """Begin a message at each tick until `stop`."""
        began, books = trio.current_time(), self.books
        with self._ended:
            while True:
                await trio.sleep_until(began + books.published / self.rate)
                await self._slots.acquire()
                number, books.published = books.published, books.published + 1
                books.begun[number] = trio.current_time()
                self._nursery.start_soon(self._publish, number)

    def stop(self) -> None:
        """Begin no more; those that are under way go on until they are acknowledged."""
        self._ended.cancel()

    async def finish(self, seconds: float) -> None:
        """Return when everything published is acknowledged and delivered, or so many seconds are over."""
        with trio.move_on_after(seconds):
            while self.books.unacked or len(self.books.delivered) < self.books.published:  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def _publish(self, number: int) -> None:
        client = number % len(self._publishing)
        js = self._publishing[client]
        while True:
            try:
                ack = await js.publish(SUBJECT, b"%d" % number, message_id=f"m{number}")
            except NatsError as error:
                self.books.errors.append((trio.current_time(), client, error_name(error)))
                await trio.sleep(self._chance.uniform(*RETRY_SECONDS))
            else:
                self.books.acked[number] = trio.current_time()
                self.books.duplicates += ack.duplicate
                self._slots.release()
                return

    async def consume(self, js: JetStream) -> None:
        """Take what comes, again and again should the consumer be gone for a moment, and acknowledge it."""
        while True:
            try:
                await self._consume_until_error(js)
            except NatsError as error:
                self.books.errors.append((trio.current_time(), CONSUMER, error_name(error)))
                await trio.sleep(0.2)

    async def _consume_until_error(self, js: JetStream) -> None:
        consumer = await js.consumer(STREAM, WORKER)
        async with consumer.messages(expires_seconds=4.0) as messages:
            async for message in messages:
                self.books.delivered[int(message.payload)] += 1
                self.books.deliveries.append(trio.current_time())
                await message.ack()


def longest_gap(times: Iterable[float], since: float, until: float) -> float:
    """The longest time between two of these, in seconds, from the one moment to the other."""
    inside = [since, *sorted(at for at in times if since < at < until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def error_name(error: NatsError) -> str:
    """The error's class, and the server's number where the class does not tell it."""
    return f"APIError {error.err_code}" if type(error) is APIError else type(error).__name__


@asynccontextmanager
async def open_load(
    servers: Iterable[tuple[str, Dialer | None]],
    *,
    rate: float = RATE,
    home: str | None = None,
    consume: bool = True,
    chance: Random,
) -> AsyncGenerator[Load]:
    """A load on a cluster through one client for each of these servers, which runs when the block begins.

    Args:
        servers: where the clients connect first, and how; each knows the other servers from its own.
        rate: messages a second.
        home: the cluster in which the stream and its consumer are; None = where the servers think best.
        consume: take the messages too, with a durable of its own.
        chance: for the delays of retries.
    """
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                open_client(
                    url, dialer=dialer, operation_timeout_seconds=ATTEMPT_SECONDS, pending_operations_max=IN_FLIGHT_MAX
                )
            )
            for url, dialer in servers
        ]
        await create_stream(JetStream(clients[0]), home, with_consumer=consume)
        nursery = await stack.enter_async_context(trio.open_nursery())
        load = Load(clients, rate, nursery, chance)
        if consume:
            nursery.start_soon(load.consume, JetStream(clients[-1]))
        nursery.start_soon(load.run)
        yield load
        nursery.cancel_scope.cancel()


async def create_stream(js: JetStream, home: str | None, *, with_consumer: bool) -> None:
    """The stream, and its consumer, with three replicas each, on a cluster that is still busy with itself."""
    placement = Placement(cluster=home) if home else None
    stream = StreamConfig(
        name=STREAM,
        subjects=(SUBJECT,),
        num_replicas=3,
        duplicate_window_seconds=DUPLICATE_WINDOW_SECONDS,
        placement=placement,
    )
    consumer = ConsumerConfig(durable_name=WORKER, ack_wait_seconds=10.0, max_ack_pending=10_000)
    with trio.fail_after(SETUP_SECONDS):
        await _until_taken(lambda: js.create_stream(stream))
        if with_consumer:
            await _until_taken(lambda: js.create_consumer(STREAM, consumer))


async def _until_taken(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a cluster that may be busy with itself (10008, or silence) again and again."""
    while True:
        try:
            return await ask()
        except NatsError:
            await trio.sleep(0.5)


async def numbers_of(js: JetStream, stream: str, deadline_seconds: float = 60.0) -> Counter[int]:
    """How often a stream has each number, read from its first message to its last."""
    found: Counter[int] = Counter()
    with trio.fail_after(deadline_seconds):
        left = (await js.stream_info(stream)).state.messages
        config = ConsumerConfig(name=f"count-{left}", ack_policy="none", num_replicas=1, mem_storage=True)
        consumer = await _until_taken(lambda: js.create_consumer(stream, config))
        while left:
            messages = await consumer.fetch(min(left, 500), expires_seconds=2.0)
            found.update(int(message.payload) for message in messages)
            left -= len(messages)
    return found
