"""Batches by size and time, with order by key, quotas and a rate."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from beamline_trio.connection import InternalError, OptionsError
from beamline_trio.router._batches import Batch, Batches
from beamline_trio.router._lane_items import Item
from beamline_trio.router._lanes import Lanes
from beamline_trio.router._rate import Rate

KEYS = st.sampled_from([None, "a", "b", "c"])
TENANTS = st.sampled_from([None, "x", "y"])
SIZE, SECONDS, QUOTA, MESSAGES_MAX = 4, 5.0, 5, 14


def make(size: int = SIZE, seconds: float = SECONDS, rate: Rate | None = None) -> Batches[int]:
    return Batches(Lanes(rate=rate), Batch(size, seconds))


def put_all(batches: Batches[int], count: int, *, key: str | None = None, now: float = 0.0) -> None:
    for number in range(count):
        batches.put(number, key=key, tenant=None, size=1, now=now)


def values(batch: list[Item[int]] | None) -> list[int] | None:
    return None if batch is None else [item.value for item in batch]


class BatchesMachine(RuleBasedStateMachine):
    """Batches beside a list of what is queued and what is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: Batches[int] = Batches(
            Lanes(messages_max=MESSAGES_MAX, quota=QUOTA, weights={"x": 2}), Batch(SIZE, SECONDS)
        )
        self.now = 0.0
        self.rows: list[tuple[str | None, str | None, float]] = []
        self.queued: list[int] = []
        self.taken: list[list[Item[int]]] = []

    @rule(key=KEYS, tenant=TENANTS)
    def put(self, key: str | None, tenant: str | None) -> None:
        number = len(self.rows)
        if len(self.queued) >= MESSAGES_MAX:
            with pytest.raises(InternalError):
                self.batches.put(number, key=key, tenant=tenant, size=3, now=self.now)
            return
        self.batches.put(number, key=key, tenant=tenant, size=3, now=self.now)
        self.rows.append((key, tenant, self.now))
        self.queued.append(number)

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        hint = self.batches.next_ready(self.now)
        batch = self.batches.take(self.now)
        if batch is None:
            self.forming_is_maximal()
            return
        assert hint <= self.now
        assert 1 <= len(batch) <= SIZE
        for item in batch:
            self.queued.remove(item.value)
        for key in ("a", "b", "c"):
            mine = [item.value for item in batch if item.key == key]
            assert mine == sorted(mine)
            if mine:  # nothing older of the key is left behind, and no other batch has it
                assert all(number > mine[-1] for number in self.queued if self.rows[number][0] == key)
                assert not any(item.key == key for other in self.taken for item in other)
        self.taken.append(batch)
        working = Counter(item.tenant for other in self.taken for item in other)
        assert all(count <= QUOTA for count in working.values())

    def forming_is_maximal(self) -> None:
        """No batch was given out: it has neither its size nor its time, and nobody else may join."""
        forming = [item.value for item in self.batches._forming]
        assert len(forming) < SIZE
        assert all(self.rows[number][2] + SECONDS > self.now for number in forming)
        assert not (forming and self.batches.full)
        busy = {item.key for batch in self.taken for item in batch} - {None}
        working = Counter(item.tenant for batch in self.taken for item in batch)
        working.update(self.rows[number][1] for number in forming)
        for number in self.queued:
            key, tenant, _ = self.rows[number]
            if number in forming or key in busy:
                continue
            assert working[tenant] >= QUOTA
            busy |= {key} - {None}
        due = min((self.rows[number][2] + SECONDS for number in forming), default=math.inf)
        assert self.batches.next_ready(self.now) == due

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        self.batches.done(self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))))

    @rule()
    def drain(self) -> None:
        left = self.batches.drain()
        assert sorted(left) == self.queued
        for key in ("a", "b", "c"):
            of_key = [number for number in left if self.rows[number][0] == key]
            assert of_key == sorted(of_key)
        self.queued.clear()

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.batches) == len(self.queued)
        assert self.batches.bytes == 3 * len(self.queued)
        assert self.batches.full == (len(self.queued) >= MESSAGES_MAX)
        assert self.batches.idle == (not self.queued and not self.taken)

    def teardown(self) -> None:
        """Time and done bring out everything, and then nothing is remembered."""
        while self.queued or self.taken:
            before = len(self.queued) + len(self.taken)
            self.now += SECONDS
            while len(self.queued) and self.batches.next_ready(self.now) <= self.now:
                self.take()
            for batch in self.taken:
                self.batches.done(batch)
            self.taken.clear()
            assert len(self.queued) < before
        assert self.batches.idle


TestBatchesMachine = BatchesMachine.TestCase


def test_a_batch_is_given_out_at_its_size_or_at_its_time() -> None:
    """A batch is ready with its last item or when its oldest has waited for the time; next_ready names that time."""
    batches = make()
    put_all(batches, 3, now=1.0)
    assert batches.take(5.9) is None
    assert batches.next_ready(5.9) == 6.0
    assert values(batches.take(6.0)) == [0, 1, 2]
    assert batches.next_ready(6.0) == math.inf
    put_all(batches, 9, now=7.0)
    assert [values(batches.take(7.0)) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], None]


def test_a_batch_does_not_wait_for_others_when_none_will_come() -> None:
    """At the end of the source what has formed is given out at once, and what may join only later follows."""
    batches = make()
    put_all(batches, 6, key="a")
    first = batches.take(0.0)
    assert first is not None
    batches.finish()
    assert batches.take(0.0) is None
    batches.done(first)
    assert batches.next_ready(0.0) == 0.0
    assert values(batches.take(0.0)) == [4, 5]
    assert batches.take(0.0) is None


def test_one_key_fills_a_whole_batch_and_only_one() -> None:
    """Items of one key ride in one batch in their order; the next batch of the key waits until that one is done."""
    batches = make()
    put_all(batches, 10, key="a")
    first = batches.take(0.0)
    assert values(first) == [0, 1, 2, 3]
    assert batches.take(100.0) is None
    assert batches.next_ready(100.0) == math.inf
    assert first is not None
    batches.done(first)
    assert batches.next_ready(100.0) == 100.0
    assert values(batches.take(100.0)) == [4, 5, 6, 7]


@given(rate=st.floats(1.0, 50.0), keys=st.lists(KEYS, min_size=1, max_size=30))
def test_the_rate_holds_for_items_and_nothing_sleeps_forever(rate: float, keys: list[str | None]) -> None:
    """Whoever comes back when next_ready says gets every item, no faster than the rate, and ends in as many steps."""
    batches = make(rate=Rate(rate, burst=1))
    for number, key in enumerate(keys):
        batches.put(number, key=key, tenant=None, size=1, now=0.0)
    now, got, steps = 0.0, 0, 0
    while got < len(keys):
        now = batches.next_ready(now)
        assert now < math.inf
        batch = batches.take(now)
        if batch is not None:
            got += len(batch)
            batches.done(batch)
        steps += 1
        assert steps <= 4 * len(keys) + 4
        assert got <= 1 + now * rate + 1e-5


def test_another_rate_lets_join_what_the_old_one_kept_out() -> None:
    """set_rate to none lets what waits join the batch with the next take."""
    batches = make(rate=Rate(0.001, burst=1))
    put_all(batches, 4, key="a")
    assert batches.take(0.0) is None
    batches.set_rate(None, 0.0)
    assert batches.next_ready(0.0) == 0.0
    assert values(batches.take(0.0)) == [0, 1, 2, 3]


def test_a_full_queue_gives_out_what_there_is() -> None:
    """When nothing more fits, the batch does not wait for its size: that could only be reached by puts."""
    batches: Batches[int] = Batches(Lanes(bytes_max=100), Batch(10, 60.0))
    batches.put(1, key=None, tenant=None, size=150, now=0.0)
    assert batches.full
    assert values(batches.take(0.0)) == [1]
    assert not batches.full


def test_bounds_of_the_options() -> None:
    """A batch of nothing, of no time, or larger than the queue is refused with value and bound."""
    with pytest.raises(OptionsError, match="size of a batch is 0"):
        Batch(0, 1.0)
    with pytest.raises(OptionsError, match="seconds of a batch are nan"):
        Batch(1, math.nan)
    with pytest.raises(OptionsError, match="queue_messages_max"):
        Batches(Lanes(messages_max=5), Batch(6, 1.0))
