"""Sends what was pending when a link came up: ten batches, the first at once, then whatever came meanwhile.

After that publishers go straight again. Never more than the outbox's bound is handed over at once: on a slow link the
rest stays pending, and the keep-alive PING finds its place between two chunks.

Must not decide what becomes of an operation that cannot be sent.
"""

from __future__ import annotations

from typing import Final

import trio

from ..protocol import PayloadTooLargeError, payload_size
from ._connection import Connection
from ._pending import PendingOperation

DRAIN_BATCHES: Final = 10
DRAIN_PAUSE_SECONDS: Final = 0.02


class PendingDrain:
    """The drain of the pending queue on one link. Cancelled with the link: what is left stays pending.

    Args:
        connection: whose queue it is.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Send, ask the server what has arrived, and let the publishers in."""
        connection = self._connection
        pending = connection.pending
        size = max(1, -(-pending.operations // DRAIN_BATCHES))
        for batch in range(DRAIN_BATCHES):
            if not pending:
                break
            if batch:
                await trio.sleep(DRAIN_PAUSE_SECONDS)
            await self._send(size)
            if not connection.link_is_up:
                return
        bound = connection.options.outbox_bytes_max
        while pending.bytes > bound:
            await self._send(pending.operations)
            if not connection.link_is_up:
                return
        self._hand_over(pending.operations + 1, 2 * bound)
        connection.retry.ask()
        connection.open_outbox()

    async def _send(self, most: int) -> None:
        """Hand so many over, chunk by chunk as the writer takes them."""
        connection = self._connection
        while most > 0 and connection.pending and connection.link_is_up:
            most -= self._hand_over(most, connection.options.outbox_bytes_max)
            if connection.outbox.has_work:
                await connection.outbox.wait_taken()
            connection.retry.taken()

    def _hand_over(self, most: int, bytes_max: int) -> int:
        """Put at most so many, and little more than so many bytes, into the outbox; returns how many."""
        connection = self._connection
        limit = connection.info.max_payload
        count = size = 0
        while count < most and size < bytes_max and connection.pending:
            for operation in connection.pending.take(1):
                count += bool(operation.frame)
                size += len(operation.frame)
                if operation.frame and payload_size(operation.frame) > limit:
                    self._refuse(operation, limit)
                else:
                    self._hand_over_one(operation)
        return count

    def _hand_over_one(self, operation: PendingOperation) -> None:
        connection = self._connection
        connection.retry.hand_over(operation)
        if operation.frame:
            for follower in tuple(connection.followers):
                follower.handed_over(operation.frame, connection.outbox.place)

    def _refuse(self, operation: PendingOperation, limit: int) -> None:
        """It is larger than what the server of this link takes: its caller is told, and it is not sent."""
        self._connection.retry.too_large()
        self._connection.losses.too_large(operation, PayloadTooLargeError(payload_size(operation.frame), limit))
