"""This server's member of one group: Raft, the state machine it serves, and who waits for what was proposed.

Must not know what a machine does with an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..._raft import LOST_QUORUM_SECONDS, Files, Message, Raft, encode

if TYPE_CHECKING:
    from ..._surroundings import Timer
    from ._hub import Hub


class Machine(Protocol):
    """A state machine."""

    def apply(self, data: bytes) -> Any:
        """Take a decided entry; what is returned is given to who proposed it here."""
        ...

    def snapshot(self) -> bytes:
        """All of its state."""
        ...

    def restore(self, data: bytes) -> None:
        """Be what `snapshot` made."""
        ...

    def lead(self) -> None:
        """This member leads from now on, and has taken everything that was decided before."""
        ...

    def follow(self) -> None:
        """It leads no longer."""
        ...

    def led_elsewhere(self) -> None:
        """Another member leads: whoever waits for this one is answered there."""
        ...


class Group:
    """A member.

    Args:
        hub: its way to the peers, time and disk.
        name: of the group.
        members: the servers of it.
        files: what it has on disk.
        machine: what it serves.
        preferred: it should lead first; None = nobody in particular, in a new group.

    Attributes:
        hub: see there.
        leading: it leads, and its machine knows.
    """

    def __init__(
        self,
        hub: Hub,
        name: str,
        members: Sequence[str],
        files: Files,
        machine: Machine,
        *,
        preferred: bool | None = False,
    ) -> None:
        self.hub = hub
        self._machine = machine
        self._waiting: dict[int, Callable[[Any], None]] = {}
        self._started_at = hub.now()
        self._had_leader = False
        self.name = name
        self.files = files
        self.leading = False
        self.raft = Raft(hub.host, members, files, self, hub.random)
        hub.add(self)
        self.raft.start(preferred=preferred)

    @property
    def members(self) -> tuple[str, ...]:
        """The servers of the group."""
        return self.raft.members

    @property
    def leader(self) -> str:
        """Whom it knows as the leader, or empty."""
        return self.raft.leader

    @property
    def is_leaderless(self) -> bool:
        """There has been no leader for long enough to say so."""
        if self.raft.leader:
            return False
        return self._had_leader or self.hub.now() - self._started_at > LOST_QUORUM_SECONDS

    def propose(self, data: bytes, done: Callable[[Any], None] | None = None) -> int:
        """Have data decided, if it leads; `done` is called with what the machine makes of it, or never."""
        if not self.leading:
            return 0
        index = self.raft.propose(data)
        if index and done is not None:
            self._waiting[index] = done
        return index

    def forward(self, data: bytes) -> bool:
        """Have the leader propose data; False when it cannot be reached. It may be lost all the same."""
        return self.raft.forward(data)

    def stop(self) -> None:
        """End: the group is gone, or the process is."""
        self.raft.stop()
        self.hub.remove(self)
        self._waiting.clear()
        if self.leading:
            self.leading = False
            self._machine.follow()

    # -------------------------------------------------------------------------------------------------- Surroundings

    def now(self) -> float:
        """The time in seconds."""
        return self.hub.now()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after some time."""
        return self.hub.call_later(seconds, callback, *args)

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back at the end of this event."""
        self.hub.at_end(callback)

    def reaches(self, peer: str) -> bool:
        """Whether there is a way to a peer now."""
        return self.hub.reaches(peer)

    def send(self, peer: str, message: Message) -> bool:
        """Send to a peer."""
        return self.hub.tell(peer, self.name, encode(message))

    def write(self, done: Callable[[], object]) -> None:
        """Write to the disk."""
        self.hub.write(done)

    def apply(self, index: int, data: bytes) -> None:
        """An entry is decided."""
        made = self._machine.apply(data)
        done = self._waiting.pop(index, None)
        if done is not None:
            done(made)
        self.hub.changed(self)

    def snapshot(self) -> bytes:
        """The machine as it is."""
        return self._machine.snapshot()

    def restore(self, data: bytes) -> None:
        """The machine is this now."""
        self._machine.restore(data)

    def leader_changed(self) -> None:
        """It leads, or no longer, or knows another leader or none."""
        self._had_leader = self._had_leader or bool(self.raft.leader)
        if self.raft.ready and not self.leading:
            self.leading = True
            self.hub.note("raft_leader", group=self.name, term=self.files.term)
            self._machine.lead()
        elif self.leading and not self.raft.leads:
            self.leading = False
            self._waiting.clear()
            self.hub.note("raft_follower", group=self.name, term=self.files.term)
            self._machine.follow()
        if self.raft.leader and not self.raft.leads:
            self._machine.led_elsewhere()
