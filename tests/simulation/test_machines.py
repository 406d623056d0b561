"""Machines: what they are told of their links, and what they do to them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.simulation._network import MachineLink

from ._network_rig import LATENCY, PORT, WINDOW, Handler, Machine, near, running


async def test_a_machine_that_accepts_nobody_hangs_up(autojump_clock: MockClock) -> None:
    """None from accept() closes the link at once."""
    async with running() as rig:
        rig.network.listen("a", PORT, Machine(accepts=False))
        stream = await rig.connect()
        assert await stream.receive_some() == b""
        assert rig.network.links()[0].state == "closing"


async def test_machines_get_bytes_ends_and_resets(autojump_clock: MockClock) -> None:
    """In order and at their times: what was sent, then the end of the stream, or the break of the link."""
    async with running() as rig:
        machine = rig.machine()
        one, other = await rig.connect(), await rig.connect()
        await one.send_all(b"hello")
        await one.send_eof()
        await other.send_all(b"bye")
        began = trio.current_time()
        await trio.sleep(1)
        first, second = machine.handlers
        assert first.chunks == [(near(began + LATENCY), b"hello")]
        assert first.told == [(near(began + LATENCY), "ended")]
        rig.network.reset("a", "app")
        assert first.link.write(b"x") == 0
        await trio.sleep(1)
        assert second.told == [(began + 1, "connection reset by peer")]
        assert first.told[1:] == [(began + 1, "connection reset by peer")]
        assert rig.network.links() == []


async def test_a_closed_link_tells_its_machine_nothing_more(autojump_clock: MockClock) -> None:
    """After close() and reset() the handler is not called again, whatever comes in."""
    async with running() as rig:
        machine = rig.machine()
        streams = [await rig.connect(), await rig.connect()]
        await trio.sleep(1)
        machine.handlers[0].link.close()
        machine.handlers[1].link.reset()
        for stream in streams:
            await stream.send_all(b"x")
        await trio.sleep(1)
        for handler, stream in zip(machine.handlers, streams, strict=True):
            assert (handler.chunks, handler.told) == ([], [])
            assert handler.link.write(b"x") == 0
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_a_link_that_its_machine_resets_when_it_breaks_tells_it_nothing(autojump_clock: MockClock) -> None:
    """Of one instant the machine's own word counts."""
    async with running() as rig:
        _, handler = await rig.linked()
        rig.network.reset("app", "a")
        handler.link.reset()
        await trio.sleep(1)
        assert handler.told == []


async def test_bytes_of_the_instant_of_resuming_come_behind_the_others(autojump_clock: MockClock) -> None:
    """What waited is handed over first, though the rest arrives before that is done."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        await stream.send_all(b"first ")
        await trio.sleep(1)
        # Due at the instant of the arrival, and before it.
        rig.events.call_later(LATENCY, handler.link.resume_reading)
        await stream.send_all(b"second")
        await trio.sleep(1)
        assert bytes(handler.data) == b"first second"


async def test_a_handler_may_close_its_link_while_it_is_called(autojump_clock: MockClock) -> None:
    """What is due behind the bytes is not told to a handler that has hung up on them."""

    class HangsUp(Handler):
        def received(self, data: bytes) -> None:
            self.link.write(b"-ERR")
            self.link.close()

    class Rude(Machine):
        def accept(self, link: MachineLink) -> Handler:
            super().accept(link)
            self.handlers[-1] = HangsUp(self.handlers[-1].link)
            return self.handlers[-1]

    async with running() as rig:
        machine = Rude()
        rig.network.listen("a", PORT, machine)
        stream = await rig.connect()
        await stream.send_all(b"hello")
        await stream.send_eof()
        assert await stream.receive_some() == b"-ERR"
        assert await stream.receive_some() == b""
        assert machine.handlers[0].told == []
        assert rig.network.links() == []


async def test_write_takes_what_the_window_has_room_for(autojump_clock: MockClock) -> None:
    """write() returns how much that was; writable() comes when somebody has read; close() is behind all of it."""
    async with running() as rig:
        stream, handler = await rig.linked()
        assert handler.link.write(bytes(WINDOW - 10)) == WINDOW - 10
        assert handler.link.write(bytes(100)) == 10
        assert handler.link.write(bytes(100)) == 0
        assert handler.link.written == WINDOW
        await trio.sleep(1)
        assert handler.told == []
        at = trio.current_time()
        assert len(await stream.receive_some(50)) == 50
        await wait_all_tasks_blocked()
        assert handler.told == [(at, "writable")]
        assert handler.link.write(bytes(100)) == 50
        handler.link.close()
        total = 50
        while data := await stream.receive_some():
            total += len(data)
        assert total == WINDOW + 50


async def test_a_machine_that_reads_nothing_stops_its_peer(autojump_clock: MockClock) -> None:
    """While reading is paused the window fills and send_all waits; resumed, everything comes, also the end."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        with trio.move_on_after(10):
            await stream.send_all(bytes(WINDOW + 1000))
        assert stream.sent == WINDOW
        assert handler.chunks == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1000))
            await wait_all_tasks_blocked()
            at = trio.current_time()
            handler.link.resume_reading()
        await stream.send_eof()
        await trio.sleep(1)
        assert [(at_, len(data)) for at_, data in handler.chunks] == [(at, WINDOW), (near(at + LATENCY), 1000)]
        assert [what for _, what in handler.told] == ["ended"]


async def test_a_paused_machine_hears_of_the_end_when_it_has_read_what_came_before(autojump_clock: MockClock) -> None:
    """The FIN waits behind the bytes, and is told once."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        await stream.send_all(b"first")
        await stream.aclose()
        await trio.sleep(1)
        assert handler.told == []
        for _ in range(2):
            handler.link.resume_reading()
            await trio.sleep(1)
            handler.link.pause_reading()
        assert bytes(handler.data) == b"first"
        assert [what for _, what in handler.told] == ["ended"]


async def test_closing_a_paused_link_with_unread_bytes_resets(autojump_clock: MockClock) -> None:
    """As with a kernel: a killed process that had not read everything resets its peer."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        await stream.send_all(b"unread")
        await trio.sleep(1)
        handler.link.write(b"never read")
        handler.link.close()
        assert await stream.receive_some() == b"never read"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_machines_dial_machines(autojump_clock: MockClock) -> None:
    """open_link calls back with a link, or with the reason why there is none."""
    async with running() as rig:
        machine = rig.machine(echoes=True)
        opened, failures = Machine(), list[str]()
        rig.network.open_link("b", "a", PORT, opened.accept, failures.append)
        rig.network.open_link("b", "a", 1, opened.accept, failures.append)
        rig.network.open_link("b", "nowhere", 1, opened.accept, failures.append)
        await trio.sleep(1)
        assert sorted(failures) == ["Connection refused", "Name or service not known"]
        assert opened.accepted_at == [near(2 * LATENCY)]
        handler = opened.handlers[0]
        assert (handler.link.remote_host, handler.link.remote_port) == ("a", PORT)
        handler.link.write(b"ping")
        await trio.sleep(1)
        assert bytes(handler.data) == bytes(machine.handlers[0].data) == b"ping"
