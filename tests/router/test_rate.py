"""The limit on starts per second."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection import OptionsError
from beamline_trio.router._rate import Rate

STEPS = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=80)


@given(per_second=st.floats(0.1, 1000.0), burst=st.integers(1, 20), steps=STEPS, tries=st.integers(1, 30))
def test_between_any_two_moments_no_more_than_the_rate_and_a_burst(
    per_second: float, burst: int, steps: list[float], tries: int
) -> None:
    """Between any two moments at most burst + rate * seconds have started."""
    rate = Rate(per_second, burst)
    now, starts = 0.0, []
    for step in steps:
        now += step
        starts += [now for _ in range(tries) if rate.take(now)]
    for first in range(len(starts)):
        for last in range(first, len(starts), 7):
            assert last - first + 1 <= burst + (starts[last] - starts[first]) * per_second + 1e-5


@given(per_second=st.floats(0.1, 1000.0), burst=st.integers(1, 20), steps=STEPS)
def test_at_the_moment_that_was_named_one_may_start(per_second: float, burst: int, steps: list[float]) -> None:
    """A take succeeds at ready_at exactly, fails before it, and a bucket that rested gives its whole burst."""
    rate = Rate(per_second, burst)
    now = 0.0
    for step in steps:
        now += step
        ready_at = rate.ready_at(now)
        assert ready_at >= now
        if ready_at > now:
            assert not rate.take(now)
            now = ready_at
        assert rate.take(now)
    now += (burst + 1) / per_second
    assert [rate.take(now) for _ in range(burst)] == [True] * burst


@given(per_second=st.floats(0.1, 1000.0))
def test_a_worker_that_asks_whenever_it_may_gets_the_whole_rate(per_second: float) -> None:
    """Whoever starts whenever ready_at says gets all of the rate, not less."""
    rate = Rate(per_second, 1)
    now = 0.0
    for _ in range(200):
        now = rate.ready_at(now)
        assert rate.take(now)
    assert now == pytest.approx(199 / per_second)


@given(old=st.floats(0.01, 1000.0), new=st.floats(0.01, 1000.0), starts=st.integers(1, 20))
def test_a_change_keeps_what_has_started_as_starts(old: float, new: float, starts: int) -> None:
    """After a change the next start waits no longer than the new rate asks for, and the change gives no fresh burst."""
    rate = Rate(old)
    done = sum(rate.take(0.0) for _ in range(starts))
    rate.change(new, 0.0)
    assert rate.ready_at(0.0) <= 1.0 / new
    more = sum(rate.take(0.0) for _ in range(rate.burst + 1))
    assert more <= max(0, rate.burst - done)


def test_the_burst_is_a_tenth_of_a_second_when_not_given() -> None:
    """Without a burst it is a tenth of a second's starts, at least one."""
    assert Rate(1000.0).burst == 100
    assert Rate(5.0).burst == 1
    assert Rate(5.0, 3).burst == 3


@pytest.mark.parametrize("per_second", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_cannot_work_is_refused(per_second: float) -> None:
    """Nothing, less than nothing, and infinity are no rates; the text says what to give for no limit."""
    with pytest.raises(OptionsError, match="None = no limit"):
        Rate(per_second)
    with pytest.raises(OptionsError, match="at least 1"):
        Rate(1.0, 0)
