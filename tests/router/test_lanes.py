"""The queue of a route: order within keys, turns and quotas of tenants, bounds, and what a drain gives back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from beamline_trio.connection import InternalError, OptionsError
from beamline_trio.router._lane_items import Item
from beamline_trio.router._lanes import Lanes
from beamline_trio.router._rate import Rate

KEYS = st.sampled_from([None, "a", "b", "c"])
TENANTS = st.sampled_from([None, "x", "y", "z"])
MESSAGES_MAX = 12
BYTES_MAX = 40
HELD_MAX = 4
WEIGHTS = {"x": 3, None: 2}


def put_all(lanes: Lanes[int], rows: Sequence[tuple[str | None, str | None]]) -> None:
    for number, (key, tenant) in enumerate(rows):
        lanes.put(number, key=key, tenant=tenant, size=1)


def take_all(lanes: Lanes[int]) -> list[Item[int]]:
    taken: list[Item[int]] = []
    while (item := lanes.take(0.0)) is not None:
        taken.append(item)
    return taken


class Put:
    """One item of the model."""

    def __init__(self, number: int, key: str | None, tenant: str | None, size: int, held: bool) -> None:
        self.number, self.key, self.tenant, self.size, self.held = number, key, tenant, size, held


class LanesMachine(RuleBasedStateMachine):
    """Lanes beside a list that is searched anew for every question."""

    def __init__(self) -> None:
        super().__init__()
        self.quota = 2
        self.lanes: Lanes[int] = Lanes(
            messages_max=MESSAGES_MAX, bytes_max=BYTES_MAX, held_max=HELD_MAX, quota=self.quota, weights=WEIGHTS
        )
        self.queued: list[Put] = []
        self.taken: dict[int, tuple[Put, Item[int]]] = {}
        self.puts = 0

    def takeable(self) -> list[Put]:
        """What could be taken now, by the laws alone."""
        busy = {put.key for put, _ in self.taken.values() if put.key is not None}
        working = Counter(put.tenant for put, _ in self.taken.values())
        found: list[Put] = []
        for put in self.queued:
            if put.key is not None and put.key in busy:
                continue
            if put.key is not None:
                busy.add(put.key)
            if working[put.tenant] < self.quota:
                found.append(put)
        return found

    def whole(self) -> list[Put]:
        """What is queued and not held."""
        return [put for put in self.queued if not put.held]

    def has_place(self, held: bool) -> bool:
        if held:
            return sum(put.held for put in self.queued) < HELD_MAX
        return len(self.whole()) < MESSAGES_MAX and sum(put.size for put in self.whole()) < BYTES_MAX

    def has_room(self, tenant: str | None) -> bool:
        """Within its weight times what is free, in messages and in bytes."""
        free = MESSAGES_MAX - len(self.whole()), BYTES_MAX - sum(put.size for put in self.whole())
        mine = [put for put in self.whole() if put.tenant == tenant]
        used = len(mine), sum(put.size for put in mine)
        weight = WEIGHTS.get(tenant, 1)
        return used[0] < weight * free[0] and used[1] < weight * free[1]

    @rule(key=KEYS, tenant=TENANTS, size=st.integers(0, 50), held=st.booleans())
    def put(self, key: str | None, tenant: str | None, size: int, held: bool) -> None:
        if not self.has_place(held):
            with pytest.raises(InternalError, match="queue_messages_max"):
                self.lanes.put(self.puts, key=key, tenant=tenant, size=size, held=held)
            return
        self.lanes.put(self.puts, key=key, tenant=tenant, size=size, held=held)
        self.queued.append(Put(self.puts, key, tenant, size, held))
        self.puts += 1

    @rule()
    def take(self) -> None:
        allowed = {put.number: put for put in self.takeable()}
        item = self.lanes.take(0.0)
        if item is None:
            assert not allowed
            return
        put = allowed[item.value]
        assert (item.key, item.tenant, item.size) == (put.key, put.tenant, put.size)
        self.queued.remove(put)
        self.taken[put.number] = (put, item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        _, item = self.taken.pop(data.draw(st.sampled_from(sorted(self.taken))))
        self.lanes.done(item)

    @precondition(lambda self: self.queued)
    @rule()
    def drain(self) -> None:
        left = self.lanes.drain()
        assert sorted(left) == [put.number for put in self.queued]
        for key in ("a", "b", "c"):
            of_key = {put.number for put in self.queued if put.key == key}
            assert [number for number in left if number in of_key] == sorted(of_key)
        self.queued.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.lanes) == len(self.queued)
        assert self.lanes.bytes == sum(put.size for put in self.whole())
        assert self.lanes.full == (not self.has_place(held=True))
        assert self.lanes.next_ready(5.0) == (5.0 if self.takeable() else math.inf)
        for tenant in (None, "x", "y", "z"):
            assert self.lanes.has_room(tenant) == self.has_room(tenant)

    @invariant()
    def nothing_is_remembered_without_need(self) -> None:
        live = [*self.queued, *(put for put, _ in self.taken.values())]
        assert self.lanes.idle == (not live)
        assert set(self.lanes._lanes) == {put.key for put in live} - {None}
        assert set(self.lanes._accounts) == {put.tenant for put in live} | {None}

    def teardown(self) -> None:
        """Everything put and not given back is taken once, and then nothing is left."""
        while self.queued or self.taken:
            self.take()
            for number in sorted(self.taken):
                self.lanes.done(self.taken.pop(number)[1])
        assert self.lanes.idle


TestLanesMachine = LanesMachine.TestCase


@given(rows=st.lists(st.tuples(KEYS, TENANTS), max_size=60), workers=st.integers(1, 5))
def test_every_item_is_worked_on_once_and_in_the_order_of_its_key(
    rows: list[tuple[str | None, str | None]], workers: int
) -> None:
    """However many workers take, each item is taken once, and a key's items one by one in the order of the puts."""
    lanes: Lanes[int] = Lanes(quota=2)
    put_all(lanes, rows)
    order: list[int] = []
    taken: list[Item[int]] = []
    while lanes or taken:
        while len(taken) < workers and (item := lanes.take(0.0)) is not None:
            assert item.key is None or item.key not in [other.key for other in taken]
            taken.append(item)
            order.append(item.value)
        lanes.done(taken.pop(0))
    assert sorted(order) == list(range(len(rows)))
    for key in ("a", "b", "c"):
        of_key = [number for number in order if rows[number][0] == key]
        assert of_key == sorted(of_key)
    assert lanes.idle


@given(weights=st.dictionaries(st.sampled_from("pqrs"), st.integers(1, 7), min_size=1), rounds=st.integers(1, 4))
def test_in_every_round_each_tenant_gets_its_weight(weights: dict[str, int], rounds: int) -> None:
    """While all tenants have enough queued, each round of takes gives every tenant exactly its weight."""
    lanes: Lanes[str] = Lanes(weights=weights)
    for tenant, weight in weights.items():
        for _ in range(weight * rounds):
            lanes.put(tenant, key=None, tenant=tenant, size=1)
    for _ in range(rounds):
        turn = Counter(item.value for _ in range(sum(weights.values())) if (item := lanes.take(0.0)) is not None)
        assert turn == weights


@given(flood=st.integers(1, 200), others=st.integers(1, 5))
def test_a_flood_of_one_tenant_delays_another_by_one_turn(flood: int, others: int) -> None:
    """A tenant that comes behind a flood is served after at most one turn of each of the others."""
    lanes: Lanes[str] = Lanes(messages_max=2000)
    for number in range(others):
        for _ in range(flood):
            lanes.put(f"flood {number}", key=None, tenant=number, size=1)
    lanes.put("late", key=None, tenant="late", size=1)
    taken = [item.value for _ in range(others + 1) if (item := lanes.take(0.0)) is not None]
    assert "late" in taken


def test_a_tenant_at_its_quota_waits_and_the_others_do_not() -> None:
    """A tenant with `quota` taken gets no more until one is done; the others are served meanwhile."""
    lanes: Lanes[int] = Lanes(quota=2)
    put_all(lanes, [(None, "slow")] * 5 + [(None, "quick")])
    first = take_all(lanes)
    assert [item.tenant for item in first] == ["slow", "quick", "slow"]
    assert lanes.next_ready(0.0) == math.inf
    lanes.done(first[0])
    assert [item.value for item in take_all(lanes)] == [2]


@given(floods=st.integers(1, 6))
def test_tenants_that_flood_leave_room_for_the_others(floods: int) -> None:
    """Where has_room is asked, one that has nothing queued finds room however many others flood the queue."""
    lanes: Lanes[int] = Lanes(messages_max=60)
    for number in range(200):
        for tenant in range(floods):
            if lanes.has_room(tenant):
                lanes.put(number, key=None, tenant=tenant, size=1)
    assert not lanes.full
    assert lanes.has_room("late")
    held = Counter(item.tenant for item in take_all(lanes))
    assert max(held.values()) - min(held.values()) <= 1


def test_parts_of_the_queue_are_by_weight() -> None:
    """Of tenants that flood it each has its weight's part, and one part of weight 1 stays free."""
    lanes: Lanes[int] = Lanes(messages_max=60, weights={"three": 3})
    for number in range(200):
        for tenant in ("one", "three", "three", "three"):
            if lanes.has_room(tenant):
                lanes.put(number, key=None, tenant=tenant, size=1)
    assert Counter(item.tenant for item in take_all(lanes)) == {"one": 12, "three": 36}


def test_large_messages_leave_room_for_those_of_others() -> None:
    """A tenant has its part of the bytes too."""
    lanes: Lanes[int] = Lanes(messages_max=1000, bytes_max=100)
    while lanes.has_room("large"):
        lanes.put(1, key=None, tenant="large", size=10)
    assert len(lanes) == 5
    assert lanes.has_room("other")


def test_what_is_held_leaves_the_queue_as_it_is() -> None:
    """It stands behind the others of its tenant, counts for its own limit, and only that makes the lanes full."""
    lanes: Lanes[int] = Lanes(messages_max=2, held_max=3)
    lanes.put(0, key=None, tenant="t", size=1)
    for number in (1, 2, 3):
        assert not lanes.full
        lanes.put(number, key=None, tenant="t", size=0, held=True)
    assert lanes.full
    assert lanes.has_room("other")
    assert (len(lanes), lanes.bytes) == (4, 1)
    assert [item.value for item in take_all(lanes)] == [0, 1, 2, 3]
    assert not lanes.full


def test_a_tenant_begins_to_overflow_once_until_it_was_idle() -> None:
    """However often it finds no room; not again before it has had nothing here."""
    lanes: Lanes[int] = Lanes(messages_max=2)
    for _ in range(2):
        lanes.put(0, key=None, tenant="t", size=1)
        assert [lanes.overflow("t") for _ in range(3)] == [True, False, False]
        item = lanes.take(0.0)
        assert item is not None
        assert not lanes.overflow("t")
        lanes.done(item)
    assert lanes.overflow("nobody")


def test_one_larger_than_the_queue_passes() -> None:
    """An item of more bytes than the whole queue takes is taken in when there is room for one byte."""
    lanes: Lanes[int] = Lanes(bytes_max=10)
    lanes.put(1, key=None, tenant=None, size=1000)
    assert lanes.full
    assert lanes.take(0.0) is not None
    assert not lanes.full


@pytest.mark.parametrize("bad", ["key", "tenant"])
def test_what_cannot_be_hashed_changes_nothing(bad: str) -> None:
    """A key or tenant that cannot be hashed raises TypeError, and the queue is as before."""
    lanes: Lanes[int] = Lanes()
    with pytest.raises(TypeError):
        lanes.put(1, key=[] if bad == "key" else "k", tenant=[] if bad == "tenant" else "t", size=1)  # type: ignore[arg-type]
    assert lanes.idle
    assert not lanes
    assert lanes.drain() == []


def test_the_rate_counts_only_what_is_taken() -> None:
    """A take that finds nothing ready uses up nothing of the rate; a take beyond the rate gives None and a time."""
    lanes: Lanes[int] = Lanes(rate=Rate(10.0, burst=2))
    for _ in range(5):
        assert lanes.take(0.0) is None
    put_all(lanes, [(None, None)] * 3)
    assert len(take_all(lanes)) == 2
    assert lanes.next_ready(0.0) == pytest.approx(0.1)
    assert lanes.take(lanes.next_ready(0.0)) is not None


def test_the_rate_can_be_changed_while_things_are_queued() -> None:
    """set_rate holds from now on: faster, none, and again one; a bad one leaves the old in place."""
    lanes: Lanes[int] = Lanes()
    put_all(lanes, [(None, None)] * 20)
    lanes.set_rate(0.001, 0.0)
    assert len(take_all(lanes)) == 1
    with pytest.raises(OptionsError, match="rate is 0"):
        lanes.set_rate(0, 0.0)
    assert lanes.next_ready(0.0) == pytest.approx(1000.0)
    lanes.set_rate(100.0, 0.0)
    assert lanes.next_ready(0.0) <= 0.01
    lanes.set_rate(None, 0.0)
    assert len(take_all(lanes)) == 19


@pytest.mark.parametrize("options", [{"messages_max": 0}, {"bytes_max": 0}, {"quota": 0}, {"weights": {"t": 0}}])
def test_bounds_of_the_options(options: dict[str, object]) -> None:
    """An option that cannot work is refused with its value and bound."""
    with pytest.raises(OptionsError, match="at least 1"):
        Lanes(**options)  # type: ignore[arg-type]


@given(weight=st.integers(1, 3), before=st.integers(1, 7))
def test_a_tenant_that_comes_back_begins_a_turn_of_its_own_weight(weight: int, before: int) -> None:
    """However a tenant's last turn ended (its line empty, its quota reached), its next is of its weight, no more."""
    lanes: Lanes[str] = Lanes(weights={"x": weight})
    for _ in range(before):  # one at a time, and never forgotten: the first stays taken
        lanes.put("x", key=None, tenant="x", size=1)
        assert lanes.take(0.0) is not None
    for _ in range(10):
        lanes.put("x", key=None, tenant="x", size=1)
        lanes.put("y", key=None, tenant="y", size=1)
    taken = [item.value for _ in range(weight + 1) if (item := lanes.take(0.0)) is not None]
    assert taken == ["x"] * weight + ["y"]
