"""The timed sections that the asyncio contenders share; each client's own calls stay in its own module.

The loops of the publish and subscribe workloads are written out in each module, because a call more per
message would be a large part of what they measure. Must not be imported by `ours`, which runs on trio.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from benchmarks._protocol import Params

from ._common import Result, Stopwatch, latencies, rss_mb, say, throughput

Operation = Callable[[], Awaitable[object]]


def run(workload: Callable[[Params], Coroutine[Any, Any, Result]], params: Params) -> Result:
    """Run a workload on asyncio's own event loop."""
    return asyncio.run(workload(params))


async def timed_burst(burst: Callable[[int], Awaitable[None]], params: Params) -> Result:
    """Measure `burst(messages)`, which publishes that many messages and flushes."""
    await burst(params.warmup_messages)
    watch = Stopwatch()
    await burst(params.messages)
    return throughput(params.messages, watch.read(), published=params.messages + params.warmup_messages)


async def timed_take(take: Callable[[int], Awaitable[None]], params: Params) -> Result:
    """Measure `take(messages)`, which takes that many messages of a stream and acknowledges each."""
    watch = Stopwatch()
    await take(params.messages)
    return throughput(params.messages, watch.read())


async def fed(take: Callable[[int], Awaitable[None]], tally: Callable[[], tuple[int, int]], params: Params) -> Result:
    """Measure `take(messages)`, which asks the feeder for that many messages and returns when it has them.

    `tally` returns the messages and payload bytes received so far. A client that loses messages runs into the
    deadline and reports what it has, without a rate.
    """
    try:
        async with asyncio.timeout(params.deadline_seconds):
            await take(params.warmup_messages)
            before_mb = rss_mb()
            watch = Stopwatch()
            await take(params.messages)
            elapsed = watch.read()
    except TimeoutError:
        received, received_bytes = tally()
        return {"metrics": {}, "received": received, "received_bytes": received_bytes}
    growth_mb = rss_mb() - before_mb
    received, received_bytes = tally()
    result = throughput(params.messages, elapsed, received=received, received_bytes=received_bytes)
    result["metrics"]["growth_mb"] = [growth_mb]
    return result


async def sequential(operation: Operation, params: Params) -> Result:
    """Measure each of `messages` operations, one after the other."""
    for _ in range(params.warmup_messages):
        await operation()
    samples: list[int] = []
    watch = Stopwatch()
    for _ in range(params.messages):
        started = time.perf_counter_ns()
        await operation()
        samples.append(time.perf_counter_ns() - started)
    return latencies(samples, watch.read())


async def concurrent(operation: Operation, params: Params) -> Result:
    """Measure `messages` operations from `concurrency` tasks."""

    async def repeat(times: int) -> None:
        for _ in range(times):
            await operation()

    async def spread(messages: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(params.concurrency):
                tasks.create_task(repeat(messages // params.concurrency))

    await spread(params.warmup_messages)
    watch = Stopwatch()
    await spread(params.messages)
    return throughput(params.messages, watch.read())


async def repeated(operation: Operation, params: Params) -> Result:
    """Measure an operation as the row asks: latency alone, or throughput with others in flight."""
    return await (concurrent if params.concurrency > 1 else sequential)(operation, params)


class FirstMessage:
    """Notes the moment of the first message after each outage."""

    def __init__(self) -> None:
        self._expected = b""
        self._at = 0.0
        self._arrived = asyncio.Event()

    def offer(self, payload: bytes) -> None:
        """Take a message from the subscription."""
        if payload == self._expected and not self._arrived.is_set():
            self._at = time.monotonic()
            self._arrived.set()

    async def outages(self, params: Params) -> Result:
        """Go through the outages with the runner."""
        for outage in range(params.outages):
            self._expected = str(outage).encode()
            self._arrived.clear()
            say("ready")
            await self._arrived.wait()
            say("first", at=self._at)
        return {"metrics": {}}
