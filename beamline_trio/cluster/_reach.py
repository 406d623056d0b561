"""Whether a home answers: while it does not, one of those who want to publish tries, and the others wait for the word.

Away is what an attempt has found out, or what a watch knows. The pauses between attempts grow; while a watch says that
the region is cut off nobody tries, since every attempt would be one more publish of unknown fate. But home is asked now
and then, which stores nothing: when it answers, the watch is mistaken, as one that knows the region by another stream
may be, and has no say until an attempt fails or it has seen the region again.

Must not publish.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

# How often a watch is asked whether the region is there again; its own looks are not more frequent.
_LOOK_SECONDS: Final = 0.5


class Reach:
    """The reach of one home.

    Attributes:
        away_since: since when it does not answer; None = it does.

    Args:
        pause_seconds: before the first attempt, doubled each time.
        pause_max_seconds: the longest.
        cut: whether a watch says that the region is cut off.
        ask: asks home; None = it answers, else why not.
        tell: called when it goes away (with the reason), and when it answers again (None).
    """

    def __init__(
        self,
        pause_seconds: float,
        pause_max_seconds: float,
        cut: Callable[[], bool],
        ask: Callable[[], Awaitable[str | None]],
        tell: Callable[[str | None], None],
    ) -> None:
        self._pause_seconds = pause_seconds
        self._pause_max_seconds = pause_max_seconds
        self._cut = cut
        self._ask = ask
        self._mistaken = False
        self._tell = tell
        self._lot = trio.lowlevel.ParkingLot()
        self._trying = False
        self._failed = 0
        self._ask_at = 0.0
        self.away_since: float | None = None

    @property
    def cut(self) -> bool:
        """Whether a watch says that the region is cut off, and home does not say otherwise."""
        said = self._cut()
        self._mistaken &= said
        return said and not self._mistaken

    def look(self) -> bool:
        """Take a watch at its word; whether it is news that the region is cut off."""
        if self.away_since is not None or not self.cut:
            return False
        self._leave("the region is cut off")
        return True

    async def permit(self) -> bool:
        """Wait until one may try; whether it is to find out. `settle` or `withdraw` it.

        No checkpoint while home answers, so that nothing changes between a look and the permission. Cancelled: another
        one finds out.
        """
        while self.away_since is not None and self._trying:
            await self._lot.park()
        if self.away_since is None:
            return False
        self._trying = True
        try:
            await self._pause()
        except BaseException:
            self.withdraw(True)
            raise
        return True

    def settle(self, trying: bool, failure: str | None) -> None:
        """How an attempt has ended: None = well."""
        if failure is None:
            self._failed = 0
            self._trying = False
            if self.away_since is not None:
                self.away_since = None
                self._tell(None)
            self._lot.unpark_all()
            return
        self._mistaken = False
        self._leave(failure)
        if trying:
            self._failed += 1
            self.withdraw(True)

    def withdraw(self, trying: bool) -> None:
        """An attempt was not made, or not to its end."""
        if trying:
            self._trying = False
            self._lot.unpark()

    def shut(self) -> None:
        """Nobody waits any more: every attempt fails at once now."""
        self.away_since = None
        self._trying = False
        self._lot.unpark_all()

    def _leave(self, why: str) -> None:
        if self.away_since is None:
            self.away_since = trio.current_time()
            self._ask_at = self.away_since + self._pause_max_seconds
            self._tell(why)

    async def _pause(self) -> None:
        await trio.sleep(min(self._pause_seconds * 2 ** min(self._failed, 32), self._pause_max_seconds))
        while self.cut:
            await trio.sleep(_LOOK_SECONDS)
            if self.cut and trio.current_time() >= self._ask_at:
                self._ask_at = trio.current_time() + self._pause_max_seconds
                self._mistaken = await self._ask() is None
