"""One member of a group: follows, stands for election, leads; appends, commits, applies.

The algorithm is Raft's, with nats-server's numbers. A leader counts what its own disk has like what a peer's has, and
commits what a majority has of its own term. What is proposed in one event goes out together at its end. A leader that
has not heard of a majority for ten seconds steps down; one that is told to hands the lead to a peer that is there.

Must not know what entries mean, who carries messages, or how a disk syncs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from ._files import Files
from ._log import Entry
from ._messages import Append, Appended, Commit, Forward, Message, Received, Snapshot, StepDown, Vote, Voted
from ._numbers import (
    APPEND_BYTES_MAX,
    CAMPAIGN_SECONDS,
    CURRENT_SECONDS,
    ELECTION_SECONDS,
    HEARTBEAT_SECONDS,
    LOG_MAX,
    LOST_QUORUM_SECONDS,
)
from ._peer import Peer, Transfer

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._surroundings import Surroundings

_PREFERRED_SECONDS: Final = 0.05
_TRANSFER_SECONDS: Final = 0.01


class Role(enum.Enum):
    """What a member is doing."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Raft:
    """One member of a group.

    Args:
        name: its own.
        members: the names of all of them, its own too.
        files: its disk.
        around: its world.
        random: its chance.

    Attributes:
        role: what it is doing.
        leader: whom it knows as the leader; empty = nobody.
        commit: up to this index entries are decided.
        stopped: it has ended.
    """

    def __init__(self, name: str, members: Sequence[str], files: Files, around: Surroundings, random: Random) -> None:
        self.name = name
        self.members = tuple(members)
        self.role = Role.FOLLOWER
        self.leader = ""
        self.leader_since = 0.0
        self.commit = files.applied
        self.stopped = False
        self._files = files
        self._log = files.log
        self._around = around
        self._random = random
        self._peers = {peer: Peer(peer, 1, 0.0) for peer in members if peer != name}
        self._majority = len(members) // 2 + 1
        self._votes: dict[str, None] = {}
        self._election_due = 0.0
        self._timer: Timer | None = None
        self._heartbeat: Timer | None = None
        self._quorum_checked_at = 0.0
        self._began = 0  # the index of the leader's first entry
        self._work_waits = False
        self._on_disk = self._asked = files.log.last_index
        self._cuts = 0
        self._agreed = 0  # up to here the log is the leader's
        self._applying = False
        self._timer_due = 0.0
        self._incoming: tuple[int, int, bytearray] | None = None

    # ----------------------------------------------------------------------------------------------------- lifecycle

    def start(self, *, preferred: bool | None = False) -> None:
        """Take part; `preferred` = this one should lead first, None = nobody in particular in a new group."""
        if len(self.members) == 1:
            self._watch(0.0)
        elif preferred:
            self._watch(_PREFERRED_SECONDS)
        elif preferred is None:
            self._watch(self._random.uniform(*CAMPAIGN_SECONDS))
        else:
            self._watch(self._random.uniform(*ELECTION_SECONDS))

    def stop(self) -> None:
        """Take part no longer."""
        self.stopped = True
        for timer in (self._timer, self._heartbeat):
            if timer is not None:
                timer.cancel()

    # ------------------------------------------------------------------------------------------------ what it is asked

    @property
    def leads(self) -> bool:
        """Whether it is the leader, as far as it knows."""
        return self.role is Role.LEADER

    @property
    def ready(self) -> bool:
        """Whether it leads and has applied everything that was decided before."""
        return self.role is Role.LEADER and self._files.applied >= self._began

    @property
    def last_index(self) -> int:
        """Of its log."""
        return self._log.last_index

    def peer(self, name: str) -> Peer:
        """What it knows of a peer, as the leader."""
        return self._peers[name]

    # ----------------------------------------------------------------------------------------------------- proposing

    def propose(self, data: bytes) -> int:
        """Put data into the log, if it leads; the index, which may never be decided. 0 = it does not lead."""
        if self.role is not Role.LEADER:
            return 0
        index = self._log.append(Entry(self._files.term, data))
        self._soon()
        return index

    def forward(self, data: bytes) -> bool:
        """Have the leader propose data, whoever it is; False when there is none that can be reached. It may be lost."""
        if self.role is Role.LEADER:
            return bool(self.propose(data))
        return bool(self.leader) and self._around.send(self.leader, Forward(self._files.term, data))

    def step_down(self, preferred: str = "") -> str:
        """Stop leading, and hand the lead to a peer that is there: the preferred one, if it is; whom, or nobody."""
        if self.role is not Role.LEADER:
            return ""
        now = self._around.now()
        there = [peer for peer in self._peers.values() if now - peer.heard_at < CURRENT_SECONDS]
        best = max((peer.agreed for peer in there), default=0)
        chosen = [peer.name for peer in there if peer.name == preferred and peer.agreed == best]
        chosen = chosen or [peer.name for peer in there if peer.agreed == best]
        following = chosen[0] if len(chosen) == 1 else self._random.choice(chosen) if chosen else ""
        self._work()
        if following:
            for peer in self._peers:
                self._around.send(peer, StepDown(self._files.term, following))
        self._follow("")
        return following

    # ------------------------------------------------------------------------------------------------------- messages

    def receive(self, sender: str, message: Message) -> None:
        """A peer says something."""
        if self.stopped or sender not in self._peers:
            return
        if isinstance(message, Forward):
            self.propose(message.data)
            return
        if message.term > self._files.term:
            self._files.term, self._files.voted_for, self._agreed = message.term, "", 0
            self._follow("")
        match message:
            case Append():
                self._appended(sender, message)
            case Commit():
                self._told_commit(sender, message)
            case Appended():
                self._answered(sender, message)
            case Vote():
                self._asked_for_vote(sender, message)
            case Voted():
                self._voted(sender, message)
            case Snapshot():
                self._take_piece(sender, message)
            case Received():
                self._piece_received(sender, message)
            case StepDown():
                self._leader_steps_down(message)

    # ----------------------------------------------------------------------------------------------------- elections

    def _watch(self, seconds: float) -> None:
        """Stand for election after some time, unless a leader is heard of."""
        due = self._election_due = self._around.now() + seconds
        if self._timer is not None:
            if self._timer_due <= due:  # it goes on waiting when it finds that it was too early
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._around.call_later(seconds, self._election)

    def _heard(self) -> None:
        """The leader lives, or somebody was given the vote."""
        self._watch(self._random.uniform(*ELECTION_SECONDS))

    def _election(self) -> None:
        self._timer = None
        if self.stopped or self.role is Role.LEADER:
            return
        left = self._election_due - self._around.now()
        if left > 0:
            self._watch(left)
            return
        self._files.term += 1
        self._files.voted_for, self._agreed = self.name, 0
        self._votes = {self.name: None}
        self.role = Role.CANDIDATE
        self._set_leader("")
        self._heard()
        vote = Vote(self._files.term, self._log.last_index, self._log.last_term)
        for peer in self._peers:
            self._around.send(peer, vote)
        self._count_votes()

    def _asked_for_vote(self, sender: str, vote: Vote) -> None:
        files, log = self._files, self._log
        granted = (
            vote.term == files.term
            and files.voted_for in ("", sender)
            and (vote.last_term, vote.last_index) >= (log.last_term, log.last_index)
        )
        if granted:
            files.voted_for = sender
            self._heard()
        self._around.send(sender, Voted(files.term, granted))

    def _voted(self, sender: str, voted: Voted) -> None:
        if self.role is Role.CANDIDATE and voted.granted and voted.term == self._files.term:
            self._votes[sender] = None
            self._count_votes()

    def _count_votes(self) -> None:
        if self.role is Role.CANDIDATE and len(self._votes) >= self._majority:
            self._lead()

    def _lead(self) -> None:
        now = self._around.now()
        self.role = Role.LEADER
        self._quorum_checked_at = now
        self._peers = {name: Peer(name, self._log.last_index + 1, now) for name in self._peers}
        self._began = self._log.append(Entry(self._files.term, b""))
        self._set_leader(self.name)
        self._beat()
        self._soon()

    def _follow(self, leader: str) -> None:
        was = self.role
        self.role = Role.FOLLOWER
        if was is Role.LEADER and self._heartbeat is not None:
            self._heartbeat.cancel()
        self._set_leader(leader)
        if was is not Role.FOLLOWER or self._timer is None:
            self._heard()

    def _set_leader(self, leader: str) -> None:
        if leader != self.leader:
            self.leader = leader
            self.leader_since = self._around.now()
            self._around.leader_changed()

    def _leader_steps_down(self, message: StepDown) -> None:
        if message.term < self._files.term:
            return
        self._follow("")
        if message.following == self.name:
            self._watch(_TRANSFER_SECONDS)

    # ------------------------------------------------------------------------------------------------------- leading

    def _beat(self) -> None:
        """Tell the peers that the leader lives, all groups of a server at the same time."""
        if self.stopped or self.role is not Role.LEADER:
            return
        now = self._around.now()
        if now - self._quorum_checked_at >= LOST_QUORUM_SECONDS:
            self._quorum_checked_at = now
            if self._lost_quorum(now):
                self._follow("")
                return
        for peer in self._peers.values():
            peer.retried_at = None
            self._append_to(peer, heartbeat=True)
        wait = HEARTBEAT_SECONDS - now % HEARTBEAT_SECONDS
        if wait < HEARTBEAT_SECONDS / 2:
            wait += HEARTBEAT_SECONDS
        self._heartbeat = self._around.call_later(wait, self._beat)

    def _lost_quorum(self, now: float) -> bool:
        heard = 1 + sum(now - peer.heard_at <= LOST_QUORUM_SECONDS for peer in self._peers.values())
        return heard < self._majority

    def _soon(self) -> None:
        if not self._work_waits:
            self._work_waits = True
            self._around.at_end(self._work)

    def _work(self) -> None:
        """What was proposed goes to the disk and to the peers; what is decided is applied."""
        self._work_waits = False
        if self.stopped:
            return
        if self.role is Role.LEADER:
            for peer in self._peers.values():
                self._append_to(peer)
        self._write()
        self._advance()

    def _append_to(self, peer: Peer, *, heartbeat: bool = False) -> None:
        log = self._log
        if peer.transfer is not None:
            if heartbeat:
                self._send_piece(peer, peer.transfer, 0)
            return
        if peer.following <= log.base_index:
            self._send_snapshot(peer)
            return
        while True:
            entries = log.entries_from(peer.following, peer.room, APPEND_BYTES_MAX)
            if not (entries or heartbeat):
                return
            heartbeat = False
            previous = peer.following - 1
            term = log.term_at(previous)
            assert term is not None
            message = Append(self._files.term, previous, term, self.commit, tuple(entries))
            if not self._around.send(peer.name, message):
                return
            peer.following += len(entries)

    def _send_snapshot(self, peer: Peer) -> None:
        index = self._files.applied
        term = self._log.term_at(index)
        assert term is not None
        peer.transfer = Transfer(index, term, self._around.snapshot())
        self._send_piece(peer, peer.transfer, 0)

    def _send_piece(self, peer: Peer, transfer: Transfer, offset: int) -> None:
        data = transfer.piece(offset)
        message = Snapshot(self._files.term, transfer.index, transfer.term, offset, len(transfer.data), data)
        self._around.send(peer.name, message)

    def _answered(self, sender: str, answer: Appended) -> None:
        if self.role is not Role.LEADER or answer.term != self._files.term:
            return
        peer = self._peers[sender]
        peer.heard_at = self._around.now()
        if answer.agrees:
            peer.agrees(answer.index)
            if peer.following <= self._log.last_index or answer.index > self.commit:
                self._soon()
        elif peer.differs(answer.previous, answer.index):
            self._append_to(peer, heartbeat=True)

    def _piece_received(self, sender: str, received: Received) -> None:
        if self.role is not Role.LEADER or received.term != self._files.term:
            return
        peer = self._peers[sender]
        peer.heard_at = self._around.now()
        transfer = peer.transfer
        if transfer is None or transfer.index != received.index:
            return
        if received.offset < len(transfer.data):
            self._send_piece(peer, transfer, received.offset)
            return
        peer.transfer = None
        peer.agrees(transfer.index)
        self._append_to(peer)

    # ------------------------------------------------------------------------------------------------------ following

    def _appended(self, sender: str, message: Append) -> None:
        if message.term < self._files.term:
            self._around.send(sender, Appended(self._files.term, False, self._log.last_index, message.previous_index))
            return
        self._follow(sender)
        self._heard()
        log, previous = self._log, message.previous_index
        known = previous <= log.base_index or log.term_at(previous) == message.previous_term
        if not known:
            hint = max(min(previous - 1, log.last_index), self.commit)
            self._around.send(sender, Appended(self._files.term, False, hint, previous))
            return
        last = self._agreed = max(self._merge(previous, message.entries), self._agreed)
        self.commit = max(self.commit, min(message.commit, last))
        if not message.entries:
            self._say_agreed(sender, last)
        else:
            term = self._files.term
            self._write(lambda: self._say_agreed(sender, last) if self._files.term == term else None)
        self._soon()

    def _say_agreed(self, leader: str, index: int) -> None:
        self._around.send(leader, Appended(self._files.term, True, min(index, self._on_disk)))

    def _told_commit(self, sender: str, message: Commit) -> None:
        if message.term == self._files.term and sender == self.leader:
            self.commit = max(self.commit, min(message.commit, self._agreed))
            self._apply()

    def _merge(self, previous: int, entries: Sequence[Entry]) -> int:
        """Put the leader's entries into the log, in place of others at their indices; the last index that agrees."""
        log, index = self._log, previous
        for at, entry in enumerate(entries):
            index = previous + at + 1
            if index <= log.base_index:
                continue
            term = log.term_at(index)
            if term == entry.term:
                continue
            if term is not None:
                self._files.cut(index - 1)
                self._cuts += 1
                self._on_disk, self._asked = min(self._on_disk, index - 1), min(self._asked, index - 1)
            log.extend(entries[at:])
            break
        return previous + len(entries)

    def _take_piece(self, sender: str, piece: Snapshot) -> None:
        if piece.term < self._files.term:
            return
        self._follow(sender)
        self._heard()
        if piece.index <= self._files.applied:
            self._around.send(sender, Received(self._files.term, piece.index, piece.size))
            return
        if piece.offset == 0 and (self._incoming is None or self._incoming[:2] != (piece.index, piece.size)):
            self._incoming = (piece.index, piece.size, bytearray())
        if self._incoming is None or self._incoming[:2] != (piece.index, piece.size):
            return
        collected = self._incoming[2]
        if piece.offset == len(collected):
            collected += piece.data
        if len(collected) == piece.size:
            self._incoming = None
            self._restore(piece, bytes(collected))
        self._around.send(sender, Received(self._files.term, piece.index, len(collected)))

    def _restore(self, piece: Snapshot, data: bytes) -> None:
        self._files.restored(piece.index, piece.index_term)
        self.commit = max(self.commit, piece.index)
        self._agreed = max(self._agreed, piece.index)
        self._cuts += 1
        self._on_disk = self._asked = self._log.last_index
        self._around.restore(data)

    # ----------------------------------------------------------------------------------------- disk, commit and apply

    def _write(self, after: Callable[[], object] | None = None) -> None:
        """Bring the log to the disk, and do something when it is there."""
        last, cuts = self._log.last_index, self._cuts
        if self._asked >= last:
            if after is not None:
                self._around.write(after) if self._on_disk < last else after()
            return
        self._asked = last

        def done() -> None:
            if self.stopped:
                return
            if self._cuts == cuts:
                self._on_disk = last
                self._files.written(last)
            if after is not None:
                after()
            if self.role is Role.LEADER:
                self._advance()

        self._around.write(done)

    def _advance(self) -> None:
        """Decide what a majority has, and apply what is decided."""
        if self.role is Role.LEADER:
            agreed = sorted([self._on_disk, *(peer.agreed for peer in self._peers.values())], reverse=True)
            decided = agreed[self._majority - 1]
            if decided > self.commit and self._log.term_at(decided) == self._files.term:
                self.commit = decided
                for peer in self._peers.values():
                    self._around.send(peer.name, Commit(self._files.term, decided))
        self._apply()

    def _apply(self) -> None:
        files = self._files
        if self._applying or files.applied >= self.commit:
            return
        self._applying = True
        was_ready = self.ready
        while files.applied < self.commit and not self.stopped:
            data = self._log.entry(files.applied + 1).data
            files.applied += 1
            if data:
                self._around.apply(files.applied, data)
        self._applying = False
        if self.ready and not was_ready:
            self._around.leader_changed()
        if len(self._log) > LOG_MAX:
            self._log.compact(min(files.kept, files.applied - LOG_MAX // 2))
