"""Contender natsio: an independent asyncio client without dependencies.

Used at its best: `async for` for subscriptions (its callbacks were 5 to 10 % slower), its default buffers and
limits.
"""

import asyncio

import natsio

from benchmarks._protocol import CREDIT_EVERY, CREDIT_SUBJECT, ECHO_SUBJECT, FIRST_SUBJECT, GO_SUBJECT, Params

from ._asyncio import FirstMessage, fed, repeated, run, timed_burst
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
    "reconnect": reconnect,
    "subscriptions": subscriptions,
}

if __name__ == "__main__":
    main("natsio", WORKLOADS, run)
