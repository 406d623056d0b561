"""How handlers behave: well, until a fault of the plan says otherwise. What meets a message is drawn from its number.

Must not know clients or routes.
"""

from __future__ import annotations

from random import Random

import trio

_MULTIPLIER = 2_654_435_761  # Knuth's: spreads numbers that follow each other
_RANGE = 1 << 32


class HandlerFailure(Exception):  # noqa: N818  # what a handler of a user's would raise, not an error of this package
    """A handler cannot do its work now."""


class Behaviour:
    """What handlers do beside their work.

    Args:
        chance: of a run.
        work_seconds: what a message takes.

    Attributes:
        fail_share: of the messages, at each of their deliveries.
        hanging: an event while handlers hang, which ends it.
        met: how often a handler has failed or hung.
    """

    def __init__(self, chance: Random, *, work_seconds: float = 0.0) -> None:
        self._work_seconds = work_seconds
        self._salt = chance.randrange(_RANGE)
        self.fail_share = 0.0
        self.hanging: trio.Event | None = None
        self.met = 0

    async def meet(self, number: int) -> None:
        """Work, wait or fail as handlers do now.

        Raises:
            HandlerFailure: the message is one of those that fail.
        """
        if self._work_seconds:
            await trio.sleep(self._work_seconds)
        hanging = self.hanging
        if hanging is not None:
            self.met += 1
            await hanging.wait()
        if self.fail_share and (number * _MULTIPLIER + self._salt) % _RANGE < self.fail_share * _RANGE:
            self.met += 1
            raise HandlerFailure(f"message {number} cannot be handled now")
