"""Events: everybody gets all of them in order, who does not read loses the oldest, and nobody makes the client wait."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from beamline_trio.connection import Closed, Connected, Disconnected, Event, EventStream
from beamline_trio.connection._events import EventHub


def numbered(count: int, start: int = 0) -> list[Event]:
    return [Connected(f"nats://h:{n}") for n in range(start, start + count)]


async def collect(stream: EventStream, into: list[Event]) -> None:
    async for event in stream:
        into.append(event)


async def test_every_stream_gets_every_event_in_order(autojump_clock: MockClock) -> None:
    """Streams have each the events since they were opened, in the order in which they happened, until the end."""
    hub = EventHub(10)
    first, second, late = [], [], []  # type: ignore[var-annotated]
    events = numbered(6)
    async with trio.open_nursery() as nursery:
        hub.emit(Disconnected("nobody", "listens yet"))
        nursery.start_soon(collect, hub.open(), first)
        nursery.start_soon(collect, hub.open(), second)
        for event in events[:4]:
            hub.emit(event)
        await wait_all_tasks_blocked()
        assert first == second == events[:4]
        nursery.start_soon(collect, hub.open(), late)
        for event in (*events[4:], Closed()):
            hub.emit(event)
        hub.end()
    assert first == second == [*events, Closed()]
    assert late == [*events[4:], Closed()]
    assert hub.dropped == 0


async def test_what_is_pending_at_the_end_can_be_read(autojump_clock: MockClock) -> None:
    """The end comes behind the events that are there, for every further receive; opened after the end, it is all."""
    hub = EventHub(10)
    stream = hub.open()
    hub.emit(Closed())
    hub.end()
    assert await stream.receive() == Closed()
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
    with pytest.raises(trio.EndOfChannel):
        await hub.open().receive()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_receive_checkpoints_on_every_path(autojump_clock: MockClock) -> None:
    """Receiving is a checkpoint when an event is there, when it has ended, and when it was closed."""
    hub = EventHub(10)
    stream = hub.open()
    hub.emit(Closed())
    hub.emit(Closed())
    with assert_checkpoints():
        await stream.receive()
    with assert_checkpoints():
        await anext(stream)
    hub.end()
    with assert_checkpoints(), pytest.raises(trio.EndOfChannel):
        await stream.receive()
    with assert_checkpoints(), pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    """Cancelled before, while it waits, or in the step in which an event comes: the next receive gets the event."""
    hub = EventHub(10)
    stream = hub.open()
    events = numbered(3)

    hub.emit(events[0])
    with trio.CancelScope() as before:
        before.cancel()
        await stream.receive()
    assert before.cancelled_caught
    assert await stream.receive() == events[0]

    with trio.move_on_after(1) as waiting:
        await stream.receive()
    assert waiting.cancelled_caught
    hub.emit(events[1])
    assert await stream.receive() == events[1]

    got: list[Event] = []
    scope = trio.CancelScope()

    async def receive_one() -> None:
        with scope:
            got.append(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_one)
        await wait_all_tasks_blocked()
        hub.emit(events[2])
        scope.cancel()
    if not got:
        got.append(await stream.receive())
    assert got == [events[2]]


async def test_two_receivers_share_a_stream(autojump_clock: MockClock) -> None:
    """Of several receivers of one stream each gets other events, and none is left waiting at the end."""
    hub = EventHub(100)
    stream = hub.open()
    got: list[Event] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(collect, stream, got)
        await wait_all_tasks_blocked()
        for event in numbered(50):
            hub.emit(event)
            if event.server.endswith("7"):  # type: ignore[union-attr]
                await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        hub.end()
    assert sorted(got, key=repr) == sorted(numbered(50), key=repr)


async def test_closing_ends_a_waiting_receiver(autojump_clock: MockClock) -> None:
    """A stream closed by another task ends the receiver that waits, and gets no more events."""
    hub = EventHub(10)
    got: list[Event] = []
    async with trio.open_nursery() as nursery:
        async with hub.open() as stream:
            nursery.start_soon(collect, stream, got)
            await wait_all_tasks_blocked()
        hub.emit(Closed())
    assert got == []
    stream.close()
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()


@given(st.integers(1, 5), st.lists(st.integers(-4, 8), max_size=12))
def test_the_oldest_go_and_are_counted(limit: int, turns: list[int]) -> None:
    """A reader that is too slow has the newest `limit` events in order; what it lost is counted, on it and on the hub,
    and another reader loses nothing by it.
    """

    async def main() -> None:
        hub = EventHub(limit)
        slow, quick = hub.open(), hub.open()
        model: list[Event] = []
        dropped = 0
        for number, turn in enumerate(turns):
            for event in numbered(turn, 100 * number):  # none when the turn is the reader's
                hub.emit(event)
                model.append(event)
                if len(model) > limit:
                    del model[0]
                    dropped += 1
                assert await quick.receive() == event
            for _ in range(min(-turn, len(model))):
                assert await slow.receive() == model.pop(0)
            assert slow.dropped == hub.dropped == dropped
            assert quick.dropped == 0
        hub.end()
        assert [event async for event in slow] == model

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_emitting_needs_no_reader_and_no_task() -> None:
    """Emitting is synchronous and never fails: without streams, with a full one, with one that was closed meanwhile."""
    hub = EventHub(2)
    hub.emit(Closed())
    stream = hub.open()
    for event in numbered(1000):
        hub.emit(event)
    assert (stream.dropped, hub.dropped) == (998, 998)
    stream.close()
    hub.emit(Closed())
    assert hub.dropped == 998
    hub.end()
    hub.emit(Closed())
