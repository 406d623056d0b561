"""Signals: the first drains, a second cuts it short, and the process has its own handlers back afterwards."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from beamline_trio.operation import Stop, stop_on_signals

BOTH = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """What handled the signals before handles them after."""
    before = [signal.getsignal(one) for one in BOTH]
    yield
    assert [signal.getsignal(one) for one in BOTH] == before


class Program:
    """Something that is stopped."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.drains: list[signal.Signals] = []
        self.drained = False
        self.stop: Stop | None = None

    async def drain(self, first: signal.Signals) -> None:
        self.drains.append(first)
        await trio.sleep(self.seconds)
        self.drained = True

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.stop = await stop_on_signals(self.drain, task_status=task_status)


@pytest.mark.parametrize("one", BOTH)
async def test_a_signal_drains(one: signal.Signals, autojump_clock: trio.testing.MockClock) -> None:
    """Started when the signals are caught; it returns when the drain is done, and says which signal it was."""
    program = Program(seconds=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(program.run)
        await trio.sleep(100)
        assert not program.drains
        signal.raise_signal(one)
    assert (program.drains, program.drained, program.stop) == ([one], True, Stop(one, cut_short=False))
    assert trio.current_time() >= 110


@pytest.mark.parametrize("second", BOTH)
async def test_a_second_signal_cuts_the_drain_short(
    second: signal.Signals, autojump_clock: trio.testing.MockClock
) -> None:
    """The same signal or the other one: the drain is cancelled, and drained once."""
    program = Program(seconds=1_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(program.run)
        began = trio.current_time()
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(3)
        signal.raise_signal(second)
    assert trio.current_time() - began == 3
    assert program.drains == [signal.SIGTERM]
    assert (program.drained, program.stop) == (False, Stop(signal.SIGTERM, cut_short=True))


async def test_what_the_drain_raises_comes_out_bare() -> None:
    """An error of the drain is in no group."""

    async def drain(first: signal.Signals) -> None:
        raise LookupError(first.name)

    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(LookupError, match="SIGTERM"):
                await stop_on_signals(drain, task_status=task_status)

        await nursery.start(run)
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("draining", [False, True])
async def test_it_can_be_cancelled(draining: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Before the first signal and within the drain: it ends at once."""
    program = Program(seconds=1_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(program.run)
        if draining:
            signal.raise_signal(signal.SIGTERM)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert (len(program.drains), program.drained, program.stop) == (int(draining), False, None)
    assert trio.current_time() < 10


async def test_other_signals_can_be_chosen() -> None:
    """Only the signals that were given are caught."""
    program = Program()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        program.stop = await stop_on_signals(program.drain, signals=(signal.SIGUSR1,), task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        signal.raise_signal(signal.SIGUSR1)
    assert program.stop == Stop(signal.SIGUSR1, cut_short=False)
