"""What a look changes in what is known of a cluster: pure, by numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.cluster import (
    META_GROUP,
    LeaderChanged,
    NodeDown,
    NodeForgotten,
    NodeUp,
    QuorumLost,
    QuorumRestored,
    RegionCut,
    RegionHealed,
    WatchOptions,
)
from beamline_trio.cluster._records import GroupSeen, NodeSeen, Sighting
from beamline_trio.cluster._state import ClusterState
from beamline_trio.connection import OptionsError, StageEvent

OPTIONS = WatchOptions()
EAST = ("east-1", "east-2", "east-3")


def seen(*names: str) -> Sighting:
    """Every server was asked for itself, and these have answered."""
    nodes = tuple(NodeSeen(name=name, region=name[:4], age_seconds=0.0) for name in names)
    return Sighting(nodes=nodes, all_nodes=bool(nodes))


def led(leader: str = "east-1", name: str = "ORDERS", region: str = "east") -> Sighting:
    """A stream has answered, by its leader."""
    return Sighting(groups=(GroupSeen(name=name, region=region, led=True, leader=leader, members=EAST),))


def unled(name: str = "ORDERS", region: str = "") -> Sighting:
    """A stream was asked, and has no leader or did not answer."""
    return Sighting(groups=(GroupSeen(name=name, region=region),))


def aged(seconds: float | None) -> Sighting:
    """A replica of which its leader says how long it has not heard it."""
    return Sighting(nodes=(NodeSeen(name="east-2", region="east", age_seconds=seconds),))


def told(state: ClusterState, sightings: Iterable[Sighting], times: Iterable[float]) -> list[tuple[float, StageEvent]]:
    """What the same look tells at several times."""
    sightings = list(sightings)
    return [(now, event) for now in times for event in state.take(sightings, "east", now)]


def new_state(*groups: str) -> ClusterState:
    return ClusterState(OPTIONS, groups, 0.0)


def test_what_is_known_is_current_while_there_are_looks() -> None:
    """Not before the first, nor from their end to the next; time that is given anew is no look."""
    state = new_state("ORDERS")
    assert not state.current
    for now in (1.0, 2.0):
        state.resume(now)
        assert not state.current
        state.take([led()], "east", now)
        assert state.current
        state.end()
        assert not state.current
        assert state.groups["ORDERS"].leader == "east-1"


def test_a_node_is_down_when_it_was_looked_for_and_not_seen_for_its_time() -> None:
    """Neither the first silence nor the fifth second; then once, with how long; and up again at the first answer."""
    state = new_state()
    assert told(state, [seen(*EAST)], [0]) == []
    assert told(state, [seen("east-1", "east-2")], range(1, 6)) == []
    assert told(state, [seen("east-1", "east-2")], range(6, 9)) == [(6, NodeDown("east-3", "east", 6))]
    assert [node.up for _, node in sorted(state.nodes.items())] == [True, True, False]
    assert told(state, [seen(*EAST)], [9, 10]) == [(9, NodeUp("east-3", "east", 9))]
    assert state.counters.nodes_down == 1


def test_a_node_that_nobody_was_asked_about_stays_as_it_is() -> None:
    """Absence is judged only where every server was asked."""
    state = new_state("ORDERS")
    told(state, [seen(*EAST)], [0])
    assert told(state, [led()], range(1, 60)) == []


def test_the_age_that_a_leader_tells_is_a_replicas_silence() -> None:
    """A replica that its leader has not heard for longer than the time is down, though it was told of each time."""
    state = new_state("ORDERS")
    for now, age in ((0, 0.5), (4, 4.5), (5, 5.0)):
        assert told(state, [aged(age)], [now]) == []
    assert told(state, [aged(5.5)], [6]) == [(6, NodeDown("east-2", "east", 5.5))]
    assert told(new_state(), [aged(60.0)], [0]) == [(0, NodeDown("east-2", "east", 60))]


def test_a_replica_that_its_leader_has_never_heard_is_down_when_that_leads_for_longer() -> None:
    """One that was just elected has heard nobody; that is no news of those that it will hear.

    Nobody has looked during the election, so the node has its time, behind that of the leader's.
    """
    state = new_state()
    told(state, [aged(0.0)], [0])

    def sought(seconds: float) -> Sighting:
        return Sighting(nodes=(NodeSeen(name="east-2", region="east", sought_seconds=seconds),))

    assert told(state, [sought(0.1)], [9]) == []
    assert told(state, [sought(5.0)], [14]) == []
    assert told(state, [sought(5.5)], [14.5, 16.5, 19.5]) == []
    assert told(state, [sought(11)], [20]) == [(20, NodeDown("east-2", "east", 5.5))]
    assert told(state, [sought(0.1)], [21]) == []
    assert not state.nodes["east-2"].up
    assert told(state, [aged(0.2)], [22]) == [(22, NodeUp("east-2", "east", 7.5))]


def test_the_newest_of_several_ages_counts() -> None:
    """Two groups tell of one server: it is as old as who heard it last says."""
    state = new_state()
    assert told(state, [aged(9.0), aged(0.2), aged(None)], range(20)) == []


def test_an_election_is_no_lost_quorum() -> None:
    """A group without a leader for ten seconds has a quorum, and for longer has none; until it has a leader.

    They begin with the first look that found none: it may have had one until just before that.
    """
    state = new_state("ORDERS")
    told(state, [led()], [0])
    assert told(state, [unled()], range(1, 11)) == []
    assert told(state, [unled()], range(11, 14)) == [(12, QuorumLost("ORDERS", "east", 11))]
    assert told(state, [led()], [14, 15]) == [(14, QuorumRestored("ORDERS", "east", 13))]


def test_a_second_election_has_its_own_time() -> None:
    """A leader in between was one."""
    state = new_state("ORDERS")
    told(state, [led()], [0])
    assert told(state, [unled()], range(1, 10)) == []
    assert told(state, [led()], [10]) == []
    assert told(state, [unled()], range(11, 22)) == []
    assert told(state, [unled()], [22]) == [(22, QuorumLost("ORDERS", "east", 11))]


@given(
    st.floats(0, 9),
    st.floats(0, 9),
    st.floats(0.2, 2),
    st.floats(0, 1.5),
    st.floats(0, 2),
    st.sampled_from(["east", "west"]),
)
def test_no_election_is_told_as_a_loss(
    silent: float, leaderless: float, interval: float, answer: float, first: float, region: str
) -> None:
    """Whatever moment of it the looks come upon, here and in another region: first nobody answers, then a member does.

    The stream is all that is asked; what its members and its new leader say of each other is as the servers say it.
    """
    members = tuple(f"{region}-{number}" for number in (1, 2, 3))
    before = Sighting(
        groups=(GroupSeen(name="ORDERS", region=region, led=True, leader=members[0], members=members),),
        nodes=tuple(NodeSeen(name=name, region=region, age_seconds=0.5) for name in members),
    )
    nameless = tuple(NodeSeen(name=name, region=region) for name in members)
    during = Sighting(groups=(GroupSeen(name="ORDERS", region=region, members=members),), nodes=nameless)
    state, ends = new_state("ORDERS"), 20 + min(silent + leaderless, 9)
    events, now = [], first
    while now < 40:
        if now < 20:
            look = before
        elif now < min(20 + silent, ends):
            look = unled()
        elif now < ends:
            look = during
        else:
            group = GroupSeen(name="ORDERS", region=region, led=True, leader=members[1], members=members)
            unheard = tuple(NodeSeen(name=name, region=region, sought_seconds=now - ends) for name in members[::2])
            newly = now - ends < 0.1  # its followers have not answered yet
            nodes = unheard if newly else before.nodes
            look = Sighting(groups=(group,), nodes=(NodeSeen(name=members[1], region=region, age_seconds=0.0), *nodes))
        taken_at = now + (answer if look is unled() or not look.nodes else 0)
        events += state.take([look], "east", taken_at)
        now = max(now + interval, taken_at)
    assert [event for event in events if not isinstance(event, LeaderChanged)] == []


def test_a_group_most_of_whose_members_are_down_has_no_quorum_whatever_its_leader_says() -> None:
    """A leader that was cut off from the others goes on answering for a while."""
    state = new_state("ORDERS")
    told(state, [seen(*EAST), led()], [0])
    events = told(state, [seen("east-1"), led()], range(1, 8))
    assert (6, QuorumLost("ORDERS", "east", 0)) in events
    back = told(state, [seen(*EAST), led()], [8])
    assert (8, QuorumRestored("ORDERS", "east", 2)) in back


def test_what_is_deleted_has_no_members_that_could_go_down() -> None:
    """Its servers may go as they like; a stream of that name that is made later has its own."""
    state = new_state("ORDERS")
    told(state, [seen(*EAST), led()], [0])
    deleted = Sighting(groups=(GroupSeen(name="ORDERS", led=True),))
    events = told(state, [seen("east-1"), deleted], range(1, 9))
    assert [type(event) for _, event in events] == [NodeDown, NodeDown]
    assert told(state, [seen("east-1"), led()], [9]) == [(9, QuorumLost("ORDERS", "east", 0))]


def test_one_of_three_members_down_is_a_quorum() -> None:
    """A majority is enough."""
    state = new_state("ORDERS")
    told(state, [seen(*EAST), led()], [0])
    events = told(state, [seen("east-1", "east-2"), led()], range(1, 30))
    assert [type(event) for _, event in events] == [NodeDown]


def test_of_too_many_servers_those_seen_longest_ago_are_forgotten() -> None:
    """Servers with another name after each start would fill it; the regions that only they were in go with them."""
    state = ClusterState(attrs.evolve(OPTIONS, nodes_max=5), ["ORDERS"], 0)
    told(state, [led()], [0])
    for number in range(100):
        told(state, [seen(*EAST, f"n{number}-1")], [number])
    assert set(state.nodes) == {*EAST, "n98-1", "n99-1"}
    assert set(state.regions) == {"east", "n98-", "n99-"}
    assert state.counters.snapshot().nodes_forgotten == 98
    assert set(state.groups) == {"ORDERS"}


def test_a_server_that_was_removed_is_forgotten() -> None:
    """It is down, and then neither seen nor a member of anything for its time; before that it stays down."""
    state = new_state("ORDERS")
    told(state, [led(), aged(0.0)], [0])
    assert told(state, [led(), aged(6.0)], [6]) == [(6, NodeDown("east-2", "east", 6))]
    told(state, [led()], range(7, 4000))  # a member as before
    assert not state.nodes["east-2"].up
    group = GroupSeen(name="ORDERS", region="east", led=True, leader="east-1", members=("east-1", "east-3"))
    moved = Sighting(groups=(group,), nodes=(NodeSeen(name="east-1", region="east", age_seconds=0.0),))
    hour = OPTIONS.forgotten_after_seconds
    assert told(state, [moved], [4000, 3999 + hour]) == []
    assert set(state.nodes) == {"east-1", "east-2"}
    assert told(state, [moved], [4000 + hour]) == [(4000 + hour, NodeForgotten("east-2", "east", 4000 + hour))]
    assert set(state.nodes) == {"east-1"}
    assert state.counters.nodes_forgotten == 1
    assert told(state, [moved, aged(0.0)], [4001 + hour]) == []
    assert state.nodes["east-2"].up


@pytest.mark.parametrize("expected, left", [((), {"east-1"}), (("east-2",), {"east-1", "east-2"})])
def test_who_asks_all_servers_goes_by_what_their_meta_leader_lists(expected: tuple[str, ...], left: set[str]) -> None:
    """All others are looked for at each look, and one that is just down must stay so."""
    state = new_state()
    told(state, [seen("east-1", "east-2")], [0])
    told(state, [attrs.evolve(seen("east-1"), expected=expected)], range(1, 4000))
    assert set(state.nodes) == left


@pytest.mark.parametrize("trouble", ["region", "group", "link", "probe", "unnamed"])
def test_nobody_is_forgotten_while_nobody_could_say(trouble: str) -> None:
    """A region is cut off, a group has no quorum, the link was down, one who looks could not, a member has no name.

    All have their time anew behind that.
    """
    state = new_state("ORDERS")
    hour = int(OPTIONS.forgotten_after_seconds)
    told(state, [seen("east-1", "east-2", "west-1"), led()], [0])
    alone = Sighting(groups=(GroupSeen(name="ORDERS", region="east", led=True, leader="east-1"),))
    there = ["east-1"] if trouble == "region" else ["east-1", "west-1"]
    asked = {"group": unled(), "unnamed": attrs.evolve(alone, some_unnamed=True)}.get(trouble, alone)
    told(state, [seen(*there), asked], range(1, 60))
    if trouble == "link":
        state.resume(2 * hour)
    elif trouble == "probe":
        for now in range(60, 2 * hour, 50):
            state.take([asked], "east", now, complete=False)
    else:
        told(state, [seen(*there), asked], range(60, 2 * hour, 50))
    told(state, [seen("east-1", "west-1"), alone], [2 * hour + 1])
    assert set(state.nodes) == {"east-1", "east-2", "west-1"}
    told(state, [seen("east-1", "west-1"), alone], range(2 * hour, 3 * hour + 60, 50))
    assert set(state.nodes) == {"east-1", "west-1"}


def test_a_region_that_nothing_is_in_any_more_is_forgotten() -> None:
    """A cluster without a name of its own has another after each start, on the same servers."""
    state = ClusterState(OPTIONS, ["ORDERS"], 0)
    for number in range(100):
        node = NodeSeen(name="west-1", region=f"west-{number}", age_seconds=0.0)
        told(state, [Sighting(nodes=(node,), all_nodes=True), led(region=f"home-{number}")], [number])
    assert set(state.regions) == {"east", "west-99", "home-99"}
    assert told(state, [seen(*EAST)], range(100, 110)) == [
        (105, NodeDown("west-1", "west-99", 6)),
        (105, RegionCut("west-99", 6)),
    ]


def test_a_leader_changes_from_one_to_another_and_not_over_an_election() -> None:
    """Told once, when the new one is known; the same one that leads again is no change."""
    state = new_state("ORDERS")
    assert told(state, [led("east-1")], [0, 1]) == []
    assert told(state, [unled()], [2]) == []
    assert told(state, [led("east-1")], [3]) == []
    assert told(state, [led("east-3")], [4, 5]) == [(4, LeaderChanged("ORDERS", "east-1", "east-3"))]
    assert state.counters.leader_changes == 1


def test_a_region_is_cut_when_none_of_its_servers_is_seen() -> None:
    """Told once, and healed by the first of them; its nodes are down as well."""
    state = new_state()
    both = (*EAST, "west-1", "west-2")
    told(state, [seen(*both)], [0])
    events = told(state, [seen(*EAST)], range(1, 10))
    assert [event for _, event in events if isinstance(event, RegionCut)] == [RegionCut("west", 6)]
    assert not state.regions["west"].connected
    healed = told(state, [seen(*EAST, "west-2")], [400])
    assert (400, RegionHealed("west", 400)) in healed
    assert [event for _, event in healed if isinstance(event, NodeUp)] == [NodeUp("west-2", "west", 400)]


def test_a_region_that_is_known_by_its_stream_alone_is_cut_with_it() -> None:
    """Where nobody else may be asked, the stream that lives there is what is seen of it, when it is not electing."""
    state = new_state("WEST")
    told(state, [led("west-1", "WEST", "west")], [0])
    events = told(state, [aged(0.2), unled("WEST")], range(1, 20))
    assert events == [(12, RegionCut("west", 12))]
    assert told(state, [led("west-1", "WEST", "west")], [20]) == [(20, RegionHealed("west", 20))]


def test_a_region_is_connected_as_long_as_one_of_its_streams_is_heard() -> None:
    """By its leader, or by a member that has none: that is a lost quorum, over there."""
    state = new_state("WEST", "SALES")
    west = [led("west-1", "WEST", "west"), led("west-2", "SALES", "west")]
    told(state, west, [0])
    assert told(state, [unled("WEST"), west[1]], range(1, 30)) == [(12, QuorumLost("WEST", "west", 11))]
    assert told(state, [unled("WEST"), unled("SALES", "west")], range(30, 60)) == [
        (41, QuorumLost("SALES", "west", 11))
    ]
    assert told(state, [unled("WEST"), unled("SALES")], range(60, 90)) == [(65, RegionCut("west", 6))]


def test_what_the_meta_group_says_of_a_stream_is_no_sign_of_its_region() -> None:
    """That it was deleted, as from anywhere: the region is cut when its other stream is silent, and healed by that."""
    state = new_state("WEST", "SALES")
    told(state, [led("west-1", "WEST", "west"), led("west-2", "SALES", "west")], [0])
    deleted = Sighting(groups=(GroupSeen(name="WEST", led=True),))
    assert told(state, [deleted, unled("SALES")], range(1, 30)) == [(12, RegionCut("west", 12))]
    assert told(state, [deleted], range(30, 60)) == []
    assert state.regions["west"].looked_at == 29
    assert told(state, [deleted, unled("SALES", "west")], [60]) == [(60, RegionHealed("west", 60))]


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param([], id="the own server hangs"),
        pytest.param([Sighting(groups=(GroupSeen(name="WEST", led=True),))], id="the stream was deleted"),
        pytest.param([Sighting()], id="nobody may ask"),
        pytest.param([aged(0.0)], id="another's server"),
    ],
)
@pytest.mark.parametrize("resumes", [True, False])
def test_who_cannot_look_sees_no_region_heal(resumes: bool, blind: list[Sighting]) -> None:
    """It is cut until something of it is heard; a link that came back is nothing of it."""
    state = new_state("WEST")
    nodes = tuple(NodeSeen(name=f"west-{number}", region="west", age_seconds=0.3) for number in (1, 2, 3))
    heard = [led("west-1", "WEST", "west"), Sighting(nodes=nodes)]
    told(state, heard, [0])
    assert told(state, [unled("WEST")], range(1, 20)) == [(12, RegionCut("west", 12))]
    assert told(state, blind, range(20, 30)) == []
    if resumes:
        state.resume(30)
    assert told(state, [unled("WEST"), aged(0.1)], range(31, 60)) == []
    assert told(state, heard, [60]) == [(60, RegionHealed("west", 60))]


def test_where_nobody_could_look_the_time_begins_anew() -> None:
    """A silence before and one behind are no silence all the while: of a group, a node and a region."""
    state = new_state("ORDERS")
    both = (*EAST, "west-1")
    told(state, [seen(*both), led()], [0])
    assert told(state, [seen("east-1", "east-2"), unled()], [2]) == []
    assert told(state, [], range(3, 30)) == []
    assert told(state, [seen("east-1", "east-2"), unled()], range(30, 36)) == []
    late = told(state, [seen("east-1", "east-2"), unled()], range(36, 42))
    assert late == [
        (36, NodeDown("east-3", "east", 6)),
        (36, NodeDown("west-1", "west", 6)),
        (36, RegionCut("west", 6)),
        (41, QuorumLost("ORDERS", "east", 11)),
    ]


def test_servers_that_were_not_all_asked_are_no_evidence_against_their_region() -> None:
    """The monitoring endpoint of one of three does not answer, and the stream chooses a leader: it was the leader."""
    state = new_state("WEST")
    nodes = tuple(NodeSeen(name=f"west-{number}", region="west", age_seconds=0.3) for number in (1, 2, 3))
    told(state, [led("west-1", "WEST", "west"), Sighting(nodes=nodes)], [0])
    unanswered = Sighting(nodes=(NodeSeen(name="west-1", age_seconds=math.inf),))
    events = told(state, [unled("WEST"), unanswered], range(1, 11))
    assert events == [(5, NodeDown("west-1", "west", 5.3))]
    assert told(state, [unled("WEST"), unanswered], [11, 12]) == [(12, RegionCut("west", 12))]


def test_the_quorum_of_a_group_whose_region_is_cut_is_not_judged() -> None:
    """What is there cannot be seen from here; the cut is told, and the quorum when it heals."""
    state = new_state("WEST")
    told(state, [led("west-1", "WEST", "west")], [0])
    told(state, [unled("WEST")], range(1, 60))
    assert state.groups["WEST"].quorum


def test_a_region_that_heals_has_time_to_choose_its_leaders() -> None:
    """Its groups have been without a leader that could be seen from here for as long as it was cut."""
    state = new_state("WEST")
    told(state, [seen(*EAST, "west-1"), led("west-1", "WEST", "west")], [0])
    told(state, [seen(*EAST), unled("WEST")], range(1, 60))
    assert {type(event) for _, event in told(state, [seen(*EAST, "west-1"), unled("WEST")], range(60, 71))} == {
        NodeUp,
        RegionHealed,
    }
    assert told(state, [seen(*EAST, "west-1"), unled("WEST")], [71, 72]) == [(72, QuorumLost("WEST", "west", 11))]


def test_the_own_region_is_never_cut() -> None:
    """Its link is up: that is the connection's to tell."""
    state = new_state("ORDERS")
    told(state, [led()], [0])
    events = told(state, [unled()], range(1, 60))
    assert [type(event) for _, event in events] == [QuorumLost]


def test_after_an_outage_of_the_link_all_that_was_good_begins_anew() -> None:
    """Nothing could be seen meanwhile: nothing is given up for the time of the outage."""
    state = new_state("ORDERS", "WEST")
    west = led("west-1", "WEST", "west")
    told(state, [seen(*EAST, "west-1"), led(), west], [0])
    state.resume(100.0)
    assert told(state, [seen("east-1"), unled(), unled("WEST")], range(101, 106)) == []
    events = told(state, [seen("east-1"), unled(), unled("WEST")], [106])
    assert {type(event) for _, event in events} == {NodeDown, RegionCut, QuorumLost}


def test_what_was_bad_before_an_outage_stays_so_until_it_is_seen() -> None:
    """A resumed link is no evidence for what was down."""
    state = new_state("ORDERS")
    told(state, [seen(*EAST), led()], [0])
    told(state, [seen("east-1", "east-2"), unled()], range(1, 20))
    state.resume(50.0)
    assert not state.nodes["east-3"].up
    assert not state.groups["ORDERS"].quorum


def test_the_meta_group_is_led_by_whoever_answers_for_it() -> None:
    """The API's answer has no name, and does not take the one that is known."""
    state = new_state(META_GROUP)
    by_name = Sighting(groups=(GroupSeen(name=META_GROUP, led=True, leader="east-2"),))
    by_answer = Sighting(groups=(GroupSeen(name=META_GROUP, led=True),))
    assert told(state, [by_answer, by_name], range(3)) == []
    assert told(state, [by_answer], range(3, 30)) == []
    assert state.groups[META_GROUP].leader == "east-2"


@given(st.lists(st.tuples(st.sets(st.sampled_from([*EAST, "west-1", "west-2"])), st.booleans(), st.floats(0.1, 20))))
def test_what_is_told_and_what_is_known_agree(looks: list[tuple[set[str], bool, float]]) -> None:
    """Whatever is seen: each thing goes down and up in turns, and the last event about it is how it stands."""
    state = new_state("ORDERS")
    now = 0.0
    last: dict[str, bool] = {}
    for names, has_leader, seconds in looks:
        now += seconds
        for event in state.take([seen(*sorted(names)), led() if has_leader else unled()], "east", now):
            match event:
                case NodeDown(name) | NodeUp(name) | RegionCut(name) | RegionHealed(name):
                    good = isinstance(event, (NodeUp, RegionHealed))
                case QuorumLost(name) | QuorumRestored(name):
                    good = isinstance(event, QuorumRestored)
                case _:
                    continue
            assert last.get(name, True) is not good
            last[name] = good
    stands = {name: node.up for name, node in state.nodes.items()}
    stands |= {name: region.connected for name, region in state.regions.items()}
    stands |= {name: group.quorum for name, group in state.groups.items()}
    assert {name: good for name, good in stands.items() if not good} == {k: v for k, v in last.items() if not v}


@pytest.mark.parametrize("option", ["node_down_after_seconds", "quorum_lost_after_seconds", "region_cut_after_seconds"])
def test_who_is_forgotten_was_told_as_down_before(option: str) -> None:
    """Else a server that goes would never be told."""
    options: dict[str, Any] = {"forgotten_after_seconds": 60.0, option: 60.0}
    with pytest.raises(OptionsError, match="forgotten_after_seconds is 60; it must be longer"):
        WatchOptions(**options)
