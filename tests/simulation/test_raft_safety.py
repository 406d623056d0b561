"""What a group has decided stays in every order of messages, writes, elections and power failures.

The rules that keep it are looked at one by one, at a single member; and together, where every step is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beamline_trio.simulation._server._raft import Entry, Message, Role, _leading, _member, _peer, encode
from beamline_trio.simulation._server._raft._messages import Append, Appended, Commit, Received, Snapshot, Vote, Voted

from ._raft_rig import Clock
from ._raft_steps import StepMachine, Steps

_STEPS = 1000
_CHECKED_EVERY = 50
_ELECTION_SECONDS_MIN, _ELECTION_SECONDS_MAX = 4.0, 9.0


class Alone(StepMachine):
    """A member of three whose peers are played by the test: what it tells them is in `said`."""

    def __init__(self, *, term: int = 0, entries: Sequence[Entry] = ()) -> None:
        super().__init__(Steps(1, 3), "n1", Clock(), syncs=True)
        self.said: list[tuple[str, Message]] = []
        self.files.term = term
        self.files.log.extend(entries)
        self.start()

    def reaches(self, peer: str) -> bool:
        return True

    def send(self, peer: str, message: Message) -> bool:
        self.said.append((peer, message))
        return True

    def hear(self, peer: str, message: Message) -> Message | None:
        """A peer says something; the last answer to it."""
        before = len(self.said)
        self.receive(peer, encode(message))
        return next((one for to, one in reversed(self.said[before:]) if to == peer), None)

    def stand(self) -> None:
        """Hear of no leader for so long that it wants to be elected."""
        self.clock.run_until(self.clock.time + _ELECTION_SECONDS_MAX)

    @property
    def texts(self) -> list[str]:
        return [self.files.log.data_at(index).decode() for index in range(1, self.files.log.last_index + 1)]


def _entries(term: int, *texts: str) -> tuple[Entry, ...]:
    return tuple(Entry(term, text.encode()) for text in texts)


def _leader(entries: Sequence[Entry] = ()) -> Alone:
    leader = Alone(term=3, entries=entries)
    leader.stand()
    leader.hear("n2", Voted(leader.files.term, True))
    assert leader.raft is not None
    assert leader.raft.leads
    return leader


class TestVotes:
    @pytest.mark.parametrize(
        "last_index, last_term, granted",
        [(2, 2, True), (3, 2, True), (1, 3, True), (1, 2, False), (9, 1, False)],
        ids=["same", "longer", "newer", "shorter", "longer but older"],
    )
    def test_only_who_has_as_much_gets_a_vote(self, last_index: int, last_term: int, granted: bool) -> None:
        """A later term at the end of its log counts before more entries."""
        voter = Alone(term=2, entries=[Entry(1, b"a"), Entry(2, b"b")])
        assert voter.hear("n2", Vote(5, last_index, last_term)) == Voted(5, granted)

    def test_a_term_has_one_vote_of_a_member(self) -> None:
        """It says so again to whom it gave the vote, and refuses everybody else, until the next term."""
        voter = Alone()
        answers = [voter.hear(peer, Vote(1, 0, 0)) for peer in ("n2", "n3", "n2")]
        assert answers == [Voted(1, True), Voted(1, False), Voted(1, True)]
        assert voter.hear("n3", Vote(2, 0, 0)) == Voted(2, True)

    def test_a_candidate_of_a_term_that_is_over_gets_no_vote(self) -> None:
        """It is told the term, and the vote of that is still to be given."""
        voter = Alone(term=5)
        assert voter.hear("n2", Vote(4, 9, 4)) == Voted(5, False)
        assert voter.hear("n3", Vote(5, 0, 0)) == Voted(5, True)

    def test_a_candidate_votes_for_itself(self) -> None:
        """Nobody else gets its vote in that term."""
        candidate = Alone()
        candidate.stand()
        term = candidate.files.term
        assert candidate.hear("n3", Vote(term, 9, 9)) == Voted(term, False)

    def test_votes_of_a_term_that_is_over_do_not_count(self) -> None:
        """A vote that comes late, when the candidate stands anew, makes no leader."""
        candidate = Alone()
        candidate.stand()
        late = Voted(candidate.files.term, True)
        candidate.stand()
        candidate.hear("n2", late)
        assert candidate.raft is not None
        assert candidate.raft.role is Role.CANDIDATE

    def test_who_has_given_its_vote_stands_a_whole_election_later(self) -> None:
        """Whoever got the vote has the time to win."""
        voter = Alone()
        for term in range(1, 6):
            voter.clock.run_until(voter.clock.time + 0.9 * _ELECTION_SECONDS_MIN)
            assert voter.hear("n2", Vote(term, 0, 0)) == Voted(term, True)
        assert voter.files.term == 5


class TestAppends:
    def test_a_leader_of_a_term_that_is_over_changes_nothing(self) -> None:
        """It is told the new term, and the log stays."""
        member = Alone()
        member.hear("n2", Append(3, 0, 0, 0, _entries(3, "new")))
        answer = member.hear("n3", Append(2, 0, 0, 0, _entries(2, "old", "older")))
        assert member.texts == ["new"]
        assert answer == Appended(3, False, 1)

    @pytest.mark.parametrize("previous_term, previous", [(2, 2), (1, 3)], ids=["another term", "a hole"])
    def test_what_does_not_follow_is_refused(self, previous_term: int, previous: int) -> None:
        """Entries are taken only behind an entry that is the leader's."""
        member = Alone(term=1, entries=_entries(1, "a", "b"))
        answer = member.hear("n2", Append(3, previous, previous_term, 0, _entries(3, "d")))
        assert member.texts == ["a", "b"]
        assert isinstance(answer, Appended)
        assert not answer.agrees

    def test_an_append_that_comes_late_cuts_nothing(self) -> None:
        """What follows the entries of an older append is the leader's too."""
        member = Alone()
        member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a", "b", "c")))
        member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a")))
        assert member.texts == ["a", "b", "c"]

    def test_only_what_contradicts_is_cut(self) -> None:
        """From the first entry that is not the leader's on, the leader's are there."""
        member = Alone(term=2, entries=[*_entries(1, "a"), *_entries(2, "x", "y", "z")])
        member.hear("n2", Append(3, 0, 0, 0, (*_entries(1, "a"), *_entries(3, "b"))))
        assert member.texts == ["a", "b"]

    def test_nothing_is_confirmed_before_the_disk_has_it(self) -> None:
        """A heartbeat meanwhile is answered by what was there before."""
        member = Alone()
        assert member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a"))) is None
        assert member.hear("n2", Append(1, 1, 1, 0)) == Appended(1, True, 0)
        member.written()
        assert member.said[-1] == ("n2", Appended(1, True, 1))

    def test_a_write_that_was_cut_meanwhile_confirms_nothing(self) -> None:
        """What another leader has put in its place is confirmed by its own write."""
        member = Alone()
        member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a")))
        member.hear("n3", Append(2, 0, 0, 0, _entries(2, "b")))
        member.said.clear()
        member.written()
        assert not [one for _, one in member.said if isinstance(one, Appended) and one.index]
        assert member.files.log_synced == 0

    def test_what_takes_the_place_of_others_on_the_disk_is_confirmed_by_its_own_write(self) -> None:
        """That the disk had those says nothing, neither to the leader nor when the power fails."""
        member = Alone(term=2, entries=[*_entries(1, "a"), *_entries(2, "x", "y")])
        assert member.hear("n2", Append(3, 1, 1, 0, _entries(3, "b"))) is None
        member.crash()
        assert member.texts == ["a"]

    def test_a_write_of_a_term_that_is_over_confirms_nothing(self) -> None:
        """Who led then may lead again, with other entries."""
        member = Alone()
        member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a")))
        member.hear("n2", Vote(2, 9, 2))
        member.said.clear()
        member.written()
        assert member.said == []

    def test_only_what_is_the_leaders_is_decided(self) -> None:
        """The rest of the log may be another history, however far the leader has come."""
        member = Alone()
        member.hear("n3", Append(1, 0, 0, 0, _entries(1, "a", "other")))
        member.hear("n2", Append(2, 1, 1, 2))
        assert member.applied == ["a"]
        member.hear("n2", Commit(2, 2))
        assert member.applied == ["a"]

    def test_what_was_decided_in_a_term_that_is_over_says_nothing_about_this(self) -> None:
        """Disks that do not sync may have lost it, and another entry is there now."""
        member = Alone()
        member.hear("n2", Append(2, 0, 0, 0, _entries(2, "a")))
        member.hear("n3", Commit(1, 1))
        assert member.applied == []


class TestSnapshots:
    def test_a_piece_that_comes_again_counts_once(self) -> None:
        """The leader repeats the first with each heartbeat; it is told how much has come."""
        member = Alone()
        state = json.dumps(["a", "b"]).encode()
        first, second = (Snapshot(1, 2, 1, at, len(state), state[at : at + 5]) for at in (0, 5))
        assert [member.hear("n2", piece) for piece in (first, first, second)] == [
            Received(1, 2, 5),
            Received(1, 2, 5),
            Received(1, 2, 10),
        ]
        assert member.applied == ["a", "b"]

    def test_a_snapshot_that_comes_late_takes_nothing_back(self) -> None:
        """What the state machine has taken since stays, and the leader is told that the whole of it is there."""
        member = Alone()
        member.hear("n2", Append(1, 0, 0, 2, _entries(1, "a", "b")))
        state = json.dumps(["a"]).encode()
        assert member.hear("n2", Snapshot(1, 1, 1, 0, len(state), state)) == Received(1, 1, len(state))
        assert (member.applied, member.files.applied) == (["a", "b"], 2)


class TestDecisions:
    def test_an_entry_of_an_older_term_is_not_decided_by_counting(self) -> None:
        """Though a majority has it: another leader could still replace it, until one of this term is decided."""
        leader = _leader(_entries(2, "old"))
        term = leader.files.term
        leader.written()
        leader.hear("n2", Appended(term, True, 1))
        assert leader.applied == []
        leader.hear("n2", Appended(term, True, 2))
        assert leader.applied == ["old"]

    def test_the_leader_counts_what_its_disk_has(self) -> None:
        """Not what it has only taken in."""
        leader = _leader()
        leader.propose("a")
        leader.hear("n2", Appended(leader.files.term, True, 2))
        assert leader.applied == []
        leader.written()
        leader.written()
        assert leader.applied == ["", "a"]

    def test_answers_of_an_older_term_do_not_count(self) -> None:
        """They are of another history."""
        leader = _leader()
        leader.written()
        leader.hear("n2", Appended(leader.files.term - 1, True, 1))
        assert leader.raft is not None
        assert leader.raft.commit == 0

    def test_a_peer_that_has_lost_its_disk_counts_no_longer(self) -> None:
        """What it had confirmed is on the leader's disk alone by now."""
        leader = _leader()
        leader.hear("n2", Appended(leader.files.term, True, 1))
        leader.hear("n2", Appended(leader.files.term, False, 0, 1))
        leader.written()
        assert leader.raft is not None
        assert leader.raft.commit == 0

    def test_who_hears_of_a_later_term_leads_no_longer(self) -> None:
        """Another one may lead in that, whoever has told it."""
        leader = _leader()
        leader.hear("n3", Vote(leader.files.term + 1, 0, 0))
        assert not leader.propose("a")
        assert leader.raft is not None
        assert leader.raft.role is Role.FOLLOWER

    def test_who_has_stepped_down_proposes_nothing(self) -> None:
        """It is a follower at once, not only when another one has been elected."""
        leader = _leader()
        assert leader.raft is not None
        leader.raft.step_down()
        assert not leader.propose("a")

    def test_a_peer_with_more_entries_is_sent_the_leaders(self) -> None:
        """What it has behind the leader's last entry was never decided, and goes."""
        leader = _leader()
        answer = leader.hear("n3", Appended(leader.files.term, False, 9))
        assert isinstance(answer, Append)
        assert answer.previous_index == 1

    def test_a_peer_that_insists_on_its_entry_is_asked_again_with_the_next_heartbeat(self) -> None:
        """It would refuse that at once, for ever: two have decided on one index, as a broken log can do."""
        leader = _peer.Peer("n2", following=8, now=0.0)
        assert leader.differs(7, 5)
        assert not leader.differs(5, 5)
        assert (leader.following, leader.agreed) == (6, 0)

    def test_it_serves_when_its_own_first_entry_is_decided(self) -> None:
        """Before, it may not know all that was decided."""
        leader = _leader(_entries(2, "old"))
        assert leader.raft is not None
        assert not leader.raft.ready
        leader.written()
        leader.hear("n2", Appended(leader.files.term, True, 2))
        assert leader.raft.ready


def test_only_what_is_applied_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is too long keeps what is still to be decided, and half as much as it may have before that."""
    monkeypatch.setattr(_member, "LOG_MAX", 4)
    member = Alone()
    member.hear("n2", Append(1, 0, 0, 4, _entries(1, *"abcdef")))
    log = member.files.log
    assert (member.applied, log.base_index, log.last_index) == ([*"abcd"], 2, 6)


def test_what_a_killed_process_had_not_synced_is_synced_by_the_next() -> None:
    """A member that was killed while its disk was busy loses nothing of what it says it has when it is back."""
    member = Alone()
    member.hear("n2", Append(1, 0, 0, 0, _entries(1, "a")))
    member.kill()
    member.start()
    assert member.hear("n2", Append(1, 1, 1, 0)) == Appended(1, True, 1)
    member.crash()
    assert member.texts == ["a"]


@given(st.integers(0, 2**32), st.sampled_from([3, 5]), st.sampled_from([4, 8192]), st.sampled_from([1, 3, 1024]))
@example(52, 3, 4, 3)
@example(362_880, 5, 4, 1)
@settings(max_examples=200, deadline=None)
def test_what_is_decided_stays_in_any_order(seed: int, size: int, log_max: int, under_way_max: int) -> None:
    """One leader a term, who has what was decided before it; one entry an index; one history; and it goes on.

    With a log that is kept for long, and with one that is soon cut, so that who lags gets snapshots; with entries that
    go out together, and one after another.
    """
    _live_through(seed, size, log_max, under_way_max)


def _live_through(seed: int, size: int, log_max: int, under_way_max: int) -> Steps:
    """So many steps; then all is well, and the group goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_member, "LOG_MAX", log_max)
        patch.setattr(_peer, "SNAPSHOT_CHUNK_BYTES", 64)
        patch.setattr(_peer, "UNDER_WAY_MAX", under_way_max)
        patch.setattr(_leading, "APPEND_BYTES_MAX", under_way_max)
        group = Steps(seed, size)
        group.start()
        for number in range(_STEPS):
            group.step()
            if number % _CHECKED_EVERY == 0:
                group.check_all()
        group.settle(60.0)
        leader = group.leader
        assert leader is not None
        assert leader.propose("last")
        group.settle(5.0)
        group.check_all()
        assert [machine.applied[-1] for machine in group.members.values()] == ["last"] * size
    return group
