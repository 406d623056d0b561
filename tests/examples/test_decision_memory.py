"""What the decision router remembers is bounded, and ends; rates are kept."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.decision_router.rates import PER_MINUTE, Rates
from examples.decision_router.remembered import Remembered


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.floats(0.1, 5)), max_size=60), st.integers(1, 4))
def test_an_entry_lives_for_its_time_unless_room_is_needed(steps: list[tuple[int, float, float]], most: int) -> None:
    """What is got is what was put last, within its time; never more than the most, and what went early is counted."""
    memory: Remembered[int, float] = Remembered(1.0, most)
    model: dict[int, tuple[float, float]] = {}
    now = 0.0
    for key, wait, ttl in steps:
        now += wait
        memory.put(key, now, now, ttl_seconds=ttl)
        model[key] = (now + ttl, now)
        assert len(memory) <= most
        for one, (ends, value) in model.items():
            if memory.get(one, now) is not None:
                assert ends > now
                assert memory.get(one, now) == value
        assert memory.get(key, now) == now


def test_the_oldest_makes_room() -> None:
    """Above the most, what was put first is forgotten and counted; what has ended is not counted."""
    memory: Remembered[str, int] = Remembered(10.0, 2)
    memory.put("a", 1, 0.0)
    memory.put("b", 2, 1.0)
    memory.put("a", 3, 2.0)  # the younger one now
    memory.put("c", 4, 3.0)
    assert (memory.get("a", 3.0), memory.get("b", 3.0), memory.get("c", 3.0), memory.forgotten) == (3, None, 4, 1)
    memory.put("d", 5, 20.0)
    assert (len(memory), memory.forgotten) == (1, 1)
    assert memory.entry("d", 29.9) == (30.0, 5)
    assert memory.entry("d", 30.0) is None


@pytest.mark.parametrize("tier", ["free", "standard", "premium"])
def test_a_burst_is_spread(tier: str) -> None:
    """As many as the tier has at once; the next as many a minute later; who has a place keeps it."""
    rates, rate = Rates(), PER_MINUTE[tier]  # type: ignore[index]
    waits = [rates.wait("acme", tier, str(number), 0.0) for number in range(2 * rate)]  # type: ignore[arg-type]
    assert waits == [0.0] * rate + [60.0] * rate
    assert rates.wait("acme", tier, str(rate), 59.0) == 1.0  # type: ignore[arg-type]
    assert rates.wait("acme", tier, str(rate), 61.0) == 0.0  # type: ignore[arg-type]
    assert rates.wait("globex", tier, "another", 0.0) == 0.0  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.7))
def test_no_minute_has_more_than_the_rate(seed: int, gap: float) -> None:
    """The places that are given out, in any minute that begins anywhere, are at most the rate."""
    rates, now, chance = Rates(), 0.0, random.Random(seed)
    places: list[float] = []
    for number in range(400):
        now += chance.expovariate(1 / gap) if gap else 0.0
        delay = rates.wait("acme", "free", str(number), now)
        if delay <= rates.backlog_seconds:
            places.append(round(now + delay, 6))
    assert places == sorted(places)
    for first, last in zip(places, places[100:], strict=False):
        assert last - first >= 60.0 - 1e-5


def test_beyond_the_backlog_no_place_is_held() -> None:
    """Who would wait for more than the backlog is told how long, and asks again like everybody."""
    rates = Rates(backlog_seconds=60.0)
    for number in range(200):
        rates.wait("acme", "free", str(number), 0.0)
    assert rates.wait("acme", "free", "late", 0.0) == 120.0
    assert rates.wait("acme", "free", "later", 0.0) == 120.0
    assert rates.wait("acme", "free", "late", 121.0) == 0.0
