"""Contender FastStream: a router of its own kind, on asyncio and nats-py (`from faststream.nats import NatsBroker`).

Used at its best for a handler of bytes: a plain parameter, no logger, and no middleware of anybody's.
"""

import asyncio

from faststream.nats import NatsBroker

from benchmarks._protocol import CREDIT_EVERY, CREDIT_SUBJECT, GO_SUBJECT, Params

from ._asyncio import fed, run
from ._common import Result, main


async def handle(params: Params) -> Result:
    """A handler that counts."""
    broker = NatsBroker(params.url, logger=None)
    count = size = target = 0
    complete = asyncio.Event()

    async def take_one(payload: bytes) -> None:
        nonlocal count, size
        count += 1
        size += len(payload)
        if count % CREDIT_EVERY == 0:
            await broker.publish(b"", CREDIT_SUBJECT)
            if count == target:
                complete.set()

    broker.subscriber(params.subject)(take_one)

    async def take(messages: int) -> None:
        nonlocal target
        target = count + messages
        complete.clear()
        await broker.publish(str(messages).encode(), GO_SUBJECT)
        await complete.wait()

    await broker.start()
    try:
        return await fed(take, lambda: (count, size), params)
    finally:
        await broker.stop()


if __name__ == "__main__":
    main("faststream", {"handle": handle}, run)
