"""What a plan makes of a scenario and its settings."""

from __future__ import annotations

from itertools import pairwise

import pytest

from beamline_trio.scenarios import (
    SCENARIOS,
    Cycle,
    Kind,
    Phase,
    Scenario,
    ScenarioError,
    Settings,
    Topology,
    find_scenario,
    make_plan,
)

PARTS = (Phase("base", 5), Phase("fault", 60), Phase("recovery", 10))


def scenario(*cycles: Cycle, topology: Topology | None = None) -> Scenario:
    return Scenario(number="0.0", title="t", about="a", phases=PARTS, cycles=cycles, topology=topology or Topology())


def test_the_full_run_has_the_lengths_that_the_scenario_states() -> None:
    """Phases follow each other without a gap, and a simulated run is full unless it is told a length."""
    plan = make_plan(scenario(), Settings())
    assert [(span.name, span.begins, span.ends) for span in plan.spans] == [
        ("base", 0, 300),
        ("fault", 300, 3900),
        ("recovery", 3900, 4500),
    ]
    assert plan.scale == 1


def test_faults_of_a_cycle_come_in_turns_within_their_phase() -> None:
    """Kinds and targets take turns, and none lasts beyond its phase."""
    cycle = Cycle(
        phase="fault",
        kinds=(Kind.SERVER_KILL, Kind.SERVER_STOP),
        every_seconds=300,
        seconds=5,
        targets=("a", "b", "c"),
        after_seconds=30,
    )
    faults = make_plan(scenario(cycle), Settings()).faults
    assert [fault.begins for fault in faults] == [330 + 300 * number for number in range(12)]
    assert [fault.kind for fault in faults[:3]] == [Kind.SERVER_KILL, Kind.SERVER_STOP, Kind.SERVER_KILL]
    assert [fault.target for fault in faults[:4]] == ["a", "b", "c", "a"]
    assert all(fault.ends - fault.begins == 5 and fault.ends <= 3900 for fault in faults)


def test_a_fault_without_a_cycle_lasts_as_long_as_its_phase_or_as_it_says() -> None:
    """every_seconds=0 is one fault."""
    whole, short = (
        Cycle(phase="fault", kinds=(Kind.ACKS_LOST,), share=0.3),
        Cycle(phase="fault", kinds=(Kind.PARTITION,), seconds=120, after_seconds=60),
    )
    faults = make_plan(scenario(whole, short), Settings()).faults
    assert [(fault.begins, fault.ends, fault.share) for fault in faults] == [(300, 3900, 0.3), (360, 480, 1.0)]


def test_a_compressed_run_keeps_cycles_that_show_more_than_an_election() -> None:
    """Shorter phases have fewer cycles, of 20 seconds at least, and faults of 2 seconds at least."""
    cycle = Cycle(phase="fault", kinds=(Kind.PARTITION,), every_seconds=240, seconds=60)
    plan = make_plan(scenario(cycle), Settings(duration_minutes=3))
    assert plan.seconds == pytest.approx(180)
    begins = [fault.begins for fault in plan.faults]
    assert all(later - earlier >= 20 for earlier, later in pairwise(begins))
    assert all(2 <= fault.ends - fault.begins <= 20 for fault in plan.faults)
    assert len(begins) == 5


def test_a_run_on_real_servers_is_compressed_unless_it_is_to_be_full() -> None:
    """At most 5 minutes, so that it can be run beside other work."""
    assert make_plan(scenario(), Settings(on="real")).seconds <= 300
    assert make_plan(scenario(), Settings(on="real", full=True)).seconds == 4500
    assert make_plan(scenario(), Settings(speedup=10)).seconds == pytest.approx(450)


def test_an_interval_of_the_settings_takes_the_place_of_the_cycles_own() -> None:
    """EXTENDED_TEST_FAULT_INTERVAL_SEC."""
    cycle = Cycle(phase="fault", kinds=(Kind.SERVER_KILL,), every_seconds=300, seconds=5)
    faults = make_plan(scenario(cycle), Settings(fault_interval_seconds=60)).faults
    assert faults[1].begins - faults[0].begins == 60


def test_the_topology_is_the_settings_where_the_scenario_has_more_than_one() -> None:
    """A scenario of one server stays one; a cluster is as large as asked for, and regions can be left out."""
    assert make_plan(scenario(), Settings(nodes=5)).topology.nodes == 1
    cluster = scenario(topology=Topology(nodes=3, quorum=2, replicas=3, instances=3, regions=("a", "b")))
    found = make_plan(cluster, Settings(nodes=5, instances=2, region_b=False)).topology
    assert (found.nodes, found.quorum, found.instances, found.regions) == (5, 3, 2, ("a",))
    with pytest.raises(ScenarioError, match="quorum is 1 of 3 nodes"):
        make_plan(cluster, Settings(quorum=1))
    with pytest.raises(ScenarioError, match="no region is enabled"):
        make_plan(cluster, Settings(region_a=False, region_b=False))


@pytest.mark.parametrize(
    "number, settings, targets",
    [
        ("5.1", Settings(nodes=2), {"east-1", "east-2", ""}),
        ("5.1", Settings(nodes=5), {"east-1", "east-2", "east-3", ""}),
        ("5.2", Settings(regions=3, region_a=False), {"west"}),
        ("5.2", Settings(regions=4, region_a=False, region_b=False), {"region-3", "region-4"}),
        ("5.3", Settings(instances=2), {"router-1", "router-2"}),
        ("5.3", Settings(instances=1), {"router-1"}),
    ],
)
def test_faults_meet_only_who_is_there(number: str, settings: Settings, targets: set[str]) -> None:
    """A smaller topology has fewer targets, and faults all the same."""
    assert {fault.target for fault in make_plan(find_scenario(number), settings).faults} == targets


@pytest.mark.parametrize(
    "number, settings, text",
    [
        ("5.1", Settings(nodes=1), "nodes is 1; 5.1 is about a cluster"),
        ("5.2", Settings(region_b=False), "there is one region, east, and 5.2 cuts regions off"),
        ("5.2", Settings(regions=1), "there is one region, east, and 5.2 cuts regions off"),
    ],
)
def test_a_topology_that_leaves_nothing_to_show_is_refused(number: str, settings: Settings, text: str) -> None:
    """Before anything starts, with what to do."""
    with pytest.raises(ScenarioError, match=text):
        make_plan(find_scenario(number), settings)


def test_a_longer_run_is_as_long_as_it_was_asked_to_be_and_has_more_faults() -> None:
    """EXTENDED_TEST_DURATION_MIN: neither are faults farther apart, nor do they last longer."""
    cycle = Cycle(phase="fault", kinds=(Kind.SERVER_KILL,), every_seconds=300, seconds=10, after_seconds=30)
    plan = make_plan(scenario(cycle), Settings(duration_minutes=150))
    assert [span.ends for span in plan.spans] == [600, 7800, 9000]
    assert [fault.begins for fault in plan.faults] == [630 + 300 * number for number in range(24)]
    assert all(fault.ends - fault.begins == 10 for fault in plan.faults)


@pytest.mark.parametrize("seconds", [None, 60, 600])
def test_a_cut_is_long_whatever_the_interval_is(seconds: float | None) -> None:
    """The alert of a partition waits five minutes: EXTENDED_TEST_FAULT_INTERVAL_SEC is about faults that come again."""
    faults = make_plan(find_scenario("5.2"), Settings(fault_interval_seconds=seconds)).faults
    assert [fault.ends - fault.begins for fault in faults if fault.phase == "cut for long"] == [360]


@pytest.mark.parametrize("number", SCENARIOS)
def test_every_scenario_begins_with_a_base_and_ends_with_a_recovery_without_faults(number: str) -> None:
    """What is compared is compared with a time in which nothing was wrong, in the full and in a compressed run."""
    for settings in (Settings(), Settings(duration_minutes=4)):
        plan = make_plan(find_scenario(number), settings)
        for fault in plan.faults:
            assert plan.base.ends <= fault.begins < fault.ends <= plan.recovery.begins + 2


def test_a_number_that_is_no_scenario_is_refused() -> None:
    """The text names those there are."""
    with pytest.raises(ScenarioError, match=r"there is no scenario '9\.9'; there are 1\.1"):
        find_scenario("9.9")


@pytest.mark.parametrize("on", ["simulation", "real"])
def test_where_nothing_may_stand_still_a_fault_lasts_longer_than_that(on: str) -> None:
    """Else a load that stands still for as long as a fault lasts would pass, compressed or not."""
    for name in ("5.1", "5.2"):
        one = find_scenario(name)
        most = one.expectations.never_idle_seconds
        lasts = [fault.ends - fault.begins for fault in make_plan(one, Settings(on=on)).faults if is_single(fault.kind)]
        assert most is not None
        assert max(lasts) > most


def is_single(kind: Kind) -> bool:
    """Whether throughput must go on under it."""
    return kind is not Kind.QUORUM_LOSS
