"""Who publishes what belongs together goes one after the other, in the order of their calls.

A lane for each key that somebody is in; who leaves hands the lane to who came next. Bounded, and past the bounds
refused: whoever would wait for room is a caller that waits in any case.

Must not know what is published.
"""

from __future__ import annotations

from collections.abc import Hashable

import trio

from ..connection import PendingFullError
from ..protocol import frozen


@frozen
class Turn:
    """A place in a lane."""

    key: Hashable
    size: int


def check_key(key: Hashable) -> None:
    """What belongs together is found by its key.

    Raises:
        TypeError: it cannot be.
    """
    try:
        hash(key)
    except TypeError:
        raise TypeError(f"key is {key!r:.100}; it must be hashable, as a str or a tuple is") from None


class Lanes:
    """The lanes of one publisher.

    Attributes:
        messages: that are in lanes, their first among them.
        bytes: of them.
        refused: that found them full.

    Args:
        region: for the words of a refusal.
        messages_max: that may be in them.
        bytes_max: of them.
    """

    def __init__(self, region: str, messages_max: int, bytes_max: int) -> None:
        self._region = region
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._lanes: dict[Hashable, trio.lowlevel.ParkingLot] = {}
        self.messages = 0
        self.bytes = 0
        self.refused = 0

    async def enter(self, key: Hashable, size: int) -> Turn:
        """Wait for one's turn; a checkpoint. Cancelled: it is somebody else's.

        Raises:
            PendingFullError: too many wait.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.messages >= self._messages_max or (self.bytes and self.bytes + size > self._bytes_max):
            self.refused += 1
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise PendingFullError(
                f"{self.messages} publishes ({self.bytes} bytes) wait for region {self._region!r}, of at most "
                f"{self._messages_max} ({self._bytes_max} bytes); raise waiting_messages_max or waiting_bytes_max, or "
                "publish less until it is back"
            )
        turn = Turn(key, size)
        self.messages += 1
        self.bytes += size
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = trio.lowlevel.ParkingLot()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return turn
        try:
            await lane.park()
        except BaseException:
            self._count(turn)
            raise
        return turn

    def leave(self, turn: Turn) -> None:
        """One's turn is over: the next one's begins."""
        self._count(turn)
        lane = self._lanes[turn.key]
        if lane:
            lane.unpark()
        else:
            del self._lanes[turn.key]

    def _count(self, turn: Turn) -> None:
        self.messages -= 1
        self.bytes -= turn.size
