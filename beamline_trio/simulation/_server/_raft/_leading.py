"""What a leader does: it brings its entries to its peers, and decides what a majority has.

A peer that lacks entries gets them from where its log agrees; one that lacks those that nobody keeps gets a snapshot,
piece by piece. What is proposed in one event goes out together at its end.

Must not know elections.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from ._log import Entry
from ._member import Member
from ._messages import Append, Appended, Commit, Received, Snapshot, StepDown
from ._numbers import APPEND_BYTES_MAX, CURRENT_SECONDS, HEARTBEAT_SECONDS, LOST_QUORUM_SECONDS
from ._peer import Peer, Transfer

if TYPE_CHECKING:
    from .._surroundings import Timer


class Leading:
    """The lead of one member in one term.

    Args:
        member: who leads.
        lost_quorum: called when it has not heard of a majority for too long.

    Attributes:
        began: the index of its first entry: all before it are decided when this one is.
        peers: by name.
    """

    def __init__(self, member: Member, lost_quorum: Callable[[], None]) -> None:
        now = member.around.now()
        self._member = member
        self._lost_quorum = lost_quorum
        self._majority = len(member.names) // 2 + 1
        self._heartbeat: Timer | None = None
        self._checked_at = now
        self._work_waits = False
        self._ended = False
        self.peers = {name: Peer(name, member.log.last_index + 1, now) for name in member.peers}
        self.began = member.log.append(Entry(member.term, b""))

    def begin(self) -> None:
        """Tell the peers."""
        self._beat()
        self._soon()

    def end(self) -> None:
        """It leads no longer."""
        self._ended = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()

    def propose(self, data: bytes) -> int:
        """Put data into the log; its index."""
        index = self._member.log.append(Entry(self._member.term, data))
        self._soon()
        return index

    def hand_over(self, preferred: str, random: Random) -> str:
        """Tell the peers who should lead next: the preferred one, if it has everything; whom, or nobody."""
        now = self._member.around.now()
        there = [peer for peer in self.peers.values() if now - peer.heard_at < CURRENT_SECONDS]
        best = max((peer.agreed for peer in there), default=0)
        chosen = [peer.name for peer in there if peer.name == preferred and peer.agreed == best]
        chosen = chosen or [peer.name for peer in there if peer.agreed == best]
        following = chosen[0] if len(chosen) == 1 else random.choice(chosen) if chosen else ""
        self._work()
        if following:
            for name in self.peers:
                self._member.around.send(name, StepDown(self._member.term, following))
        return following

    # ----------------------------------------------------------------------------------------------------- heartbeats

    def _beat(self) -> None:
        """Tell the peers that the leader lives, all groups of a server at the same time."""
        if self._ended or self._member.stopped:
            return
        now = self._member.around.now()
        if now - self._checked_at >= LOST_QUORUM_SECONDS:
            self._checked_at = now
            heard = 1 + sum(now - peer.heard_at <= LOST_QUORUM_SECONDS for peer in self.peers.values())
            if heard < self._majority:
                self._lost_quorum()
                return
        for peer in self.peers.values():
            peer.retried_at = None
            self._append_to(peer, heartbeat=True)
        wait = HEARTBEAT_SECONDS - now % HEARTBEAT_SECONDS
        if wait < HEARTBEAT_SECONDS / 2:
            wait += HEARTBEAT_SECONDS
        self._heartbeat = self._member.around.call_later(wait, self._beat)

    # ------------------------------------------------------------------------------------------------------ appending

    def _soon(self) -> None:
        if not self._work_waits:
            self._work_waits = True
            self._member.around.at_end(self._work)

    def _work(self) -> None:
        """What was proposed goes to the peers and to the disk; what is decided is applied."""
        self._work_waits = False
        if self._ended or self._member.stopped:
            return
        for peer in self.peers.values():
            self._append_to(peer)
        self._member.write()
        self.advance()

    def _append_to(self, peer: Peer, *, heartbeat: bool = False) -> None:
        log = self._member.log
        if peer.transfer is not None:
            if heartbeat:
                self._send_piece(peer, peer.transfer, 0)
            return
        if not heartbeat and peer.following > log.last_index:
            return
        if peer.following <= log.base_index:
            self._send_snapshot(peer)
            return
        if not self._member.around.reaches(peer.name):  # what waits for it need not be written down each time
            return
        while True:
            entries = log.entries_from(peer.following, peer.room, APPEND_BYTES_MAX)
            if not (entries or heartbeat):
                return
            heartbeat = False
            previous = peer.following - 1
            term = log.term_at(previous)
            assert term is not None
            message = Append(self._member.term, previous, term, self._member.commit, tuple(entries))
            if not self._member.around.send(peer.name, message):
                return
            peer.following += len(entries)

    def _send_snapshot(self, peer: Peer) -> None:
        index = self._member.files.applied
        term = self._member.log.term_at(index)
        assert term is not None
        peer.transfer = Transfer(index, term, self._member.around.snapshot())
        self._send_piece(peer, peer.transfer, 0)

    def _send_piece(self, peer: Peer, transfer: Transfer, offset: int) -> None:
        data = transfer.piece(offset)
        message = Snapshot(self._member.term, transfer.index, transfer.term, offset, len(transfer.data), data)
        self._member.around.send(peer.name, message)

    # -------------------------------------------------------------------------------------------------------- answers

    def answered(self, sender: str, answer: Appended) -> None:
        """A peer has taken entries, or cannot."""
        if answer.term != self._member.term:
            return
        peer = self.peers[sender]
        peer.heard_at = self._member.around.now()
        if answer.agrees:
            peer.agrees(answer.index)
            if peer.following <= self._member.log.last_index or answer.index > self._member.commit:
                self._soon()
        elif peer.differs(answer.previous, min(answer.index, self._member.log.last_index)):
            self._append_to(peer, heartbeat=True)

    def piece_received(self, sender: str, received: Received) -> None:
        """A peer has a piece of a snapshot."""
        if received.term != self._member.term:
            return
        peer = self.peers[sender]
        peer.heard_at = self._member.around.now()
        transfer = peer.transfer
        if transfer is None or transfer.index != received.index:
            return
        if received.offset < len(transfer.data):
            self._send_piece(peer, transfer, received.offset)
            return
        peer.transfer = None
        peer.agrees(transfer.index)
        self._append_to(peer)

    def advance(self) -> None:
        """Decide what a majority has of this term, and tell the peers."""
        member = self._member
        agreed = sorted([member.on_disk, *(peer.agreed for peer in self.peers.values())], reverse=True)
        index = agreed[self._majority - 1]
        if index > member.commit and member.log.term_at(index) == member.term:
            for name in self.peers:
                member.around.send(name, Commit(member.term, index))
            member.decided(index)
