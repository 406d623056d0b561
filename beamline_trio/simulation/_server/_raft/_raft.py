"""One member of a group: follows, stands for election, leads.

The algorithm is Raft's, with nats-server's numbers: a leader counts what its own disk has like what a peer's has, and
decides what a majority has of its own term; one that has not heard of a majority for ten seconds steps down, and one
that is told to hands the lead to a peer that has everything.

Must not know what entries mean, who carries messages, or how a disk syncs.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from ._files import Files
from ._following import Following
from ._leading import Leading
from ._member import Member
from ._messages import Append, Appended, Commit, Forward, Message, Received, Snapshot, StepDown, Vote, Voted
from ._numbers import CAMPAIGN_SECONDS, CURRENT_SECONDS, ELECTION_SECONDS

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._peer import Peer
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
        leader_since: since when it does, in seconds.
    """

    def __init__(self, name: str, members: Sequence[str], files: Files, around: Surroundings, random: Random) -> None:
        self.role = Role.FOLLOWER
        self.leader = ""
        self.leader_since = 0.0
        self._member = Member(name, members, files, around)
        self._member.written = self._written
        self._member.applied = self._applied
        self._following = Following(self._member)
        self._leading: Leading | None = None
        self._around = around
        self._random = random
        self._majority = len(members) // 2 + 1
        self._votes: dict[str, None] = {}
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self._election_due = 0.0
        self._heard_leader_at = -CURRENT_SECONDS
        self._seen: dict[str, float] = {}
        self._was_ready = False

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
            self._heard()

    def stop(self) -> None:
        """Take part no longer."""
        self._member.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._leading is not None:
            self._leading.end()

    # ------------------------------------------------------------------------------------------------ what it is asked

    @property
    def name(self) -> str:
        """Its own."""
        return self._member.name

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all of them, its own too."""
        return self._member.names

    @property
    def stopped(self) -> bool:
        """Whether it has ended."""
        return self._member.stopped

    @property
    def leads(self) -> bool:
        """Whether it is the leader, as far as it knows."""
        return self._leading is not None

    @property
    def ready(self) -> bool:
        """Whether it leads and has applied everything that was decided before."""
        return self._leading is not None and self._member.files.applied >= self._leading.began

    @property
    def current(self) -> bool:
        """Whether it has applied what is decided; who does not lead knows that by what a leader has told it lately."""
        if self._leading is not None:
            return self.ready
        lately = self._around.now() - self._heard_leader_at < CURRENT_SECONDS
        return lately and self._member.files.applied >= self._following.told

    @property
    def commit(self) -> int:
        """Up to this index entries are decided."""
        return self._member.commit

    @property
    def last_index(self) -> int:
        """Of its log."""
        return self._member.log.last_index

    def peer(self, name: str) -> Peer | None:
        """What it knows of a peer, as the leader."""
        return None if self._leading is None else self._leading.peers[name]

    def seen_at(self, name: str) -> float | None:
        """When it last knew of a member; None = not since it follows whom it follows.

        A leader is told by votes and answers, a follower hears its leader alone. Of itself a member knows when it last
        stood for election, be that long ago.
        """
        return self._seen.get(name)

    # ----------------------------------------------------------------------------------------------------- proposing

    def propose(self, data: bytes) -> int:
        """Put data into the log, if it leads; the index, which may never be decided. 0 = it does not lead."""
        return 0 if self._leading is None else self._leading.propose(data)

    def forward(self, data: bytes) -> bool:
        """Have the leader propose data, whoever it is; False when there is none that can be reached. It may be lost."""
        if self._leading is not None:
            return bool(self._leading.propose(data))
        return bool(self.leader) and self._around.send(self.leader, Forward(self._member.term, data))

    def step_down(self, preferred: str = "") -> str:
        """Stop leading, and hand the lead to a peer that is there: the preferred one, if it is; whom, or nobody."""
        if self._leading is None:
            return ""
        following = self._leading.hand_over(preferred, self._random)
        self._follow("")
        return following

    # ------------------------------------------------------------------------------------------------------- messages

    def receive(self, sender: str, message: Message) -> None:
        """A peer says something."""
        if self.stopped or sender not in self._member.peers:
            return
        if isinstance(message, Forward):
            self.propose(message.data)
            return
        if message.term > self._member.term:
            self._enter(message.term, "")
            self._follow("")
        match message:
            case Append() | Snapshot():
                self._hear_leader(sender, message)
            case Commit() if message.term == self._member.term and sender == self.leader:
                self._following.committed(message)
            case Appended() if self._leading is not None:
                self._saw(sender)
                self._leading.answered(sender, message)
            case Received() if self._leading is not None:
                self._saw(sender)
                self._leading.piece_received(sender, message)
            case Vote():
                self._asked_for_vote(sender, message)
            case Voted():
                self._voted(sender, message)
            case StepDown() if message.term == self._member.term:
                self._leader_steps_down(message)
            case _:
                pass

    def _hear_leader(self, leader: str, message: Append | Snapshot) -> None:
        if message.term < self._member.term:
            self._around.send(leader, Appended(self._member.term, False, self.last_index))
            return
        self._follow(leader)
        self._heard()
        self._heard_leader_at = self._around.now()
        self._saw(leader)
        if isinstance(message, Append):
            self._following.append(leader, message)
        else:
            self._following.take_piece(leader, message)

    def _enter(self, term: int, voted_for: str) -> None:
        files = self._member.files
        files.term, files.voted_for = term, voted_for
        self._following.new_term()

    # ------------------------------------------------------------------------------------------------------ elections

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
        if self.stopped or self._leading is not None:
            return
        left = self._election_due - self._around.now()
        if left > 0:
            self._watch(left)
            return
        self._enter(self._member.term + 1, self.name)
        self._votes = {self.name: None}
        self.role = Role.CANDIDATE
        self._set_leader("")
        self._seen = {}
        self._saw(self.name)
        self._heard()
        vote = Vote(self._member.term, self.last_index, self._member.log.last_term)
        for peer in self._member.peers:
            self._around.send(peer, vote)
        self._count_votes()

    def _asked_for_vote(self, sender: str, vote: Vote) -> None:
        files, log = self._member.files, self._member.log
        granted = (
            vote.term == files.term
            and files.voted_for in ("", sender)
            and (vote.last_term, vote.last_index) >= (log.last_term, log.last_index)
        )
        if granted:
            files.voted_for = sender
            self._heard()
        elif vote.term == files.term and not files.voted_for:  # who asks lacks entries: stand before it asks again
            self._watch(self._random.uniform(*CAMPAIGN_SECONDS))
        self._around.send(sender, Voted(files.term, granted))

    def _voted(self, sender: str, voted: Voted) -> None:
        if self.role is Role.CANDIDATE and voted.granted and voted.term == self._member.term:
            self._saw(sender)
            self._votes[sender] = None
            self._count_votes()

    def _count_votes(self) -> None:
        if self.role is Role.CANDIDATE and len(self._votes) >= self._majority:
            self.role = Role.LEADER
            self._leading = Leading(self._member, lambda: self._follow(""))
            self._set_leader(self.name)
            self._leading.begin()

    def _follow(self, leader: str) -> None:
        was, self.role = self.role, Role.FOLLOWER
        leading, self._leading = self._leading, None
        if leading is not None:
            leading.end()
        self._was_ready = False
        self._set_leader(leader)
        if was is not Role.FOLLOWER or self._timer is None:
            self._heard()

    def _set_leader(self, leader: str) -> None:
        if leader != self.leader:
            if self.name not in (leader, self.leader):  # one that led knows of all, until another leads
                self._seen = {name: at for name, at in self._seen.items() if name == leader}
            self.leader = leader
            self.leader_since = self._around.now()
            self._around.leader_changed()

    def _saw(self, name: str) -> None:
        self._seen[name] = self._around.now()

    def _leader_steps_down(self, message: StepDown) -> None:
        self._follow("")
        if message.following == self.name:
            self._watch(_TRANSFER_SECONDS)

    # --------------------------------------------------------------------------------------------- disk and machine

    def _written(self) -> None:
        if self._leading is not None:
            self._leading.advance()

    def _applied(self) -> None:
        if self.ready and not self._was_ready:
            self._was_ready = True
            self._around.leader_changed()
