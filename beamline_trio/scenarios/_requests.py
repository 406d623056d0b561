"""Who asks: so many requests a second of the instances, each again until it is answered, as a caller would.

Of three instances one may have lost its power, and its server does not know: every third attempt goes to it. So a
caller does not count attempts, but goes on for longer than an instance is away.

Must not know who answers.
"""

from __future__ import annotations

from typing import Final

import trio

from ..client import Client
from ..protocol import NatsError

DEADLINE_SECONDS: Final = 30.0
_ATTEMPT_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.2


class Requester:
    """The requests of a run.

    Args:
        rate: a second.
        subject: that they go to.

    Attributes:
        asked: requests that are over.
        again: of them, those that took more than one attempt.
        failed: of them, those that had no answer in time.
    """

    def __init__(self, rate: float, subject: str) -> None:
        self._interval_seconds = 1 / rate
        self._subject = subject
        self._stopped = False
        self._waiting = 0
        self.asked = 0
        self.again = 0
        self.failed = 0

    @property
    def idle(self) -> bool:
        """Whether none waits for its answer."""
        return not self._waiting

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    async def run(self, client: Client) -> None:
        """Ask until it is stopped, and all is answered or given up."""
        async with trio.open_nursery() as nursery:
            number, started = 0, trio.current_time()
            while not self._stopped:
                nursery.start_soon(self._ask, client, b"%d" % number)
                number += 1
                await trio.sleep_until(started + number * self._interval_seconds)

    async def _ask(self, client: Client, question: bytes) -> None:
        self._waiting += 1
        attempts, deadline = 1, trio.current_time() + DEADLINE_SECONDS
        while not (answered := await self._answered(client, question)) and trio.current_time() < deadline:
            attempts += 1
            await trio.sleep(_AGAIN_SECONDS)
        self.again += answered and attempts > 1
        self.failed += not answered
        self.asked += 1
        self._waiting -= 1

    async def _answered(self, client: Client, question: bytes) -> bool:
        with trio.move_on_after(_ATTEMPT_SECONDS):
            try:
                return (await client.request(self._subject, question)).payload == question
            except NatsError:
                return False
        return False
