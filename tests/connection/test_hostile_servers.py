"""Servers that send what no server may: the link ends with a reason, memory stays bounded, the client connects again.

Each frame comes three times: instead of the greeting of the first connect, in the greeting of a reconnect, and in the
middle of a link that works.
"""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ConnectError,
    ConnectTimeoutError,
    Disconnected,
    HandshakeError,
    Message,
    NotNatsServerError,
    ReconnectFailed,
    State,
    Subscription,
    open_client,
)
from tests._memory import MemoryDialer, ToyServer, opened, wait_connected

KIB: Final = 1024
MIB: Final = 1024 * KIB
# What a client may take beside what it keeps of a frame: a chunk of the stream, logs, events, tracebacks.
SLACK_BYTES: Final = MIB


@attrs.frozen
class Hostile:
    """What a server sends.

    Attributes:
        frame: its first bytes.
        reason: a part of the reason with which the link ends; behind the frame comes the end of the stream if it is
            the server's own, else nothing.
        endless: what comes behind the frame, over and over.
        kept_bytes: how much of it may be kept at most, in all copies.
        hangs_up: the server ends the stream behind it.
    """

    frame: bytes
    reason: str
    endless: bytes = b""
    kept_bytes: int = 0
    hangs_up: bool = False


LINE = "control line of more than 65536 bytes"
MESSAGES: Final = {
    "a MSG of 1 TiB": Hostile(b"MSG a 1 1099511627776\r\n", "size b'1099511627776'", b"x" * 64 * KIB),
    "a MSG of 1 TiB with blanks": Hostile(b"MSG  a  1 \t1099511627776\r\n", "size b'1099511627776'"),
    "a HMSG of 1 TiB": Hostile(b"HMSG a 1 12 1099511627776\r\n", "size b'1099511627776'"),
    "a header block of 1 TiB": Hostile(b"HMSG a 1 1099511627776 1099511627776\r\n", "size b'1099511627776'"),
    "a MSG just over the bound": Hostile(b"MSG a 1 67108865\r\n", "is not a number up to 67108864"),
    "a size of 60,000 digits": Hostile(b"MSG a 1 " + b"9" * 60_000 + b"\r\n", "is not a number", kept_bytes=MIB),
    "a negative size": Hostile(b"MSG a 1 -1\r\n", "size b'-1'"),
    "a header longer than the message": Hostile(b"HMSG a 1 100 50\r\n", "header block larger than the message"),
    "a payload without its CRLF": Hostile(b"MSG a 1 1\r\nxyz", "no CRLF behind the payload"),
    "a header message without its CRLF": Hostile(b"HMSG a 1 12 12\r\nNATS/1.0\r\n\r\nxyz", "no CRLF behind"),
    "a run that loses its CRLF": Hostile(b"MSG a 7 1\r\nx\r\n" * 9 + b"MSG a 7 1\r\nxyz", "no CRLF behind"),
    "an endless control line": Hostile(b"MSG a", LINE, b"x" * 8 * KIB, kept_bytes=4 * 64 * KIB),
    "an endless line of blanks": Hostile(b"PING", LINE, b" " * 8 * KIB, kept_bytes=4 * 64 * KIB),
    "an endless line in small pieces": Hostile(b"PING", LINE, b" " * 100, kept_bytes=4 * 64 * KIB),
    "an endless error": Hostile(b"-ERR '", LINE, b"x" * 8 * KIB, kept_bytes=4 * 64 * KIB),
    "an endless INFO": Hostile(
        b'INFO {"x":"', "control line of more than 1048576", b"y" * 64 * KIB, kept_bytes=4 * MIB
    ),
    "no line at all": Hostile(b"", LINE, b"\x00" * 64 * KIB, kept_bytes=4 * 64 * KIB),
    "an unknown operation": Hostile(b"GET / HTTP/1.1\r\n\r\n", "unknown operation"),
    "a cut INFO": Hostile(b'INFO {"server_id":"X","max_pay\r\n', "INFO is not JSON"),
    "an INFO cut by the end": Hostile(b'INFO {"server_id":"X","max_pay', "closed the connection", hangs_up=True),
    "an INFO that is no object": Hostile(b"INFO [1,2,3]\r\n", "INFO is not a JSON object"),
    "an empty INFO": Hostile(b"INFO \r\n", "INFO is not JSON"),
    "an INFO that is no UTF-8": Hostile(b'INFO {"server_id":"\xff\xfe\xc0"}\r\n', "INFO is not JSON"),
    "an INFO of 100,000 brackets": Hostile(b"INFO " + b"[" * 100_000 + b"\r\n", "INFO is not JSON", kept_bytes=2 * MIB),
    "an INFO of 100,000 objects": Hostile(
        b"INFO " + b'{"a":' * 100_000 + b"\r\n", "INFO is not JSON", kept_bytes=8 * MIB
    ),
    "an INFO with an integer of 100,000 digits": Hostile(
        b'INFO {"max_payload":' + b"9" * 100_000 + b"}\r\n", "INFO is not JSON", kept_bytes=MIB
    ),
}


@contextmanager
def memory_bounded(kept_bytes: int, *, error_held: bool = False) -> Generator[None]:
    """What is allocated meanwhile never exceeds this and the slack, and nearly nothing of it stays.

    An error that is held keeps its frames, and those what they were reading.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert peak - before < kept_bytes + SLACK_BYTES, f"{peak - before} bytes at the peak"
    assert after - before < SLACK_BYTES + error_held * kept_bytes, f"{after - before} bytes kept"


async def works(server: ToyServer, nc: Client, sub: Subscription) -> None:
    """The client is connected, and its subscription is in force on the new link."""
    assert nc.state is State.CONNECTED
    await nc.publish("out", b"works", confirm=True)
    server.publish("in", b"works")
    message: Message = await sub.receive()
    assert message.payload == b"works"


@pytest.mark.parametrize("name", MESSAGES)
async def test_in_the_middle_of_a_link(name: str, autojump_clock: MockClock) -> None:
    """The link ends at once with the reason, told by an event and counted once; a new one takes its place."""
    hostile = MESSAGES[name]
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("in") as sub, nc.events() as events:
        await sub.confirmed()
        with memory_bounded(hostile.kept_bytes):
            server.link.send(hostile.frame)
            if hostile.endless:
                server.link.send_for_ever(hostile.endless)
            if hostile.hangs_up:
                server.link.hang_up()
            event = await events.receive()
            assert isinstance(event, Disconnected)
            assert hostile.reason in event.reason
            assert trio.current_time() < 1
            await wait_connected(nc)
        await works(server, nc, sub)
        stats = nc.stats()
        assert (stats.lost, stats.restored, stats.established, stats.connect_failures) == (1, 1, 2, 0)
        assert stats.bytes_in < hostile.kept_bytes + SLACK_BYTES


@pytest.mark.parametrize("name", MESSAGES)
async def test_in_the_greeting_of_a_reconnect(name: str, autojump_clock: MockClock) -> None:
    """Each attempt fails with the reason, counted and told, and paced; when the server is well again it works."""
    hostile = MESSAGES[name]
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, connect_timeout_seconds=1) as nc, nc.subscribe("in") as sub:
        await sub.confirmed()
        async with nc.events() as events:
            server.greeting, server.endless_greeting = hostile.frame, hostile.endless
            server.greets_and_hangs_up = hostile.hangs_up
            with memory_bounded(hostile.kept_bytes):
                server.drop()
                assert isinstance(await events.receive(), Disconnected)
                for _ in range(3):
                    event = await events.receive()
                    assert isinstance(event, ReconnectFailed)
                    assert hostile.reason in event.reason
        failures = {reason: count for reason, count in nc.stats().reconnect_failures.items() if count}
        assert failures == ({"closed": 3} if hostile.hangs_up else {"protocol": 3})
        times = [at for at, _ in dialer.dialled[1:]]
        assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))
        server.greeting, server.endless_greeting, server.greets_and_hangs_up = None, b"", False
        await wait_connected(nc)
        await works(server, nc, sub)


@pytest.mark.parametrize("name", MESSAGES)
async def test_in_the_first_greeting(name: str, autojump_clock: MockClock) -> None:
    """The first connect raises what the server is, with the reason; nothing of it is left."""
    hostile = MESSAGES[name]
    server = ToyServer()
    server.greeting, server.endless_greeting = hostile.frame, hostile.endless
    server.greets_and_hangs_up = hostile.hangs_up
    dialer = MemoryDialer(server)
    with memory_bounded(hostile.kept_bytes, error_held=True), pytest.raises(ConnectError) as caught:
        async with open_client(server.url, dialer=dialer):
            raise AssertionError
    assert type(caught.value) is (HandshakeError if hostile.hangs_up else NotNatsServerError)
    assert hostile.reason in str(caught.value)
    assert len(str(caught.value)) < 400
    assert dialer.open_streams == 0


@pytest.mark.parametrize("endless", [b"PING\r\n" * 100, b"+OK\r\n" * 100, b"INFO {}\r\n" * 100, b"-ERR 'x'\r\n"])
async def test_a_handshake_that_never_ends(endless: bytes, autojump_clock: MockClock) -> None:
    """Legal operations without end instead of the PONG: the connect timeout, or the error, ends the attempt."""
    server = ToyServer()
    server.pongs_held = True
    dialer = MemoryDialer(server)

    async def let_time_pass() -> None:
        while True:
            autojump_clock.jump(0.1)
            await trio.lowlevel.checkpoint()

    with memory_bounded(MIB):
        async with trio.open_nursery() as nursery:
            server.endless_greeting = endless
            nursery.start_soon(let_time_pass)
            with pytest.raises((ConnectTimeoutError, HandshakeError)):
                async with open_client(server.url, dialer=dialer, connect_timeout_seconds=5):
                    raise AssertionError
            nursery.cancel_scope.cancel()
    assert dialer.open_streams == 0


async def test_a_hundred_megabytes_without_a_line_end(autojump_clock: MockClock) -> None:
    """100 MB on offer: what is read is a line's bound and a chunk, on every link, however often it connects."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("in") as sub:
        await sub.confirmed()
        chunk = b"x" * 64 * KIB
        with memory_bounded(8 * 64 * KIB):
            for _ in range(20):
                server.link.send_for_ever(chunk)
                links = len(server.links)
                while len(server.links) == links or nc.state is not State.CONNECTED:  # noqa: ASYNC110
                    await trio.sleep(0.05)
        await works(server, nc, sub)
        assert nc.stats().lost == 20
        assert nc.stats().bytes_in < 20 * 3 * 64 * KIB


async def test_the_largest_message_is_an_option(autojump_clock: MockClock) -> None:
    """A message of message_bytes_max is received, one byte more ends the link when its line is read."""
    server = ToyServer()
    async with opened(server, message_bytes_max=10_000) as nc, nc.subscribe("in") as sub, nc.events() as events:
        await sub.confirmed()
        header = b"NATS/1.0\r\n\r\n"
        server.publish("in", b"x" * 10_000)
        server.publish("in", b"x" * (10_000 - len(header)), header=header)
        assert [len((await sub.receive()).payload) for _ in range(2)] == [10_000, 10_000 - len(header)]
        server.link.send(b"MSG in 1 10001\r\n")
        event = await events.receive()
        assert isinstance(event, Disconnected)
        assert "is not a number up to 10000" in event.reason
        await wait_connected(nc)


async def test_a_legal_giant_that_never_ends(autojump_clock: MockClock) -> None:
    """The largest message that is taken, without its end: it costs its bytes and their join, and then the link."""
    server = ToyServer()
    size = 64 * MIB
    async with opened(server) as nc, nc.subscribe("in") as sub, nc.events() as events:
        await sub.confirmed()
        with memory_bounded(3 * size):
            server.link.send(b"MSG in 1 %d\r\n" % size)
            server.link.send_for_ever(b"x" * 64 * KIB)
            event = await events.receive()
            assert isinstance(event, Disconnected)
            assert "no CRLF behind the payload" in event.reason
            await wait_connected(nc)
        await works(server, nc, sub)
