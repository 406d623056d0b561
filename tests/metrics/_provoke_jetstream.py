"""What provokes what the stage `jetstream` promises, before a simulated server with JetStream.

Must not judge what is seen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import attrs
import trio

from beamline_trio import Client, JetStream, Message, NatsError, PublishRetry, State, StreamConfig
from beamline_trio.faults import FaultDialer, close_connection, error, timeout
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


PROVOCATIONS: Final = (failed_publishes, unsent_publishes, too_large, retries)
