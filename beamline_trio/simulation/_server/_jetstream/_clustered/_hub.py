"""What all members on one server share: the way to other servers, time, the disk.

A disk may be slow: then what is written waits its turn, in order, and nothing is answered that is not on it. What is
only written, and not synced, is synced some time later by the server's own clock.

Must not know what the groups are for.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

from ..._raft import decode

if TYPE_CHECKING:
    from ..._process import Process
    from ..._surroundings import Timer
    from ._group import Group


class Disk(Protocol):
    """What a member has on disk, its machine's state included."""

    def sync(self) -> None:
        """Everything that was written is on the disk now."""
        ...


class Hub:
    """The members of one server.

    Args:
        process: of the server.
        slow_disk_seconds: what a write takes at the moment.
    """

    def __init__(self, process: Process, slow_disk_seconds: Callable[[], float]) -> None:
        self._process = process
        self._slow_disk_seconds = slow_disk_seconds
        self._groups: dict[str, Group] = {}
        self._disks: dict[Group, Disk] = {}
        self._dirty: dict[Group, None] = {}
        self._disk_free_at = 0.0
        self.host = process.host
        self.random: Random = process.random

    def add(self, group: Group) -> None:
        """There is another one."""
        self._groups[group.name] = group

    def remove(self, group: Group) -> None:
        """It has ended."""
        del self._groups[group.name]
        self._disks.pop(group, None)
        self._dirty.pop(group, None)

    def groups(self) -> tuple[Group, ...]:
        """All of them."""
        return tuple(self._groups.values())

    def syncs_later(self, group: Group, disk: Disk) -> None:
        """What this one writes is not synced before it is answered."""
        self._disks[group] = disk

    # ---------------------------------------------------------------------------------------------------- the peers

    def reaches(self, peer: str) -> bool:
        """Whether there is a way to another server now."""
        return self._process.reaches(peer)

    def tell(self, peer: str, group: str, data: bytes) -> bool:
        """Tell another server something."""
        return self._process.send_to_server(peer, b"%b %b" % (group.encode(), data))

    def told(self, peer: str, group: str, data: bytes) -> bool:
        """Whether there is a member here to whom another server says something; it has heard it."""
        member = self._groups.get(group)
        if member is None:  # not any more, or not yet
            return False
        member.raft.receive(peer, decode(data))
        return True

    # -------------------------------------------------------------------------------------------- time and the disk

    def now(self) -> float:
        """The time in seconds."""
        return self._process.now()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after some time."""
        return self._process.call_later(seconds, callback, *args)

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back at the end of this event."""
        self._process.at_end(callback)

    def note(self, kind: str, **fields: str | int | float | bool | None) -> None:
        """Note something in the trace."""
        self._process.note(kind, **fields)

    def write(self, done: Callable[[], object]) -> None:
        """Write to the disk, and call back when that is done: at once, unless the disk is slow."""
        now, seconds = self.now(), self._slow_disk_seconds()
        if not seconds and self._disk_free_at <= now:
            done()
            return
        self._disk_free_at = max(self._disk_free_at, now) + seconds
        self.call_later(self._disk_free_at - now, done)

    def changed(self, group: Group) -> None:
        """A member has written something."""
        if group in self._disks and group not in self._dirty:
            self._dirty[group] = None
            self.call_later(self._process.config.jetstream_sync_interval_seconds, self._sync, group)

    def _sync(self, group: Group) -> None:
        disk = self._disks.get(group)
        if self._dirty.pop(group, True) is None and disk is not None:
            disk.sync()
