"""Who publishes twice: each message comes again under another id, which no stream knows, and is to be done once.

What is done is known by its key. Between the two an instance may have been restarted, and another one gets the second:
so this shows whether that knowledge outlives them.

Must not give a message up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ..jetstream import JetStream
from ._ledger import Ledger
from ._source import publish

REPEATED_AFTER_SECONDS: Final = 30.0


class Repeater:
    """The messages of a run that are published twice.

    Args:
        ledger: where it notes what it does.
        rate: messages a second, each of which is published twice.
        subject: that they go to.
        payload: the message of a number.

    Attributes:
        repeated: messages that were published for the second time.
    """

    def __init__(self, ledger: Ledger, rate: float, subject: str, payload: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._interval_seconds = 1 / rate
        self._subject = subject
        self._payload = payload
        self._stopped = False
        self._waiting = 0
        self.repeated = 0

    @property
    def idle(self) -> bool:
        """Whether every message that was begun was published twice."""
        return not self._waiting

    def stop(self) -> None:
        """Begin no more; what was begun is published for the second time."""
        self._stopped = True

    async def run(self, js: JetStream) -> None:
        """Publish until it is stopped, and all was published twice."""
        async with trio.open_nursery() as nursery:
            count, started = 0, trio.current_time()
            while not self._stopped:
                nursery.start_soon(self._publish_twice, js)
                count += 1
                await trio.sleep_until(started + count * self._interval_seconds)

    async def _publish_twice(self, js: JetStream) -> None:
        self._waiting += 1
        number = self._ledger.begin()
        payload = self._payload(number)
        ack = await publish(js, self._subject, payload, f"m{number}", self._ledger.note_publish_error)
        self._ledger.note_acked(number, duplicate=ack.duplicate)
        await trio.sleep(REPEATED_AFTER_SECONDS)
        await publish(js, self._subject, payload, f"m{number}-again", self._ledger.note_publish_error)
        self.repeated += 1
        self._waiting -= 1
