"""Laws of fault plans: drawn, printed, written as JSON, read back, shrunk."""

from __future__ import annotations

import json
import random
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from beamline_trio import NatsError
from beamline_trio.faults import Draw, Fault, FaultKind, FaultPlanError, Plan, shrink

CLIENTS = ["app", "worker"]
SERVERS = ["a", "b", "c"]
SLOW = Fault(FaultKind.SLOW, 1.5, 2.25, ("app", "a"), 0.25)
KILL = Fault(FaultKind.KILL, 3, 4, ("b",))
RESET = Fault(FaultKind.RESET, 0.5, 0, ("app", "a"))

draws = st.builds(
    Draw,
    seconds=st.integers(10, 3_600_000).map(lambda ms: ms / 1000),
    count=st.integers(0, 12),
    kinds=st.lists(st.sampled_from(FaultKind), min_size=1, unique=True).map(tuple),
    longest_seconds=st.integers(10, 600_000).map(lambda ms: ms / 1000),
)


@st.composite
def plans(draw: st.DrawFn, least: int = 0) -> Plan:
    wanted = attrs.evolve(draw(draws), count=draw(st.integers(least, 12)))
    return Plan.draw(random.Random(draw(st.integers(0, 2**32))), wanted, clients=CLIENTS, servers=SERVERS)


@given(seed=st.integers(), wanted=draws)
def test_a_draw_depends_on_nothing_but_its_prng_and_arguments(seed: int, wanted: Draw) -> None:
    """The same seed and arguments give the same plan, whatever was drawn before."""
    first = Plan.draw(random.Random(seed), wanted, clients=CLIENTS, servers=SERVERS)
    random.seed(first.to_json())
    again = Plan.draw(random.Random(seed), wanted, clients=CLIENTS, servers=SERVERS)
    assert str(first) == str(again)
    assert first == again


def test_a_draw_is_the_same_on_every_machine() -> None:
    """A seed prints the same plan in every process and on every Python: a failure is replayed elsewhere."""
    plan = Plan.draw(random.Random(7), Draw(), clients=["app"], servers=["a", "b"])
    assert str(plan) == (
        "at    2.457 s for    0.449 s  slow_close b -> app, 2.916 s later\n"
        "at    4.747 s                 reset      b <-> app\n"
        "at    5.944 s for    7.896 s  refuse     b\n"
        "at   41.328 s for    7.325 s  slow_close a -> app, 20.659 s later"
    )


@given(seed=st.integers(), wanted=draws)
def test_all_drawn_faults_keep_their_bounds(seed: int, wanted: Draw) -> None:
    """Of the kinds asked for, between the hosts given, no longer than asked for, over in time; no host twice."""
    plan = Plan.draw(random.Random(seed), wanted, clients=CLIENTS, servers=SERVERS)
    assert len(plan.faults) <= wanted.count
    assert plan.end_seconds <= wanted.seconds
    for fault in plan.faults:
        assert fault.kind in wanted.kinds
        assert 0 <= fault.at_seconds <= fault.end_seconds <= plan.end_seconds
        assert fault.for_seconds <= wanted.longest_seconds
        assert set(fault.hosts) <= {*CLIENTS, *SERVERS}
        assert not set(fault.hosts) <= set(CLIENTS)


@given(seed=st.integers())
def test_faults_between_hosts_leave_out_none_asked_for(seed: int) -> None:
    """Without kinds that exclude each other a draw has as many faults as asked for."""
    kinds = tuple(kind for kind in FaultKind if not kind.of_a_server)
    plan = Plan.draw(random.Random(seed), Draw(count=9, kinds=kinds), clients=CLIENTS, servers=SERVERS)
    assert len(plan.faults) == 9


def test_every_kind_and_direction_is_drawn() -> None:
    """In many draws every kind comes, between clients and servers in both directions, and between servers."""
    plan = Plan.draw(random.Random(1), Draw(seconds=1e6, count=600), clients=CLIENTS, servers=SERVERS)
    assert {fault.kind for fault in plan.faults} == set(FaultKind)
    slow = {fault.hosts for fault in plan.faults if fault.kind in (FaultKind.BLACK_HOLE, FaultKind.HOLD)}
    assert {("app", "a"), ("a", "app"), ("a", "b"), ("b", "a")} <= slow


@given(plans())
def test_a_plan_survives_json(plan: Plan) -> None:
    """Written and read back it is the same, also as bytes and with its faults in another order."""
    text = plan.to_json()
    assert Plan.from_json(text) == plan
    assert Plan.from_json(text.encode()).to_json() == text
    value = json.loads(text)
    value["faults"].reverse()
    assert Plan.from_json(json.dumps(value)) == plan


@given(plans())
def test_a_plan_is_printed_with_a_line_for_each_fault(plan: Plan) -> None:
    """Each line names kind and hosts."""
    lines = str(plan).splitlines()
    if not plan.faults:
        assert lines == ["no faults"]
        return
    assert len(lines) == len(plan.faults)
    for line, fault in zip(lines, plan.faults, strict=True):
        assert fault.kind in line
        assert all(host in line for host in fault.hosts)


def entry(**changes: Any) -> dict[str, Any]:
    return {"kind": "slow", "at_seconds": 1, "for_seconds": 2, "hosts": ["app", "a"], "amount": 0.5, **changes}


@pytest.mark.parametrize(
    "changes,field",
    [
        ({"kind": "flood"}, "kind"),
        ({"kind": None}, "kind"),
        ({"at_seconds": -1}, "at_seconds"),
        ({"at_seconds": "1"}, "at_seconds"),
        ({"at_seconds": True}, "at_seconds"),
        ({"at_seconds": float("nan")}, "at_seconds"),
        ({"at_seconds": float("inf")}, "at_seconds"),
        ({"at_seconds": 10**400}, "at_seconds"),
        ({"for_seconds": 0}, "for_seconds"),
        ({"for_seconds": 0.0001}, "for_seconds"),
        ({"kind": "reset", "amount": 0}, "for_seconds"),
        ({"hosts": []}, "hosts"),
        ({"hosts": "ab"}, "hosts"),
        ({"hosts": ["app"]}, "hosts"),
        ({"hosts": ["app", "app"]}, "hosts"),
        ({"hosts": ["app", "a b"]}, "hosts"),
        ({"hosts": ["app", "a\n"]}, "hosts"),
        ({"hosts": ["app", ""]}, "hosts"),
        ({"hosts": ["app", 7]}, "hosts"),
        ({"kind": "kill", "amount": 0}, "hosts"),
        ({"amount": 0}, "amount"),
        ({"kind": "hold"}, "amount"),
        ({"kind": "chop", "amount": 1.5}, "amount"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_fault_is_an_error_that_names_the_field(changes: dict[str, Any], field: str) -> None:
    """A plan from elsewhere is not trusted: which fault, which field, what it must be."""
    text = json.dumps({"faults": [entry(), entry(**changes)]})
    with pytest.raises(FaultPlanError) as caught:
        Plan.from_json(text)
    assert caught.value.field == f"faults[1].{field}"
    assert caught.value.field in str(caught.value)
    assert isinstance(caught.value, (NatsError, ValueError))


@pytest.mark.parametrize("missing", ["kind", "at_seconds", "for_seconds", "hosts"])
def test_a_missing_field_is_named(missing: str) -> None:
    """Only the amount may be left out."""
    fault = entry()
    del fault[missing]
    with pytest.raises(FaultPlanError, match=rf"faults\[0\]\.{missing} is missing"):
        Plan.from_json(json.dumps({"faults": [fault]}))
    fault = entry(kind="hold")
    del fault["amount"]
    assert Plan.from_json(json.dumps({"faults": [fault]})).faults[0].amount == 0


@pytest.mark.parametrize(
    "text,field",
    [
        ("", ""),
        ("{", ""),
        (b"\xff", ""),
        ("[" * 100_000, ""),
        ("[]", ""),
        ("{}", "faults"),
        ('{"faults": {}}', "faults"),
        ('{"faults": [], "seed": 1}', "seed"),
        ('{"faults": [7]}', "faults[0]"),
    ],
)
def test_what_is_no_plan_at_all_is_the_same_error(text: str | bytes, field: str) -> None:
    """Never a KeyError, a TypeError or a RecursionError."""
    with pytest.raises(FaultPlanError) as caught:
        Plan.from_json(text)
    assert caught.value.field == field


def test_faults_of_one_server_may_not_overlap() -> None:
    """A server that is down cannot be paused; one after the other is fine, and so is the same on two servers."""
    with pytest.raises(FaultPlanError, match=r"faults\[1\]\.at_seconds is 5\.0; it must be 7 or later"):
        Plan((KILL, Fault(FaultKind.PAUSE, 5, 1, ("b",))))
    Plan((KILL, Fault(FaultKind.PAUSE, 7, 1, ("b",)), Fault(FaultKind.LAME_DUCK, 5, 1, ("a",))))


@pytest.mark.parametrize(
    "changes,field",
    [
        ({"seconds": 0}, "seconds"),
        ({"count": -1}, "count"),
        ({"count": 1.5}, "count"),
        ({"kinds": ()}, "kinds"),
        ({"kinds": ("flood",)}, "kinds"),
        ({"longest_seconds": 0}, "longest_seconds"),
    ],
)
def test_a_draw_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    """When it is made, not when it is used."""
    with pytest.raises(FaultPlanError) as caught:
        Draw(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "hosts,field",
    [
        ({"clients": [], "servers": ["a"]}, "clients"),
        ({"clients": ["app"], "servers": []}, "servers"),
        ({"clients": "app", "servers": ["a"]}, "clients"),
        ({"clients": ["a"], "servers": ["a"]}, "servers"),
    ],
)
def test_a_draw_needs_clients_and_servers(hosts: dict[str, Any], field: str) -> None:
    """With nobody to meet there is no fault."""
    with pytest.raises(FaultPlanError) as caught:
        Plan.draw(random.Random(1), Draw(), **hosts)
    assert caught.value.field == field


def weight(plan: Plan) -> tuple[int, float]:
    return len(plan.faults), sum(fault.for_seconds for fault in plan.faults)


@given(plans())
def test_what_a_plan_shrinks_to_is_smaller(plan: Plan) -> None:
    """Fewer faults, or shorter ones, of those it has; only the empty plan has none."""
    smaller = list(plan.shrinks())
    assert all(weight(one) < weight(plan) for one in smaller)
    assert all({fault.kind for fault in one.faults} <= {fault.kind for fault in plan.faults} for one in smaller)
    assert bool(smaller) is bool(plan.faults)
    for index in range(len(plan.faults)):
        assert Plan(plan.faults[:index] + plan.faults[index + 1 :]) in smaller


@given(plans(), st.randoms(use_true_random=False), st.integers(0, 300))
def test_shrinking_ends_and_returns_only_what_fails(plan: Plan, chance: random.Random, tries_max: int) -> None:
    """Whatever fails and passes, it stops after the tries it has, and what it returns was seen to fail."""
    failing = {plan: True}

    def fails(candidate: Plan) -> bool:
        assert candidate not in failing
        failing[candidate] = chance.random() < 0.5
        return failing[candidate]

    assert failing[shrink(plan, fails, tries_max)]
    assert len(failing) <= tries_max + 1


@given(plans(least=2), st.data())
def test_shrinking_finds_the_guilty_fault(plan: Plan, data: st.DataObject) -> None:
    """Of several faults one is to blame: the others go, and it becomes as short as it may."""
    assume(plan.faults)
    names = [(fault.kind, fault.at_seconds, fault.hosts) for fault in plan.faults]
    assume(len(set(names)) == len(names))
    guilty = data.draw(st.sampled_from(plan.faults))

    def fails(candidate: Plan) -> bool:
        return any(
            (fault.kind, fault.at_seconds, fault.hosts) == (guilty.kind, guilty.at_seconds, guilty.hosts)
            and fault.for_seconds >= guilty.for_seconds / 3
            for fault in candidate.faults
        )

    found = shrink(plan, fails)
    assert len(found.faults) == 1
    assert found.faults[0].hosts == guilty.hosts
    half = round(guilty.for_seconds / 2, 3)
    assert found.faults[0].for_seconds == (half if half >= 0.01 else guilty.for_seconds)


@given(plans(least=3))
def test_shrinking_keeps_two_faults_that_fail_only_together(plan: Plan) -> None:
    """The first and the last are guilty together."""
    if len(plan.faults) < 3:
        return
    pair = {(fault.kind, fault.at_seconds) for fault in (plan.faults[0], plan.faults[-1])}

    def fails(candidate: Plan) -> bool:
        return pair <= {(fault.kind, fault.at_seconds) for fault in candidate.faults}

    found = shrink(plan, fails)
    assert {(fault.kind, fault.at_seconds) for fault in found.faults} == pair


def test_what_fails_without_any_fault_shrinks_to_none() -> None:
    """The faults were not to blame."""
    assert shrink(Plan((SLOW, KILL, RESET)), lambda _plan: True) == Plan()


def test_plans_print_for_people() -> None:
    """Times are aligned, arrows tell directions, amounts have their units."""
    assert str(Plan((SLOW, KILL, RESET))) == (
        "at    0.500 s                 reset      app <-> a\n"
        "at    1.500 s for    2.250 s  slow       app -> a, 0.25 s more\n"
        "at    3.000 s for    4.000 s  kill       b"
    )
    assert Plan((SLOW, KILL, RESET)).end_seconds == 7
    assert Plan().end_seconds == 0
