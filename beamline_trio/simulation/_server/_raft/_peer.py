"""What a leader knows of one peer, and what it sends it next.

Must not decide what is committed.
"""

from __future__ import annotations

from ._numbers import SNAPSHOT_CHUNK_BYTES, UNDER_WAY_MAX


class Transfer:
    """A snapshot on its way to a peer, piece by piece."""

    def __init__(self, index: int, term: int, data: bytes) -> None:
        self.index = index
        self.term = term
        self.data = data

    def piece(self, offset: int) -> bytes:
        """What is sent from an offset on."""
        return self.data[offset : offset + SNAPSHOT_CHUNK_BYTES]


class Peer:
    """One peer of a leader.

    Attributes:
        name: whose.
        following: the index of the entry that is sent next.
        agreed: up to where it is known to have the leader's log.
        heard_at: when it last said something.
        transfer: it gets a snapshot.
        retried_at: it was sent what is behind this index anew, and has not answered that.
    """

    def __init__(self, name: str, following: int, now: float) -> None:
        self.name = name
        self.following = following
        self.agreed = 0
        self.heard_at = now
        self.transfer: Transfer | None = None
        self.retried_at: int | None = None

    @property
    def room(self) -> int:
        """How many entries may be sent before it answers."""
        return max(UNDER_WAY_MAX - (self.following - 1 - self.agreed), 0)

    def agrees(self, index: int) -> None:
        """It has the leader's log up to here."""
        self.retried_at = None
        self.agreed = max(self.agreed, index)
        self.following = max(self.following, index + 1)

    def differs(self, previous: int, index: int) -> bool:
        """It has another log at `previous`, or none: go on behind `index`; False when it was sent that already.

        It may have less than it had before, when its disk has lost it. One that insists on what it has there is asked
        again with the next heartbeat only: it would refuse that at once, again and again.
        """
        if index == previous or (self.retried_at is not None and previous > self.retried_at):
            return False
        self.retried_at = index
        self.agreed = min(self.agreed, index)
        self.following = index + 1
        return True
