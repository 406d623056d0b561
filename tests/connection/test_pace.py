"""Pace: operations that normally do not wait still look at cancellation and let other tasks run, often enough."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import MockClock

from beamline_trio.connection import CALLS_PER_CHECK, Pace
from beamline_trio.connection._pace import CALLS_PER_YIELD, SECONDS_PER_YIELD


async def test_pace_looks_at_cancellation_each_time(autojump_clock: MockClock) -> None:
    """Each check, at most 64 calls after the last, raises in a cancelled task."""
    assert CALLS_PER_CHECK <= 64
    pace = Pace()
    for _ in range(2 * CALLS_PER_YIELD // CALLS_PER_CHECK):
        with trio.CancelScope() as scope:
            scope.cancel()
            await pace.check()
        assert scope.cancelled_caught
        with trio.CancelScope() as alive:
            await pace.check()
        assert not alive.cancelled_caught


class StepCounter(trio.abc.Instrument):
    """Counts how often one task was resumed."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.steps = 0
        self._task = task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task is self._task


@pytest.mark.parametrize("seconds, calls", [(0.0, 1024), (1 / 4096, 288), (0.0025, 32), (1.0, 32)])
async def test_pace_yields_in_time(seconds: float, calls: int, mock_clock: MockClock) -> None:
    """The task yields at the latest every 1024 calls, or 2 ms, and no more often than that, over 2,048 calls."""
    assert CALLS_PER_YIELD == 1024
    assert SECONDS_PER_YIELD == 0.002
    pace = Pace()
    pace.yielded()
    counter = StepCounter(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(counter)
    yielded_at = [0]
    for call in range(CALLS_PER_CHECK, 2048 + 1, CALLS_PER_CHECK):
        mock_clock.jump(seconds)
        steps = counter.steps
        await pace.check()
        if counter.steps != steps:
            yielded_at.append(call)
    trio.lowlevel.remove_instrument(counter)
    assert {later - earlier for earlier, later in itertools.pairwise(yielded_at)} == {calls}
    assert 2048 - yielded_at[-1] < calls
