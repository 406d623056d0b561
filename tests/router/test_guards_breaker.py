"""Laws of the circuit breakers, over drawn histories beside a naive model that keeps all of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from beamline_trio.router._breaker import BREAKER_TRANSITIONS, Breaker, Breakers, BreakerState, BreakerTransition
from beamline_trio.router._rolling import SLOTS

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@attrs.define
class Naive:
    """One breaker that remembers every call, and looks all of them through."""

    options: Breaker
    state: BreakerState = CLOSED
    since: float = 0.0
    calls: list[tuple[float, bool]] = attrs.field(factory=list)  # that ended in this state
    trials: set[int] = attrs.field(factory=set)

    def admit(self, call: int, now: float) -> bool:
        """Whether a call may go."""
        if self.state is OPEN and now >= self.since + self.options.open_seconds:
            self.turn(HALF_OPEN, now)
        if self.state is OPEN or (self.state is HALF_OPEN and len(self.trials) >= self.options.half_open_calls):
            return False
        self.trials.add(call)
        return True

    def settle(self, call: int, failed: bool, now: float) -> None:
        """A call ended; of an earlier state it says nothing."""
        if call not in self.trials:
            return
        self.trials.discard(call)
        self.calls.append((now, failed))
        if self.state is HALF_OPEN:
            if failed:
                self.turn(OPEN, now)
            elif sum(not failed for _, failed in self.calls) >= self.options.successes:
                self.turn(CLOSED, now)
        elif failed and (self.in_a_row() or self.too_many(now)):
            self.turn(OPEN, now)

    def in_a_row(self) -> bool:
        """Whether the last calls all failed."""
        last = self.calls[-self.options.failures :]
        return len(last) == self.options.failures and all(failed for _, failed in last)

    def too_many(self, now: float) -> bool:
        """Whether the share of failures in the window is too high."""
        width = self.options.window_seconds / SLOTS
        window = [failed for at, failed in self.calls if at // width > now // width - SLOTS]
        return len(window) >= self.options.window_calls_min and sum(window) >= self.options.error_rate * len(window)

    def turn(self, state: BreakerState, now: float) -> None:
        """Another state begins."""
        self.state, self.since = state, now
        self.calls, self.trials = [], set()


class Histories(RuleBasedStateMachine):
    """Calls of a few keys begin, end, are withdrawn, while time passes."""

    @initialize(
        failures=st.integers(1, 6),
        half_open_calls=st.integers(1, 4),
        successes=st.integers(1, 4),
        error_rate=st.sampled_from([0.25, 0.5, 1.0]),
        window_calls_min=st.integers(1, 8),
    )
    def begin(self, successes: int, half_open_calls: int, **options: Any) -> None:
        """With drawn options."""
        self.options = Breaker(
            open_seconds=20.0,
            window_seconds=12.0,
            latency_seconds=5.0,
            successes=min(successes, half_open_calls),
            half_open_calls=half_open_calls,
            **options,
        )
        self.told: list[BreakerTransition] = []
        self.breakers = Breakers(self.options, self.told.append)
        self.naive: dict[Hashable, Naive] = {}
        self.under_way: list[tuple[int, str, int]] = []
        self.now = 100.0
        self.number = 0
        self.refused = 0

    @rule(key=st.sampled_from("ab"))
    def admit(self, key: str) -> None:
        """A call of a key wants to go."""
        self.number += 1
        naive = self.naive.setdefault(key, Naive(self.options))
        admitted = self.breakers.admit(key, self.now)
        assert (admitted is not None) == naive.admit(self.number, self.now)
        if admitted is None:
            self.refused += 1
            assert 0 <= self.breakers.retry_after(key, self.now) <= self.options.open_seconds
        else:
            self.under_way.append((self.number, key, admitted))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1000), failed=st.booleans(), slow=st.sampled_from([0.0, 4.9, 5.0]))
    def settle(self, which: int, failed: bool, slow: float) -> None:
        """A call ends: well, badly, or slowly, which is badly too."""
        number, key, admitted = self.under_way.pop(which % len(self.under_way))
        self.breakers.settle(key, admitted, failed=failed, seconds=slow, now=self.now)
        self.naive[key].settle(number, failed or slow >= 5.0, self.now)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1000))
    def withdraw(self, which: int) -> None:
        """A call is not made."""
        number, key, admitted = self.under_way.pop(which % len(self.under_way))
        self.breakers.withdraw(key, admitted)
        self.naive[key].trials.discard(number)

    @rule(key=st.sampled_from("ab"), count=st.integers(1, 6), failed=st.booleans())
    def run_of_calls(self, key: str, count: int, failed: bool) -> None:
        """Calls one after another, all with one end."""
        for _ in range(count):
            before = len(self.under_way)
            self.admit(key)
            if len(self.under_way) > before:
                self.settle(before, failed, 0.0)

    @rule(seconds=st.floats(0.1, 30.0))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += seconds

    @invariant()
    def agrees(self) -> None:
        """The states, the counts of them and of the transitions agree with the naive model and with what was told."""
        states = [naive.state for naive in self.naive.values()]
        assert self.breakers.states == {state: states.count(state) for state in BreakerState}
        told = [(one.before, one.after) for one in self.told]
        assert self.breakers.transitions == {pair: told.count(pair) for pair in BREAKER_TRANSITIONS}
        assert self.breakers.refused == self.refused
        assert len(self.breakers) == len(self.naive)

    @invariant()
    def does_not_flap(self) -> None:
        """A key opens, after the first time, only once it was half open, which takes open_seconds each time."""
        for key in self.naive:
            opened = sum(one.key == key and one.after is OPEN for one in self.told)
            # each opening but the last was followed by open_seconds in which the key could not change
            assert max(opened - 1, 0) * self.options.open_seconds <= self.now - 100.0 + 1e-6


TestHistories = Histories.TestCase


class Memory(RuleBasedStateMachine):
    """Many keys, of which a few can be kept."""

    @initialize(keys_max=st.integers(1, 20))
    def begin(self, keys_max: int) -> None:
        """With room for a few."""
        self.keys_max = keys_max
        self.breakers = Breakers(Breaker(keys_max=keys_max, failures=1))
        self.open: set[int] = set()
        self.under_way: list[tuple[int, int]] = []

    @rule(key=st.integers(0, 60))
    def admit(self, key: int) -> None:
        """A call begins."""
        admitted = self.breakers.admit(key, 0.0)
        assert (admitted is None) == (key in self.open)
        if admitted:
            self.under_way.append((key, admitted))

    @precondition(lambda self: self.under_way)
    @rule(failed=st.booleans())
    def settle(self, failed: bool) -> None:
        """A call ends; one failure opens."""
        key, admitted = self.under_way.pop()
        if failed and key not in self.open:
            self.open.add(key)
        self.breakers.settle(key, admitted, failed=failed, seconds=0.0, now=0.0)

    @invariant()
    def bounded(self) -> None:
        """Never more than keys_max, and none that is open was forgotten."""
        assert len(self.breakers) <= self.keys_max
        assert self.breakers.states[OPEN] == len(self.open)
        assert sum(self.breakers.states.values()) == len(self.breakers)


TestMemory = Memory.TestCase


def test_the_contract_numbers() -> None:
    """Five failures open it, 60 s later three calls may go, and two successes close it."""
    breakers = Breakers(Breaker())
    for _ in range(5):
        admitted = breakers.admit("k", 0.0)
        assert admitted is not None
        breakers.settle("k", admitted, failed=True, seconds=0.1, now=0.0)
    assert breakers.admit("k", 59.9) is None
    assert breakers.retry_after("k", 59.0) == 1.0
    trials = [breakers.admit("k", 60.0) for _ in range(4)]
    assert [trial is not None for trial in trials] == [True, True, True, False]
    for trial in trials[:2]:
        assert trial is not None
        breakers.settle("k", trial, failed=False, seconds=0.1, now=61.0)
    assert breakers.states == {CLOSED: 1, OPEN: 0, HALF_OPEN: 0}


def test_half_of_the_calls_of_a_minute_failing_opens_it_without_a_row() -> None:
    """A success between failures does not hide them."""
    breakers = Breakers(Breaker())
    for number in range(10):
        admitted = breakers.admit("k", number)
        assert admitted is not None
        breakers.settle("k", admitted, failed=number % 2 == 1, seconds=0.1, now=number)
    assert breakers.states[OPEN] == 1


def test_with_all_keys_open_a_new_key_is_not_guarded_and_counted() -> None:
    """Its calls go, and what becomes of them is not looked at."""
    breakers = Breakers(Breaker(keys_max=1, failures=1))
    admitted = breakers.admit("open", 0.0)
    assert admitted is not None
    breakers.settle("open", admitted, failed=True, seconds=0.0, now=0.0)
    for _ in range(3):
        admitted = breakers.admit("new", 0.0)
        assert admitted is not None
        breakers.settle("new", admitted, failed=True, seconds=0.0, now=0.0)
    assert (breakers.unguarded, len(breakers), breakers.admit("open", 1.0)) == (3, 1, None)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"failures": 0}, "failures is 0; it must be at least 1"),
        ({"open_seconds": 0.0}, "open_seconds is 0.0; it must be more than 0"),
        ({"latency_seconds": float("nan")}, "latency_seconds is nan; it must be more than 0"),
        ({"error_rate": 1.5}, "error_rate is 1.5; it must be more than 0 and at most 1"),
        ({"successes": 4}, "successes is 4, half_open_calls 3"),
        ({"keys_max": 0}, "keys_max is 0; it must be at least 1"),
    ],
)
def test_options_out_of_their_bounds_are_refused(options: dict[str, Any], words: str) -> None:
    """With the value and the bound."""
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        Breaker(**options)
