"""What a server has on disk: streams, their messages, and their consumers' states. It outlives every process.

What was written survives a kill: the messages at once, since the server writes them before it answers, a consumer's
state at most 100 ms later. A power failure (`lose_unsynced`) takes everything back to the last sync. Definitions stay:
the file system itself brings them to the disk.

Must not know a running server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._consumer_config import ConsumerConfig
from ._consumer_state import ConsumerState
from ._messages import Messages
from ._stream_config import StreamConfig

if TYPE_CHECKING:
    from ._clustered import ClusterDisk


class ConsumerFiles:
    """What is kept of a consumer.

    Attributes:
        written: its state as the file has it.
        synced: its state as the disk has it.
    """

    def __init__(self, config: ConsumerConfig, name: str, created: int, state: ConsumerState) -> None:
        self.config = config
        self.name = name
        self.created = created
        self.written = state
        self.synced = state.stored()


class StreamFiles:
    """What is kept of a stream.

    Attributes:
        messages: as the file has them; the running stream's own.
        consumers: by name.
        dirty: something was written since the last sync.
    """

    def __init__(self, config: StreamConfig, created: int, messages: Messages) -> None:
        self.config = config
        self.created = created
        self.messages = messages
        self.consumers: dict[str, ConsumerFiles] = {}
        self.dirty = False
        self._synced = messages.copy()

    def sync(self) -> None:
        """Everything that was written is on the disk now."""
        self.dirty = False
        self._synced = self.messages.copy()
        for consumer in self.consumers.values():
            consumer.synced = consumer.written

    def lose_unsynced(self) -> None:
        """Only what is on the disk is there."""
        self.dirty = False
        self._synced.config = self.config
        self.messages, self._synced = self._synced, self._synced.copy()
        for consumer in self.consumers.values():
            consumer.written = consumer.synced.stored()


class Storage:
    """A server's store directory.

    Attributes:
        streams: those with file storage, by name.
        cluster: what a server of a cluster has instead.
    """

    def __init__(self) -> None:
        self.streams: dict[str, StreamFiles] = {}
        self.cluster: ClusterDisk | None = None

    def lose_unsynced(self) -> None:
        """The power failed."""
        if self.cluster is not None:
            self.cluster.lose_unsynced()
        for stream in self.streams.values():
            stream.lose_unsynced()

    def wipe(self) -> None:
        """The directory is deleted."""
        self.streams.clear()
        self.cluster = None
