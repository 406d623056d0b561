"""The events of a world: one heap, one task, in order, and nothing when nothing is due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.simulation import _events
from beamline_trio.simulation._events import Events


def virtually(body: Callable[[Events], Awaitable[None]]) -> None:
    """Run it in virtual time beside running events."""

    async def main() -> None:
        events = Events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.run)
            await body(events)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())))
def test_callbacks_run_in_the_order_of_time_and_of_adding(entries: list[tuple[int, bool]]) -> None:
    """What runs is what was not cancelled, by (time, order of adding), each at its time."""
    ran: list[tuple[float, int]] = []

    async def body(events: Events) -> None:
        for index, (time, cancelled) in enumerate(entries):
            timer = events.call_at(time, lambda index: ran.append((trio.current_time(), index)), index)
            if cancelled:
                timer.cancel()
        await trio.sleep(21)
        assert events.count == len(ran)

    virtually(body)
    assert ran == sorted((float(time), index) for index, (time, cancelled) in enumerate(entries) if not cancelled)


async def test_what_is_added_for_this_instant_runs_in_it_behind_what_is_due(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A callback may add others for now, which run behind what is due already, or for the past, which run before it."""
    events, ran = Events(), list[tuple[float, str]]()

    def note(what: str) -> None:
        ran.append((events.now(), what))

    def first() -> None:
        note("first")
        events.call_soon(note, "soon")
        events.call_at(0.5, note, "past")

    events.call_at(1, first)
    events.call_at(1, note, "second")
    nursery.start_soon(events.run)
    await trio.sleep(2)
    assert ran == [(1, "first"), (1, "past"), (1, "second"), (1, "soon")]


async def test_an_earlier_entry_wakes_the_task_earlier(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Whoever adds an entry before the one that is slept for is served in time, also for now."""
    events, ran = Events(), list[float]()
    nursery.start_soon(events.run)
    await wait_all_tasks_blocked()
    for seconds in (50, 20, 30, 10):
        events.call_later(seconds, lambda: ran.append(trio.current_time()))
    await trio.sleep(5)
    events.call_soon(lambda: ran.append(trio.current_time()))
    await wait_all_tasks_blocked()
    assert ran == [5]
    await trio.sleep(100)
    assert ran == [5, 10, 20, 30, 50]


async def test_cancel_is_idempotent_and_late_is_harmless(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A timer can be cancelled twice, and after it has run; that takes nothing from others."""
    events, ran = Events(), list[int]()
    nursery.start_soon(events.run)
    timers = [events.call_later(1, ran.append, number) for number in range(3)]
    assert timers[1].time == 1
    timers[1].cancel()
    timers[1].cancel()
    await trio.sleep(2)
    for timer in timers:
        timer.cancel()
        assert not timer.pending
    assert ran == [0, 2]
    assert events.count == 2


async def test_cancelled_entries_do_not_pile_up(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """However many timers are set and cancelled, the heap stays in proportion to those that are to run."""
    events, ran = Events(), list[int]()
    nursery.start_soon(events.run)
    live = [events.call_later(1000, ran.append, number) for number in range(10)]
    for _ in range(5_000):
        events.call_later(500, ran.append, -1).cancel()
        assert len(events._heap) <= 140
    await trio.sleep(1001)
    assert ran == list(range(len(live)))


async def test_an_error_of_a_callback_ends_run_with_it(autojump_clock: MockClock) -> None:
    """An error surfaces as it is; what was due behind it does not run."""
    events, ran = Events(), list[int]()

    def fail() -> None:
        raise LookupError("a bug")

    events.call_later(1, fail)
    events.call_later(1, ran.append, 1)
    with pytest.RaisesGroup(LookupError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.run)
    assert trio.current_time() == 1
    assert ran == []
    assert not events.running


async def test_a_loop_within_one_instant_is_an_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callbacks that never let time go on end the run and say so, instead of hanging it."""
    monkeypatch.setattr(_events, "INSTANT_MAX", 1000)
    events = Events()

    def again() -> None:
        events.call_soon(again)

    events.call_later(1, again)
    with pytest.raises(RuntimeError, match="time does not go on"):
        await events.run()
    assert events.count == 1001


async def test_run_is_cancelled_at_once_and_can_be_started_again(autojump_clock: MockClock) -> None:
    """A cancelled run leaves its entries; the next one serves them. Two at once are an error."""
    events, ran = Events(), list[float]()
    events.call_at(10, lambda: ran.append(trio.current_time()))
    with trio.move_on_after(3):
        await events.run()
    assert trio.current_time() == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.run)
        await wait_all_tasks_blocked()
        assert events.running
        with pytest.raises(RuntimeError, match="run already"):
            await events.run()
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert ran == [10]


async def test_run_cancelled_at_the_time_of_an_entry_serves_it(autojump_clock: MockClock) -> None:
    """An entry and the cancellation of one instant: the entry runs, then the run ends."""
    events, ran = Events(), list[float]()
    for _ in range(20):
        events.call_later(1, lambda: ran.append(trio.current_time()))
        with trio.move_on_after(1) as scope:
            await events.run()
        assert scope.cancelled_caught
    assert len(ran) == 20


class _Waits(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


def test_idle_events_cost_nothing() -> None:
    """Beside events of which none is due, a sleeping application takes exactly the turns it takes alone."""

    async def main(with_events: bool) -> int:
        events, waits = Events(), _Waits()
        async with trio.open_nursery() as nursery:
            events.call_at(1e9, print)
            nursery.start_soon(events.run if with_events else trio.sleep_forever)
            await wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(waits)
            for _ in range(100):
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return waits.count

    beside, alone = [trio.run(main, with_, clock=MockClock(autojump_threshold=0)) for with_ in (True, False)]
    assert beside == alone
