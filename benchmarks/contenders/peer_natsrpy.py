"""Contender natsrpy: asyncio over the Rust client; its processor time includes the Rust threads.

Used at its best: callbacks for subscriptions and windows of 100 publishes in flight (both 1.6 times its
`async for` and its sequential `await`). Its `flush()` returns when the socket has the bytes and not at a PONG
(it returns at once with the server stopped), so it has no confirmed publish, and its publish rows are counted
at the server as everyone's are.
"""

import asyncio

from natsrpy import Message, Nats

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

from ._asyncio import FirstMessage, fed, repeated, run, timed_burst, timed_take
from ._common import Result, main, rss_mb

PUBLISHES_IN_FLIGHT = 100


async def _connect(params: Params) -> Nats:
    nc = Nats([params.url])
    await nc.startup()
    return nc


async def publish(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages // PUBLISHES_IN_FLIGHT):
            await asyncio.gather(*[nc.publish(params.subject, payload) for _ in range(PUBLISHES_IN_FLIGHT)])
        await nc.flush()

    result = await timed_burst(burst, params)
    await nc.shutdown()
    return result


async def subscribe(params: Params) -> Result:
    nc = await _connect(params)
    count = size = target = 0
    complete = asyncio.Event()

    async def on_message(msg: Message) -> None:
        nonlocal count, size
        count += 1
        size += len(msg.payload)
        if count % CREDIT_EVERY == 0:
            await nc.publish(CREDIT_SUBJECT, b"")
            if count == target:
                complete.set()

    async def take(messages: int) -> None:
        nonlocal target
        target += messages
        complete.clear()
        await nc.publish(GO_SUBJECT, b"%d" % messages)
        await complete.wait()

    async with nc.subscribe(params.subject, on_message):
        await nc.flush()
        result = await fed(take, lambda: (count, size), params)
    await nc.shutdown()
    return result


async def request(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def echo() -> None:
        if (await nc.request(ECHO_SUBJECT, payload)).payload != payload:
            raise AssertionError("the reply is not the request's payload")

    result = await repeated(echo, params)
    await nc.shutdown()
    return result


async def acked(params: Params) -> Result:
    nc = await _connect(params)
    js = await nc.jetstream()
    payload = b"x" * params.payload_bytes

    async def publish_acked() -> None:
        await js.publish(STREAM_SUBJECT, payload, wait=True)

    result = await repeated(publish_acked, params)
    await nc.shutdown()
    return {**result, "published": params.messages + params.warmup_messages}


async def in_flight(params: Params) -> Result:
    nc = await _connect(params)
    js = await nc.jetstream(max_ack_inflight=IN_FLIGHT_MAX)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages // IN_FLIGHT_MAX):
            await asyncio.gather(*[js.publish(STREAM_SUBJECT, payload, wait=True) for _ in range(IN_FLIGHT_MAX)])

    result = await timed_burst(burst, params)
    await nc.shutdown()
    return result


async def consume(params: Params) -> Result:
    nc = await _connect(params)
    js = await nc.jetstream()
    stream = await js.streams.get(STREAM)
    consumer = await stream.consumers.get_pull(CONSUMER)

    async def take(messages: int) -> None:
        count = 0
        while count < messages:
            batch = await consumer.fetch(PULL_MESSAGES, timeout=5)
            await asyncio.gather(*[msg.ack() for msg in batch])
            count += len(batch)
        await nc.flush()

    result = await timed_take(take, params)
    await nc.shutdown()
    return result


async def reconnect(params: Params) -> Result:
    nc = await _connect(params)
    first = FirstMessage()

    async def on_message(msg: Message) -> None:
        first.offer(msg.payload)

    async with nc.subscribe(FIRST_SUBJECT, on_message):
        await nc.flush()
        result = await first.outages(params)
    await nc.shutdown()
    return result


async def subscriptions(params: Params) -> Result:
    nc = await _connect(params)
    idle_mb = rss_mb()
    held = [await nc.subscribe(f"bench.many.{i}").detatch() for i in range(params.subscriptions)]
    await nc.flush()
    grown_mb = rss_mb() - idle_mb
    await nc.publish(f"bench.many.{len(held) - 1}", b"still there")
    await asyncio.wait_for(anext(held[-1]), 5)
    await nc.shutdown()
    return {"metrics": {"subscriptions_mb": [grown_mb]}}


WORKLOADS = {
    "publish": publish,
    "subscribe": subscribe,
    "request": request,
    "acked": acked,
    "in_flight": in_flight,
    "consume": consume,
    "reconnect": reconnect,
    "subscriptions": subscriptions,
}

if __name__ == "__main__":
    main("natsrpy", WORKLOADS, run)
