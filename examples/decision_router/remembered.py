"""Values that are remembered for a while, and so many of them at most.

Must not read a clock: the time is given to each call.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@attrs.define
class Remembered(Generic[K, V]):
    """A bounded mapping whose entries end.

    Attributes:
        ttl_seconds: how long an entry lives, unless it is put with another.
        entries_max: above it the entry that was put first is forgotten, however young.
        forgotten: entries that went before their time.
    """

    ttl_seconds: float
    entries_max: int = 100_000
    forgotten: int = 0
    _entries: dict[K, tuple[float, V]] = attrs.field(factory=dict, init=False)

    def put(self, key: K, value: V, now: float, *, ttl_seconds: float | None = None) -> float:
        """Remember a value, from now on; when it ends."""
        self._entries.pop(key, None)
        self._drop_old(now)
        ends = now + (self.ttl_seconds if ttl_seconds is None else ttl_seconds)
        self._entries[key] = (ends, value)
        return ends

    def get(self, key: K, now: float) -> V | None:
        """The value, or None when there is none any more."""
        entry = self.entry(key, now)
        return None if entry is None else entry[1]

    def entry(self, key: K, now: float) -> tuple[float, V] | None:
        """When it ends and the value."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] <= now:
            del self._entries[key]
            return None
        return entry

    def drop(self, key: K) -> None:
        """Forget it, if it is there."""
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)

    def _drop_old(self, now: float) -> None:
        """What has ended at the front, and one more when there is no room."""
        while self._entries:
            first = next(iter(self._entries))
            if self._entries[first][0] > now:
                if len(self._entries) < self.entries_max:
                    return
                self.forgotten += 1
            del self._entries[first]
