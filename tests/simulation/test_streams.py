"""Simulated streams are streams: trio's own checks, and the laws of errors, cancellation and checkpoints."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import (
    MockClock,
    assert_checkpoints,
    check_half_closeable_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

from beamline_trio.simulation._network import Conditions, SimulatedStream

from ._network_rig import WINDOW, Rig, running


async def _clogged(rig: Rig) -> tuple[SimulatedStream, SimulatedStream]:
    """A pair whose windows are full, both ways."""
    one, other = await rig.pair()
    for stream in (one, other):
        await stream.send_all(bytes(rig.network.conditions.window_bytes))
    return one, other


# Every condition comes in the first eight.
@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 16))])
@pytest.mark.parametrize("check", [check_two_way_stream, check_half_closeable_stream])
async def test_streams_pass_trios_checks(
    autojump_clock: MockClock, seed: int, check: Callable[..., Awaitable[None]]
) -> None:
    """A simulated stream is a trio stream, whatever its latency, jitter, window, bandwidth and chunks are."""
    conditions = Conditions(
        latency_seconds=(0.0, 0.0005, 0.08)[seed % 3],
        jitter_seconds=(0.0, 0.01)[seed % 2],
        bandwidth_bytes_per_second=(None, 2e6)[seed // 2 % 2],
        window_bytes=(WINDOW, 5_000)[seed // 3 % 2],
        chunk_bytes_max=(None, 3_000)[seed // 4 % 2],
    )
    async with running(seed, conditions) as rig:

        async def make() -> tuple[SimulatedStream, SimulatedStream]:
            return await rig.pair()

        async def make_clogged() -> tuple[SimulatedStream, SimulatedStream]:
            return await _clogged(rig)

        await check(make, make_clogged)


async def test_a_cancelled_receive_loses_no_byte(autojump_clock: MockClock) -> None:
    """Cancelled at any moment, also in the very instant of an arrival, receive_some has taken nothing."""
    async with running() as rig:
        one, other = await rig.pair()

        async def send() -> None:
            for number in range(500):
                await one.send_all(bytes([number % 251]))
                await trio.sleep(0.001)
            await one.send_eof()

        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while True:
                with trio.move_on_after(0.0005):
                    data = await other.receive_some(1)
                    if not data:
                        break
                    got += data
        assert got == bytes(number % 251 for number in range(500))
        assert other.received == 500


async def test_a_receive_cancelled_when_it_has_taken_gives_what_it_took(autojump_clock: MockClock) -> None:
    """A cancellation between the taking and the return of receive_some loses no byte either."""
    async with running() as rig:
        one, other = await rig.pair()
        text, got = bytes(range(200)), bytearray()
        await one.send_all(text)
        await trio.sleep(1)

        async def receive(scope: trio.CancelScope) -> None:
            with scope:
                got.extend(await other.receive_some(1))

        async def cancel(scope: trio.CancelScope) -> None:
            scope.cancel()

        while len(got) < len(text):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(receive, scope)
                nursery.start_soon(cancel, scope)
            assert len(got) == other.received
        assert got == text


async def test_a_cancelled_send_has_sent_a_beginning(autojump_clock: MockClock) -> None:
    """Cancelled while it waits for room, send_all has sent what the window took, once and in order."""
    async with running() as rig:
        one, other = await rig.pair()
        data = bytes(range(256)) * 2048
        with trio.move_on_after(1) as scope:
            await one.send_all(data)
        assert scope.cancelled_caught
        assert one.sent == WINDOW
        await other.receive_some(1000)
        with trio.move_on_after(1) as scope:
            await one.send_all(data[one.sent :])
        assert one.sent == WINDOW + 1000
        one.close()
        got = bytearray(data[:1000])
        while chunk := await other.receive_some():
            got += chunk
        assert got == data[: one.sent]


async def test_a_send_cancelled_before_has_sent_nothing(autojump_clock: MockClock) -> None:
    """In a cancelled scope send_all, receive_some and connect do nothing."""
    async with running() as rig:
        one, other = await rig.pair()
        await other.send_all(b"there")
        await trio.sleep(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.send_all(b"x")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.receive_some()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await rig.connect("b")
        assert scope.cancelled_caught
        assert (one.sent, one.received) == (0, 0)
        assert await one.receive_some() == b"there"
        assert len(rig.network.links()) == 1


async def test_every_call_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """Also those that need not wait."""
    async with running() as rig:
        one, other = await rig.pair()
        await other.send_all(b"there")
        await trio.sleep(1)
        with assert_checkpoints():
            await one.send_all(b"x")
        with assert_checkpoints():
            await one.send_all(b"")
        with assert_checkpoints():
            assert await one.receive_some() == b"there"
        with assert_checkpoints():
            await one.wait_send_all_might_not_block()
        with assert_checkpoints():
            await one.send_eof()
        with assert_checkpoints():
            await one.send_eof()
        await other.send_eof()
        await trio.sleep(1)
        with assert_checkpoints():
            assert await one.receive_some() == b""
        with assert_checkpoints():
            assert await one.receive_some() == b""
        with assert_checkpoints():
            await one.aclose()


async def test_receive_gives_all_that_is_there(autojump_clock: MockClock) -> None:
    """What came in several pieces is given as one, up to 64 KiB or what was asked for."""
    async with running() as rig:
        one, other = await rig.pair()
        for _ in range(5):
            await one.send_all(b"12345")
            await trio.sleep(1)
        assert await other.receive_some(7) == b"1234512"
        assert await other.receive_some() == b"345" + 3 * b"12345"
        await one.send_all(bytes(100_000))
        await trio.sleep(1)
        assert len(await other.receive_some()) == 65_536
        assert len(await other.receive_some()) == 100_000 - 65_536


async def test_what_was_sent_before_a_fin_can_be_read(autojump_clock: MockClock) -> None:
    """The end comes behind the bytes; it can be read again and again."""
    async with running() as rig:
        one, other = await rig.pair()
        await one.send_all(b"last words")
        one.close()
        await trio.sleep(1)
        assert await other.receive_some(4) == b"last"
        assert await other.receive_some() == b" words"
        assert await other.receive_some() == b""
        assert await other.receive_some() == b""


async def test_what_arrived_before_a_reset_can_be_read(autojump_clock: MockClock) -> None:
    """A reset takes what is under way, not what is there; the cause of the error is the OSError of a socket."""
    async with running() as rig:
        one, other = await rig.pair()
        await one.send_all(b"kept")
        await trio.sleep(1)
        await one.send_all(b"lost")
        rig.network.reset("app", "a")
        assert await other.receive_some(2) == b"ke"
        assert await other.receive_some() == b"pt"
        for stream in (one, other):
            with pytest.raises(trio.BrokenResourceError) as broken:
                await stream.receive_some()
            assert isinstance(broken.value.__cause__, OSError)
            assert broken.value.__cause__.errno == errno.ECONNRESET
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_eof()
            await stream.wait_send_all_might_not_block()
            stream.close()
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()


async def test_bytes_for_a_closed_stream_are_answered_with_a_reset(autojump_clock: MockClock) -> None:
    """As a kernel does: whoever writes to somebody who has closed is told by a reset, one round trip later."""
    async with running() as rig:
        one, other = await rig.pair()
        other.close()
        await trio.sleep(1)
        assert await one.receive_some() == b""
        await one.send_all(b"anybody?")
        await trio.sleep(0.0009)
        await one.send_all(b"still fine")
        await trio.sleep(0.0002)
        with pytest.raises(trio.BrokenResourceError):
            await one.send_all(b"told by now")
        assert rig.network.links() == []


async def test_closing_with_unread_bytes_is_a_reset(autojump_clock: MockClock) -> None:
    """As a kernel does."""
    async with running() as rig:
        one, other = await rig.pair()
        await one.send_all(b"unread")
        await trio.sleep(1)
        other.close()
        with pytest.raises(trio.BrokenResourceError):
            await one.receive_some()
        assert rig.network.links() == []


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_whoever_waits_is_woken_by_the_end(autojump_clock: MockClock, how: str) -> None:
    """Tasks that wait in receive_some and send_all end at once with the right error, when somebody closes or resets."""
    async with running() as rig:
        one, _ = await _clogged(rig)
        await trio.sleep(1)
        await one.receive_some(WINDOW)
        expected = trio.ClosedResourceError if how == "close" else trio.BrokenResourceError
        ended: list[float] = []

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(expected):
                await call()
            ended.append(trio.current_time())

        async def drain() -> None:
            while True:
                await one.receive_some()

        at = trio.current_time() + 5
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, drain)
            nursery.start_soon(wait, lambda: one.send_all(b"x"))
            await trio.sleep(5)
            if how == "close":
                one.close()
            else:
                rig.network.reset("app", "a")
        assert ended == [at, at]


async def test_two_tasks_conflict(autojump_clock: MockClock) -> None:
    """A second sender or receiver gets BusyResourceError, and the first is not disturbed."""
    async with running() as rig:
        one, other = await rig.pair()
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await other.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await other.receive_some()
            await one.send_all(b"x")
        assert got == [b"x"]


@pytest.mark.parametrize("size, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
async def test_max_bytes_is_a_positive_integer(autojump_clock: MockClock, size: int, error: type[Exception]) -> None:
    """Anything else is an error at once."""
    async with running() as rig:
        one, _ = await rig.pair()
        with pytest.raises(error):
            await one.receive_some(size)
