"""What was done before is not done again: keys are claimed, then confirmed or released.

    claim   -> NEW    nobody has the key: it is the caller's now, to be confirmed or released
            -> DONE   somebody has confirmed it: do nothing
            -> BUSY   somebody works on it: come again later
    confirm    the work is done, and stays so for `ttl_seconds`
    release    the work was not done, and the next one may claim it

A claim that is neither confirmed nor released lapses after `claim_seconds`: whoever made it is taken to be dead. So
`claim_seconds` must be longer than any work takes, the deadline of a route for one. `MemoryIdempotence` is one
process's own; `KVIdempotence` (`_idempotence_kv`) survives it and is shared.

Must not know messages, or where keys come from.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Final, Protocol, runtime_checkable

import attrs
import trio

from ..protocol import check_given, check_number, frozen

TTL_SECONDS: Final = 3600.0
CLAIM_SECONDS: Final = 60.0
KEYS_MAX: Final = 100_000


class Claim(Enum):
    """What became of a claim: NEW (it is yours), DONE (do nothing), BUSY (come again later)."""

    NEW = "new"
    DONE = "done"
    BUSY = "busy"


@frozen(kw_only=True)
class IdempotenceStatistics:
    """Counters at one moment.

    Attributes:
        hits: claims that were answered DONE or BUSY; each of them saved work from being done twice.
        misses: claims that were answered NEW.
        full: of the hits, claims that were BUSY because there was no room for another key.
        lapsed: claims that were neither confirmed nor released in time.
        evicted: confirmed keys that were forgotten before their time, for want of room.
        skipped: entries of the store that nothing can be made of, and that were written over.
    """

    hits: int = 0
    misses: int = 0
    full: int = 0
    lapsed: int = 0
    evicted: int = 0
    skipped: int = 0


@runtime_checkable
class Idempotence(Protocol):
    """Where a router keeps which keys are done; `MemoryIdempotence`, `KVIdempotence`, or one's own.

    While it raises OSError, trio.BrokenResourceError, trio.TooSlowError or ConnectionLostError, a message of a stream
    waits and asks again; anything else fails the message.
    """

    @property
    def claim_seconds(self) -> float:
        """After it a claim that was neither confirmed nor released lapses; longer than the deadline of any route."""
        ...

    async def claim(self, key: str) -> Claim:
        """Ask for a key; NEW makes it the caller's. Cancelled, the caller has nothing to confirm or release."""
        ...

    async def confirm(self, key: str) -> None:
        """The work of a key is done. Cancelled, it may not be known: shield it, or the work may be done again."""
        ...

    async def release(self, key: str) -> None:
        """The work of a key was not done. Cancelled, the claim may stay until it lapses."""
        ...


class MemoryIdempotence:
    """Keys in the memory of this process: a restart forgets them.

    Every method is a checkpoint. Cancelled, `claim` and `confirm` have done nothing; `release` is done all the same.

    Args:
        ttl_seconds: how long a confirmed key is remembered; longer than its message can come again.
        keys_max: keys that are remembered at the most. Beyond it the key confirmed longest ago is forgotten; where all
            of them are only claimed, a new one is BUSY.
        claim_seconds: after it a claim that was neither confirmed nor released lapses.

    Raises:
        TypeError, ValueError: a limit is not positive.
    """

    def __init__(
        self, ttl_seconds: float = TTL_SECONDS, keys_max: int = KEYS_MAX, *, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        check_limits(ttl_seconds=ttl_seconds, claim_seconds=claim_seconds, keys_max=keys_max)
        self._ttl_seconds = ttl_seconds
        self._keys_max = keys_max
        self._claim_seconds = claim_seconds
        # Both by when they end, which is the order in which they began.
        self._claimed: OrderedDict[str, float] = OrderedDict()
        self._done: OrderedDict[str, float] = OrderedDict()
        self._counts = dict.fromkeys(attrs.fields_dict(IdempotenceStatistics), 0)

    def __len__(self) -> int:
        """How many keys it remembers, those included whose time is up and that nobody asked for since."""
        return len(self._claimed) + len(self._done)

    @property
    def claim_seconds(self) -> float:
        """After it a claim that was neither confirmed nor released lapses."""
        return self._claim_seconds

    async def claim(self, key: str) -> Claim:
        """Ask for a key; NEW makes it the caller's, to be confirmed or released.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
        """
        await trio.lowlevel.checkpoint()
        check_key(key)
        claim = self._claim(key, trio.current_time())
        self._counts["misses" if claim is Claim.NEW else "hits"] += 1
        return claim

    async def confirm(self, key: str) -> None:
        """The work of a key is done, whoever has it now.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
        """
        await trio.lowlevel.checkpoint()
        check_key(key)
        self._claimed.pop(key, None)
        self._done.pop(key, None)
        now = trio.current_time()
        self._forget(now)
        self._make_room()
        if len(self) < self._keys_max:
            self._done[key] = now + self._ttl_seconds
        else:  # claims alone fill it, and are worth more than a key whose own claim had lapsed
            self._counts["evicted"] += 1

    async def release(self, key: str) -> None:
        """The work of a key was not done: the next one may claim it. What is confirmed, stays so.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
        """
        try:
            check_key(key)
            self._claimed.pop(key, None)
        finally:
            await trio.lowlevel.checkpoint()

    def statistics(self) -> IdempotenceStatistics:
        """The counters at this moment."""
        return IdempotenceStatistics(**self._counts)

    def _claim(self, key: str, now: float) -> Claim:
        self._forget(now)
        if key in self._done:
            return Claim.DONE
        if key in self._claimed:
            return Claim.BUSY
        if len(self._claimed) >= self._keys_max:
            self._counts["full"] += 1
            return Claim.BUSY
        self._make_room()
        self._claimed[key] = now + self._claim_seconds
        return Claim.NEW

    def _forget(self, now: float) -> None:
        """Let go of keys whose time is up."""
        while self._done and next(iter(self._done.values())) <= now:
            self._done.popitem(last=False)
        while self._claimed and next(iter(self._claimed.values())) <= now:
            self._claimed.popitem(last=False)
            self._counts["lapsed"] += 1

    def _make_room(self) -> None:
        """Forget confirmed keys, the oldest first, until there is room for one more."""
        while self._done and len(self) >= self._keys_max:
            self._done.popitem(last=False)
            self._counts["evicted"] += 1


def check_key(key: str) -> None:
    """Refuse what is no key.

    Raises:
        TypeError, ValueError: it is no str, or empty.
    """
    if not isinstance(key, str):
        raise TypeError(f"the key is {key!r}; it must be a str, not {type(key).__name__}")
    if not key:
        raise ValueError("the key is empty, so all inputs without one would be the same; give each its own")


def check_limits(**limits: float) -> None:
    """Refuse limits that are not positive.

    Raises:
        TypeError, ValueError: one is not.
    """
    check_given(**limits)
    for name, value in limits.items():
        check_number(name, value, above=0)
