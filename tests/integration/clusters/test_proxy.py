"""The TCP proxy for faults: what it promises to do to connections it does, and it does nothing else.

The two sides are sockets of this process, so that what is seen is the proxy's doing; the last tests put it before a
real server.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
import trio.testing

from beamline_trio import open_client
from beamline_trio.server_process import Conditions, FaultProxy, open_fault_proxy, open_server

LIMIT_SECONDS = 10.0
SILENCE_SECONDS = 0.15
"""What nothing comes for is held: much longer than the loopback interface takes."""


@attrs.frozen
class Ends:
    """A connection through a proxy: both ends, and the proxy between them."""

    proxy: FaultProxy
    client: trio.SocketStream
    target: trio.SocketStream


@asynccontextmanager
async def connected(chance: Random | None = None) -> AsyncGenerator[Ends]:
    """A connection that stands on both sides."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener, open_fault_proxy(port, chance=chance) as proxy:
        client = await trio.open_tcp_stream(proxy.host, proxy.port)
        target = await listener.accept()
        async with client, target:
            yield Ends(proxy, client, target)


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    got = bytearray()
    with trio.fail_after(LIMIT_SECONDS):
        while len(got) < count:
            chunk = await stream.receive_some(count - len(got))
            assert chunk, f"ended after {len(got)} bytes"
            got += chunk
    return bytes(got)


async def is_silent(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(SILENCE_SECONDS):
        await stream.receive_some(1)
        return False
    return True


async def is_reset(stream: trio.SocketStream) -> bool:
    """Whether it breaks, as it does by a reset, rather than ending in order."""
    with trio.fail_after(LIMIT_SECONDS):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return True
    return False


async def test_bytes_pass_unchanged_both_ways_and_the_end_too() -> None:
    """Without conditions it is a wire: a megabyte arrives as it was sent, each side's end is an end, not a reset."""
    data = Random(1).randbytes(1024 * 1024)
    async with connected() as ends, trio.open_nursery() as nursery:
        nursery.start_soon(ends.client.send_all, data)
        assert await receive_exactly(ends.target, len(data)) == data
        await ends.client.send_eof()
        with trio.fail_after(LIMIT_SECONDS):
            assert await ends.target.receive_some() == b""
            assert ends.proxy.to_target.bytes_passed == len(data)
            await ends.target.send_all(b"still there")
            assert await receive_exactly(ends.client, 11) == b"still there"
            await ends.target.send_eof()
            assert await ends.client.receive_some() == b""
        while ends.proxy.connections:
            await trio.lowlevel.checkpoint()


async def test_latency_delays_each_way_alone_and_does_not_narrow_it() -> None:
    """What is sent at once comes at once, later by the latency; the other way is as fast as before."""
    async with connected() as ends:
        ends.proxy.to_client.conditions = Conditions(latency_seconds=0.2)
        began = trio.current_time()
        for _ in range(20):
            await ends.target.send_all(b"x" * 1000)
            await trio.sleep(0.001)
        await receive_exactly(ends.client, 20_000)
        assert 0.2 <= trio.current_time() - began < 0.2 + 20 * 0.05
        began = trio.current_time()
        await ends.client.send_all(b"x")
        await receive_exactly(ends.target, 1)
        assert trio.current_time() - began < 0.15


async def test_jitter_never_changes_the_order() -> None:
    """Chunks of their own, each delayed by chance, arrive in order, and not all at the same distance."""
    async with connected(Random(3)) as ends:
        ends.proxy.to_target.conditions = Conditions(jitter_seconds=0.05)
        sent = bytes(range(50))
        arrived: list[float] = []

        async def send() -> None:
            for one in sent:
                await ends.client.send_all(bytes([one]))
                await trio.sleep(0.002)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            got = b""
            while len(got) < len(sent):
                got += await receive_exactly(ends.target, 1)
                arrived.append(trio.current_time())
        assert got == sent
        gaps = [later - earlier for earlier, later in itertools.pairwise(arrived)]
        assert max(gaps) > 0.005


async def test_bandwidth_and_slices() -> None:
    """100 kB at 500 kB/s take 0.2 s; of a slice at most so many bytes are seen at once."""
    async with connected() as ends, trio.open_nursery() as nursery:
        ends.proxy.to_target.conditions = Conditions(bandwidth_bytes_per_second=500_000)
        began = trio.current_time()
        nursery.start_soon(ends.client.send_all, b"x" * 100_000)
        await receive_exactly(ends.target, 100_000)
        assert trio.current_time() - began >= 0.15
        ends.proxy.to_target.conditions = Conditions(bandwidth_bytes_per_second=2000, slice_bytes_max=7)
        await ends.client.send_all(b"y" * 70)
        with trio.fail_after(LIMIT_SECONDS):
            pieces = [await ends.target.receive_some() for _ in range(10)]
        assert {len(piece) for piece in pieces} == {7}
        ends.proxy.to_target.conditions = Conditions(slice_bytes_max=1)
        await ends.client.send_all(b"z" * 1000)
        assert await receive_exactly(ends.target, 1000) == b"z" * 1000


async def test_one_way_is_held_and_the_other_is_not() -> None:
    """Held bytes come after the release, whole and in order; meanwhile the other way goes on."""
    async with connected() as ends:
        ends.proxy.to_target.hold()
        assert ends.proxy.to_target.held
        await ends.client.send_all(b"held")
        assert await is_silent(ends.target)
        await ends.target.send_all(b"passes")
        assert await receive_exactly(ends.client, 6) == b"passes"
        ends.proxy.to_target.release()
        await ends.client.send_all(b", later")
        assert await receive_exactly(ends.target, 11) == b"held, later"


async def test_a_held_way_keeps_the_news_that_the_other_side_is_gone() -> None:
    """As in a partition: neither an end nor a reset comes through, until it is released."""
    for reset in (False, True):
        async with connected() as ends:
            ends.proxy.hold()
            if reset:
                ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await ends.client.aclose()
            assert await is_silent(ends.target)
            ends.proxy.release()
            assert await is_reset(ends.target) is reset
            await ends.target.aclose()
            with trio.fail_after(LIMIT_SECONDS):
                while ends.proxy.connections:  # noqa: ASYNC110 - the kernel tells it
                    await trio.sleep(0.01)


async def test_a_held_way_holds_its_sender_back() -> None:
    """Its buffer is bounded: a sender that goes on has to wait, and loses nothing."""
    async with connected() as ends:
        ends.proxy.to_target.hold()
        data = b"x" * (64 * 1024 * 1024)
        with trio.move_on_after(1) as scope:
            await ends.client.send_all(data)
        assert scope.cancelled_caught


async def test_reset_breaks_both_sides_also_when_held() -> None:
    """Every connection breaks now; the next one is as good as the first was."""
    for held in (False, True):
        async with connected() as ends:
            assert ends.proxy.connections == 1
            await ends.client.send_all(b"x")
            await receive_exactly(ends.target, 1)
            if held:
                ends.proxy.hold()
            assert ends.proxy.reset() == 1
            assert await is_reset(ends.client)
            assert await is_reset(ends.target)
            assert ends.proxy.connections == 0
            assert ends.proxy.reset() == 0


async def test_refuse_is_about_new_connections() -> None:
    """Dials are refused until it listens again, at the same port; what stands goes on."""
    async with connected() as ends:
        ends.proxy.refuse()
        ends.proxy.refuse()
        with pytest.raises(OSError, match=r"127\.0\.0\.1") as caught:
            await trio.open_tcp_stream(ends.proxy.host, ends.proxy.port)
        assert errno.ECONNREFUSED in {error.errno for error in _causes(caught.value)}
        await ends.client.send_all(b"x")
        assert await receive_exactly(ends.target, 1) == b"x"
        await ends.proxy.listen()
        with trio.testing.assert_checkpoints():
            await ends.proxy.listen()
        async with await trio.open_tcp_stream(ends.proxy.host, ends.proxy.port):
            pass


def _causes(error: BaseException) -> list[OSError]:
    found = [error] if isinstance(error, OSError) else []
    group = error.__cause__ if error.__cause__ is not None else error
    if isinstance(group, BaseExceptionGroup):
        found += [each for each in group.exceptions if isinstance(each, OSError)]
    elif group is not error:
        found += _causes(group)
    return found


async def test_without_a_target_a_connection_is_reset() -> None:
    """The target need not be there; who dials meanwhile sees the connection break."""
    async with open_server() as server:
        await server.stop()
        async with open_fault_proxy(server.port) as proxy:
            async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
                assert await is_reset(stream)
            await server.start()
            async with open_client(proxy.url) as nc:
                await nc.flush()
                assert proxy.connections == 1
                assert f"{proxy.port} -> 127.0.0.1:{server.port}, 1 connections" in repr(proxy)


async def test_a_client_behind_a_held_proxy_notices_and_comes_back() -> None:
    """Silence is what a hanging network is to a client: its pings find out, and after the release it is back."""
    async with (
        open_server() as server,
        open_fault_proxy(server.port) as proxy,
        open_client(proxy.url, ping_interval_seconds=0.2, pong_timeout_seconds=0.2, connect_timeout_seconds=0.5) as nc,
    ):
        await nc.flush()
        proxy.hold()
        with trio.fail_after(LIMIT_SECONDS):
            while nc.stats().lost == 0:  # noqa: ASYNC110
                await trio.sleep(0.02)
        proxy.release()
        with trio.fail_after(LIMIT_SECONDS):
            await nc.flush()
        assert nc.stats().restored


async def test_cancelled_while_it_carries() -> None:
    """Leaving the block breaks the connections, and the port is free again."""
    async with open_server() as server:
        streams: list[trio.SocketStream] = []
        port = 0
        with trio.CancelScope() as scope:
            async with open_fault_proxy(server.port) as proxy:
                port = proxy.port
                streams.append(await trio.open_tcp_stream(proxy.host, port))
                await receive_exactly(streams[0], 4)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        async with streams[0]:
            assert await is_reset(streams[0])
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            await trio.open_tcp_stream("127.0.0.1", port)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_seconds": -1.0},
        {"jitter_seconds": -0.1},
        {"bandwidth_bytes_per_second": 0},
        {"slice_bytes_max": 0},
    ],
)
def test_conditions_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    """A value that means nothing is an error when the record is made."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Conditions(**wrong)  # type: ignore[arg-type]
