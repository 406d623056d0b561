"""Who finds out whether a home answers again, and who waits for the word."""

from __future__ import annotations

import trio
import trio.testing

from beamline_trio.cluster._reach import Reach


async def test_when_who_finds_out_is_cancelled_another_one_does(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits for the word of somebody who gives up would else wait for ever."""
    reach = Reach(1.0, 1.0, lambda: False, lambda _: None)
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
