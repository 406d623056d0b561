"""What a follower does: it takes the leader's entries in the place of others, and what the leader has decided.

Must not know elections.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._log import Entry
from ._member import Member
from ._messages import Append, Appended, Commit, Received, Snapshot


class Following:
    """The following of one member.

    Args:
        member: who follows.

    Attributes:
        told: up to here entries are decided, as a leader has said.
    """

    def __init__(self, member: Member) -> None:
        self.told = 0
        self._member = member
        self._agreed = 0  # up to here the log is the leader's
        self._incoming: tuple[int, int, bytearray] | None = None

    def new_term(self) -> None:
        """There is another leader, or will be."""
        self._agreed = 0

    def append(self, leader: str, message: Append) -> None:
        """Take entries, and say so when they are on the disk."""
        member, previous = self._member, message.previous_index
        self.told = max(self.told, message.commit)
        if previous > member.log.base_index and member.log.term_at(previous) != message.previous_term:
            hint = max(min(previous - 1, member.log.last_index), member.commit)
            member.around.send(leader, Appended(member.term, False, hint, previous))
            return
        last = self._agreed = max(self._merge(previous, message.entries), self._agreed)
        if message.entries:
            term = member.term
            member.write(lambda: self._say_agreed(leader, last, term))
        else:
            self._say_agreed(leader, last, member.term)
        member.decided(min(message.commit, last))

    def committed(self, message: Commit) -> None:
        """The leader has decided more."""
        self.told = max(self.told, message.commit)
        self._member.decided(min(message.commit, self._agreed))

    def _say_agreed(self, leader: str, index: int, term: int) -> None:
        member = self._member
        if term == member.term:
            member.around.send(leader, Appended(term, True, min(index, member.on_disk)))

    def _merge(self, previous: int, entries: Sequence[Entry]) -> int:
        """Put entries into the log, in the place of others at their indices; the last index that agrees."""
        log = self._member.log
        for index, entry in enumerate(entries, previous + 1):
            if index <= log.base_index:
                continue
            term = log.term_at(index)
            if term == entry.term:
                continue
            if term is not None:
                self._member.cut(index - 1)
            log.extend(entries[index - previous - 1 :])
            break
        return previous + len(entries)

    def take_piece(self, leader: str, piece: Snapshot) -> None:
        """Collect a snapshot, and be it when it is there."""
        member = self._member
        if piece.index <= member.files.applied:
            member.around.send(leader, Received(member.term, piece.index, piece.size))
            return
        if self._incoming is None or self._incoming[:2] != (piece.index, piece.size):
            self._incoming = (piece.index, piece.size, bytearray())
        collected = self._incoming[2]
        if piece.offset == len(collected):
            collected += piece.data
        if len(collected) == piece.size:
            self._incoming = None
            member.restore(piece.index, piece.index_term, bytes(collected))
            self._agreed = max(self._agreed, piece.index)
        member.around.send(leader, Received(member.term, piece.index, len(collected)))
