"""Ids of publishes whose fate is unknown, and which may be published again under them: since when that is so.

Bounded: of too many the one that was noted longest ago is forgotten, and counted, as it may be stored twice past the
duplicate window.

Must not look anything up.
"""

from __future__ import annotations


class Doubts:
    """The ids of one publisher.

    Attributes:
        forgotten: ids that were not remembered any longer.

    Args:
        ids_max: that are remembered.
    """

    def __init__(self, ids_max: int) -> None:
        self._ids_max = ids_max
        self._since: dict[str, float] = {}
        self.forgotten = 0

    def take(self, message_id: str) -> float | None:
        """Since when an id is doubtful; it is its publish's to know from now on."""
        return self._since.pop(message_id, None)

    def note(self, message_id: str, since: float | None) -> None:
        """A publish has ended without an answer; None = nothing of it was stored."""
        if since is None:
            return
        self._since[message_id] = since
        if len(self._since) > self._ids_max:
            del self._since[next(iter(self._since))]
            self.forgotten += 1
