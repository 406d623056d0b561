"""The demo's publisher: so many messages a second, each in a task of its own that waits for its confirmation or reply.

It knows nothing of outages. While there is no connection its messages queue up in the client, and when as many are
under way as the client's queue takes it waits; what it did not send in that time it does not catch up on.

Must not retry, and must not decide what an error means for the account.
"""

from __future__ import annotations

from typing import Final

import trio

from ...client import Client
from ...protocol import NatsError
from ._books import Book, Leg
from ._messages import FORWARD_SUBJECT, REQUEST_SUBJECT, encode_id, is_request
from ._routes import checked_request

TICK_SECONDS: Final = 0.005
BURST_SECONDS: Final = 0.1


class Pace:
    """How many messages are due: the rate times the time, and never more than BURST_SECONDS' worth at once.

    Args:
        rate: messages per second.
        now: when it begins; two messages, one of each kind, are due at once.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(2.0, rate * BURST_SECONDS)
        self._credit = 2.0
        self._since = now

    def take(self, now: float, room: int) -> int:
        """How many to send now, at most `room`."""
        self._credit = min(self._most, self._credit + (now - self._since) * self._rate)
        self._since = now
        due = min(int(self._credit), room)
        self._credit -= due
        return due


class Publisher:
    """Sends the messages of a run and writes the first hop's book.

    Args:
        nc: its client.
        book: one leg per message.
        rate: messages per second.

    Attributes:
        published: messages given to the client so far.
        replied: replies that came.
        inflight: messages whose fate it has not told yet.
        ended_at: when it stopped publishing, in trio's time.
    """

    def __init__(self, nc: Client, book: Book, rate: float) -> None:
        self._nc = nc
        self._book = book
        self._rate = rate
        self._inflight_max = nc.connection.options.pending_operations_max
        self._pacing = trio.CancelScope()
        self.published = 0
        self.replied = 0
        self.inflight = 0
        self.ended_at = trio.current_time()

    async def run(self, seconds: float) -> None:
        """Publish for so long, or until `stop`; returns when the fate of every message is told."""
        async with trio.open_nursery() as nursery:
            with self._pacing:
                await self._publish(seconds, nursery)
            self.ended_at = trio.current_time()

    def stop(self) -> None:
        """Publish no more."""
        self._pacing.cancel()

    async def _publish(self, seconds: float, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        ends_at = now + seconds
        pace = Pace(self._rate, now)
        while now < ends_at:
            for _ in range(pace.take(now, self._inflight_max - self.inflight)):
                self._begin(now, nursery)
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()

    def _begin(self, now: float, nursery: trio.Nursery) -> None:
        identifier = self.published
        leg = self._book.begin(identifier, now, is_request=is_request(identifier))
        self.published += 1
        self.inflight += 1
        nursery.start_soon(self._send, leg, encode_id(identifier))

    async def _send(self, leg: Leg, payload: bytes) -> None:
        try:
            if leg.is_request:
                await checked_request(self._nc, REQUEST_SUBJECT, payload)
            else:
                await self._nc.publish(FORWARD_SUBJECT, payload, confirm=True)
        except NatsError as error:
            leg.failed(trio.current_time(), error)
        except trio.Cancelled:
            leg.withdrawn(trio.current_time(), self._nc.state)
            raise
        else:
            leg.succeeded(trio.current_time(), self._nc.server_info.server_id)
            self.replied += leg.is_request
        finally:
            self.inflight -= 1
