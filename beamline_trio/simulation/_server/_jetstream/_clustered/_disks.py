"""What a server of a cluster has on disk: members of groups, and what their machines know. It outlives processes.

Must not know running members.
"""

from __future__ import annotations

from ..._raft import Files
from .._consumer_state import ConsumerState
from .._duplicates import Duplicates
from .._messages import Messages
from .._stream_config import StreamConfig
from ._assignments import Assignments


class MetaDisk:
    """The meta group's: always synced."""

    def __init__(self) -> None:
        self.files = Files(syncs=True)
        self.assignments = Assignments()

    def lose_unsynced(self) -> None:
        """The power failed."""
        self.files.lose_unsynced()


class StreamDisk:
    """A stream's.

    Args:
        config: as its log has it.
        syncs: everything is synced before it is answered.

    Attributes:
        config: as of the last entry that was applied.
        messages: likewise.
        duplicates: likewise.
    """

    def __init__(self, config: StreamConfig, *, syncs: bool) -> None:
        self._syncs = syncs
        self.files = Files(syncs=syncs)
        self.config = config
        self.messages = Messages(config)
        self.duplicates = Duplicates()
        self._synced = (self.config, self.messages.copy(), self.duplicates.place())

    def sync(self) -> None:
        """Everything that was written is on the disk now."""
        self.files.sync()
        if not self._syncs:
            self._synced = (self.config, self.messages.copy(), self.duplicates.place())

    def lose_unsynced(self) -> None:
        """The power failed."""
        self.files.lose_unsynced()
        if not self._syncs:
            self.config, messages, place = self._synced
            self.messages = messages.copy()
            self.duplicates.cut(place)

    def lose_memory(self) -> None:
        """A stream in memory: only the term and the vote are on disk."""
        files = Files(syncs=self._syncs)
        files.term, files.voted_for = self.files.term, self.files.voted_for
        self.files, self.messages, self.duplicates = files, Messages(self.config), Duplicates()


class ConsumerDisk:
    """A consumer's.

    Args:
        syncs: everything is synced before it is answered.

    Attributes:
        books: as of the last entry that was applied; None = it has not begun.
        pulls: the replies of the requests that wait at its leader.
    """

    def __init__(self, *, syncs: bool) -> None:
        self._syncs = syncs
        self.files = Files(syncs=syncs)
        self.books: ConsumerState | None = None
        self.pulls: dict[str, None] = {}
        self._synced: tuple[ConsumerState | None, dict[str, None]] = (None, {})

    def sync(self) -> None:
        """Everything that was written is on the disk now."""
        self.files.sync()
        if not self._syncs:
            self._synced = self._copy(self.books, self.pulls)

    def lose_unsynced(self) -> None:
        """The power failed."""
        self.files.lose_unsynced()
        if not self._syncs:
            self.books, self.pulls = self._copy(*self._synced)

    def lose_memory(self) -> None:
        """A consumer in memory: only the term and the vote are on disk."""
        files = Files(syncs=self._syncs)
        files.term, files.voted_for = self.files.term, self.files.voted_for
        self.files, self.books, self.pulls = files, None, {}

    @staticmethod
    def _copy(books: ConsumerState | None, pulls: dict[str, None]) -> tuple[ConsumerState | None, dict[str, None]]:
        return (None if books is None else books.stored()), dict(pulls)


class ClusterDisk:
    """All members of one server, by group."""

    def __init__(self) -> None:
        self.meta = MetaDisk()
        self.streams: dict[str, StreamDisk] = {}
        self.consumers: dict[str, ConsumerDisk] = {}

    def lose_unsynced(self) -> None:
        """The power failed."""
        self.meta.lose_unsynced()
        for stream in self.streams.values():
            stream.lose_unsynced()
        for consumer in self.consumers.values():
            consumer.lose_unsynced()
