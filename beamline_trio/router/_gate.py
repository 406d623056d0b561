"""What stands between a route's source and its workers: holds by their reasons, and doubts about what they depend on.

Held, no worker takes a message. In doubt (the target of effects or the store of keys does not answer), one worker at a
time does, as a probe: what cannot be passed on is better left where it is safe. At the end a held route's workers
leave, and its messages go back.

Must not know messages, and must not close by itself.
"""

from __future__ import annotations

from typing import Final

import trio

from ..connection import Lot

PAUSE_SECONDS: Final = 0.5
PAUSE_SECONDS_MAX: Final = 5.0


class Gate:
    """A route's intake.

    Attributes:
        shut: whether a worker has to ask, by `admit`, before it takes a message.
    """

    def __init__(self) -> None:
        self.shut = False
        self._holds: dict[str, None] = {}
        self._doubts: dict[str, None] = {}
        self._ending = False
        self._probe: trio.lowlevel.Task | None = None
        self._lot = Lot()

    @property
    def holds(self) -> tuple[str, ...]:
        """The reasons for which it is held now."""
        return tuple(self._holds)

    @property
    def doubtful(self) -> bool:
        """Whether one worker at a time is let through."""
        return bool(self._doubts)

    def hold(self, reason: str) -> None:
        """Let nobody through until this reason is released; holding twice for it is holding once."""
        self._holds[reason] = None
        self.shut = True

    def release(self, reason: str) -> None:
        """The reason is gone, if it was there."""
        if reason in self._holds:
            del self._holds[reason]
            self._open()

    def doubt(self, what: str) -> None:
        """This does not answer."""
        self._doubts[what] = None
        self.shut = True

    def trust(self, what: str) -> None:
        """It has answered."""
        if what in self._doubts:
            del self._doubts[what]
            if not self._doubts:
                self._probe = None
            self._open()

    async def wait_in_doubt(self, what: str, seconds: float) -> float:
        """The worker that calls tries it again after so many seconds, and another may look meanwhile.

        Returns:
            Seconds to wait the next time.
        """
        self.doubt(what)
        self.leave()
        await trio.sleep(seconds)
        return min(2 * seconds, PAUSE_SECONDS_MAX)

    def begin(self) -> None:
        """A run of the route begins: holds stay, doubts do not."""
        self._ending = False
        self._probe = None
        self._doubts.clear()
        self._open()

    def end(self) -> None:
        """Nothing more comes: what is here is worked on, unless the route is held."""
        self._ending = True
        self._lot.wake_all()

    def leave(self) -> None:
        """The worker that calls is done with what it took, or waits in doubt: another may look."""
        if self._probe is not None and self._probe is trio.lowlevel.current_task():
            self._probe = None
            self._lot.wake_one()

    async def admit(self) -> None:
        """Wait until the worker that calls may take a message.

        Raises:
            trio.EndOfChannel: the route ends while it is held.
        """
        worker = trio.lowlevel.current_task()
        while self.shut:
            if self._holds:
                if self._ending:
                    raise trio.EndOfChannel
            elif self._probe is None or self._probe is worker:
                self._probe = worker
                return
            await self._lot.wait()

    def _open(self) -> None:
        self.shut = bool(self._holds or self._doubts)
        self._lot.wake_all()
