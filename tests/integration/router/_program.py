"""A router as a program: from the stream A to the stream B, with what it counts printed as lines of JSON.

    python -m tests.integration.router._program URL HANDLER_SECONDS CONCURRENCY MAX_DELIVER

SIGTERM drains it; the exit code is 3 when something was left whose fate is unknown. A message POISON kills the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import trio

from beamline_trio import open_client
from beamline_trio.router import Delivery, Publish, Retry, Router
from tests.integration._measure import resident_bytes

ACK_WAIT_SECONDS = 5.0
GRACE_SECONDS = 10.0
DEADLINE_SECONDS = 20.0
TELL_EVERY_SECONDS = 0.25
UNKNOWN = 3
POISON = b"poison"
DEAD_LETTERS = "dlq.pipe"


def make_router(handler_seconds: float, concurrency: int, max_deliver: int) -> Router:
    """One route; what it publishes has the payload of what it was given."""
    router = Router("pipe", grace_seconds=GRACE_SECONDS)

    @router.route(
        "a.in",
        stream="A",
        durable="pipe",
        concurrency=concurrency,
        retry=Retry(max_deliver=max_deliver, ack_wait_seconds=ACK_WAIT_SECONDS),
        dead_letter=DEAD_LETTERS,
        deadline_seconds=DEADLINE_SECONDS,
    )
    async def pipe(payload: bytes, delivery: Delivery) -> Publish:
        if payload == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        await trio.sleep(handler_seconds)
        return Publish("b.out", payload)

    return router


async def main(url: str, handler_seconds: float, concurrency: int, max_deliver: int) -> int:
    """Run until SIGTERM."""
    router = make_router(handler_seconds, concurrency, max_deliver)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_client(url, name="pipe") as nc, trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            nursery.start_soon(tell, router)
            async for _ in signals:
                break
            report = await router.drain()
            nursery.cancel_scope.cancel()
    tell_once(router)
    return UNKNOWN if report.unknown or report.unfinished else 0


async def tell(router: Router) -> None:
    """What it has counted, again and again."""
    while True:
        tell_once(router)
        await trio.sleep(TELL_EVERY_SECONDS)


def tell_once(router: Router) -> None:
    """What it has counted, in a line."""
    route = router.routes["pipe"]
    numbers = route.statistics()
    line = {"taken": numbers.taken, "in_flight": numbers.in_flight}
    line |= {outcome: numbers.outcomes[outcome] for outcome in ("ok", "duplicate")}
    print(json.dumps({**line, "waiting": route.waiting, "resident": resident_bytes()}), flush=True)


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
