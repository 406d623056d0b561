"""Contender beamline_trio's router, beside what it stands on: the bare subscription, `serve` and the bare client.

    handle      a handler that counts: "router", "serve" and, without one, "async for"
    route       from a stream to another, each message confirmed (PubAck) before its ack: "router", and "client", the
                same by as many tasks on the bare client
    instances   a handler that works and waits, in so many processes on one durable: "1 instance", "2 instances", ...

Run as a module, it is one of the instances: it says that it is there, and begins when all are.
"""

import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from beamline_trio import Client, JetStream, open_client
from beamline_trio.client import Message
from beamline_trio.jetstream import ConsumerConfig, JetStreamMessage, StreamConfig
from beamline_trio.router import Publish, Router
from benchmarks._protocol import (
    CONSUMER,
    CREDIT_EVERY,
    CREDIT_SUBJECT,
    GO_SUBJECT,
    PULL_MESSAGES,
    STREAM,
    STREAM_SUBJECT,
    TARGET,
    TARGET_SUBJECT,
    Params,
)

from ._common import Elapsed, Result, Stopwatch, rss_mb, throughput

POLL_SECONDS = 0.002
OUTSTANDING_MAX = 10_000
CONSUMER_CONFIG = ConsumerConfig(max_ack_pending=OUTSTANDING_MAX)


class Intake:
    """What a handler has been given: counted, with credit for the feeder."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._target = 0
        self._complete = trio.Event()
        self.count = 0
        self.size = 0

    async def handle(self, payload: bytes) -> None:
        """The handler of a route."""
        self.count += 1
        self.size += len(payload)
        if self.count % CREDIT_EVERY == 0:
            await self._nc.publish(CREDIT_SUBJECT, b"")
            if self.count == self._target:
                self._complete.set()

    async def serve(self, msg: Message) -> None:
        """The same for `serve`."""
        await self.handle(msg.payload)

    async def take(self, messages: int) -> None:
        """Ask the feeder for so many, and wait for them."""
        self._target = self.count + messages
        self._complete = trio.Event()
        await self._nc.publish(GO_SUBJECT, b"%d" % messages)
        await self._complete.wait()


async def handle(params: Params) -> Result:
    """See the module."""
    async with open_client(params.url, name="bench") as nc, trio.open_nursery() as nursery:
        intake = Intake(nc)
        if params.style == "router":
            router = Router("bench")
            router.route(params.subject)(intake.handle)
            await nursery.start(router.run, nc)
        else:
            await nursery.start(partial(nc.serve, params.subject, intake.serve))
        elapsed = None
        with trio.move_on_after(params.deadline_seconds):
            await intake.take(params.warmup_messages)
            rss_mb()
            watch = Stopwatch()
            await intake.take(params.messages)
            elapsed = watch.read()
        nursery.cancel_scope.cancel()
    counts = {"received": intake.count, "received_bytes": intake.size}
    return {"metrics": {}, **counts} if elapsed is None else throughput(params.messages, elapsed, **counts)


async def route(params: Params) -> Result:
    """See the module."""
    run = _route_by_router if params.style == "router" else _route_by_client
    async with open_client(params.url, name="bench") as nc, _target(JetStream(nc)) as js:
        watch = Stopwatch()
        await run(nc, js, params)
        elapsed = watch.read()
        stored = (await js.stream_info(TARGET)).state.messages
        if stored != params.messages:
            raise AssertionError(f"{TARGET} has {stored} messages of {params.messages}")
        await nc.flush()
    return throughput(params.messages, elapsed)


@asynccontextmanager
async def _target(js: JetStream) -> AsyncGenerator[JetStream]:
    """The stream that messages go to."""
    await js.create_stream(StreamConfig(name=TARGET, subjects=(TARGET_SUBJECT,), storage="memory"))
    try:
        yield js
    finally:
        with trio.move_on_after(5, shield=True):
            await js.delete_stream(TARGET)


async def _route_by_router(nc: Client, js: JetStream, params: Params) -> None:
    router = Router("bench")

    @router.route(
        STREAM_SUBJECT, stream=STREAM, durable=CONSUMER, concurrency=params.concurrency, consumer=CONSUMER_CONFIG
    )
    async def pipe(payload: bytes) -> Publish:
        return Publish(TARGET_SUBJECT, payload)

    async with trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        while router.routes["pipe"].counters.outcomes["ok"] < params.messages:  # noqa: ASYNC110  # it counts for itself
            await trio.sleep(POLL_SECONDS)
        await router.drain()


async def _route_by_client(nc: Client, js: JetStream, params: Params) -> None:
    consumer = await js.consumer(STREAM, CONSUMER)
    done = 0
    async with consumer.messages(max_messages=PULL_MESSAGES) as messages, trio.open_nursery() as nursery:

        async def pipe(receive: Callable[[], Awaitable[JetStreamMessage]]) -> None:
            nonlocal done
            while True:
                message = await receive()
                message_id = f"{STREAM}:{message.metadata.stream_sequence}:pipe:0"
                await js.publish(TARGET_SUBJECT, message.payload, message_id=message_id)
                await message.ack()
                done += 1
                if done == params.messages:
                    nursery.cancel_scope.cancel()

        for _ in range(params.concurrency):
            nursery.start_soon(pipe, messages.receive)


async def instances(params: Params) -> Result:
    """See the module."""
    count = int(params.style.split()[0])
    command = [sys.executable, "-m", __name__, params.to_json()]
    processes = [await trio.lowlevel.open_process(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            await process.stdout.receive_some()
        async with open_client(params.url, name="bench") as nc:
            js = JetStream(nc)
            await nc.publish(GO_SUBJECT, b"")
            await _acknowledged(js, params.warmup_messages)
            cpu, began = _children_seconds(processes), time.perf_counter()
            start = (await js.consumer_info(STREAM, CONSUMER)).ack_floor.stream_seq
            await _acknowledged(js, params.messages)
            elapsed = Elapsed(time.perf_counter() - began, _children_seconds(processes) - cpu)
    finally:
        for process in processes:
            process.kill()
    result = throughput(params.messages - start, elapsed)
    result["metrics"]["rate"] = [1e3 * rate for rate in result["metrics"]["rate_k"]]
    return result


async def _acknowledged(js: JetStream, messages: int) -> None:
    """Wait until so many are."""
    while (await js.consumer_info(STREAM, CONSUMER)).ack_floor.stream_seq < messages:  # noqa: ASYNC110  # no event tells
        await trio.sleep(5 * POLL_SECONDS)


def _children_seconds(processes: list[trio.Process]) -> float:
    """Processor time of these processes."""
    ticks = 0
    for process in processes:
        with open(f"/proc/{process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


async def instance(params: Params) -> None:
    """Handle the messages of the durable until the process is ended."""
    router = Router("bench")

    @router.route(
        STREAM_SUBJECT,
        stream=STREAM,
        durable=CONSUMER,
        concurrency=params.concurrency,
        consumer=ConsumerConfig(max_ack_pending=params.outstanding_max or OUTSTANDING_MAX),
        queue_messages_max=2 * params.concurrency,
    )
    async def work(payload: bytes) -> None:
        done = time.thread_time() + params.busy_seconds
        while time.thread_time() < done:
            pass
        await trio.sleep(params.wait_seconds)

    async with open_client(params.url, name="instance") as nc:
        async with nc.subscribe(GO_SUBJECT) as go:
            await go.confirmed()
            print("ready", flush=True)
            await go.receive()
        await router.run(nc)


if __name__ == "__main__":
    trio.run(instance, Params.from_json(sys.argv[1]))
