"""Who finds out whether a home answers again, and who waits for the word."""

from __future__ import annotations

from itertools import pairwise

import trio
import trio.testing

from beamline_trio.cluster._reach import Reach


async def no_answer() -> str | None:
    await trio.lowlevel.checkpoint()
    return "no answer"


async def test_home_is_asked_now_and_then_while_a_watch_says_cut(autojump_clock: trio.testing.MockClock) -> None:
    """No more often than the longest pause; when it answers one may try, and the watch has no say until it is over."""
    asked: list[float] = []
    said = True

    async def ask() -> str | None:
        await trio.sleep(0.25)
        asked.append(trio.current_time())
        return None if len(asked) == 3 else "no answer"

    reach = Reach(1.0, 2.0, lambda: said, ask, lambda _: None)
    began = trio.current_time()
    assert reach.cut
    assert reach.look()
    assert await reach.permit()
    assert [later - before for before, later in pairwise([began, *asked])] == [2.25, 2.25, 2.25]
    assert not reach.cut  # whatever is said
    reach.settle(True, None)
    assert not reach.look()
    assert not await reach.permit()
    reach.settle(False, "no answer")  # home itself is silent again
    assert reach.cut
    asked.clear()
    asked.extend([0.0, 0.0])
    assert await reach.permit()
    assert not reach.cut
    reach.settle(True, None)
    said = False
    assert not reach.cut
    said = True
    assert reach.cut
    assert reach.look()


async def test_who_tries_for_a_short_time_goes_on_where_the_last_one_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else nobody would ask home whose callers have less patience than the longest pause."""

    async def answers() -> str | None:
        await trio.lowlevel.checkpoint()
        return None

    reach = Reach(0.25, 2.0, lambda: True, answers, lambda _: None)
    assert reach.look()
    tries = 0
    while reach.cut:
        tries += 1
        assert tries < 5
        with trio.move_on_after(1.5):
            await reach.permit()
    assert tries == 2


async def test_when_who_finds_out_is_cancelled_another_one_does(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits for the word of somebody who gives up would else wait for ever."""
    reach = Reach(1.0, 1.0, lambda: False, no_answer, lambda _: None)
    reach.settle(False, "no answer")
    first = trio.CancelScope()
    permits: list[bool] = []

    async def find_out() -> None:
        with first:
            await reach.permit()

    async def wait() -> None:
        permits.append(await reach.permit())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(find_out)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
    assert permits == [True]
