"""What a router's stores of keys have counted, over all runs: a store that is opened for a run counts from zero.

Must not use a store.
"""

from __future__ import annotations

from typing import Final

import attrs

from ._idempotence import Idempotence, IdempotenceStatistics

# What each route counts for itself is not here.
STORE_EVENTS: Final = ("full", "lapsed", "evicted", "skipped")


class StoreBooks:
    """The books of one router."""

    def __init__(self) -> None:
        self._store: Idempotence | None = None
        self._before: dict[str, int] = dict.fromkeys(STORE_EVENTS, 0)

    def use(self, store: Idempotence) -> None:
        """The router uses this one from now on."""
        if store is not self._store:
            self._before = self.counts()
            self._store = store

    def counts(self) -> dict[str, int]:
        """Event -> how often, of STORE_EVENTS; a store of somebody else's that has no statistics adds nothing."""
        tell = getattr(self._store, "statistics", None)
        now = tell() if tell is not None else None
        if not isinstance(now, IdempotenceStatistics):
            return dict(self._before)
        numbers = attrs.asdict(now)
        return {event: before + numbers[event] for event, before in self._before.items()}
