"""The gate before a route's workers: held it lets nobody through, in doubt one, and nobody waits for ever."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio.router._gate import Gate


class Workers:
    """Tasks that go through a gate again and again when they are told to."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside = 0
        self.most = 0
        self.ended = 0

    async def work(self) -> None:
        while True:
            try:
                if self.gate.shut:
                    await self.gate.admit()
            except trio.EndOfChannel:
                self.ended += 1
                return
            self.inside += 1
            self.most = max(self.most, self.inside)
            await trio.sleep(1)
            self.inside -= 1
            self.gate.leave()


async def test_who_is_held_waits_for_all_reasons(autojump_clock: MockClock) -> None:
    """Holding twice for one reason is holding once; another reason is another hold."""
    gate = Gate()
    workers = Workers(gate)
    async with trio.open_nursery() as nursery:
        gate.hold("a")
        gate.hold("a")
        gate.hold("b")
        for _ in range(3):
            nursery.start_soon(workers.work)
        await trio.sleep(5)
        gate.release("a")
        gate.release("a")
        gate.release("never held")
        await trio.sleep(5)
        assert (workers.most, gate.holds, gate.shut) == (0, ("b",), True)
        gate.release("b")
        await trio.sleep(0.5)
        assert (workers.inside, gate.shut) == (3, False)
        nursery.cancel_scope.cancel()


async def test_in_doubt_one_at_a_time_is_let_through(autojump_clock: MockClock) -> None:
    """The next when that one is done, also when it waits for the target; all when what was in doubt has answered."""
    gate = Gate()
    workers = Workers(gate)
    async with trio.open_nursery() as nursery:
        gate.doubt("effects")
        for _ in range(4):
            nursery.start_soon(workers.work)
        await trio.sleep(10.5)
        assert workers.most == 1
        gate.hold("a")
        await trio.sleep(2)
        assert workers.inside == 0
        gate.release("a")
        await trio.sleep(0.5)
        assert (workers.most, workers.inside) == (1, 1)
        gate.doubt("keys")
        gate.trust("effects")
        await trio.sleep(0.2)
        assert (workers.inside, gate.doubtful) == (1, True)
        gate.trust("keys")
        await trio.sleep(0.2)
        assert workers.inside == 4
        nursery.cancel_scope.cancel()


async def test_a_probe_that_is_cancelled_leaves_its_place(autojump_clock: MockClock) -> None:
    """A worker that is interrupted while it waits, or that was let through, keeps nobody out."""
    gate = Gate()
    gate.doubt("effects")
    await gate.admit()
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.admit)
    assert scope.cancelled_caught
    await gate.admit()  # its own place still
    gate.leave()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.admit)


@pytest.mark.parametrize("held", [False, True])
async def test_at_the_end_a_held_route_lets_its_workers_go(held: bool, autojump_clock: MockClock) -> None:
    """One that is only in doubt goes on, as what is here can still be done."""
    gate = Gate()
    workers = Workers(gate)
    async with trio.open_nursery() as nursery:
        if held:
            gate.hold("a")
        else:
            gate.doubt("effects")
        for _ in range(3):
            nursery.start_soon(workers.work)
        await trio.sleep(0.5)
        gate.end()
        await trio.sleep(3)
        assert workers.ended == (3 if held else 0)
        nursery.cancel_scope.cancel()
    gate.begin()
    assert (gate.shut, gate.doubtful) == (held, False)
