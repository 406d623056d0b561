"""Contender beamline_trio, through its public interface and on trio's own loop.

Every style that users have is a workload of its own: `async for`, `receive_batch` and a synchronous callback
for subscriptions, `publish` and `publish_nowait` for publishing. The options are the defaults of
`open_client`, but for the row that measures the fastest reconnect.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import trio

from beamline_trio import Client, JetStream, Message, Subscription, open_client
from benchmarks._protocol import (
    CONSUMER,
    CREDIT_EVERY,
    CREDIT_SUBJECT,
    ECHO_SUBJECT,
    FIRST_SUBJECT,
    GO_SUBJECT,
    IN_FLIGHT_MAX,
    PULL_MESSAGES,
    STREAM,
    STREAM_SUBJECT,
    Params,
)

from ._common import Result, Stopwatch, latencies, main, rss_mb, say, throughput
from .ours_router import handle, instances, route

Take = Callable[[int], Awaitable[None]]
FASTEST_RECONNECT: dict[str, Any] = {
    "reconnect_delay_seconds": 0.001,
    "reconnect_delay_max_seconds": 0.001,
    "reconnect_jitter": "none",
}
BATCH_MESSAGES_MAX = 500


def _connected(params: Params) -> AbstractAsyncContextManager[Client]:
    overrides = FASTEST_RECONNECT if params.fastest_reconnect else {}
    return open_client(params.url, name="bench", **overrides)


async def publish(params: Params) -> Result:
    payload = b"x" * params.payload_bytes
    async with _connected(params) as nc:

        async def burst(messages: int) -> None:
            for _ in range(messages):
                await nc.publish(params.subject, payload)
            await nc.flush()

        async def burst_nowait(messages: int) -> None:
            for _ in range(messages):
                try:
                    nc.publish_nowait(params.subject, payload)
                except trio.WouldBlock:
                    await nc.publish(params.subject, payload)
            await nc.flush()

        send = burst_nowait if params.style == "publish_nowait" else burst
        await send(params.warmup_messages)
        watch = Stopwatch()
        await send(params.messages)
        return throughput(params.messages, watch.read(), published=params.messages + params.warmup_messages)


class Reception:
    """The three styles of receiving what the feeder sends; `count` and `size` are what has arrived."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self.count = 0
        self.size = 0
        self._target = 0
        self._complete = trio.Event()

    def iterate(self, sub: Subscription) -> Take:
        async def take(messages: int) -> None:
            count, size = self.count, self.size
            target = count + messages
            await self._nc.publish(GO_SUBJECT, b"%d" % messages)
            async for msg in sub:
                count += 1
                size += len(msg.payload)
                if count % CREDIT_EVERY == 0:
                    self.count, self.size = count, size
                    await self._nc.publish(CREDIT_SUBJECT, b"")
                    if count == target:
                        return

        return take

    def receive_batch(self, sub: Subscription) -> Take:
        async def take(messages: int) -> None:
            target = self.count + messages
            credit_at = self.count + CREDIT_EVERY
            await self._nc.publish(GO_SUBJECT, b"%d" % messages)
            while self.count < target:
                batch = await sub.receive_batch(max_messages=BATCH_MESSAGES_MAX)
                size = 0
                for msg in batch:
                    size += len(msg.payload)
                self.count += len(batch)
                self.size += size
                if self.count >= credit_at:
                    credit_at += CREDIT_EVERY
                    await self._nc.publish(CREDIT_SUBJECT, b"")

        return take

    def on_message(self, msg: Message) -> None:
        self.count += 1
        self.size += len(msg.payload)
        if self.count % CREDIT_EVERY == 0:
            self._nc.publish_nowait(CREDIT_SUBJECT, b"")
            if self.count == self._target:
                self._complete.set()

    async def wait_for_callbacks(self, messages: int) -> None:
        self._target += messages
        self._complete = trio.Event()
        await self._nc.publish(GO_SUBJECT, b"%d" % messages)
        await self._complete.wait()


async def subscribe(params: Params) -> Result:
    async with _connected(params) as nc:
        reception = Reception(nc)
        callback = reception.on_message if params.style == "callback" else None
        async with nc.subscribe(params.subject, callback=callback) as sub:
            await sub.confirmed()
            styles = {"async for": reception.iterate, "receive_batch": reception.receive_batch}
            take = styles[params.style](sub) if params.style in styles else reception.wait_for_callbacks
            return await _fed(take, reception, params)


async def _fed(take: Take, reception: Reception, params: Params) -> Result:
    """The trio counterpart of `_asyncio.fed`."""
    elapsed = None
    before_mb = 0.0
    with trio.move_on_after(params.deadline_seconds):
        await take(params.warmup_messages)
        before_mb = rss_mb()
        watch = Stopwatch()
        await take(params.messages)
        elapsed = watch.read()
    counts = {"received": reception.count, "received_bytes": reception.size}
    if elapsed is None:
        return {"metrics": {}, **counts}
    growth_mb = rss_mb() - before_mb
    result = throughput(params.messages, elapsed, **counts)
    result["metrics"]["growth_mb"] = [growth_mb]
    return result


async def request(params: Params) -> Result:
    payload = b"x" * params.payload_bytes
    async with _connected(params) as nc:

        async def echo() -> None:
            if (await nc.request(ECHO_SUBJECT, payload)).payload != payload:
                raise AssertionError("the reply is not the request's payload")

        return await _repeated(echo, params)


async def confirm(params: Params) -> Result:
    payload = b"x" * params.payload_bytes
    async with _connected(params) as nc:

        async def publish_confirmed() -> None:
            await nc.publish(params.subject, payload, confirm=True)

        return await _repeated(publish_confirmed, params)


async def _repeated(operation: Callable[[], Awaitable[object]], params: Params) -> Result:
    """The trio counterpart of `_asyncio.repeated`."""
    if params.concurrency > 1:
        return await _concurrent(operation, params)
    for _ in range(params.warmup_messages):
        await operation()
    samples: list[int] = []
    watch = Stopwatch()
    for _ in range(params.messages):
        started = time.perf_counter_ns()
        await operation()
        samples.append(time.perf_counter_ns() - started)
    return latencies(samples, watch.read())


async def _concurrent(operation: Callable[[], Awaitable[object]], params: Params) -> Result:
    async def repeat(times: int) -> None:
        for _ in range(times):
            await operation()

    async def spread(messages: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(params.concurrency):
                nursery.start_soon(repeat, messages // params.concurrency)

    await spread(params.warmup_messages)
    watch = Stopwatch()
    await spread(params.messages)
    return throughput(params.messages, watch.read())


async def acked(params: Params) -> Result:
    payload = b"x" * params.payload_bytes
    async with _connected(params) as nc:
        js = JetStream(nc)

        async def publish_acked() -> None:
            await js.publish(STREAM_SUBJECT, payload)

        result = await _repeated(publish_acked, params)
    return {**result, "published": params.messages + params.warmup_messages}


async def in_flight(params: Params) -> Result:
    payload = b"x" * params.payload_bytes
    async with _connected(params) as nc:
        js = JetStream(nc)

        async def burst(messages: int) -> None:
            async with js.publisher(max_in_flight=IN_FLIGHT_MAX) as publisher:
                for _ in range(messages):
                    await publisher.publish(STREAM_SUBJECT, payload)

        await burst(params.warmup_messages)
        watch = Stopwatch()
        await burst(params.messages)
        return throughput(params.messages, watch.read(), published=params.messages + params.warmup_messages)


async def consume(params: Params) -> Result:
    async with _connected(params) as nc:
        consumer = await JetStream(nc).consumer(STREAM, CONSUMER)
        count = 0
        watch = Stopwatch()
        async with consumer.messages(max_messages=PULL_MESSAGES) as messages:
            async for msg in messages:
                await msg.ack()
                count += 1
                if count == params.messages:
                    break
            await nc.flush()
        elapsed = watch.read()
    return throughput(params.messages, elapsed)


async def reconnect(params: Params) -> Result:
    async with _connected(params) as nc, nc.subscribe(FIRST_SUBJECT) as sub:
        await sub.confirmed()
        for outage in range(params.outages):
            say("ready")
            while (await sub.receive()).payload != str(outage).encode():
                pass
            say("first", at=time.monotonic())
    return {"metrics": {}}


async def subscriptions(params: Params) -> Result:
    async with _connected(params) as nc:
        idle_mb = rss_mb()
        async with AsyncExitStack() as stack:
            held = [
                await stack.enter_async_context(nc.subscribe(f"bench.many.{i}")) for i in range(params.subscriptions)
            ]
            await nc.flush()
            grown_mb = rss_mb() - idle_mb
            await nc.publish(f"bench.many.{len(held) - 1}", b"still there")
            with trio.fail_after(5):
                await held[-1].receive()
    return {"metrics": {"subscriptions_mb": [grown_mb]}}


def run(workload: Callable[[Params], Awaitable[Result]], params: Params) -> Result:
    return trio.run(workload, params)


WORKLOADS = {
    "publish": publish,
    "subscribe": subscribe,
    "request": request,
    "confirm": confirm,
    "acked": acked,
    "in_flight": in_flight,
    "consume": consume,
    "reconnect": reconnect,
    "subscriptions": subscriptions,
    "handle": lambda params: (subscribe if params.style == "async for" else handle)(params),
    "route": route,
    "instances": instances,
}

if __name__ == "__main__":
    main("beamline-trio", WORKLOADS, run)
