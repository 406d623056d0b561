"""From a server that shuts down to another one, while the old link goes on: make before break.

1. The new link is dialled and shakes hands. 2. Publishers are held back for one round trip, until the old server has
confirmed everything. 3. In one step the new link takes over: it replays the interests and sends what is pending. 4. The
old link reads on until the new server has the interests and requests under way have their replies, then it is
unsubscribed and closed. Meanwhile a `Handover` sees to it that no message is given twice.

Must not choose servers, and must not hold a link back for longer than `OVERLAP_SECONDS_MAX`.
"""

from __future__ import annotations

import contextlib
from typing import Final

import trio

from ..protocol import NatsError, encode_unsubscribe
from ._connection import Connection
from ._errors import HandshakeError
from ._handover import Handover
from ._handshake import Established
from ._link import Link
from ._waiters import Waiter

# For the new interests to reach the other servers of a cluster, behind the PONG that says that one server has them.
SETTLE_SECONDS: Final = 0.1
# All of the old link's farewell; servers wait for 10 s before they begin to close clients.
OVERLAP_SECONDS_MAX: Final = 5.0
_LOOK_SECONDS: Final = 0.02


class Migration:
    """The way from one link to the next.

    Args:
        connection: that moves.
        old: the link to a server that shuts down.
    """

    def __init__(self, connection: Connection, old: Link) -> None:
        self._connection = connection
        self._old = old
        self._handover: Handover | None = None
        self._asked: list[bytes] = []

    async def prepare(self, established: Established) -> None:
        """With a new link at hand: bring the old one to rest, unless it dies first, which is as good.

        Raises:
            HandshakeError: the new link leads to a server that shuts down too, or to the same one by another name.
        """
        connection = self._connection
        info, address = established.info, str(established.origin.address)
        if info.lame_duck or (info.server_id and info.server_id == connection.info.server_id):
            raise HandshakeError(f"{address} shuts down too; another server is needed", address=address)
        # Still sending what an outage has left. Looking is rare; an event would cost the turns that it is set in.
        while not (connection.outbox.is_open or self._old.lost_reason):  # noqa: ASYNC110
            await trio.sleep(_LOOK_SECONDS)
        waiter = self._ping()
        connection.outbox.close()
        with trio.move_on_after(connection.options.pong_timeout_seconds):
            await self._pong(waiter)
            while not (connection.outbox.at_rest or self._old.lost_reason):  # the writer has not had its turn yet
                await trio.lowlevel.checkpoint()
        if not connection.outbox.at_rest:
            self._old.leave("it shuts down, and confirms nothing any more")

    def _ping(self) -> Waiter:
        """A PING behind everything on the present link."""
        waiter = Waiter(on_cancel=self._connection.withdraw)
        self._connection.outbox.put(b"", waiter)
        return waiter

    async def _pong(self, waiter: Waiter) -> None:
        """Wait for its PONG, or until the link dies."""
        with contextlib.suppress(NatsError):
            await waiter.wait()

    def take_over(self, link: Link, established: Established) -> None:
        """The one step in which the client moves from the old link, which is at rest, to the new one."""
        connection = self._connection
        connection.end_handover()  # of the link that is left now: whatever took over to it has the interests for long
        self._handover = handover = Handover(connection.interests, connection.inbox.interest)
        connection.handover = handover
        self._asked = connection.inbox.tokens()
        self._old.retire(handover, self._farewell)
        link.take_over(handover)
        connection.take_over(established.origin, established.info)

    async def _farewell(self, old: Link) -> None:
        """The old link's last task. However it ends, nothing stays held."""
        handover = self._handover
        assert handover is not None
        try:
            with trio.move_on_after(OVERLAP_SECONDS_MAX):
                await self._pong(self._ping())
                await trio.sleep(SETTLE_SECONDS)
                while self._connection.inbox.any_waits(self._asked):  # noqa: ASYNC110  # replies must not cost more
                    await trio.sleep(_LOOK_SECONDS)
            with trio.move_on_after(self._connection.options.pong_timeout_seconds):
                await old.say(b"".join(map(encode_unsubscribe, handover.sids)))
        finally:
            handover.finish()
            if self._connection.handover is handover:
                self._connection.handover = None
