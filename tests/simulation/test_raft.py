"""A group's log: what a majority has stays, whatever happens to its members; it goes on when a majority is there."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio.simulation._server._raft import Entry, Files, Log, Role, decode, encode
from beamline_trio.simulation._server._raft import _messages as messages

from ._raft_rig import Group, Machine

_ELECTION_SECONDS_MAX = 9.0


def _started(seed: int = 1, size: int = 3) -> Group:
    group = Group(seed, size)
    group.start()
    group.run(1.0)
    return group


def _propose(group: Group, text: str) -> None:
    leader = group.leader
    assert leader is not None
    assert leader.propose(text)


class TestElections:
    def test_preferred_member_leads_a_new_group_at_once(self) -> None:
        """The preferred member stands for election after 50 ms, and leads a tenth of a second later."""
        group = Group(1)
        group.start()
        group.run(0.1)
        assert group.leader is group.members["n1"]

    @pytest.mark.parametrize("seed", range(5))
    def test_new_leader_within_two_elections(self, seed: int) -> None:
        """When the leader dies another one leads after four seconds at the earliest, and nine as a rule."""
        group = _started(seed)
        group.members["n1"].kill()
        group.run(3.9)
        assert group.leader is None
        group.run(2 * _ELECTION_SECONDS_MAX)
        assert group.leader is not None

    def test_what_a_member_knows_of_the_others(self) -> None:
        """A new leader those who voted for it, then all who answer; a follower its leader; one that led all of them.

        So it stays until there is another leader, or it stands for election itself: then it knows of nobody else.
        """
        group = _started()
        rafts = {name: machine.raft for name, machine in group.members.items()}
        first, second = rafts["n1"], rafts["n2"]
        assert first is not None
        assert second is not None
        assert None not in [first.seen_at(name) for name in rafts]
        assert [second.seen_at(name) is None for name in rafts] == [False, True, True]
        group.members["n2"].kill()
        group.members["n3"].kill()
        first.step_down()
        assert first.leader == ""
        assert None not in [first.seen_at(name) for name in rafts]
        group.run(_ELECTION_SECONDS_MAX + 0.1)
        assert [first.seen_at(name) is None for name in rafts] == [False, True, True]

    def test_a_vote_is_a_sign_of_life(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who gave it is known to the new leader before it has answered it, and who is gone is not."""
        group = _started()
        known: list[tuple[float | None, float | None]] = []

        def changed(machine: Machine, other: str) -> None:
            if machine.raft is not None and machine.raft.leads and not known:
                known.append((machine.raft.seen_at(other), machine.raft.seen_at("n1")))

        for name, other in (("n2", "n3"), ("n3", "n2")):
            machine = group.members[name]
            monkeypatch.setattr(machine, "leader_changed", partial(changed, machine, other))
        group.members["n1"].kill()
        group.run(2 * _ELECTION_SECONDS_MAX)
        ((voter, gone),) = known
        assert voter is not None
        assert gone is None

    def test_step_down_hands_the_lead_over(self) -> None:
        """A leader that steps down names a peer, which leads some hundredths of a second later."""
        group = _started()
        first = group.members["n1"]
        assert first.raft is not None
        following = first.raft.step_down("n3")
        group.run(0.05)
        assert following == "n3"
        assert group.leader is group.members["n3"]

    def test_step_down_passes_over_who_lags(self) -> None:
        """A preferred peer that lacks entries is not handed the lead."""
        group = _started()
        group.split("n3")
        _propose(group, "a")
        group.run(0.1)
        first = group.members["n1"].raft
        assert first is not None
        assert first.step_down("n3") == "n2"

    @pytest.mark.parametrize("seed", range(5))
    def test_member_that_lacks_entries_and_wants_to_lead_costs_a_second(self, seed: int) -> None:
        """Who is asked for a vote by a member that lacks entries stands for election itself, not only seconds later."""
        group = _started(seed)
        group.split("n3")
        _propose(group, "a")
        group.run(0.1)
        term = group.members["n1"].files.term + 1
        for name in ("n1", "n2"):
            group.members[name].receive("n3", encode(messages.Vote(term, 1, 1)))
        assert group.leader is None
        group.run(1.0)
        assert group.leader in (group.members["n1"], group.members["n2"])

    def test_leader_without_majority_steps_down(self) -> None:
        """A leader that hears of no majority leads on for ten to twenty seconds, and then no longer."""
        group = _started()
        group.split("n1")
        group.run(9.0)
        assert group.members["n1"].raft is not None
        assert group.members["n1"].raft.leads
        group.run(12.0)
        assert not group.members["n1"].raft.leads

    def test_member_without_peers_leads_itself(self) -> None:
        """A group of one decides alone."""
        group = _started(size=1)
        _propose(group, "a")
        group.run(0.01)
        assert group.members["n1"].applied == ["", "a"]

    def test_vote_survives_a_crash(self) -> None:
        """A member that has voted and lost its power does not vote again in that term."""
        group = Group(1)
        voter = group.members["n2"]
        voter.start()
        voter.receive("n1", encode(messages.Vote(5, 0, 0)))
        voter.crash()
        voter.start()
        voter.receive("n3", encode(messages.Vote(5, 9, 9)))
        assert voter.files.voted_for == "n1"


class TestReplication:
    def test_entry_is_applied_by_all_without_waiting_for_a_heartbeat(self) -> None:
        """What a majority has is applied everywhere a few message times later."""
        group = _started()
        _propose(group, "a")
        group.run(0.02)
        assert [machine.applied[-1] for machine in group.members.values()] == ["a"] * 3

    def test_who_has_all_that_a_leader_told_lately_is_current(self) -> None:
        """The leader is, and a follower that hears it; one that does not is not, nor one that lacks what is decided."""
        group = _started()
        leader, follower, other = (group.members[name].raft for name in group.names)
        assert leader is not None
        assert follower is not None
        assert other is not None
        _propose(group, "a")
        group.run(0.1)
        assert (leader.current, follower.current, other.current) == (True, True, True)
        group.split("n3")
        group.run(3.5)
        assert (follower.current, other.current) == (True, False)
        term, last = group.members["n2"].files.term, follower.last_index
        ahead = messages.Append(term, last, term, last + 1)
        group.members["n2"].receive("n1", encode(ahead))
        assert not follower.current
        group.run(1.5)
        _propose(group, "b")
        group.run(0.1)
        assert follower.current

    def test_nothing_is_decided_without_a_majority(self) -> None:
        """A leader that is cut off decides nothing, and what it took is gone when the others have gone on."""
        group = _started()
        group.split("n1")
        _propose(group, "lost")
        group.run(20.0)
        assert "lost" not in group.decided.values()
        _propose(group, "kept")
        group.run(0.1)
        group.heal()
        group.run(3.0)
        assert [machine.applied[-1] for machine in group.members.values()] == ["kept"] * 3

    def test_disk_of_the_leader_counts_like_a_peer(self) -> None:
        """A leader with a stuck disk decides by the disks of a majority; with two stuck ones nothing is decided."""
        group = _started()
        group.members["n1"].disk_seconds = 60.0
        _propose(group, "a")
        group.run(0.1)
        assert "a" in group.decided.values()
        group.members["n2"].disk_seconds = 60.0
        _propose(group, "b")
        group.run(5.0)
        assert "b" not in group.decided.values()

    @pytest.mark.slow
    def test_member_that_was_away_catches_up_by_the_log(self) -> None:
        """What was decided while a member was down reaches it a heartbeat after its start."""
        group = _started()
        group.members["n3"].kill()
        for number in range(3000):
            _propose(group, str(number))
        group.run(1.0)
        group.members["n3"].start()
        group.run(2.5)
        assert group.members["n3"].applied == group.members["n1"].applied

    @pytest.mark.slow
    @pytest.mark.parametrize("wiped", [False, True])
    def test_member_that_was_away_long_catches_up_by_snapshot(self, wiped: bool) -> None:
        """Who lacks entries that nobody keeps any more gets the state, and goes on from there."""
        group = _started()
        third = group.members["n3"]
        third.kill()
        if wiped:
            third.wipe()
        for number in range(10_000):
            _propose(group, str(number))
            if number % 500 == 0:
                group.run(0.05)
        group.run(1.0)
        assert group.members["n1"].files.log.base_index > 2
        third.start()
        group.run(5.0)
        _propose(group, "more")
        group.run(0.1)
        assert third.applied == group.members["n1"].applied

    def test_member_whose_disk_was_lost_is_filled_again(self) -> None:
        """A leader believes a peer that says it has less than before."""
        group = _started()
        _propose(group, "a")
        group.run(0.1)
        group.members["n3"].wipe()
        group.members["n3"].start()
        group.run(2.5)
        assert group.members["n3"].applied == ["", "a"]

    def test_forwarded_data_is_proposed_by_the_leader(self) -> None:
        """A follower hands on what it wants proposed."""
        group = _started()
        follower = group.members["n2"].raft
        assert follower is not None
        assert follower.forward(b"a")
        group.run(0.05)
        assert group.members["n2"].applied[-1] == "a"


_FAULTS = st.sampled_from(
    ["crash", "kill", "start", "pause", "resume", "split", "heal", "slow", "fast", "step", "wait"]
)
_STEP = st.tuples(_FAULTS, st.integers(0, 4), st.floats(0.0, 12.0))


class TestLaws:
    @given(st.integers(0, 2**32), st.sampled_from([3, 5]), st.lists(_STEP, max_size=25))
    @settings(max_examples=30, deadline=None)
    def test_what_is_decided_stays(self, seed: int, size: int, steps: list[tuple[str, int, float]]) -> None:
        """One leader a term, one entry an index, one history; and when all is well again, the group goes on.

        With disks that are synced before anything is answered: members crash, pause, are cut off, have slow disks.
        """
        _live_through(Group(seed, size), steps)

    @pytest.mark.parametrize("seed", range(12))
    def test_what_is_decided_stays_for_long(self, seed: int) -> None:
        """The same for a longer life of faults drawn from a seed."""
        random = Random(seed)
        names = ["crash", "kill", "start", "pause", "resume", "split", "heal", "slow", "fast", "step"]
        steps = [(random.choice(names), random.randrange(5), random.uniform(0.0, 10.0)) for _ in range(60)]
        _live_through(Group(seed, random.choice([3, 5])), steps)


def _live_through(group: Group, steps: list[tuple[str, int, float]]) -> None:
    group.start()
    count = 0
    for fault, which, seconds in steps:
        _do(group, fault, group.names[which % len(group.names)])
        for _ in range(4):
            group.run(seconds / 4)
            for machine in group.members.values():
                count += 1
                machine.propose(f"p{count}")
        group.check_all()
    for name in group.names:
        for fault in ("resume", "start", "fast"):
            _do(group, fault, name)
    group.heal()
    group.run(90.0)
    leader = group.leader
    assert leader is not None
    assert leader.propose("last")
    group.run(30.0)
    group.check_all()
    assert [machine.applied[-1] for machine in group.members.values()] == ["last"] * len(group.names)


def _do(group: Group, fault: str, name: str) -> None:
    machine = group.members[name]
    match fault:
        case "crash":
            machine.crash()
        case "kill":
            machine.kill()
        case "start":
            machine.start()
        case "pause":
            machine.pause()
        case "resume" if machine.paused:
            machine.resume()
        case "split":
            group.split(name)
        case "heal":
            group.heal()
        case "slow":
            machine.disk_seconds = 2.0
        case "fast":
            machine.disk_seconds = 0.0
        case "step" if machine.raft is not None and not machine.paused:
            machine.raft.step_down()
        case _:  # what cannot be done to it now
            pass


class TestFiles:
    def test_without_sync_a_power_failure_takes_the_tail(self) -> None:
        """What was not synced is gone, from the log and from the state machine alike."""
        files = Files(syncs=False)
        files.log.extend([Entry(1, b"a"), Entry(1, b"b"), Entry(1, b"c")])
        files.applied = 1
        files.sync()
        files.log.append(Entry(2, b"d"))
        files.applied = 4
        files.lose_unsynced()
        assert (files.log.last_index, files.applied) == (3, 1)

    def test_a_power_failure_leaves_no_hole_behind_what_is_applied(self) -> None:
        """A majority may have decided what this disk had not yet written: the log ends where the state machine is."""
        files = Files(syncs=True)
        files.log.extend([Entry(1, b"a"), Entry(1, b"b"), Entry(1, b"c")])
        files.written(1)
        files.applied = 2
        files.lose_unsynced()
        assert (files.log.last_index, files.applied) == (2, 2)

    def test_log_forgets_what_a_snapshot_has(self) -> None:
        """Behind a snapshot the indices go on, and the term at its end is still known."""
        log = Log(0, 0, [Entry(1, b"a"), Entry(2, b"b"), Entry(2, b"c")])
        log.compact(2)
        assert (log.base_index, log.term_at(2), log.term_at(1), log.data_at(3)) == (2, 2, None, b"c")

    def test_snapshot_of_another_history_replaces_the_log(self) -> None:
        """Entries behind a snapshot stay only when the entry at its end is the same."""
        log = Log(0, 0, [Entry(1, b"a"), Entry(1, b"b"), Entry(1, b"c")])
        log.restart(2, 1)
        assert len(log) == 1
        log.restart(3, 9)
        assert (len(log), log.last_term) == (0, 9)


_ENTRIES = st.builds(Entry, st.integers(0, 99), st.binary(max_size=20))
_NUMBER = st.integers(0, 10**9)
_MESSAGES = st.one_of(
    st.builds(messages.Append, _NUMBER, _NUMBER, _NUMBER, _NUMBER, st.lists(_ENTRIES, max_size=4).map(tuple)),
    st.builds(messages.Appended, _NUMBER, st.booleans(), _NUMBER, _NUMBER),
    st.builds(messages.Commit, _NUMBER, _NUMBER),
    st.builds(messages.Vote, _NUMBER, _NUMBER, _NUMBER),
    st.builds(messages.Voted, _NUMBER, st.booleans()),
    st.builds(messages.Snapshot, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, st.binary(max_size=20)),
    st.builds(messages.Received, _NUMBER, _NUMBER, _NUMBER),
    st.builds(messages.StepDown, _NUMBER, st.sampled_from(["", "n1"])),
    st.builds(messages.Forward, _NUMBER, st.binary(max_size=20)),
)


class TestMessages:
    @given(_MESSAGES)
    def test_what_is_written_is_read(self, message: messages.Message) -> None:
        """Every message comes out as it went in."""
        assert decode(encode(message)) == message


def test_role_of_a_stopped_member_is_kept() -> None:
    """A member that has ended does nothing any more."""
    group = _started()
    machine = group.members["n1"]
    raft = machine.raft
    assert raft is not None
    machine.kill()
    group.run(30.0)
    assert raft.role is Role.LEADER
    assert raft.stopped
