"""The handlers that all routes of a router together may run at once: who waits for a slot, and who is woken.

`_shares` decides; a worker with a message in hand waits for a slot, and holds it until it is done with the message.

Must not know messages.
"""

from __future__ import annotations

from ..connection import Waiter
from ._shares import Share, Shares


class Slots:
    """A router's slots.

    Args:
        slots_max: handlers that run at once; at least 1.

    Raises:
        OptionsError: it is less than 1.
    """

    def __init__(self, slots_max: int) -> None:
        self._shares = Shares(slots_max)
        self._waiting: dict[Share, dict[Waiter, None]] = {}

    def join(self, name: str, weight: float) -> RouteSlots:
        """A route's part of them, while it runs.

        Raises:
            OptionsError: the weight is not above 0.
        """
        share = self._shares.join(name, weight)
        self._waiting[share] = {}
        return RouteSlots(self, share)

    def leave(self, share: Share) -> None:
        """A route has ended: it holds none and waits for none."""
        del self._waiting[share]
        self._serve(self._shares.leave(share))

    async def acquire(self, share: Share) -> None:
        """Wait for a slot. Cancelled, none is held. A checkpoint only where it waits."""
        if self._shares.acquire(share):
            return
        waiting = self._waiting[share]

        def withdraw(waiter: Waiter) -> None:
            del waiting[waiter]
            self._shares.withdraw(share)

        waiter = Waiter(on_cancel=withdraw)
        waiting[waiter] = None
        await waiter.wait()

    def release(self, share: Share) -> None:
        """Give a slot back."""
        self._serve(self._shares.release(share))

    def _serve(self, served: list[Share]) -> None:
        """Each of these was given a slot: it is that of the worker that waits longest."""
        for share in served:
            waiting = self._waiting[share]
            waiter = next(iter(waiting))
            del waiting[waiter]
            waiter.succeed(None)


class RouteSlots:
    """The slots of one route, for its workers."""

    def __init__(self, slots: Slots, share: Share) -> None:
        self._slots = slots
        self._share = share

    async def acquire(self) -> None:
        """Wait for a slot. Cancelled, none is held."""
        await self._slots.acquire(self._share)

    def release(self) -> None:
        """Give a slot back."""
        self._slots.release(self._share)

    def leave(self) -> None:
        """The route has ended."""
        self._slots.leave(self._share)
