"""Laws of the rolling rate, the kill switch and the backpressure levels, over drawn histories beside naive models."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.router._backpressure import (
    Backpressure,
    BackpressureLevel,
    BackpressureMeter,
    RollingPercentile,
    percentile,
)
from beamline_trio.router._kill_switch import Intake, KillSwitch, KillSwitchState
from beamline_trio.router._rolling import SLOTS, RollingRate
from beamline_trio.router._statistics import DURATION_BOUNDS_SECONDS, RouteCounters

# (seconds since the one before, calls, of which so many fail)
CALLS = st.lists(
    st.tuples(st.floats(0, 100), st.integers(0, 50), st.integers(0, 50)).map(lambda one: (*one[:2], min(one[1:]))),
    max_size=60,
)


@given(calls=CALLS, window=st.sampled_from([1.2, 12.0, 60.0]))
def test_a_rolling_rate_counts_what_is_in_the_window(calls: list[tuple[float, int, int]], window: float) -> None:
    """Exactly the calls of the last twelve slots, whatever the gaps between them."""
    rate, now, kept = RollingRate(window), 5.0, []
    for gap, count, failed in calls:
        now += gap
        rate.add(count, failed, now)
        kept.append((now // (window / SLOTS), count, failed))
        live = [one for one in kept if one[0] > kept[-1][0] - SLOTS]
        assert rate.calls == sum(one[1] for one in live)
        assert rate.failures == sum(one[2] for one in live)
        assert rate.exceeds(0.5, 3) == (rate.calls >= 3 and rate.failures * 2 >= rate.calls)


@given(calls=CALLS)
def test_a_kill_switch_pauses_once_and_resumes_after_its_pause(calls: list[tuple[float, int, int]]) -> None:
    """Pause and resume take turns, `pause_seconds` apart at least, and it pauses only over the error rate."""
    options = KillSwitch(window_seconds=12.0, pause_seconds=30.0, messages_min=10)
    switch, now, totals = KillSwitchState(options), 0.0, (0, 0)
    window = RollingRate(12.0)
    turns: list[tuple[float, Intake]] = []
    for gap, count, failed in calls:
        now += gap
        totals = totals[0] + count, totals[1] + failed
        was_paused = switch.paused
        turn = switch.look(*totals, now)
        if not was_paused:
            window.add(count, failed, now)
            assert (turn is Intake.PAUSE) == window.exceeds(0.5, 10)
        if turn is not None:
            turns.append((now, turn))
        if turn is Intake.RESUME:
            window.clear()
            assert (switch.messages, switch.failures) == (0, 0)
    assert [turn for _, turn in turns] == [Intake.PAUSE if n % 2 == 0 else Intake.RESUME for n in range(len(turns))]
    for (paused_at, pause), (resumed_at, _) in itertools.pairwise(turns):
        assert pause is Intake.RESUME or resumed_at >= paused_at + 30.0
    assert switch.trips == sum(turn is Intake.PAUSE for _, turn in turns)


LOOKS = st.lists(
    st.tuples(
        st.floats(0.1, 8), st.sampled_from([0, 999, 1000, 5000]), st.sampled_from([0, 499, 500]), st.integers(0, 40),
        st.integers(0, 40),
    ),
    max_size=60,
)  # fmt: skip


@given(looks=LOOKS)
def test_levels_rise_at_once_fall_after_the_recovery_and_are_counted(
    looks: list[tuple[float, int, int, int, int]],
) -> None:
    """One threshold reached is a warning, two are active; a fall comes after recovery_seconds below, never sooner."""
    meter = BackpressureMeter(Backpressure(recovery_seconds=5.0))
    counters, now = RouteCounters(), 0.0
    history: list[tuple[float, int]] = []  # when -> thresholds reached
    order = list(BackpressureLevel)
    entered = dict.fromkeys(BackpressureLevel, 0)
    fell_at: list[float] = []
    for gap, pending, in_flight, fast, slow in looks:
        now += gap
        counters.duration_counts[2] += fast
        counters.duration_counts[8] += slow
        before = meter.level
        changed = meter.look(pending=pending, in_flight=in_flight, duration_counts=counters.duration_counts, now=now)
        status = meter.status
        reached = (pending >= 1000) + (in_flight >= 500) + (status.p95_seconds >= 5.0)
        history.append((now, min(reached, 2)))
        was, level = order.index(before), order.index(meter.level)
        assert level >= history[-1][1]
        assert changed == (was != level)
        entered[meter.level] += changed
        if level > was:
            assert level == history[-1][1]
        if level < was:
            fell_at.append(now)
            assert all(one < was for at, one in history if at > now - 5.0)
    assert meter.events == entered
    assert all(later - earlier >= 5.0 for earlier, later in itertools.pairwise(fell_at))


@given(
    durations=st.lists(st.tuples(st.floats(0, 20), st.lists(st.floats(0, 20), max_size=40)), min_size=1, max_size=40)
)
def test_the_percentile_is_in_the_bucket_of_the_true_one(durations: list[tuple[float, list[float]]]) -> None:
    """Of the durations of the window (between 55 and 65 s of it, as it is looked at), and 0 with fewer than twenty."""
    counters, rolling, now = RouteCounters(), RollingPercentile(60.0), 0.0
    rolling.look(counters.duration_counts, now)
    ended: list[tuple[float, float]] = []
    for gap, seconds in durations:
        now += gap
        for one in seconds:
            counters.take(0)
            counters.end("ok", one)
            ended.append((now, one))
        shown = rolling.look(counters.duration_counts, now)
        assert 0.0 <= shown <= DURATION_BOUNDS_SECONDS[-1]
        if now < 60.0:  # nothing has left the window
            assert shown == percentile(counters.duration_counts)
        if len([at for at, _ in ended if at > now - 85.0]) < 20:
            assert shown == 0.0


@given(seconds=st.lists(st.floats(0, 20), min_size=20, max_size=200))
def test_a_percentile_lies_between_the_bounds_that_hold_it(seconds: list[float]) -> None:
    """19 of 20 durations are at most the upper bound of its bucket, and not at most the lower one."""
    counters = RouteCounters()
    for one in seconds:
        counters.take(0)
        counters.end("ok", one)
    shown = percentile(counters.duration_counts)
    rank = 0.95 * len(seconds)
    reached = [bound for bound in DURATION_BOUNDS_SECONDS if sum(one <= bound for one in seconds) >= rank]
    upper = reached[0] if reached else DURATION_BOUNDS_SECONDS[-1]
    lower = max((bound for bound in DURATION_BOUNDS_SECONDS if bound < upper), default=0.0)
    assert lower < shown <= upper or shown == upper


def test_the_memory_of_the_levels_does_not_grow() -> None:
    """A day of looks keeps as many copies of the histogram as a minute's."""
    rolling, counts = RollingPercentile(60.0), [0] * 10
    for second in range(86_400):
        rolling.look(counts, float(second))
    assert len(rolling._copies) <= 14
    rate = RollingRate(60.0)
    before = sys.getsizeof(rate._calls)
    for second in range(86_400):
        rate.add(1, 1, float(second))
    assert sys.getsizeof(rate._calls) == before


def test_the_slowest_minute_is_forgotten() -> None:
    """Slow messages of an hour ago do not hold the level up, though nothing has come since."""
    meter = BackpressureMeter(Backpressure())
    counts = [0] * 10
    meter.look(pending=0, in_flight=0, duration_counts=counts, now=0.0)
    counts[-1] = 100
    assert meter.look(pending=0, in_flight=0, duration_counts=counts, now=1.0)
    levels = [meter.level]
    for second in range(2, 90):
        meter.look(pending=0, in_flight=0, duration_counts=counts, now=float(second))
        levels.append(meter.level)
    assert set(levels[:50]) == {BackpressureLevel.WARNING}
    assert levels[-1] is BackpressureLevel.INACTIVE


@pytest.mark.parametrize(
    "kind, options, words",
    [
        (KillSwitch, {"error_rate": 0.0}, "error_rate is 0.0; it must be more than 0 and at most 1"),
        (KillSwitch, {"pause_seconds": -1.0}, "pause_seconds is -1.0; it must be more than 0"),
        (KillSwitch, {"messages_min": 0}, "messages_min is 0; it must be at least 1"),
        (Backpressure, {"pending": 0}, "pending is 0; it must be at least 1"),
        (Backpressure, {"p95_seconds": 11.0}, "p95_seconds is 11.0; it must be more than 0 and at most 10.0"),
        (Backpressure, {"window_seconds": 0.0}, "window_seconds is 0.0; it must be more than 0"),
        (Backpressure, {"recovery_seconds": -0.1}, "recovery_seconds is -0.1; it must be 0 or more"),
    ],
)
def test_options_out_of_their_bounds_are_refused(kind: type[Any], options: dict[str, Any], words: str) -> None:
    """With the value and the bound."""
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        kind(**options)
