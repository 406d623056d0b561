"""Operations that wait for a connection: first in, first out, counted exactly, each ending in exactly one way."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from beamline_trio.connection._pending import PendingOperation, PendingQueue
from beamline_trio.connection._waiters import NEVER, Waiter

OPERATIONS_MAX = 4
BYTES_MAX = 20

# Empty is a bare waiter: flush or confirmed.
frames = st.one_of(st.just(b""), st.binary(min_size=1, max_size=12))
deadlines = st.one_of(st.integers(0, 10).map(float), st.just(NEVER))


@st.composite
def new_operations(draw: st.DrawFn) -> PendingOperation:
    frame = draw(frames)
    waiter = Waiter(frame) if not frame or draw(st.booleans()) else None
    return PendingOperation(frame, waiter, draw(deadlines), "a.b")


class PendingQueueMachine(RuleBasedStateMachine):
    """The queue beside a plain list of the same operations."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PendingQueue(OPERATIONS_MAX, BYTES_MAX)
        self.model: list[PendingOperation] = []
        self.gone: list[PendingOperation] = []

    def publishes(self) -> list[PendingOperation]:
        return [operation for operation in self.model if operation.frame]

    def leave(self, operations: list[PendingOperation]) -> None:
        for operation in operations:
            self.model.remove(operation)
        self.gone += operations

    @rule(operation=new_operations())
    def add(self, operation: PendingOperation) -> None:
        """What comes new goes to the end."""
        self.queue.add(operation)
        self.model.append(operation)

    @rule(operations=st.lists(new_operations(), max_size=4))
    def put_back(self, operations: list[PendingOperation]) -> None:
        """What was accepted before goes to the front in its own order, also above the bounds."""
        self.queue.put_back(iter(operations))
        self.model[:0] = operations

    @rule(most=st.integers(0, 6))
    def take(self, most: int) -> None:
        """Taken are the oldest publishes, with the waiters before, among and right behind them, in order."""
        expected = []
        for operation in self.model:
            if operation.frame and most == 0:
                break
            most -= bool(operation.frame)
            expected.append(operation)
        assert self.queue.take(most + len([o for o in expected if o.frame])) == expected
        self.leave(expected)

    @precondition(lambda self: any(operation.waiter for operation in self.model))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A cancelled caller gets its own operation back, wherever it stands, and only once."""
        waiting = [operation for operation in self.model if operation.waiter is not None]
        operation = data.draw(st.sampled_from(waiting))
        assert operation.waiter is not None
        assert self.queue.withdraw(operation.waiter) is operation
        self.leave([operation])
        assert self.queue.withdraw(operation.waiter) is None

    @precondition(lambda self: any(operation.waiter for operation in self.gone))
    @rule(data=st.data())
    def withdraw_what_left(self, data: st.DataObject) -> None:
        """What has left is not here any more."""
        waiters = [operation.waiter for operation in self.gone if operation.waiter is not None]
        assert self.queue.withdraw(data.draw(st.sampled_from(waiters))) is None

    @rule(size=st.integers(1, BYTES_MAX))
    def make_room(self, size: int) -> None:
        """Removed are the oldest publishes, in order, and no more than it takes: then it fits, or the queue is no
        larger with it than it was.
        """
        operations, bytes_before = self.queue.operations, self.queue.bytes
        removed = self.queue.make_room(size)
        assert removed == self.publishes()[: len(removed)]

        def enough(of: list[PendingOperation]) -> bool:
            left = operations - len(of)
            left_bytes = bytes_before - sum(len(operation.frame) for operation in of)
            return left < max(OPERATIONS_MAX, operations) and left_bytes + size <= max(BYTES_MAX, bytes_before)

        assert enough(removed)
        assert not removed or not enough(removed[:-1])
        self.leave(removed)

    @rule(now=st.integers(0, 10).map(float))
    def expire(self, now: float) -> None:
        """Removed are exactly those whose deadline has come, in order."""
        expected = [operation for operation in self.model if operation.deadline <= now]
        assert self.queue.expire(now) == expected
        self.leave(expected)
        assert self.queue.next_deadline() > now

    @rule()
    def clear(self) -> None:
        """Everything leaves, in order."""
        expected = list(self.model)
        assert self.queue.clear() == expected
        self.leave(expected)

    @invariant()
    def counts_are_exact(self) -> None:
        """Counted are publishes and their bytes; bare waiters count for nothing."""
        publishes = self.publishes()
        assert self.queue.operations == len(publishes)
        assert self.queue.bytes == sum(len(operation.frame) for operation in publishes)
        assert bool(self.queue) is bool(self.model)

    @invariant()
    def bounds_are_exact(self) -> None:
        """A publish fits while the number is below its bound and its bytes stay within theirs."""
        room = BYTES_MAX - self.queue.bytes
        for size in (0, max(0, room), max(0, room + 1)):
            assert self.queue.fits(size) is (self.queue.operations < OPERATIONS_MAX and size <= room)

    @invariant()
    def the_next_deadline_is_the_earliest(self) -> None:
        """The next deadline is that of the operation that expires first."""
        assert self.queue.next_deadline() == min((operation.deadline for operation in self.model), default=NEVER)


TestPendingQueue = PendingQueueMachine.TestCase


def operation(frame: bytes, deadline: float = NEVER) -> PendingOperation:
    return PendingOperation(frame, Waiter(frame), deadline, "a")


def test_nothing_fits_a_queue_of_no_operations() -> None:
    """A bound of zero operations or zero bytes takes nothing."""
    assert not PendingQueue(0, 100).fits(1)
    assert not PendingQueue(10, 0).fits(1)
    assert PendingQueue(1, 1).fits(1)
    assert not PendingQueue(0, 100).can_fit(1)
    assert not PendingQueue(10, 5).can_fit(6)
    assert PendingQueue(1, 5).can_fit(5)


async def test_how_full_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """Of operations and bytes the nearer bound counts; never above 1, and 1 while somebody waits for room."""
    queue = PendingQueue(4, 40)
    assert queue.ratio == 0
    queue.add(operation(b"1" * 10))
    assert queue.ratio == 0.25
    queue.add(operation(b"2" * 20))
    assert queue.ratio == 0.75  # by its bytes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.room.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert queue.ratio == 1
        nursery.cancel_scope.cancel()
    assert queue.ratio == 0.75
    queue.put_back([operation(b"3" * 30)])
    assert queue.ratio == 1
    queue.clear()
    assert queue.ratio == 0
    for nothing_fits in (PendingQueue(0, 40), PendingQueue(4, 0)):
        nothing_fits.put_back([operation(b"kept all the same")])
        assert nothing_fits.ratio == 0


@pytest.mark.parametrize("way", ["take", "withdraw", "expire", "clear"])
async def test_leaving_makes_room(way: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits for room is woken whenever an operation leaves, by whichever way, and then looks again."""
    queue = PendingQueue(1, 100)
    held = operation(b"PUB a 0\r\n\r\n", deadline=5.0)
    queue.add(held)
    woken: list[int] = []

    async def blocked(number: int) -> None:
        while not queue.fits(1):
            await queue.room.wait()
        woken.append(number)
        queue.pass_room_on()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(blocked, number)
        await trio.testing.wait_all_tasks_blocked()
        assert len(queue.room) == 3
        assert not woken
        assert queue.expire(4.0) == []
        await trio.testing.wait_all_tasks_blocked()
        assert not woken
        match way:
            case "take":
                assert queue.take(1) == [held]
            case "withdraw":
                assert held.waiter is not None
                assert queue.withdraw(held.waiter) is held
            case "expire":
                assert queue.expire(5.0) == [held]
            case _:
                assert queue.clear() == [held]
    assert sorted(woken) == [0, 1, 2]
    assert len(queue.room) == 0


async def test_a_cancelled_wait_for_room_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled while it waits for room, it is as if the caller had never waited."""
    queue = PendingQueue(0, 0)
    with trio.move_on_after(1) as scope:
        await queue.room.wait()
    assert scope.cancelled_caught
    assert len(queue.room) == 0
    queue.clear()
