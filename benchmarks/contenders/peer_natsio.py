"""Contender natsio: an independent asyncio client without dependencies.

Used at its best: `async for` for subscriptions (its callbacks were 5 to 10 % slower), its default buffers and
limits.
"""

import asyncio

import natsio

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


async def _connect(params: Params) -> natsio.Client:
    if not params.fastest_reconnect:
        return await natsio.connect(params.url)
    return await natsio.connect(
        params.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.001,  # it refuses 0
        reconnect_time_wait_max=0.001,
        reconnect_jitter=0.0,
    )


async def publish(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages):
            await nc.publish(params.subject, payload)
        await nc.flush(timeout=60)

    result = await timed_burst(burst, params)
    await nc.close()
    return result


async def subscribe(params: Params) -> Result:
    nc = await _connect(params)
    count = size = 0
    stream = aiter(nc.subscribe(params.subject))

    async def take(messages: int) -> None:
        nonlocal count, size
        target = count + messages
        await nc.publish(GO_SUBJECT, b"%d" % messages)
        async for msg in stream:
            count += 1
            size += len(msg.payload)
            if count % CREDIT_EVERY == 0:
                await nc.publish(CREDIT_SUBJECT)
                if count == target:
                    return

    await nc.flush()
    result = await fed(take, lambda: (count, size), params)
    await nc.close()
    return result


async def request(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def echo() -> None:
        if (await nc.request(ECHO_SUBJECT, payload, timeout=5)).payload != payload:
            raise AssertionError("the reply is not the request's payload")

    result = await repeated(echo, params)
    await nc.close()
    return result


async def confirm(params: Params) -> Result:
    nc = await _connect(params)
    payload = b"x" * params.payload_bytes

    async def publish_confirmed() -> None:
        await nc.publish(params.subject, payload)
        await nc.flush()

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
    js = nc.jetstream(publish_async_max_pending=IN_FLIGHT_MAX, publish_async_stall_wait=10.0)
    payload = b"x" * params.payload_bytes

    async def burst(messages: int) -> None:
        for _ in range(messages):
            await js.publish_async(STREAM_SUBJECT, payload)
        await js.publish_async_complete()

    result = await timed_burst(burst, params)
    await nc.close()
    return result


async def consume(params: Params) -> Result:
    nc = await _connect(params)
    stream = await nc.jetstream().stream(STREAM)
    consumer = await stream.consumer(CONSUMER)

    async def take(messages: int) -> None:
        count = 0
        async with consumer.consume(max_messages=PULL_MESSAGES) as stream:
            async for msg in stream:
                await msg.ack()
                count += 1
                if count == messages:
                    break
        await nc.flush()

    result = await timed_take(take, params)
    await nc.close()
    return result


async def reconnect(params: Params) -> Result:
    nc = await _connect(params)
    first = FirstMessage()
    subscription = nc.subscribe(FIRST_SUBJECT)
    await nc.flush()

    async def consume() -> None:
        async for msg in subscription:
            first.offer(msg.payload)

    consumer = asyncio.create_task(consume())
    result = await first.outages(params)
    consumer.cancel()
    await nc.close()
    return result


async def subscriptions(params: Params) -> Result:
    nc = await _connect(params)
    idle_mb = rss_mb()
    held = [nc.subscribe(f"bench.many.{i}") for i in range(params.subscriptions)]
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
    main("natsio", WORKLOADS, run)
