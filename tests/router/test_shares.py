"""How the routes of one router share its slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from beamline_trio.connection import OptionsError
from beamline_trio.router._shares import Share, Shares


class SharesMachine(RuleBasedStateMachine):
    """Routes that ask, give back and give up, in any order."""

    @initialize(slots=st.integers(1, 8), weights=st.lists(st.integers(1, 4), min_size=1, max_size=5))
    def start(self, slots: int, weights: list[int]) -> None:
        self.slots = slots
        self.crowded = len(weights) > slots  # slots may be missing until some of that time are given back
        self.shares = Shares(slots)
        self.routes = [self.shares.join(f"route {n}", weight) for n, weight in enumerate(weights)]
        self.held = [0 for _ in self.routes]
        self.waiting = [0 for _ in self.routes]

    def granted(self, served: list[Share]) -> None:
        for share in served:
            index = self.routes.index(share)
            assert self.waiting[index] > 0
            self.waiting[index] -= 1
            self.held[index] += 1

    @rule(data=st.data())
    def acquire(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.routes) - 1))
        if self.shares.acquire(self.routes[index]):
            self.held[index] += 1
        else:
            self.waiting[index] += 1

    @precondition(lambda self: any(self.held))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from([n for n, held in enumerate(self.held) if held]))
        self.held[index] -= 1
        served = self.shares.release(self.routes[index])
        assert len(served) <= 1
        self.granted(served)

    @precondition(lambda self: any(self.waiting))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from([n for n, waiting in enumerate(self.waiting) if waiting]))
        self.waiting[index] -= 1
        self.shares.withdraw(self.routes[index])

    @precondition(lambda self: len(self.routes) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        idle = [n for n in range(len(self.routes)) if not self.held[n] and not self.waiting[n]]
        if idle:
            index = data.draw(st.sampled_from(idle))
            served = self.shares.leave(self.routes[index])
            for rows in (self.routes, self.held, self.waiting):
                rows.pop(index)
            self.granted(served)

    @invariant()
    def slots_are_bounded_and_nobody_waits_for_nothing(self) -> None:
        if not hasattr(self, "slots"):
            return
        assert sum(self.held) + self.shares.free == self.slots
        assert [share.held for share in self.routes] == self.held
        assert [share.waiting for share in self.routes] == self.waiting
        without = sum(not held for held in self.held)
        if len(self.routes) <= self.slots:
            # Whatever is not kept for an idle route is in use before anybody waits.
            assert not any(self.waiting) or self.shares.free <= without
        else:
            assert not any(self.waiting) or not self.shares.free
        if not self.crowded:
            assert self.shares.free >= without
            assert not any(w and not h for w, h in zip(self.waiting, self.held, strict=True))


TestSharesMachine = SharesMachine.TestCase


@given(weights=st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_routes_that_always_want_more_hold_slots_by_their_weights(weights: list[int]) -> None:
    """When all routes always want more, each comes to hold its weight's part of the slots, whoever was there first."""
    slots = 4 * sum(weights)
    shares = Shares(slots)
    routes = [shares.join(str(n), weight) for n, weight in enumerate(weights)]
    for route in routes:  # the first takes all it can
        for _ in range(slots * 2):
            shares.acquire(route)
    for _ in range(slots * 3):  # the one that holds the most gives back, and wants again
        most = max(routes, key=lambda route: route.held / route.weight)
        shares.release(most)
        shares.acquire(most)
    assert [route.held for route in routes] == pytest.approx([4 * weight for weight in weights], abs=1)


def test_a_route_of_slow_handlers_leaves_every_other_a_slot() -> None:
    """However many slots one route wants, each of the others gets one at once."""
    shares = Shares(8)
    slow, *others = [shares.join(name) for name in "abcd"]
    assert [shares.acquire(slow) for _ in range(20)].count(True) == 5
    assert all(shares.acquire(other) for other in others)
    assert not shares.acquire(others[0])


def test_a_route_that_leaves_frees_the_slot_kept_for_it() -> None:
    """The slot that was kept for an idle route goes to one that waits when the idle one leaves."""
    shares = Shares(2)
    busy, idle = shares.join("busy"), shares.join("idle")
    assert shares.acquire(busy)
    assert not shares.acquire(busy)
    assert shares.leave(idle) == [busy]
    assert busy.held == 2


def test_bounds_of_the_options() -> None:
    """No slots and no weight are refused."""
    with pytest.raises(OptionsError, match="concurrency_max is 0"):
        Shares(0)
    with pytest.raises(OptionsError, match="weight of route 'a' is 0"):
        Shares(1).join("a", 0)
