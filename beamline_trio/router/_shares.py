"""Which route may start a handler when all routes together may run only so many. A pure decision.

Free slots are given at once. Where several routes wait, the one that holds least for its weight is served first, and
one slot is kept for every route that holds none, so a route of slow handlers never has them all.

Must not wait: who gets False is told later, by what `release` and `leave` return.
"""

from __future__ import annotations

import attrs

from ..connection import OptionsError


@attrs.define(eq=False)
class Share:
    """A route's part of the slots.

    Attributes:
        name: the route's.
        weight: of two routes that always want more, each holds slots by its weight.
        held: slots it has.
        waiting: how many more it was refused and still wants.
    """

    name: str
    weight: float
    held: int = 0
    waiting: int = 0


class Shares:
    """The slots of all routes of a router.

    A worker asks `acquire`; False = it waits until another's `release` (or `leave`) returns its share: then it holds a
    slot. A worker that no longer waits calls `withdraw`. Nothing is held back but the slots kept for idle routes; with
    fewer slots than routes none are kept.

    Args:
        slots_max: handlers that run at once; at least 1.

    Raises:
        OptionsError: it is less than 1.
    """

    def __init__(self, slots_max: int) -> None:
        if slots_max < 1:
            raise OptionsError(f"concurrency_max is {slots_max}; it must be at least 1 (None = no limit)")
        self._slots_max = slots_max
        self._free = slots_max
        self._shares: list[Share] = []
        self._without = 0  # shares that hold no slot

    @property
    def free(self) -> int:
        """Slots nobody holds."""
        return self._free

    def join(self, name: str, weight: float = 1.0) -> Share:
        """Add a route.

        Raises:
            OptionsError: the weight is not above 0.
        """
        if not weight > 0:
            raise OptionsError(f"the weight of route {name!r} is {weight}; it must be above 0")
        share = Share(name, weight)
        self._shares.append(share)
        self._without += 1
        return share

    def leave(self, share: Share) -> list[Share]:
        """Remove a route that holds nothing and waits for nothing; the shares that get a slot by it."""
        self._shares.remove(share)
        self._without -= 1
        return self._serve()

    def acquire(self, share: Share) -> bool:
        """Take a slot now, or be counted as waiting."""
        if not share.waiting and self._may_have(share):
            self._give(share)
            return True
        share.waiting += 1
        return False

    def withdraw(self, share: Share) -> None:
        """One less waits, without a slot."""
        share.waiting -= 1

    def release(self, share: Share) -> list[Share]:
        """Give a slot back; the shares that get one by it, at most one: wake one waiting worker of each."""
        share.held -= 1
        self._free += 1
        if not share.held:
            self._without += 1
        return self._serve()

    def _may_have(self, share: Share) -> bool:
        if not share.held or len(self._shares) > self._slots_max:
            return self._free > 0
        return self._free > self._without

    def _give(self, share: Share) -> None:
        if not share.held:
            self._without -= 1
        share.held += 1
        self._free -= 1

    def _serve(self) -> list[Share]:
        served: list[Share] = []
        while self._free:
            able = [share for share in self._shares if share.waiting and self._may_have(share)]
            if not able:
                break
            # Of equals the one that joined first: it then holds more, so the others follow.
            chosen = min(able, key=lambda share: share.held / share.weight)
            chosen.waiting -= 1
            self._give(chosen)
            served.append(chosen)
        return served
