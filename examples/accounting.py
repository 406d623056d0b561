"""Nothing accepted is lost silently: `beamline simulate examples/accounting.py --seeds 1:1000`.

    block, strict, oldest, newest   publish with small queues, one policy each; and ask for prices
    open                            fails open
    limited                         gives up after two attempts, and is revived by a probe
    shop                            publishes to a stream: one by one, with retries, and with a window
    billing, audit                  work the stream off: by fetches and by a session, with acks, naks and terms
    prices                          answers requests

Each of the first six is two clients, one after the other. The first one is left while the faults happen, and so often
without a connection and with publishes that wait: they are delivered, or its error has their count.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import trio

from beamline_trio import Client, Dropped, JetStream, Message, NatsError, UndeliveredError, open_client
from beamline_trio.jetstream import (
    Consumer,
    ConsumerConfig,
    JetStreamMessage,
    Publisher,
    PublisherError,
    PublishRetry,
    StreamConfig,
)
from beamline_trio.testing import (
    Draw,
    Publication,
    ServerConfig,
    World,
    account,
    acked_for_good,
    books_balance,
    delivered_until_acked,
    every_call_ends,
    honest_unknown,
    keeps_what_it_acked,
    laws,
    nothing_lost_silently,
    order_by,
    strands_nothing,
)

OPTIONS: dict[str, Any] = {
    "reconnect_delay_max_seconds": 1.0,
    "connect_timeout_seconds": 2.0,
    "operation_timeout_seconds": 4.0,
    "ping_interval_seconds": 3.0,
    "pong_timeout_seconds": 2.0,
    "pending_operations_max": 8,
    "pending_timeout_seconds": 3.0,
    "drain_deadline_seconds": 4.0,
    "retry_first_connect": True,
}
PUBLISHERS: dict[str, dict[str, Any]] = {
    "block": {},
    "strict": {"pending_policy": "error"},
    "oldest": {"pending_policy": "drop_oldest"},
    "newest": {"pending_policy": "drop_new", "outbox_bytes_max": 512},
    "open": {"fail_open": True},
    "limited": {"reconnect_attempts": 2, "pending_timeout_seconds": None},
}
RETRY = PublishRetry(attempts=4, attempt_timeout_seconds=1.0)
ACK_WAIT_SECONDS = 12.0
MAX_DELIVER = 8
QUIET_SECONDS = 10.0
HEALTHY_SECONDS = 3.0
# As long as a message may take that is delivered MAX_DELIVER times.
WORKED_OFF_SECONDS = 120.0


def its_publisher(note: Publication) -> str | None:
    """Whose order is kept. What comes from a stream may come again."""
    return None if note.stream else note.publisher


@laws(
    nothing_lost_silently, honest_unknown, books_balance, order_by(its_publisher), every_call_ends,
    keeps_what_it_acked, acked_for_good, strands_nothing(ACK_WAIT_SECONDS),
    delivered_until_acked("ORDERS", "billing", max_deliver=MAX_DELIVER),
    delivered_until_acked("ORDERS", "audit", max_deliver=MAX_DELIVER),
    faults=Draw(seconds=15, count=6, longest_seconds=12), quiet_seconds=QUIET_SECONDS, figures=account,
)  # fmt: skip
async def scenario(world: World) -> None:
    crashes = world.random("shape").random() < 0.3
    await world.start_server("a", ServerConfig(jetstream=True, jetstream_sync_interval_seconds=0 if crashes else 120))
    done = trio.Event()
    async with client(world, "prices") as prices, trio.open_nursery() as background:
        await background.start(partial(prices.serve, "price.get", answer))
        billing, audit = [await background.start(work, world, name) for name in ("billing", "audit")]
        if crashes:
            background.start_soon(crash, world)
        async with trio.open_nursery() as publishers:
            publishers.start_soon(keep_shop, world, done)
            for host in PUBLISHERS:
                publishers.start_soon(publish_twice, world, host, done)
            await world.quiet()
            await trio.sleep(HEALTHY_SECONDS)
            done.set()
        await worked_off(world)
        billing.cancel()
        audit.cancel()
        background.cancel_scope.cancel()


async def crash(world: World) -> None:
    """The machine loses its power, some time while the faults happen."""
    await trio.sleep(world.random("crash").uniform(2.0, 15.0))
    world.servers["a"].crash()
    await trio.sleep(0.5)
    world.servers["a"].start()


async def answer(msg: Message) -> bytes:
    return b"1.50"


# Clients and their books


@asynccontextmanager
async def client(world: World, who: str, *, complete: bool = False, **options: Any) -> AsyncGenerator[Client]:
    """A client that hands its books over right before its end and behind it, and the events of what it drops."""
    journal = world.journal
    nc: Client | None = None
    undelivered: UndeliveredError | None = None
    dialer = world.dialer(who.partition("/")[0])
    async with trio.open_nursery() as telling:
        try:
            async with open_client("nats://a:4222", name=who, dialer=dialer, **{**OPTIONS, **options}) as nc:
                await telling.start(tell_drops, world, who, nc)
                yield nc
                journal.note_books(who, nc, complete=complete)
        except UndeliveredError as error:
            undelivered = error
        if nc is not None:
            journal.note_end(who, nc, undelivered, complete=complete)


async def tell_drops(world: World, who: str, nc: Client, task_status: trio.TaskStatus[None]) -> None:
    async with nc.events() as events:
        task_status.started()
        async for event in events:
            if isinstance(event, Dropped):
                world.journal.dropped(who, event)


# Publishers without a stream


async def publish_twice(world: World, host: str, done: trio.Event) -> None:
    first_seconds = world.random(f"{host}/ends").uniform(3.0, 15.0)
    for number, seconds in (("1", first_seconds), ("2", math.inf)):
        async with client(world, f"{host}/{number}", complete=True, **PUBLISHERS[host]) as nc:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for what in (publish_plainly, publish_confirmed, ask):
                        nursery.start_soon(what, world, nc, f"{host}/{what.__name__}{number}")
                    await done.wait()
                    nursery.cancel_scope.cancel()


async def publish_plainly(world: World, nc: Client, who: str) -> None:
    """One by one, and in bursts that no queue holds."""
    chance = world.random(who)
    while True:
        for _ in range(12 if chance.random() < 0.1 else chance.randint(1, 3)):
            await world.journal.publish(nc, "log.line", bytes(100), publisher=who, confirm=False)
        await trio.sleep(chance.uniform(0.6, 3.0))


async def publish_confirmed(world: World, nc: Client, who: str) -> None:
    """Not always with patience."""
    chance = world.random(who)
    while True:
        with trio.move_on_after(chance.choice((0.0005, 0.5, 60.0, 60.0))):
            await world.journal.publish(nc, "log.important", b"confirmed", publisher=who)
        await trio.sleep(chance.uniform(0.6, 3.0))


async def ask(world: World, nc: Client, who: str) -> None:
    chance = world.random(who)
    while True:
        with trio.move_on_after(chance.choice((0.001, 60.0, 60.0))):
            await world.journal.request(nc, "price.get", b"book", publisher=who)
        await trio.sleep(chance.uniform(1.0, 4.0))


# The publisher of a stream

Publish = Callable[[dict[str, str]], Awaitable[Any]]


async def keep_shop(world: World, done: trio.Event) -> None:
    """Orders by three ways. The identity of an order is its message id: the stream stores it once."""
    async with client(world, "shop") as nc, trio.open_nursery() as nursery:
        js = JetStream(nc)
        nursery.start_soon(order, world, js, "shop/plain", None)
        nursery.start_soon(order, world, js, "shop/retried", RETRY)
        nursery.start_soon(order_many, world, js, "shop/many")
        await done.wait()
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


async def order(world: World, js: JetStream, who: str, retry: PublishRetry | None) -> None:
    chance = world.random(who)
    while True:
        with trio.move_on_after(chance.choice((0.0015, 60.0, 60.0, 60.0))):
            await world.journal.publish_by(
                lambda header: js.publish(
                    "orders.new", b"book", headers=header, message_id=header["Sim-Id"], retry=retry
                ),
                "orders.new",
                publisher=who,
                stream="ORDERS",
            )
        await trio.sleep(chance.uniform(0.6, 2.0))


async def order_many(world: World, js: JetStream, who: str) -> None:
    """With a window: of what was taken in, the publisher says at its end what became."""
    chance = world.random(who)
    while True:
        publisher = js.publisher(max_in_flight=4)
        notes: list[Publication] = []
        try:
            async with publisher:
                for _ in range(chance.randint(1, 10)):
                    notes.append(await take_in(world, publisher, who))
        except PublisherError:
            pass
        ends = {one.message_id: ("failed", one.error) for one in publisher.failed}
        ends |= {one.message_id: ("unknown", one.error) for one in publisher.unknown}
        for note in notes:
            if note.fate in ("sent", "queued"):
                world.journal.settle(note, *ends.get(note.identity, ("confirmed", None)))
        await trio.sleep(chance.uniform(1.0, 3.0))


async def take_in(world: World, publisher: Publisher, who: str) -> Publication:
    return await world.journal.publish_by(
        lambda header: publisher.publish("orders.new", b"books", headers=header, message_id=header["Sim-Id"]),
        "orders.new",
        publisher=who,
        confirm=False,
        stream="ORDERS",
    )


# The workers


async def work(world: World, name: str, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """Work the stream off by a durable consumer, until cancelled."""
    async with client(world, name) as nc:
        with trio.CancelScope() as scope:
            js = JetStream(nc)
            await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
            config = ConsumerConfig(
                durable_name=name, ack_policy="explicit", ack_wait_seconds=ACK_WAIT_SECONDS, max_deliver=MAX_DELIVER
            )
            consumer = await js.create_consumer("ORDERS", config)
            task_status.started(scope)
            await (fetch if name == "billing" else read)(world, consumer, world.random(name))


async def fetch(world: World, consumer: Consumer, chance: Random) -> None:
    """Fetches that are cancelled again and again, also when messages are on their way."""
    while True:
        messages: list[JetStreamMessage] = []
        with trio.move_on_after(chance.choice((0.0006, 0.0011, 0.0016, 0.3, 5.0, 5.0))):
            try:
                messages = await consumer.fetch(4, expires_seconds=2.0)
            except NatsError:
                await trio.sleep(0.5)
        for message in messages:
            world.journal.delivered("billing", message)
        for message in messages:
            await settle(world, message, chance)


async def read(world: World, consumer: Consumer, chance: Random) -> None:
    """Sessions that are left early, with messages that nobody has taken."""
    while True:
        with trio.move_on_after(chance.choice((0.0011, 0.0021, 0.5, 5.0, 20.0))):
            async with consumer.messages(6, expires_seconds=3.0) as messages:
                async for message in messages:
                    world.journal.delivered("audit", message)
                    await settle(world, message, chance)
        await trio.sleep(0.05)


async def settle(world: World, message: JetStreamMessage, chance: Random) -> None:
    """Ack it; or nak it, terminate it, ack it and wait; seldom forget it."""
    draw = chance.random()
    try:
        if draw < 0.1:
            await message.nak(chance.choice((None, 0.5)))
        elif draw < 0.13:
            await message.term()
        elif draw < 0.3:
            await message.ack_sync()
            world.journal.acked(message)
        elif draw < 0.98:
            await message.ack()
    except NatsError:
        pass  # it will be delivered again


async def worked_off(world: World) -> None:
    """Wait until the consumers have nothing left."""
    with trio.move_on_after(WORKED_OFF_SECONDS):
        while True:
            consumers = [one for stream in world.servers["a"].streams for one in stream.consumers]
            if consumers and not any(one.pending or one.undelivered for one in consumers):
                return
            await trio.sleep(0.5)
