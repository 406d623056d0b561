"""The delays before reconnecting: doubled up to a cap, spread by chance, short while an outage is young."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection import ClientOptions, next_delay
from beamline_trio.connection._backoff import (
    EARLY_DELAY_MAX_SECONDS,
    EARLY_SECONDS,
    FIRST_JITTER_SECONDS,
    LATE_LESS_SECONDS,
)

LATE = 100.0
durations = st.one_of(st.floats(0.001, 1.0), st.floats(0.001, 1e6))
ages = st.one_of(st.floats(0, 10), st.floats(0, 1e9))
jitters = st.sampled_from(["upper_half", "full", "none"])
passes = st.one_of(st.integers(0, 20), st.integers(0, 10**6))


def options_of(base: float, cap: float, jitter: Any) -> ClientOptions:
    return ClientOptions(reconnect_delay_seconds=base, reconnect_delay_max_seconds=cap, reconnect_jitter=jitter)


@pytest.mark.parametrize("age", [0.0, EARLY_SECONDS, LATE, 1e9])
def test_the_delays_of_the_contract(age: float) -> None:
    """Without jitter, base 0.5 and max 2, the first attempt comes at once and the next after 0.5, 1, 2, 2 s."""
    options = options_of(0.5, 2.0, "none")
    assert [next_delay(n, age, options, random.Random(0)) for n in range(6)] == [0, 0.5, 1, 2, 2, 2]


def test_the_defaults() -> None:
    """Without jitter, the delays of the defaults are 0.1, 0.2, 0.4, ... up to 5 s."""
    options = ClientOptions(reconnect_jitter="none")
    delays = [next_delay(n, LATE, options, random.Random(0)) for n in range(9)]
    assert delays == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


@pytest.mark.parametrize("jitter", ["upper_half", "full", "none"])
def test_no_delay_is_above_the_max_in_21_attempts(jitter: str) -> None:
    """Whatever the jitter, 21 attempts never wait longer than the max, and the last ones reach for it."""
    options = options_of(0.5, 2.0, jitter)
    rng = random.Random(7)
    delays = [
        next_delay(n, age, options, rng) for age in (0.0, EARLY_SECONDS, LATE) for n in range(21) for _ in range(50)
    ]
    assert 0 <= min(delays) <= max(delays) <= 2.0
    assert max(delays) > 1.9


@pytest.mark.parametrize("base", [0.001, 0.1, 0.499])
def test_a_short_outage_is_not_slept_through(base: float) -> None:
    """In the first 3 s no delay is longer than half a second, and then none longer than the outage less 1.5 s."""
    options = options_of(base, 30.0, "none")

    def longest(age: float) -> float:
        return max(next_delay(n, age, options, random.Random(0)) for n in range(41))

    assert EARLY_DELAY_MAX_SECONDS == 0.5
    assert [longest(age) for age in (0.0, 1.0, EARLY_SECONDS - 0.001)] == [0.5] * 3
    assert [longest(age) for age in (3.0, 10.0, 31.5, 60.0, 1e6)] == [1.5, 8.5, 30.0, 30.0, 30.0]


@pytest.mark.parametrize("base", [0.5, 2.0, 60.0])
def test_a_base_of_half_a_second_is_kept(base: float) -> None:
    """Who sets a base of half a second or more gets it and its doubles from the start, up to the max."""
    options = options_of(base, 30.0, "none")
    for age in (0.0, 1.0, 1e6):
        delays = [next_delay(n, age, options, random.Random(0)) for n in range(1, 8)]
        assert delays == [min(base * 2**n, 30.0) for n in range(7)]


def test_a_thousand_clients_do_not_come_in_one_instant() -> None:
    """With jitter the first pass comes within 100 ms (or base or max, if shorter), spread out; without, at once."""
    options = ClientOptions(reconnect_delay_seconds=1.0)
    rngs = [random.Random(seed) for seed in range(1000)]
    first = sorted(next_delay(0, 0.0, options, rng) for rng in rngs)
    assert 0 <= first[0] < 0.002
    assert 0.098 < first[-1] <= FIRST_JITTER_SECONDS == 0.1
    assert all(later - earlier < 0.005 for earlier, later in itertools.pairwise(first))
    assert next_delay(0, 0.0, options_of(1.0, 5.0, "none"), random.Random(0)) == 0.0
    short = [
        next_delay(0, 0.0, options_of(*bounds, "full"), rng) for bounds in ((0.01, 5.0), (5.0, 0.01)) for rng in rngs
    ]
    assert 0.009 < max(short) <= 0.01


@given(passes, ages, durations, durations, jitters, st.integers())
def test_every_delay_keeps_its_bounds(n: int, age: float, base: float, cap: float, jitter: str, seed: int) -> None:
    """For all options: never above the max nor above base x 2^(n-1); `none` is that delay, `upper_half` between its
    half and itself, `full` between zero and itself; and the same PRNG gives the same delay.
    """
    options = options_of(base, cap, jitter)
    delay = next_delay(n, age, options, random.Random(seed))
    assert delay == next_delay(n, age, options, random.Random(seed))
    assert 0 <= delay <= cap
    if n == 0:
        assert delay <= (0 if jitter == "none" else FIRST_JITTER_SECONDS)
        return
    whole = min(base * 2 ** min(n - 1, 100), cap)
    if base < EARLY_DELAY_MAX_SECONDS:
        whole = min(whole, EARLY_DELAY_MAX_SECONDS if age < EARLY_SECONDS else age - LATE_LESS_SECONDS)
    match jitter:
        case "none":
            assert delay == whole
        case "upper_half":
            assert whole / 2 <= delay <= whole
        case _:
            assert 0 <= delay <= whole


@pytest.mark.parametrize("jitter, low", [("upper_half", 1.0), ("full", 0.0)])
def test_jitter_uses_its_whole_range(jitter: str, low: float) -> None:
    """Of a delay of 2 s, `upper_half` draws from 1 to 2 s and `full` from 0 to 2 s, evenly."""
    options = options_of(0.5, 2.0, jitter)
    rng = random.Random(3)
    delays = [next_delay(9, LATE, options, rng) for _ in range(2000)]
    assert low <= min(delays) < low + 0.01
    assert 1.99 < max(delays) <= 2.0
    assert sum(delays) / len(delays) == pytest.approx((low + 2.0) / 2, abs=0.05)
