"""No confirmed message is lost in a cluster: `beamline simulate examples/cluster_accounting.py --seeds 1:300`.

Three servers share a stream with three replicas, synced before each answer.

    shop, store       publish orders: one by one with retries, and with a window; each at any of the servers
    billing, audit    work the stream off by durable consumers with replicas: by fetches and by a session

Servers are killed, paused, cut off from each other and from clients; machines lose their power; leaders are told to
step down, and isolated. Meanwhile what is confirmed stays, once, on every server; nothing comes too often, nor again
behind its confirmed ack; and when all is well again everything goes on.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import trio

from beamline_trio import Client, JetStream, NatsError, UndeliveredError, open_client
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
    Evidence,
    Publication,
    ServerConfig,
    World,
    acked_for_good,
    delivered_until_acked,
    every_call_ends,
    keeps_what_it_acked,
    laws,
    recovers,
    replicas_agree,
)

OPTIONS: dict[str, Any] = {
    "reconnect_delay_max_seconds": 1.0,
    "connect_timeout_seconds": 2.0,
    "operation_timeout_seconds": 4.0,
    "ping_interval_seconds": 3.0,
    "pong_timeout_seconds": 2.0,
    "pending_timeout_seconds": 6.0,
    "retry_first_connect": True,
}
SERVERS = 3
RETRY = PublishRetry(attempts=6, attempt_timeout_seconds=2.0, delay_max_seconds=2.0)
ACK_WAIT_SECONDS = 6.0
MAX_DELIVER = 12
# Behind the last fault: routes, an election or two, and what clients wait until they try again.
RECOVERY_SECONDS = 35.0
HEALTHY_SECONDS = 10.0
# Over before the last fault of the plan may be: what is begun behind it is judged.
UNREST_SECONDS = 15.0
WORKED_OFF_SECONDS = 180.0


def figures(evidence: Evidence) -> dict[str, int]:
    """What the runs come to."""
    notes = list(evidence.journal.publications.values())
    return {
        "published": len(notes),
        "confirmed": sum(note.fate == "confirmed" for note in notes),
        "unknown": sum(note.fate in ("unknown", "cancelled") for note in notes),
        "failed": sum(note.fate == "failed" for note in notes),
        "stored": len({one.identity for one in evidence.journal.stored}),
        "redelivered": sum(one.deliveries > 1 for one in evidence.journal.handed_out),
    }


@laws(
    keeps_what_it_acked, replicas_agree, acked_for_good, every_call_ends,
    delivered_until_acked("ORDERS", "billing", max_deliver=MAX_DELIVER),
    delivered_until_acked("ORDERS", "audit", max_deliver=MAX_DELIVER),
    recovers(RECOVERY_SECONDS, publishers=("shop/retried", "store/retried")),
    faults=Draw(seconds=30, count=6, longest_seconds=15), quiet_seconds=RECOVERY_SECONDS, figures=figures,
)  # fmt: skip
async def scenario(world: World) -> None:
    await world.add_cluster(
        "c", servers=SERVERS, jetstream=True, config=ServerConfig(jetstream_sync_interval_seconds=0)
    )
    await trio.sleep(2.0)  # the groups have leaders by then
    done = trio.Event()
    async with trio.open_nursery() as background:
        for name in ("billing", "audit"):
            await background.start(work, world, name)
        background.start_soon(unrest, world)
        async with trio.open_nursery() as publishers:
            for host in ("shop", "store"):
                publishers.start_soon(keep, world, host, done)
            await world.quiet()
            await trio.sleep(HEALTHY_SECONDS)
            done.set()
        await worked_off(world)
        background.cancel_scope.cancel()


async def unrest(world: World) -> None:
    """What no plan draws: power failures, servers that only clients can reach, leaders that are told to step down."""
    chance = world.random("unrest")
    over_at = world.now() + UNREST_SECONDS
    with suppress(UndeliveredError):  # whether a leader was told to step down decides nothing
        async with client(world, "operator") as nc:
            while world.now() < over_at:
                await trio.sleep(chance.uniform(1.0, 4.0))
                what = chance.random()
                if what < 0.25:
                    await lose_power(world, f"c-{chance.randint(1, SERVERS)}", chance.uniform(0.2, 3.0))
                elif what < 0.6:
                    await isolate(world, leader(world), chance.uniform(2.0, 14.0))
                else:
                    told = chance.choice(["STREAM.LEADER.STEPDOWN.ORDERS", "CONSUMER.LEADER.STEPDOWN.ORDERS.billing"])
                    await nc.publish(f"$JS.API.{told}", b"")


def leader(world: World) -> str:
    """The server that leads the stream, or thinks so; else any."""
    leading = [name for name, server in world.servers.items() if server.leads("ORDERS")]
    return leading[0] if leading else f"c-{world.random('any').randint(1, SERVERS)}"


async def lose_power(world: World, victim: str, seconds: float) -> None:
    world.servers[victim].crash()
    await trio.sleep(seconds)
    world.servers[victim].start()


async def isolate(world: World, victim: str, seconds: float) -> None:
    """Clients reach it, and the other servers do not."""
    with world.network.partition(victim, [name for name in world.servers if name != victim]):
        await trio.sleep(seconds)


@asynccontextmanager
async def client(world: World, host: str) -> AsyncGenerator[Client]:
    """A client that knows all servers, and begins with any of them."""
    urls = [server.url for server in world.servers.values()]
    async with open_client(*urls, name=host, dialer=world.dialer(host), **OPTIONS) as nc:
        yield nc


# The publishers


async def keep(world: World, host: str, done: trio.Event) -> None:
    """The identity of an order is its message id: the stream stores it once, whoever leads it."""
    async with client(world, host) as nc, trio.open_nursery() as nursery:
        js = JetStream(nc)
        nursery.start_soon(order, world, js, f"{host}/plain", None)
        nursery.start_soon(order, world, js, f"{host}/retried", RETRY)
        nursery.start_soon(order_many, world, js, f"{host}/many")
        await done.wait()
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


async def order(world: World, js: JetStream, who: str, retry: PublishRetry | None) -> None:
    """Now and then one that was confirmed goes out again, as from a program that has forgotten it: a duplicate."""
    chance = world.random(who)
    again: list[str] = []
    while True:
        note = await world.journal.publish_by(
            lambda header: js.publish("orders.new", b"book", headers=header, message_id=header["Sim-Id"], retry=retry),
            "orders.new",
            publisher=who,
            stream="ORDERS",
        )
        if note.fate == "confirmed" and chance.random() < 0.3:
            again.append(note.identity)
        if len(again) > 3:
            identity = again.pop(0)
            with suppress(NatsError):
                await js.publish("orders.new", b"book", headers={"Sim-Id": identity}, message_id=identity)
        await trio.sleep(chance.uniform(0.2, 1.0))


async def order_many(world: World, js: JetStream, who: str) -> None:
    """With a window: of what was taken in, the publisher says at its end what became."""
    chance = world.random(who)
    while True:
        publisher = js.publisher(max_in_flight=4)
        notes: list[Publication] = []
        try:
            async with publisher:
                for _ in range(chance.randint(1, 6)):
                    notes.append(await take_in(world, publisher, who))
        except PublisherError:
            pass
        ends = {one.message_id: ("failed", one.error) for one in publisher.failed}
        ends |= {one.message_id: ("unknown", one.error) for one in publisher.unknown}
        for note in notes:
            if note.fate in ("sent", "queued"):
                world.journal.settle(note, *ends.get(note.identity, ("confirmed", None)))
        await trio.sleep(chance.uniform(0.5, 2.0))


async def take_in(world: World, publisher: Publisher, who: str) -> Publication:
    return await world.journal.publish_by(
        lambda header: publisher.publish("orders.new", b"books", headers=header, message_id=header["Sim-Id"]),
        "orders.new",
        publisher=who,
        confirm=False,
        stream="ORDERS",
    )


# The workers


async def work(world: World, name: str, task_status: trio.TaskStatus[None]) -> None:
    """Work the stream off by a durable consumer, until cancelled."""
    async with client(world, name) as nc:
        js = JetStream(nc)
        config = ConsumerConfig(
            durable_name=name, ack_policy="explicit", ack_wait_seconds=ACK_WAIT_SECONDS, max_deliver=MAX_DELIVER
        )
        await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",), num_replicas=SERVERS))
        consumer = await js.create_consumer("ORDERS", config)
        task_status.started()
        chance = world.random(name)
        await (fetch(world, consumer, chance) if name == "billing" else read(world, consumer, chance))


async def fetch(world: World, consumer: Consumer, chance: Random) -> None:
    while True:
        try:
            messages = await consumer.fetch(4, expires_seconds=2.0)
        except NatsError:
            await trio.sleep(0.5)
            continue
        for message in messages:
            world.journal.delivered("billing", message)
            await settle(world, message, chance)


async def read(world: World, consumer: Consumer, chance: Random) -> None:
    while True:
        with trio.move_on_after(chance.uniform(1.0, 20.0)):
            async with consumer.messages(6, expires_seconds=3.0) as messages:
                async for message in messages:
                    world.journal.delivered("audit", message)
                    await settle(world, message, chance)


async def settle(world: World, message: JetStreamMessage, chance: Random) -> None:
    """Ack it; or nak it, or ack it and wait; seldom forget it."""
    draw = chance.random()
    try:
        if draw < 0.1:
            await message.nak(chance.choice((None, 0.5)))
        elif draw < 0.4:
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
            led = [one for server in world.servers.values() for stream in server.streams for one in stream.consumers]
            if len(led) == 2 and not any(one.pending or one.undelivered for one in led):
                return
            await trio.sleep(0.5)
