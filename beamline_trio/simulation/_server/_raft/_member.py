"""What a member does whatever its role: its log goes to its disk, and what is decided goes to its state machine.

Must not know who leads, nor what a majority is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ._files import Files
from ._log import Log
from ._numbers import LOG_MAX

if TYPE_CHECKING:
    from ._surroundings import Surroundings


class Member:
    """The disk and the state machine of one member.

    Args:
        name: its own.
        members: the names of all of them, its own too.
        files: its disk.
        around: its world.

    Attributes:
        commit: up to this index entries are decided.
        on_disk: up to this index its own disk has them.
        stopped: it has ended.
        written: called when the disk has more than before.
        applied: called when the state machine has.
    """

    def __init__(self, name: str, members: Sequence[str], files: Files, around: Surroundings) -> None:
        self.name = name
        self.names = tuple(members)
        self.peers = tuple(one for one in members if one != name)
        self.files = files
        self.around = around
        self.commit = files.applied
        self.on_disk = files.log.last_index
        files.written(self.on_disk)  # an earlier process may have been killed while it waited for the disk
        self.stopped = False
        self.written: Callable[[], None] | None = None
        self.applied: Callable[[], None] | None = None
        self._asked = self.on_disk
        self._cuts = 0
        self._applying = False

    @property
    def term(self) -> int:
        """The highest that it has seen."""
        return self.files.term

    @property
    def log(self) -> Log:
        """Its entries."""
        return self.files.log

    def write(self, after: Callable[[], object] | None = None) -> None:
        """Bring the log to the disk, and do something when it is there."""
        last, cuts = self.log.last_index, self._cuts
        if self._asked >= last:
            if after is not None and self.on_disk < last:
                self.around.write(after)
            elif after is not None:
                after()
            return
        self._asked = last

        def done() -> None:
            if self.stopped:
                return
            if self._cuts == cuts:
                self.on_disk = last
                self.files.written(last)
            if after is not None:
                after()
            if self.written is not None:
                self.written()

        self.around.write(done)

    def cut(self, last: int) -> None:
        """Another leader has other entries behind this index."""
        self.files.cut(last)
        self._cuts += 1
        self.on_disk, self._asked = min(self.on_disk, last), min(self._asked, last)

    def restore(self, index: int, term: int, data: bytes) -> None:
        """Be what a leader's snapshot says."""
        self.files.restored(index, term)
        self.commit = max(self.commit, index)
        self._cuts += 1
        self.on_disk = self._asked = self.log.last_index
        self.around.restore(data)

    def decided(self, index: int) -> None:
        """Everything up to an index is decided: apply it."""
        self.commit = max(self.commit, index)
        self.apply()

    def apply(self) -> None:
        """Let the state machine take what is decided, and forget entries that nobody needs."""
        files = self.files
        if self._applying or files.applied >= self.commit:
            return
        self._applying = True
        while files.applied < self.commit and not self.stopped:
            data = files.log.data_at(files.applied + 1)
            files.applied += 1
            if data:
                self.around.apply(files.applied, data)
        self._applying = False
        if self.applied is not None:
            self.applied()
        if len(self.log) > LOG_MAX:
            self.log.compact(min(files.kept, files.applied - LOG_MAX // 2))
