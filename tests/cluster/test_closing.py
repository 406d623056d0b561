"""The room that a drain leaves: how many may be kept meanwhile, and who waits."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.cluster._closing import HELD_BACK_SECONDS, Room


async def test_half_of_what_goes_home_may_be_kept_anew() -> None:
    """From the first messages on that a drain has fetched; before, and when it is over, there is room for all."""
    room = Room()
    assert room.there_is
    room.fetched(messages=True, last=False)
    assert not room.there_is
    room.went_home(1)
    assert not room.there_is
    room.went_home(5)
    for _ in range(3):
        assert room.there_is
        room.take()
    assert not room.there_is
    room.open()
    assert room.there_is


async def test_behind_the_last_messages_none_is_kept_however_much_room_was_left() -> None:
    """Slow callers leave room over: else their drain went on until all of that was used."""
    room = Room()
    room.fetched(messages=True, last=False)
    room.went_home(1_000)
    room.fetched(messages=True, last=True)
    room.went_home(0)
    assert not room.there_is


async def test_as_many_are_woken_as_there_is_room_for() -> None:
    """Those that have waited longest, in whatever order they run then; one that gives up leaves no trace."""
    room, woken = Room(), list[int]()
    room.fetched(messages=True, last=False)

    async def wait(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await room.wait()
            woken.append(number)

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(4)]
        for number, scope in enumerate(scopes):
            nursery.start_soon(wait, number, scope)
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        await wait_all_tasks_blocked()
        room.went_home(4)
        await wait_all_tasks_blocked()
        assert sorted(woken) == [1, 2]
        room.open()
    assert sorted(woken) == [1, 2, 3]


async def test_a_drain_that_takes_nothing_home_for_long_holds_nobody_back(mock_clock: MockClock) -> None:
    """Its time begins anew with each message that it fetches, or takes home."""
    room = Room()
    for fetches in (True, False):
        if fetches:
            room.fetched(messages=True, last=True)
        else:
            room.went_home(0)
        mock_clock.jump(HELD_BACK_SECONDS)
        room.fetched(messages=False, last=False)
        assert not room.there_is
    mock_clock.jump(0.1)
    room.fetched(messages=False, last=False)
    assert room.there_is
