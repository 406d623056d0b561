"""What the JSON of servers means, in the forms that nats-server 2.15.1 showed, and in no form at all."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.cluster import META_GROUP
from beamline_trio.cluster._reading import read_group, read_instances, read_json, read_statuses, read_varz
from beamline_trio.cluster._records import GroupSeen, NodeSeen

LED: dict[str, Any] = {
    "name": "east",
    "raft_group": "S-R3F-BHzr6w3N",
    "leader": "east-2",
    "leader_since": "2026-11-29T11:14:03.867398089Z",
    "replicas": [
        {"name": "east-1", "current": True, "active": 9_025_589_061, "peer": "qEhu2Hj6"},
        {"name": "east-3", "current": False, "active": 0, "peer": "d2RH6ibZ"},
    ],
}
TOLD_AT = datetime.datetime(2026, 11, 29, 11, 14, 30, tzinfo=datetime.UTC)
LEADERLESS: dict[str, Any] = {
    "name": "east",
    "raft_group": "S-R3F-BHzr6w3N",
    "replicas": [
        {"name": "east-1", "current": True, "active": 2_012_737_195, "peer": "qEhu2Hj6"},
        {"name": "east-2", "current": False, "active": 0, "peer": "prDk1ikP"},
        {"name": "east-3", "current": False, "active": 0, "peer": "d2RH6ibZ"},
    ],
}


def status(name: str, region: str, leader: str | None, **more: Any) -> dict[str, Any]:
    meta = {"name": "_meta_", "cluster_size": 6, "quorum_needed": 4} | ({} if leader is None else {"leader": leader})
    return {
        "server": {"name": name, "cluster": region, "ver": "2.15.1"},
        "statsz": {"mem": 21_127_168, "connections": 2, "jetstream": {"meta": meta}} | more,
    }


def test_a_led_group() -> None:
    """Its leader is heard now, a replica for as long ago as it was active, and one that was never heard at no time."""
    sighting = read_group("ORDERS", LED)
    assert sighting.nodes == (
        NodeSeen(name="east-1", region="east", age_seconds=9.025589061),
        NodeSeen(name="east-3", region="east", age_seconds=None),
        NodeSeen(name="east-2", region="east", age_seconds=0.0),
    )
    members = ("east-1", "east-2", "east-3")
    assert sighting.groups == (GroupSeen(name="ORDERS", region="east", led=True, leader="east-2", members=members),)
    assert not sighting.all_nodes


def test_a_group_without_a_leader_lists_all_of_its_members() -> None:
    """It is told by one of them, who has no contact with the others: how they are it does not know, nor how it is.

    One that led until just now says for how long it has not heard them, and of itself when it was elected.
    """
    led_before = [{"name": f"east-{number}", "active": 7_000_000_000, "current": False} for number in (1, 2, 3)]
    for section in (LEADERLESS, LEADERLESS | {"replicas": led_before}):
        sighting = read_group("ORDERS", section, TOLD_AT)
        (group,) = sighting.groups
        assert (group.led, group.leader, group.members) == (False, "", ("east-1", "east-2", "east-3"))
        assert sighting.nodes == tuple(NodeSeen(name=f"east-{number}", region="east") for number in (1, 2, 3))


@pytest.mark.parametrize(
    "since, told_at, seconds",
    [
        ("2026-11-29T11:14:03.867398089Z", "2026-11-29T11:14:07.367398+00:00", 3.5),
        ("2026-11-29T12:14:03.867398089+01:00", "2026-11-29T11:14:07.367398+00:00", 3.5),
        ("2026-11-29T11:14:08Z", "2026-11-29T11:14:07+00:00", 0),
        ("2026-11-29T11:14:03", "2026-11-29T11:14:07+00:00", 0),
        ("2026-11-29T11:14:03Z", None, 0),
        ("yesterday", "2026-11-29T11:14:07+00:00", 0),
        ("2026-11-29T11:14:03Z", "2026-11-29T11:14:07", 0),
        (7, "2026-11-29T11:14:07+00:00", 0),
    ],
)
def test_for_how_long_a_leader_has_waited_for_one_that_it_never_heard(
    since: object, told_at: str | None, seconds: float
) -> None:
    """As long as it leads, by its own clock; where it does not say, nothing is known."""
    moment = None if told_at is None else datetime.datetime.fromisoformat(told_at)
    sighting = read_group("ORDERS", LED | {"leader_since": since}, moment)
    assert {node.name: node.sought_seconds for node in sighting.nodes if node.sought_seconds} == (
        {"east-3": pytest.approx(seconds, abs=1e-5)} if seconds else {}
    )


@pytest.mark.parametrize("section", [None, {}, {"leader": "NAGWTLQ"}])
def test_a_server_that_stands_alone_leads_itself(section: object) -> None:
    """It has no replicas and no cluster: no node is known by it, and its quorum is not in question."""
    sighting = read_group("ORDERS", section)
    assert sighting.nodes == ()
    assert sighting.groups[0].led


def test_a_peer_whose_name_the_leader_does_not_know_yet_is_no_node() -> None:
    """As after a start of all servers: it would be down under a name that never comes up."""
    unknown = {"name": "Server name unknown at this time (peerID: yrzKKRBu)", "current": False, "active": 0}
    sighting = read_group("ORDERS", LED | {"replicas": [*LED["replicas"], unknown]}, TOLD_AT)
    assert {node.name for node in sighting.nodes} == set(sighting.groups[0].members) == {"east-1", "east-2", "east-3"}


@pytest.mark.parametrize(
    "replicas, answers, unnamed",
    [
        (["east-1", "east-3"], ["east-1", "east-2"], False),
        (["east-1", "Server name unknown at this time (peerID: yrzKKRBu)"], ["east-1", "east-2"], True),
        (["east-1", ""], ["east-1", "east-2"], True),
        (["east-1", "east-3"], ["east-1", "east-3"], True),
    ],
)
def test_a_list_of_members_that_lacks_a_name_is_none(replicas: list[str], answers: list[str], unnamed: bool) -> None:
    """Its leader does not know how a peer is called, or has not answered itself: nobody says who is missed."""
    statuses = {name: status(name, "east", "east-2") for name in answers}
    if "east-2" in statuses:
        meta = statuses["east-2"]["statsz"]["jetstream"]["meta"]
        meta["replicas"] = [{"name": name} for name in replicas]
    assert read_statuses(statuses.values()).some_unnamed is unnamed
    if "east-2" in statuses:
        group = LED | {"replicas": [{"name": name, "current": True, "active": 1} for name in replicas]}
        assert read_group("ORDERS", group).some_unnamed is unnamed


def test_the_statuses_of_servers() -> None:
    """Each answer is a node that is there, with what it uses; and they name the leader of the meta group."""
    answers = [status("east-1", "east", "west-2"), status("west-2", "west", "west-2", mem="?", connections=None)]
    sighting = read_statuses(answers)
    assert sighting.nodes == (
        NodeSeen(name="east-1", region="east", age_seconds=0.0, memory_bytes=21_127_168, connections=2),
        NodeSeen(name="west-2", region="west", age_seconds=0.0),
    )
    assert sighting.groups == (GroupSeen(name=META_GROUP, led=True, leader="west-2"),)
    assert sighting.all_nodes


def test_the_leader_of_the_meta_group_lists_all_others() -> None:
    """Heard or not, until one is removed; a peer whose name it does not know yet is nobody."""
    answers = [status("east-1", "east", "east-2"), status("east-2", "east", "east-2")]
    listed = ["east-1", "east-3", "Server name unknown at this time (peerID: yrzKKRBu)", 7]
    answers[1]["statsz"]["jetstream"]["meta"]["replicas"] = [{"name": name, "active": 0} for name in listed]
    assert read_statuses(answers).expected == ("east-1", "east-3")
    assert read_statuses(answers).some_unnamed
    assert not read_statuses([status("east-1", "east", None)]).expected
    meta = answers[1]["statsz"]["jetstream"]["meta"]
    assert read_varz([{"server_name": "east-2", "jetstream": {"meta": meta}}]).expected == ("east-1", "east-3")


@pytest.mark.parametrize(
    "named, leader",
    [
        ({"a": "b", "b": "b", "c": "c"}, "b"),
        ({"a": "c", "b": "c", "d": "a"}, "c"),
        ({"a": None, "b": None}, ""),
        ({"a": "a", "b": "c", "d": "c"}, "a"),
    ],
)
def test_who_leads_the_meta_group(named: dict[str, str | None], leader: str) -> None:
    """The one that says so of itself, by name if there are two; else the one that most name; else nobody."""
    (group,) = read_statuses([status(name, "east", says) for name, says in named.items()]).groups
    assert (group.leader, group.led) == (leader, bool(leader))


def test_servers_without_jetstream_have_no_meta_group() -> None:
    """Nothing is said of it, so nothing is judged."""
    answer = status("east-1", "east", None)
    del answer["statsz"]["jetstream"]
    assert read_statuses([answer]).groups == ()
    assert not read_statuses([]).all_nodes


def test_monitoring_endpoints_say_the_same() -> None:
    """/varz has the names elsewhere."""
    varz = {
        "server_name": "east-1",
        "cluster": {"name": "east"},
        "mem": 7,
        "connections": 1,
        "jetstream": {"meta": {"leader": "east-1"}},
    }
    sighting = read_varz([varz, {}])
    assert sighting.nodes == (NodeSeen(name="east-1", region="east", age_seconds=0.0, memory_bytes=7, connections=1),)
    assert sighting.groups == (GroupSeen(name=META_GROUP, led=True, leader="east-1"),)
    assert not sighting.all_nodes


def test_instances_are_counted_by_their_ids() -> None:
    """Each once; an answer that names none is nobody's."""
    answers: list[dict[str, object]] = [{"id": "a"}, {"id": "b"}, {"id": "a"}, {}, {"id": None}, {"id": 3}, {"id": ""}]
    assert read_instances(answers).instances == 2


NO_NUMBERS: list[object] = [
    None,
    True,
    "7",
    [],
    {},
    -1,
    -1e18,
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    -float("inf"),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: str(value)[:8])
def test_what_is_no_number_of_a_server_is_left_out(value: object) -> None:
    """A time, memory or connections that it cannot have: the node is there, and nothing is known of that."""
    text = json.dumps(value).encode()
    section = read_json(b'{"name":"east","leader":"a","replicas":[{"name":"b","current":true,"active":%b}]}' % text)
    assert read_group("ORDERS", section).nodes[0] == NodeSeen(name="b", region="east", age_seconds=None)
    answer = read_json(b'{"server":{"name":"a","cluster":"east"},"statsz":{"mem":%b,"connections":%b}}' % (text, text))
    assert read_statuses([answer]).nodes == (NodeSeen(name="a", region="east", age_seconds=0.0),)
    varz = read_json(b'{"server_name":"a","cluster":{"name":"east"},"mem":%b,"connections":%b}' % (text, text))
    assert read_varz([varz]).nodes == (NodeSeen(name="a", region="east", age_seconds=0.0),)


_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400)])
    | st.floats()
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "leader", "replicas", "active", "current", "server", "statsz", "jetstream", "meta", "mem"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_ANY, st.sampled_from(["replicas", "server", "statsz", "jetstream", "cluster", "mem", "id"]))
def test_any_json_is_read_without_an_error(value: Any, place: str) -> None:
    """What has another form is left out, wherever it stands; the group that was asked about is always told of."""
    for body in (value, {place: value}, {"replicas": [value, {"name": "b", "active": value}]}):
        answer = read_json(json.dumps(body).encode())
        (group,) = read_group("ORDERS", answer).groups
        assert group.name == "ORDERS"
        read = [read_group("ORDERS", answer), read_statuses([answer]), read_varz([answer])]
        for node in (node for one in read for node in one.nodes):
            assert isinstance(node.name, str)
            assert node.age_seconds is None or 0 <= node.age_seconds < 1e10
            assert type(node.memory_bytes) in (int, type(None))
        assert read_instances([answer]).instances in (0, 1)


@given(st.binary(max_size=40))
def test_what_is_no_json_is_nothing(payload: bytes) -> None:
    """An answer that cannot be read tells nothing, and ends nothing; only an object is one that can."""
    assert read_json(b"[" * 100_000 + payload) == {}
    try:
        whole = json.loads(payload)
    except ValueError:
        whole = None
    assert read_json(payload) == (whole if isinstance(whole, dict) else {})
