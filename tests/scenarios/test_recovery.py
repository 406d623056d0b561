"""Samples and faults -> recoveries."""

from __future__ import annotations

import math

from beamline_trio.scenarios import Kind, PlannedFault, Sample, Span
from beamline_trio.scenarios._recovery import base_throughput, recoveries, throughput


def fault(begins: float, ends: float) -> PlannedFault:
    return PlannedFault(kind=Kind.PARTITION, phase="fault", begins=begins, ends=ends)


def samples_of(outages: list[tuple[int, int]], seconds: int = 200, rate: int = 10) -> list[Sample]:
    """Ten messages a second; during an outage they wait, and behind it all of them end within a second."""
    samples: list[Sample] = []
    ended = 0
    for at in range(seconds):
        away = any(begins < at <= ends for begins, ends in outages)
        if not away:
            ended = at * rate
        samples.append(
            Sample(
                at=float(at), begun=at * rate, acked=at * rate, ended=ended, outstanding=at * rate - ended, backlog=0,
                latency_seconds=0.0, ready=0 if away else 1, up=1, connected=not away, quorum=True, leader="",
                regions=0, tasks=1, memory_bytes=1, connections=1,
            )
        )  # fmt: skip
    return samples


def test_recovery_is_over_when_all_that_waited_is_done_and_throughput_is_back() -> None:
    """Counted from when the fault was healed; reconnecting is a part of it."""
    samples = samples_of([(50, 64)])
    (one,) = recoveries(samples, [(fault(50, 60), 60)], base=10)
    assert (one.reconnect_seconds, one.recovery_seconds, one.depth_max) == (5, 5, 140)


def test_a_fault_after_which_nothing_ends_has_no_recovery() -> None:
    """None is not 0: nobody came back before the next fault, or the end."""
    samples = samples_of([(50, 200)])
    (one,) = recoveries(samples, [(fault(50, 60), 60)], base=10)
    assert (one.reconnect_seconds, one.recovery_seconds) == (None, None)


def test_a_fault_is_watched_until_the_next_one_and_waits_for_its_recovery_behind_that() -> None:
    """What never came back by the end of a run had all the time there was."""
    faults = [(fault(50, 60), 60.0), (fault(100, 110), 110.0)]
    first, second = recoveries(samples_of([(50, 120)]), faults, base=10)
    assert (first.watched_seconds, first.waited_seconds) == (39, 61)
    assert (second.watched_seconds, second.waited_seconds) == (math.inf, 11)
    never, _ = recoveries(samples_of([(50, 200)]), faults, base=10)
    assert (never.watched_seconds, never.waited_seconds) == (39, math.inf)


def test_a_reconnect_is_that_of_every_instance() -> None:
    """One of two that is ready takes messages, and the other one is missed."""
    samples = samples_of([(50, 64)])
    (one,) = recoveries(samples, [(fault(50, 60), 60)], base=10, instances=2)
    assert (one.reconnect_seconds, one.recovery_seconds) == (None, 5)


def test_a_recovery_is_looked_for_until_the_next_fault() -> None:
    """What came back behind the next fault did not come back before it."""
    samples = samples_of([(50, 120)])
    faults = [(fault(50, 60), 60.0), (fault(100, 110), 110.0)]
    first, second = recoveries(samples, faults, base=10)
    assert first.recovery_seconds is None
    assert second.recovery_seconds == 11


def test_faults_that_overlap_or_follow_at_once_are_recovered_from_together() -> None:
    """Nobody can recover from a restart within a partition before the partition is over."""
    samples = samples_of([(50, 90)])
    faults = [(fault(50, 80), 80.0), (fault(60, 65), 65.0), (fault(81, 88), 88.0)]
    found = recoveries(samples, faults, base=10)
    assert [one.healed_at for one in found] == [88, 88, 88]
    assert [one.recovery_seconds for one in found] == [3, 3, 3]


def test_little_that_waits_is_no_recovery_while_nothing_ends() -> None:
    """An empty queue may be that of a source that cannot publish."""
    samples = samples_of([(50, 200)], seconds=80)
    (one,) = recoveries(samples, [(fault(45, 49), 49)], base=1_000)
    assert one.recovery_seconds is None


def test_throughput_is_what_ended_between_two_moments() -> None:
    """The base leaves out its first tenth."""
    samples = samples_of([(0, 5)])
    assert throughput(samples, 10, 20) == 10
    assert throughput(samples, 10, 10) == 0
    assert base_throughput(samples, Span("base", 0, 60)) == 10
