"""What one member of a group has on disk; it outlives the process.

The term and the vote are synced whenever they change: a member that forgot its vote could give it twice. Entries, and
the state machine that has taken them, are synced as the server's policy says; a power failure takes the rest.

Must not know a running member.
"""

from __future__ import annotations

from ._log import Log


class Files:
    """The disk of one member.

    Args:
        syncs: everything is synced before it is answered.

    Attributes:
        term: the highest that it has seen.
        voted_for: whom it wants to lead in this term; empty = nobody yet.
        log: its entries.
        log_synced: the index up to which they survive a power failure.
        applied: the index up to which the state machine on this disk has taken them.
    """

    def __init__(self, *, syncs: bool) -> None:
        self.term = 0
        self.voted_for = ""
        self.log = Log()
        self.applied = 0
        self._syncs = syncs
        self.log_synced = 0
        self._applied_synced = 0

    @property
    def kept(self) -> int:
        """The index up to which the state machine survives a power failure."""
        return self.applied if self._syncs else self._applied_synced

    def written(self, index: int) -> None:
        """The disk has taken entries up to here."""
        if self._syncs:
            self.log_synced = index

    def sync(self) -> None:
        """Everything is on the disk, the state machine too."""
        self.log_synced, self._applied_synced = self.log.last_index, self.applied

    def cut(self, last: int) -> None:
        """Forget the entries behind an index."""
        self.log.cut(last)
        self.log_synced = min(self.log_synced, last)

    def restored(self, index: int, term: int) -> None:
        """The state machine came from a peer, as it was at an index, and was synced."""
        self.log.restart(index, term)
        self.applied = index
        self.sync()

    def lose_unsynced(self) -> None:
        """The power failed."""
        self.applied = self.kept
        self.log.cut(max(self.log_synced, self.applied))
        self.sync()
