"""How handlers behave: what a message takes, which ones fail, and until when they hang."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock

from beamline_trio.scenarios._behaviour import Behaviour, HandlerFailure


@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_a_message_takes_as_long_as_work_does(autojump_clock: MockClock, seconds: float) -> None:
    """Nothing, unless it is told."""
    began = trio.current_time()
    await Behaviour(Random(1), work_seconds=seconds).meet(7)
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_the_same_messages_fail_at_each_of_their_deliveries() -> None:
    """About as many of them as the share says, and which ones is drawn once for a run."""
    behaviour = Behaviour(Random(1))
    behaviour.fail_share = 0.3

    async def failing() -> list[int]:
        failed: list[int] = []
        for number in range(1000):
            try:
                await behaviour.meet(number)
            except HandlerFailure:
                failed.append(number)
        return failed

    first = await failing()
    assert 250 < len(first) < 350
    assert await failing() == first
    behaviour.fail_share = 0.0
    assert await failing() == []


async def test_handlers_hang_until_they_are_told(autojump_clock: MockClock) -> None:
    """However long it takes."""
    behaviour = Behaviour(Random(1))
    over = behaviour.hanging = trio.Event()
    with trio.move_on_after(600) as waited:
        await behaviour.meet(1)
    assert waited.cancelled_caught
    over.set()
    await behaviour.meet(1)
