"""Black holes, as TCP behaves in them: what is lost is sent again at known moments, and given up at a known one."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock

from ._network_rig import LATENCY, WINDOW, near, running

# What Linux takes before it gives up.
GIVE_UP = 924.6


@pytest.mark.parametrize(
    "heals_after, arrives_after",
    [(0.1, 0.2), (0.3, 0.6), (0.7, 1.4), (60, 102.2), (205, 324.6), (804, 804.6), (0.0001, LATENCY)],
)
async def test_what_was_lost_arrives_with_the_next_retransmission(
    autojump_clock: MockClock, heals_after: float, arrives_after: float
) -> None:
    """0.2 s, doubled up to 120 s, behind the first try: the first such moment behind the healing, in one piece."""
    async with running() as rig:
        stream, handler = await rig.linked()
        began = trio.current_time()
        with rig.network.black_hole("app", "a"):
            await stream.send_all(b"first ")
            await trio.sleep(heals_after / 2)
            await stream.send_all(b"second")
            await trio.sleep(heals_after / 2)
            assert handler.chunks == []
        await trio.sleep(1000)
        if arrives_after > LATENCY:
            assert handler.chunks == [(near(began + arrives_after + LATENCY), b"first second")]
        assert bytes(handler.data) == b"first second"
        assert stream.sent == 12
        assert rig.network.links()[0].state == "open"


async def test_a_sender_gives_up_after_its_last_retransmission(autojump_clock: MockClock) -> None:
    """924.6 s behind the first try it breaks with ETIMEDOUT; the other end knows nothing, and learns by a reset."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.partition("app", "a"):
            await trio.sleep(5)
            began = trio.current_time()
            await stream.send_all(b"lost")
            await trio.sleep(1)
            await stream.send_all(b"also")
            with pytest.raises(trio.BrokenResourceError) as broken:
                await stream.receive_some()
            assert trio.current_time() == near(began + GIVE_UP)
            assert isinstance(broken.value.__cause__, OSError)
            assert broken.value.__cause__.errno == errno.ETIMEDOUT
            assert rig.network.links()[0].state == "half-open"
        await trio.sleep(1000)
        assert (handler.chunks, handler.told) == ([], [])
        at = trio.current_time()
        assert handler.link.write(b"anybody?") == 8
        await trio.sleep(1)
        assert handler.told == [(near(at + 2 * LATENCY), "connection reset by peer")]
        assert rig.network.links() == []


async def test_a_sender_gives_up_though_the_hole_heals_between_the_last_tries(autojump_clock: MockClock) -> None:
    """Nothing is sent behind the 15th retransmission."""
    async with running() as rig:
        stream, handler = await rig.linked()
        began = trio.current_time()
        with rig.network.black_hole("app", "a"):
            await stream.send_all(b"lost")
            await trio.sleep(805)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() == near(began + GIVE_UP)
        assert handler.chunks == []


async def test_one_way_loss_takes_the_acknowledgements_too(autojump_clock: MockClock) -> None:
    """The way that is open carries what is sent within the first timeout; then it waits for an acknowledgement."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.write(b"before")
        assert await stream.receive_some() == b"before"
        with rig.network.black_hole("app", "a"):
            began = trio.current_time()
            for text in (b"one", b"two"):
                handler.link.write(text)
                assert await stream.receive_some() == text
            await trio.sleep(0.3)
            handler.link.write(b"three")
            with trio.move_on_after(5):
                await stream.receive_some()
            assert trio.current_time() == near(began + 2 * LATENCY + 5.3)
        assert await stream.receive_some() == b"three"
        assert trio.current_time() == near(began + 6.2 + LATENCY)
        handler.link.write(b"four")
        assert await stream.receive_some() == b"four"
        assert trio.current_time() == near(began + 6.2 + 2 * LATENCY)


async def test_one_way_loss_breaks_a_sender_that_is_never_acknowledged(autojump_clock: MockClock) -> None:
    """What was not acknowledged fills the window, and after 924.6 s the link is broken, though all had arrived."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.black_hole("app", "a"):
            began = trio.current_time()
            assert handler.link.write(bytes(WINDOW)) == WINDOW
            while stream.received < WINDOW:
                await stream.receive_some()
            assert handler.link.write(b"x") == 0
            await trio.sleep(1000)
            assert handler.told == [(near(began + GIVE_UP), "connection timed out")]
            assert rig.network.connection(1).how == "connection timed out"


async def test_fins_are_sent_again_and_resets_are_not(autojump_clock: MockClock) -> None:
    """Behind the healing the end of one stream arrives; of the other nothing is heard until somebody writes to it."""
    async with running() as rig:
        machine = rig.machine()
        streams = [await rig.connect() for _ in range(2)]
        await trio.sleep(1)
        for handler in machine.handlers:
            handler.link.write(b"unread")
        await trio.sleep(1)
        await streams[0].receive_some()
        began = trio.current_time()
        with rig.network.black_hole("app", "a"):
            for stream in streams:
                stream.close()
            await trio.sleep(2)
        await trio.sleep(100)
        closed, reset = machine.handlers
        assert closed.told == [(near(began + 3.0 + LATENCY), "ended")]
        assert reset.told == []
        reset.link.write(b"anybody?")
        await trio.sleep(1)
        assert [what for _, what in reset.told] == ["connection reset by peer"]


@pytest.mark.parametrize("heals_after, connected_after", [(0.5, 1), (1.5, 3), (20, 31), (62, 63)])
@pytest.mark.parametrize("ways", [("app", "a"), ("a", "app")])
async def test_a_dial_into_a_black_hole_tries_again(
    autojump_clock: MockClock, heals_after: float, connected_after: float, ways: tuple[str, str]
) -> None:
    """SYN again at 1, 3, 7, 15, 31, 63 s; the first of them behind the healing connects, whichever way was lost."""
    async with running() as rig:
        rig.machine()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.connect)
            with rig.network.black_hole(*ways):
                await trio.sleep(heals_after)
        assert trio.current_time() == near(connected_after + 2 * LATENCY)


async def test_a_dial_into_a_black_hole_fails_in_the_end(autojump_clock: MockClock) -> None:
    """At 127 s, also when the hole heals behind the last SYN."""
    async with running() as rig:
        machine = rig.machine()
        fault = rig.network.partition("app", ["a", "b"])
        fault.start()
        rig.events.call_at(64, fault.stop)
        with pytest.raises(TimeoutError) as timed_out:
            await rig.connect()
        assert timed_out.value.errno == errno.ETIMEDOUT
        assert trio.current_time() == near(127)
        assert machine.accepted_at == []
        await rig.connect()
        assert trio.current_time() == near(127 + 2 * LATENCY)


async def test_a_reset_that_was_lost_is_answered_again(autojump_clock: MockClock) -> None:
    """Whoever wrote to an end that is gone sends again until it gets the reset, whatever was lost in between."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.close()
        await trio.sleep(1)
        began = trio.current_time()
        with rig.network.black_hole("a", "app"):
            await stream.send_all(b"anybody?")
            await trio.sleep(50)
        assert rig.network.links()[0].state == "half-open"
        assert await stream.receive_some() == b""
        await trio.sleep(50)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        told_at = rig.trace.entries[-1][0] / 1e6
        assert told_at == near(began + 51.0 + 2 * LATENCY)
        assert rig.network.links() == []


async def test_a_full_window_to_an_end_that_is_gone_is_probed(autojump_clock: MockClock) -> None:
    """Though the reset was lost, a sender that waits for room does not wait for ever."""
    async with running() as rig:
        stream, handler = await rig.linked()
        assert handler.link.write(bytes(WINDOW)) == WINDOW
        handler.write(b"more")
        await trio.sleep(1)
        with rig.network.partition("a", "app"):
            stream.close()
            await trio.sleep(10)
        await trio.sleep(10)
        assert [what for _, what in handler.told] == ["writable", "connection reset by peer"]
        assert rig.network.links() == []


async def test_a_reset_that_is_lost_on_its_way_is_answered_again(autojump_clock: MockClock) -> None:
    """The bytes had arrived at the end that is gone, and are not acknowledged by that."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.close()
        await trio.sleep(1)
        assert await stream.receive_some() == b""
        await stream.send_all(b"anybody?")
        await trio.sleep(1.5 * LATENCY)
        with rig.network.black_hole("a", "app"):
            await trio.sleep(3)
        await trio.sleep(10)
        assert rig.network.links() == []


async def test_a_half_closed_stream_to_an_end_that_is_gone_is_reset(autojump_clock: MockClock) -> None:
    """A FIN is answered too; who waits for the other half does not wait for ever."""
    async with running() as rig:
        stream, _ = await rig.linked()
        with rig.network.power_off("a"):
            await trio.sleep(1)
        await stream.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_what_is_sent_again_takes_its_time(autojump_clock: MockClock) -> None:
    """A way that is slow is slow for retransmissions too."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.slow("app", "a", bandwidth_bytes_per_second=1000):
            began = trio.current_time()
            with rig.network.black_hole("app", "a"):
                await stream.send_all(bytes(10_000))
                await trio.sleep(50)
            await trio.sleep(100)
        first, *_, last = [at for at, _ in handler.chunks]
        assert last - first == near(8.54)
        # The first piece had left after 1.46 s.
        assert first == near(began + 1.46 + 51.0 + 1.46 + LATENCY)
