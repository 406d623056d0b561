"""A client that sends on one hop, with its gate, its book, and the losses of its link.

Must not send.
"""

from __future__ import annotations

import attrs
import trio

from ...client import Client
from ...connection import Disconnected, EventStream
from ...protocol import NatsError
from ._books import Book
from ._gate import GatedDialer
from ._view import ClientSnapshot

_POLL_SECONDS = 0.01


@attrs.define
class Sender:
    """See the module.

    Attributes:
        losses: when its link was lost, in trio's time.
    """

    nc: Client
    gate: GatedDialer
    book: Book = attrs.field(factory=Book)
    losses: list[float] = attrs.field(factory=list)

    async def watch(self, events: EventStream) -> None:
        """Note the losses, until the client is closed."""
        async for event in events:
            if isinstance(event, Disconnected):
                self.losses.append(trio.current_time())

    async def resumed(self, server: str) -> None:
        """Wait until a server process has this client's subscriptions and all that was pending."""
        while True:
            try:
                await self.nc.flush()
            except NatsError:
                await trio.sleep(_POLL_SECONDS)
                continue
            if self.nc.server_info.server_id == server:
                return
            await trio.sleep(_POLL_SECONDS)  # it has not noticed yet that its link is dead

    def snapshot(self) -> ClientSnapshot:
        """The client as it is now."""
        stats = self.nc.stats()
        return ClientSnapshot(
            name=self.nc.name,
            state=str(self.nc.state),
            reconnect_attempts=stats.reconnect_attempts,
            reconnects=stats.restored,
            pending=stats.pending_operations,
        )
