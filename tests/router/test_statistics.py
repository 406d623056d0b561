"""The laws of a route's counters, over drawn histories."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from beamline_trio.router._statistics import (
    DURATION_BOUNDS_SECONDS,
    OUTCOMES,
    RouteCounters,
    RouteStatistics,
)

SIZES = st.integers(0, 1 << 20)
MOMENTARY = {"pending", "pending_bytes", "in_flight"}


class Histories(RuleBasedStateMachine):
    """A route's life beside a list of what waits and a number of what is worked on."""

    @initialize()
    def begin(self) -> None:
        """With nothing taken."""
        self.counters = RouteCounters()
        self.waiting: list[int] = []
        self.working = 0
        self.before = self.counters.snapshot()

    @rule(size=SIZES)
    def queue(self, size: int) -> None:
        """A message waits."""
        self.counters.queue(size)
        self.waiting.append(size)

    @precondition(lambda self: self.waiting)
    @rule()
    def unqueue(self) -> None:
        """A worker takes what waits."""
        self.counters.unqueue(self.waiting.pop(0))
        self.working += 1

    @rule(size=SIZES)
    def take(self, size: int) -> None:
        """A worker takes from the source."""
        self.counters.take(size)
        self.working += 1

    @precondition(lambda self: self.working)
    @rule(outcome=st.sampled_from(OUTCOMES), seconds=st.floats(0, 60))
    def end(self, outcome: str, seconds: float) -> None:
        """A worker is done."""
        self.counters.end(outcome, seconds)
        self.working -= 1

    @precondition(lambda self: self.waiting)
    @rule(outcome=st.sampled_from(OUTCOMES))
    def end_pending(self, outcome: str) -> None:
        """What waits is given back."""
        self.counters.end_pending(outcome, self.waiting.pop())

    @invariant()
    def adds_up(self) -> None:
        """Each message taken is pending, in flight or has one outcome; nothing but the gauges goes back."""
        now = self.counters.snapshot()
        assert now.taken == now.pending + now.in_flight + sum(now.outcomes.values())
        assert (now.pending, now.pending_bytes, now.in_flight) == (
            len(self.waiting),
            sum(self.waiting),
            self.working,
        )
        assert all(one >= earlier for one, earlier in zip(_grows(now), _grows(self.before), strict=True))
        self.before = now


def _grows(statistics: RouteStatistics) -> list[float]:
    numbers: list[float] = []
    for name, value in attrs.asdict(statistics).items():
        if isinstance(value, dict):
            numbers += value.values()
        elif isinstance(value, tuple):
            numbers += value
        elif name not in MOMENTARY:
            numbers.append(value)
    return numbers


TestHistories = Histories.TestCase


@given(seconds=st.lists(st.floats(0, 60), max_size=30))
def test_every_duration_is_in_the_bucket_of_its_bound(seconds: list[float]) -> None:
    """A duration counts under the least bound that is not below it, as Prometheus' `le` has it."""
    counters = RouteCounters()
    for one in seconds:
        counters.take(1)
        counters.end("ok", one)
    for number, bound in enumerate(DURATION_BOUNDS_SECONDS):
        assert sum(counters.duration_counts[: number + 1]) == sum(one <= bound for one in seconds)
    assert sum(counters.duration_counts) == len(seconds)


def test_a_snapshot_does_not_change() -> None:
    """What was read stays as it was read."""
    counters = RouteCounters()
    before = counters.snapshot()
    counters.take(3)
    counters.end("ok", 0.1)
    counters.retries["backoff"] += 1
    assert (before.taken, before.outcomes["ok"], before.retries["backoff"], sum(before.duration_counts)) == (0, 0, 0, 0)
    assert counters.snapshot().outcomes["ok"] == counters.ended == 1


def test_an_unknown_outcome_is_refused_and_counts_nothing() -> None:
    """A misspelt outcome would be a series that nobody listed."""
    counters = RouteCounters()
    counters.take(1)
    with pytest.raises(KeyError):
        counters.end("fine", 0.1)
    counters.queue(1)
    with pytest.raises(KeyError):
        counters.end_pending("fine", 1)
    assert (counters.in_flight, counters.pending, counters.ended) == (1, 1, 0)
