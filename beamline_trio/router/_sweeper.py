"""A route's clock: ends what is over its deadline, and keeps what is here from being delivered to somebody else.

One task for a route, and nothing for a message: it looks at when each worker began, and sleeps until the first of them
is due. What begins meanwhile is due later, as all of a route have the same time.

Must not settle anything.
"""

from __future__ import annotations

import trio

from ..jetstream import JetStreamMessage
from ._pool import Pool
from ._queue import RouteQueue
from ._route_options import RouteOptions
from ._sources import Source


class Sweeper:
    """The deadlines and heartbeats of one route.

    Args:
        options: of the route.
        pool: its workers.
        source: where its messages come from, and wait.
        queue: where they wait behind it, if they do.
    """

    def __init__(self, options: RouteOptions, pool: Pool, source: Source, queue: RouteQueue | None) -> None:
        self._deadline = options.deadline_seconds
        self._heartbeat = options.heartbeat_seconds if options.stream is not None else None
        self._pool = pool
        self._source = source
        self._queue = queue

    async def run(self) -> None:
        """Look, for ever."""
        beat = self._heartbeat
        next_beat = trio.current_time()
        while True:
            now = trio.current_time()
            wake = self._expire(now)
            if beat is not None:
                if now >= next_beat:
                    await self._extend(beat)
                    next_beat = now + beat / 2
                wake = min(wake, next_beat)
            await trio.sleep_until(wake)

    def _expire(self, now: float) -> float:
        """Interrupt what is over its deadline; returns when there may be something next."""
        wake = now + self._deadline
        for slot in self._pool.slots:
            if slot.delivery is None or slot.settling or slot.interrupted:
                continue
            due = slot.delivery.began + self._deadline
            if due <= now:
                slot.interrupt()
            else:
                wake = min(wake, due)
        return wake

    async def _extend(self, age: float) -> None:
        """Heartbeats for whatever has had none for so long."""
        for slot in self._pool.slots:
            if slot.delivery is not None and isinstance(slot.delivery.message, JetStreamMessage):
                slot.delivery.message.extend(age)
        self._source.extend(age)
        if self._queue is not None:
            await self._queue.extend(age)
