"""The parser's bounds: what a peer can make it keep, allocate or compute."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from beamline_trio.protocol import Parser, ProtocolError
from tests.protocol._recorder import Recorder, fed, refusal, single_bytes, split


@pytest.mark.parametrize(
    "line, fill",
    [
        (b"PING%b", b" "),
        (b"PONG%b", b"\t"),
        (b"+OK%b", b" "),
        (b"-ERR '%b'", b"x"),
        (b"MSG a%b 1 0", b"x"),
        (b"MSG a%b 1 0", b" "),
        (b"MSG a 1 r%b 0", b"x"),
        (b"MSG a 1 %b", b"0"),
        (b"HMSG a%b 1 12 12", b"x"),
    ],
)
def test_the_control_line_is_bounded(line: bytes, fill: bytes) -> None:
    """A line of exactly the limit passes, one byte more is refused, whole or byte by byte, with or without its end."""
    limit = 18
    fits = line % (fill * (limit - len(line) + 2))
    assert len(fits) == limit
    rest = {b"MSG": b"\r\n", b"HMS": b"NATS/1.0\r\n\r\n\r\n"}.get(line[:3], b"")
    for chunks in ([fits + b"\r\n" + rest], single_bytes(fits + b"\r\n" + rest)):
        assert fed(*chunks, *chunks, control_line_bytes_max=limit)[0].waiting_bytes == 0
    over = line % (fill * (limit - len(line) + 3))
    refusal(over + b"\r\n" + rest, control_line_bytes_max=limit)
    assert str(limit) in refusal(over + b"x", control_line_bytes_max=limit)


def test_info_has_a_bound_of_its_own() -> None:
    """INFO may be longer than other lines, up to its own limit."""
    bounds = {"control_line_bytes_max": 32, "info_bytes_max": 100}
    info = b'INFO {"x":"%b"}'
    fits = info % (b"y" * (100 - len(info) + 2))
    assert len(fits) == 100
    for chunks in ([fits + b"\r\n"], single_bytes(fits + b"\r\n")):
        assert len(fed(*chunks, **bounds)[1].events) == 1
    over = info % (b"y" * (101 - len(info) + 2))
    assert "100" in refusal(over + b"\r\n", **bounds)
    assert "100" in refusal(over + b"y", **bounds)


def test_an_info_of_a_large_cluster_passes() -> None:
    """An INFO of some 500 kB, far longer than any other line may be, is read."""
    urls = ",".join(f'"10.{n // 65536}.{n // 256 % 256}.{n % 256}:4222"' for n in range(25_000))
    _, recorder = fed(*split(b'INFO {"connect_urls":[%b]}\r\n' % urls.encode(), range(0, 400_000, 65_536)))
    (event,) = recorder.events
    assert isinstance(event[1], dict)
    assert len(event[1]["connect_urls"]) == 25_000


@pytest.mark.parametrize("limit", [100, 4_095, 5_000, 100_000])
@pytest.mark.parametrize("line", [b"MSG a 1 %d", b"MSG  a 1 %d", b"HMSG a 1 12 %d"], ids=["plain", "blanks", "header"])
def test_the_announced_size_is_bounded(line: bytes, limit: int) -> None:
    """A message of exactly the limit passes, one byte more is refused when its line is read."""
    header = b"NATS/1.0\r\n\r\n" if line.startswith(b"H") else b""
    frame = line % limit + b"\r\n" + header.ljust(limit, b"x") + b"\r\n"
    for chunks in ([frame], split(frame, [len(line)])):
        parser, recorder = fed(*chunks, payload_bytes_max=limit)
        assert len(recorder.events) == 1
        assert parser.waiting_bytes == 0
    assert str(limit) in refusal(line % (limit + 1) + b"\r\n", payload_bytes_max=limit)


def test_the_header_block_is_bounded() -> None:
    """A header block of exactly the limit passes, one byte more is refused when its line is read."""
    block = b"NATS/1.0\r\nA: %b\r\n\r\n" % (b"v" * 24)
    frame = b"HMSG a 1 %d 100\r\n" % len(block) + block.ljust(100) + b"\r\n"
    assert len(fed(frame, header_bytes_max=len(block))[1].events) == 1
    line = b"HMSG a 1 %d 100\r\n" % len(block)
    assert str(len(block) - 1) in refusal(line, header_bytes_max=len(block) - 1)


ABSURD = [
    b"99999999999999999999",
    b"67108865",
    b"4294967296",
    b"18446744073709551615",
    b"1" * 60_000,
    b"-1",
    b"+1",
    b"1_0",
    b"0x10",
    b"1.0",
    b"1e3",
    b"\xc2\xb2",
    "\uff15".encode(),
    b"five",
    b"000000000005",
]


@pytest.mark.parametrize("size", ABSURD, ids=[repr(size[:24])[2:-1] for size in ABSURD])
@pytest.mark.parametrize(
    "line", [b"MSG a 1 %b\r\n", b"MSG a  1 r %b\r\n", b"HMSG a 1 12 %b\r\n", b"HMSG a 1 %b 70000\r\n"]
)
def test_absurd_sizes_are_refused_without_allocating(line: bytes, size: bytes) -> None:
    """What is no size, or one above the limit, is refused when its line is read, and nothing is allocated for it."""
    stream = line % size
    parser = Parser({}, Recorder())
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="size"):
            parser.feed(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000 + 10 * len(stream)
    assert parser.waiting_bytes == 0


def test_an_announced_size_takes_no_memory_before_its_bytes_come() -> None:
    """The largest legal payload, announced and not sent, costs nothing; waiting_bytes are the bytes that came."""
    parser, _ = fed()
    tracemalloc.start()
    try:
        parser.feed(b"MSG a 1 67108864\r\n")
        assert parser.waiting_bytes == 18
        for n in range(1, 101):
            parser.feed(b"x" * 100)
            assert parser.waiting_bytes == 18 + 100 * n
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_waiting_bytes_are_bounded() -> None:
    """Whatever trickles in, no more than one line, one message and one chunk are kept."""
    bounds = {"control_line_bytes_max": 64, "info_bytes_max": 128, "header_bytes_max": 64, "payload_bytes_max": 256}
    streams = [b"x" * 500, b"INFO " + b"x" * 500, b"MSG a 1 256\r\n" + b"y" * 500, b"HMSG a 1 64 256\r\n" + b"z" * 500]
    for stream in streams:
        for size in (1, 7, 100):
            recorder = Recorder()
            parser = Parser(recorder.routes, recorder, **bounds)
            most = 0
            with pytest.raises(ProtocolError):
                for start in range(0, len(stream), size):
                    parser.feed(stream[start : start + size])
                    most = max(most, parser.waiting_bytes)
            assert most <= 128 + 256 + 4 + size
            assert recorder.events == []


def test_a_line_seen_before_is_held_to_its_bound() -> None:
    """That a subject and sid are known makes no longer line legal: sizes have no more than ten digits."""
    parser, recorder = fed(b"MSG a 1 0\r\n\r\n" * 3, b"MSG a 1 0000000000\r\n\r\n", control_line_bytes_max=20)
    assert len(recorder.events) == 4
    with pytest.raises(ProtocolError):
        parser.feed(b"MSG a 1 00000000000\r\n\r\n")


@pytest.mark.parametrize("size", [400, 4000])
def test_many_subjects_take_no_memory(size: int) -> None:
    """What the parser remembers of the lines it saw is bounded: 20,000 long subjects leave less than 2 MB."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    tracemalloc.start()
    try:
        for n in range(20_000):
            parser.feed(b"MSG %b.%d 1 0\r\n\r\n" % (b"s" * size, n))
            recorder.events.clear()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


def test_a_large_payload_in_small_chunks_is_joined_once() -> None:
    """The work for a payload in 16,000 chunks grows with its size and not with its square."""
    payload = bytes(16_000_000)
    chunks = [b"MSG a 1 16000000\r\n", *split(payload, range(1000, len(payload), 1000)), b"\r\n"]
    started = time.process_time()
    _, recorder = fed(*chunks)
    assert time.process_time() - started < 2  # some 10 ms; joining at each chunk would copy 128 GB
    assert recorder.events == [("message", b"1", b"a", None, None, payload)]


@pytest.mark.parametrize(
    "stream",
    [b'INFO {"x":"%b"}\r\n' % (b"y" * 200_000), b"MSG a 1 200000\r\n" + bytes(200_000) + b"\r\n"],
    ids=["line", "payload"],
)
def test_a_dribbling_peer_costs_what_it_sends(stream: bytes) -> None:
    """A line or payload that comes in chunks of two bytes takes time linear in its length, and little more memory."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    *chunks, last = split(stream, range(0, len(stream), 2))
    tracemalloc.start()
    try:
        started = time.process_time()
        for chunk in chunks:
            parser.feed(chunk)
        spent = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(stream)
    assert spent < 3  # some 0.2 s; joining at each chunk would copy 10 GB
    assert recorder.events == []
    parser.feed(last)
    assert len(recorder.events) == 1


@pytest.mark.parametrize(
    "hostile", [b"A" * 900_000, b"A:\r\n" * 225_000, b"A:" * 450_000, b":" * 900_000, b" " * 900_000]
)
def test_a_hostile_header_block_takes_linear_time(hostile: bytes) -> None:
    """A block near the limit, made to be ambiguous, is judged in well under a second."""
    for ending in (b"", b"\r\n", b"\r\n\r\n", b"\r\n\r"):
        block = b"NATS/1.0\r\n" + hostile + ending
        started = time.process_time()
        fed(b"HMSG a 1 %d %d\r\n%b\r\n" % (len(block), len(block), block))
        assert time.process_time() - started < 1
