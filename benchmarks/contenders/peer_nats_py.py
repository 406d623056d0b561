"""Contender nats-py: the asyncio client that most programs use (`import nats`).

Used at its best: callbacks for subscriptions (its `async for` makes a task per message and is 4 times
slower), one muxed inbox for requests, its default buffers and validation. Its `flush()` writes the PING ahead
of what is pending, so its PONG confirms nothing (2 MiB may be unsent): `_flush` below lets its flusher write
first.
"""

import asyncio

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

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


async def _quiet(error: Exception) -> None:
    """Instead of the default, which logs."""


async def _connect(params: Params) -> Client:
    # -1: for ever; 0 s: a new attempt as soon as the last one was refused.
    fastest = {"reconnect_time_wait": 0, "max_reconnect_attempts": -1} if params.fastest_reconnect else {}
    return await nats.connect(params.url, error_cb=_quiet, **fastest)


async def _flush(nc: Client) -> None:
    """Wait until the server has everything published so far."""
    await asyncio.sleep(0)  # its flusher runs in this pass and hands all that is pending to the socket
    await nc.flush(timeout=60)


async def publish(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages):
            await nc.publish(params.subject, payload)
        await _flush(nc)

    result = await timed_burst(burst, params)
    await nc.close()
    return result


async def subscribe(params: Params) -> Result:
    nc = await _connect(params)
    count = size = target = 0
    complete = asyncio.Event()

    async def on_message(msg: Msg) -> None:
        nonlocal count, size
        count += 1
        size += len(msg.data)
        if count % CREDIT_EVERY == 0:
            await nc.publish(CREDIT_SUBJECT)
            if count == target:
                complete.set()

    async def take(messages: int) -> None:
        nonlocal target
        target += messages
        complete.clear()
        await nc.publish(GO_SUBJECT, b"%d" % messages)
        await complete.wait()

    await nc.subscribe(params.subject, cb=on_message)
    await nc.flush()
    result = await fed(take, lambda: (count, size), params)
    await nc.close()
    return result


async def request(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def echo() -> None:
        if (await nc.request(ECHO_SUBJECT, payload, timeout=5)).data != payload:
            raise AssertionError("the reply is not the request's payload")

    result = await repeated(echo, params)
    await nc.close()
    return result


async def confirm(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def publish_confirmed() -> None:
        await nc.publish(params.subject, payload)
        await _flush(nc)

    result = await repeated(publish_confirmed, params)
    await nc.close()
    return result


async def acked(params: Params) -> Result:
    nc = await _connect(params)
    js = nc.jetstream()
    payload = b"x" * params.payload_bytes

    async def publish_acked() -> None:
        await js.publish(STREAM_SUBJECT, payload)

    result = await repeated(publish_acked, params)
    await nc.close()
    return {**result, "published": params.messages + params.warmup_messages}


async def in_flight(params: Params) -> Result:
    nc = await _connect(params)
    js = nc.jetstream(publish_async_max_pending=IN_FLIGHT_MAX)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages):
            _ = await js.publish_async(STREAM_SUBJECT, payload)  # its PubAck is awaited below
        await js.publish_async_completed()

    result = await timed_burst(burst, params)
    await nc.close()
    return result


async def consume(params: Params) -> Result:
    nc = await _connect(params)
    subscription = await nc.jetstream().pull_subscribe_bind(CONSUMER, STREAM)

    async def take(messages: int) -> None:
        count = 0
        while count < messages:
            for msg in await subscription.fetch(PULL_MESSAGES, timeout=5):
                await msg.ack()
                count += 1
        await _flush(nc)

    result = await timed_take(take, params)
    await nc.close()
    return result


async def reconnect(params: Params) -> Result:
    nc = await _connect(params)
    first = FirstMessage()

    async def on_message(msg: Msg) -> None:
        first.offer(msg.data)

    await nc.subscribe(FIRST_SUBJECT, cb=on_message)
    await nc.flush()
    result = await first.outages(params)
    await nc.close()
    return result


async def subscriptions(params: Params) -> Result:
    nc = await _connect(params)
    idle_mb = rss_mb()
    held = [await nc.subscribe(f"bench.many.{i}") for i in range(params.subscriptions)]
    await nc.flush()
    grown_mb = rss_mb() - idle_mb
    await nc.publish(held[-1].subject, b"still there")
    await held[-1].next_msg(timeout=5)
    await nc.close()
    return {"metrics": {"subscriptions_mb": [grown_mb]}}


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
}

if __name__ == "__main__":
    main("nats-py", WORKLOADS, run)
