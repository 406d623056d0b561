"""Who publishes: so many messages a second, in bursts of a tick, of each key one after the other.

A message is published under its id until a stream has acknowledged it; those behind it of the same key wait. A key that
has nothing to publish has no task.

Must not give a message up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from ..jetstream import JetStream, PubAck, PublishRetry
from ..protocol import NatsError
from ._ledger import Ledger

# Messages come in bursts of a few, at most so far apart: one by one they would cost a simulated network three times as
# much. Bursts that were a second apart would look like gaps.
TICK_SECONDS_MIN: Final = 0.4
TICK_SECONDS_MAX: Final = 0.8
_BURST: Final = 8
_AGAIN_SECONDS: Final = 0.5
_RETRY: Final = PublishRetry(attempts=4, attempt_timeout_seconds=2.0, deadline_seconds=20.0)


class Source:
    """The publisher of a run.

    Args:
        ledger: where it notes what it does.
        rate: messages a second.
        subjects: one of each key; messages go to them in turns.
        payload: the message of a number.
    """

    def __init__(self, ledger: Ledger, rate: float, subjects: Sequence[str], payload: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._rate = rate
        self._tick_seconds = min(max(_BURST / rate, TICK_SECONDS_MIN), TICK_SECONDS_MAX)
        self._subjects = subjects
        self._payload = payload
        self._lanes: list[deque[int]] = [deque() for _ in subjects]
        self._busy = [False] * len(subjects)
        self._next = 0
        self._stopped = False

    @property
    def backlog(self) -> int:
        """Messages that were begun, and that no stream has acknowledged."""
        return sum(len(lane) for lane in self._lanes)

    @property
    def idle(self) -> bool:
        """Whether every message that was begun is acknowledged."""
        return not any(self._busy)

    def stop(self) -> None:
        """Begin no more messages; those that were begun are published."""
        self._stopped = True

    async def run(self, js: JetStream) -> None:
        """Publish until it is stopped, and all is acknowledged."""
        started = trio.current_time()
        begun = tick = 0
        async with trio.open_nursery() as nursery:
            while not self._stopped:
                tick += 1
                due = int(self._rate * self._tick_seconds * tick)
                self._begin(due - begun, js, nursery.start_soon)
                begun = due
                await trio.sleep_until(started + tick * self._tick_seconds)

    def _begin(self, count: int, js: JetStream, start_soon: Callable[..., None]) -> None:
        for _ in range(count):
            number = self._ledger.begin()
            index, self._next = self._next, (self._next + 1) % len(self._lanes)
            self._lanes[index].append(number)
            if not self._busy[index]:
                self._busy[index] = True
                start_soon(self._empty, js, index)

    async def _empty(self, js: JetStream, index: int) -> None:
        """Publish what a key has, one after the other."""
        lane, subject = self._lanes[index], self._subjects[index]
        while lane:
            number = lane[0]
            ack = await publish(js, subject, self._payload(number), f"m{number}", self._ledger.note_publish_error)
            self._ledger.note_acked(number, duplicate=ack.duplicate)
            lane.popleft()
        self._busy[index] = False


async def publish(
    js: JetStream, subject: str, payload: bytes, message_id: str, failed: Callable[[NatsError], object]
) -> PubAck:
    """Publish a message under its id until a stream has acknowledged it; `failed` is told of each time it did not."""
    while True:
        try:
            return await js.publish(subject, payload, message_id=message_id, retry=_RETRY)
        except NatsError as error:
            failed(error)
            await trio.sleep(_AGAIN_SECONDS)
