"""What provokes what the stage `jetstream` promises, before a simulated server with JetStream.

Must not judge what is seen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import attrs
import trio

from beamline_trio import Client, Message, NatsError, State
from beamline_trio.faults import FaultDialer, close_connection, error, timeout
from beamline_trio.jetstream import Consumer, ConsumerConfig, JetStream, JetStreamMessage, PublishRetry, StreamConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World
from tests.metrics._provoke_connection import until_state
from tests.metrics._watch import Watch

STREAM: Final = "ORDERS"
SUBJECT: Final = "orders.new"
RETRY: Final = PublishRetry(attempts=2, base_seconds=0.1, attempt_timeout_seconds=0.5)


@attrs.frozen
class Stage:
    """A server with a stream, a client, its JetStream and its faults."""

    server: SimulatedServer
    nc: Client
    js: JetStream
    faults: FaultDialer


@asynccontextmanager
async def staged(world: World, watch: Watch, **options: Any) -> AsyncGenerator[Stage]:
    """A stream for `orders.>`."""
    server = world.servers.get("a") or await world.start_server("a", ServerConfig(jetstream=True))
    async with watch.open(server.url, world.dialer("app"), **options) as (nc, faults):
        js = JetStream(nc)
        with suppress(NatsError):
            await js.create_stream(StreamConfig(name=STREAM, subjects=("orders.>",)))
        yield Stage(server, nc, js, faults)


async def _fails(call: Awaitable[object]) -> None:
    try:
        await call
    except (NatsError, trio.TooSlowError):
        return
    raise AssertionError(f"{call} did not fail")


async def failed_publishes(world: World, watch: Watch) -> None:
    """Publishes with a PubAck that fail for every reason there is."""
    async with staged(world, watch) as stage:
        js, faults = stage.js, stage.faults
        await js.publish(SUBJECT, b"x")
        await _fails(js.publish(SUBJECT, b"x", expected_last_sequence=9))
        await _fails(js.publish(SUBJECT, b"x", expected_last_sequence=9, raise_unmet=True))
        await _fails(js.publish("nobody", b"x"))
        for kind, fault in (
            ("publish_with_ack", timeout()),
            ("publish", error()),
            ("publish_with_ack", close_connection()),
        ):
            with faults.inject(kind, fault, subjects=SUBJECT):
                await _fails(js.publish(SUBJECT, b"x"))
            await until_state(stage.nc, State.CONNECTED)
        await _no_stream_answers(stage)


async def _no_stream_answers(stage: Stage) -> None:
    """What answers is something else than a stream."""

    async def answers(message: Message) -> bytes:
        return b"thanks"

    async with trio.open_nursery() as nursery:
        await nursery.start(stage.nc.serve, "elsewhere", answers)
        await _fails(stage.js.publish("elsewhere", b"x"))
        nursery.cancel_scope.cancel()


async def unsent_publishes(world: World, watch: Watch) -> None:
    """Publishes with a PubAck that never reach a server: expired, one too many, left behind by a client that closes."""
    async with staged(world, watch, pending_operations_max=1, pending_policy="error") as stage:
        stage.server.kill()
        await until_state(stage.nc, State.RECONNECTING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, stage.js.publish(SUBJECT, b"x"))
            nursery.start_soon(_fails, stage.js.publish(SUBJECT, b"x"))
        stage.server.start()
        await until_state(stage.nc, State.CONNECTED)
        stage.server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, stage.js.publish(SUBJECT, b"x"))
            await trio.sleep(0.1)
            stage.nc.connection.close()
        stage.server.resume()


async def too_large(world: World, watch: Watch) -> None:
    """What waits is larger than what the next server takes."""
    large = await world.start_server("large")
    small = await world.start_server("small", ServerConfig(max_payload=1_000))
    async with watch.open(large.url, world.dialer("app"), servers=(large.url, small.url)) as (nc, _):
        large.kill()
        small.kill()
        await until_state(nc, State.RECONNECTING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, JetStream(nc).publish(SUBJECT, b"x" * 2_000))
            await trio.sleep(0.1)
            small.start()


async def retries(world: World, watch: Watch) -> None:
    """Retries that save a publish, that are of no use, that are spent, and that have no time left."""
    async with staged(world, watch) as stage:
        js = stage.js
        async with trio.open_nursery() as nursery:
            with stage.faults.inject("publish_with_ack", timeout(), subjects=SUBJECT):
                nursery.start_soon(_retried, js)
                await trio.sleep(0.3)
        await _fails(js.publish(SUBJECT, b"x", expected_last_sequence=99, retry=RETRY))
        await _fails(js.publish("nobody", b"x", retry=RETRY))
        await _fails(js.publish("nobody", b"x", retry=attrs.evolve(RETRY, deadline_seconds=0.05)))


async def _retried(js: JetStream) -> None:
    await js.publish(SUBJECT, b"x", retry=RETRY)


# ------------------------------------------------------------------------------------------------------- acks


@asynccontextmanager
async def consuming(world: World, watch: Watch, max_deliver: int = -1, **options: Any) -> AsyncGenerator[Work]:
    """The stream has messages, and a consumer that waits a second for acks."""
    async with staged(world, watch, **options) as stage:
        for _ in range(8):
            await stage.js.publish(SUBJECT, b"x")
        config = ConsumerConfig(durable_name="worker", ack_wait_seconds=1.0, max_deliver=max_deliver)
        yield Work(stage, await stage.js.create_consumer(STREAM, config))


@attrs.frozen
class Work:
    """A stage, and a consumer of its stream."""

    stage: Stage
    consumer: Consumer

    async def take(self) -> JetStreamMessage:
        """The next message."""
        return await self.consumer.next()

    async def kill(self) -> None:
        """The server is gone, and the client knows."""
        self.stage.server.kill()
        await until_state(self.stage.nc, State.RECONNECTING)

    async def start(self) -> None:
        """The server is back, and the client connected."""
        self.stage.server.start()
        await until_state(self.stage.nc, State.CONNECTED)


async def failed_acks(world: World, watch: Watch) -> None:
    """Acks that fail while they are sent, for every reason."""
    async with consuming(world, watch) as work:
        faults = work.stage.faults
        await (await work.take()).ack()
        for fault in (timeout(), close_connection(), error(), error("no responders")):
            message = await work.take()
            with faults.inject("ack", fault):
                await _fails(message.ack_sync())
            await until_state(work.stage.nc, State.CONNECTED)
        message = await work.take()
        with faults.inject("ack", error()):
            await message.ack()
            await work.stage.nc.flush()
        message = await work.take()
        await work.kill()
        await _fails(message.ack_sync())
        await work.start()
    async with consuming(world, watch, requests_inflight_max=1) as work:
        message = await work.take()
        work.stage.server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, work.stage.nc.request("orders.new", b"x"))
            await trio.sleep(0.1)
            await _fails(message.ack_sync())
        work.stage.server.resume()


async def kept_acks(world: World, watch: Watch) -> None:
    """Acks that wait for a connection: one too many, too late, and left behind by a client that closes."""
    async with consuming(world, watch, acks_pending_max=1) as work:
        first, second = await work.take(), await work.take()
        await work.kill()
        await first.ack()
        await _fails(second.ack())
        await trio.sleep(2)
        await work.start()
        third = await work.take()
        await work.kill()
        await third.ack()
        work.stage.nc.connection.close()
        work.stage.server.start()


async def too_large_acks(world: World, watch: Watch) -> None:
    """An ack waits for a connection, and the next server takes nothing."""
    small = await world.start_server("small", ServerConfig(max_payload=1))
    async with consuming(world, watch) as work:
        url = work.stage.server.url
    small.kill()
    async with watch.open(url, world.dialer("app"), servers=(url, small.url), keep_server_order=True) as (nc, _):
        message = await (await JetStream(nc).consumer(STREAM, "worker")).next()
        work.stage.server.kill()
        await until_state(nc, State.RECONNECTING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, message.ack_sync())
            await trio.sleep(0.1)
            small.start()


async def naks(world: World, watch: Watch) -> None:
    """Naks, with a delay, for a reason, given back, refused, without a connection; then on the last delivery."""
    for max_deliver in (-1, 1):
        async with consuming(world, watch, max_deliver) as work:
            await (await work.take()).nak()
            await (await work.take()).nak(delay_seconds=0.1)
            for reason in ("processing_timeout", "publish_error"):
                await (await work.take()).nak(reason=reason)
            with trio.move_on_after(0.5):
                await work.consumer.fetch(500, expires_seconds=30.0)
            message = await work.take() if max_deliver < 0 else None
            if message is not None:
                with work.stage.faults.inject("nak", error()):
                    await message.nak()
                    await work.stage.nc.flush()
                message = await work.take()
                await work.kill()
                await message.nak()
                await work.start()
            await work.stage.js.delete_consumer(STREAM, "worker")


async def recreated(world: World, watch: Watch) -> None:
    """A consumer is deleted under a session that makes it again."""
    async with (
        consuming(world, watch) as work,
        work.consumer.messages(recreate=True) as messages,
    ):
        await (await messages.receive()).ack()
        await work.stage.js.delete_consumer(STREAM, "worker")
        while (await messages.receive()).metadata.consumer_sequence > 1:
            pass


async def silent_pulls(world: World, watch: Watch) -> None:
    """A server whose heartbeats stay away under a session."""
    async with (
        consuming(world, watch) as work,
        work.consumer.messages(expires_seconds=2.0, heartbeat_seconds=0.5) as messages,
    ):
        with trio.move_on_after(1):
            async for message in messages:
                await message.ack()
        work.stage.server.pause()
        with trio.move_on_after(3):
            await messages.receive()
        work.stage.server.resume()


PROVOCATIONS: Final = (
    failed_publishes,
    unsent_publishes,
    too_large,
    retries,
    failed_acks,
    kept_acks,
    too_large_acks,
    naks,
    recreated,
    silent_pulls,
)
