"""A peer that dribbles: bytes in the smallest chunks cost time and memory in proportion, and are read all the same."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Final

import pytest

from beamline_trio.protocol import Parser, ProtocolError
from tests.protocol._recorder import Recorder

# Chunks that were kept one by one before they are joined; around it lie the odd cases.
MANY: Final = 64


def info(size: int) -> bytes:
    return b'INFO {"x":"%b"}\r\n' % (b"y" * size)


def payload(size: int) -> bytes:
    return b"MSG a 1 %d\r\n%b\r\n" % (size, b"x" * size)


def message_with_headers(size: int) -> bytes:
    header = b"NATS/1.0\r\nA: %b\r\n\r\n" % (b"x" * size)
    return b"HMSG a 1 %d %d\r\n%b\r\n" % (len(header), len(header), header)


SHAPES: Final = [info, payload, message_with_headers]


def cost(stream: bytes, step: int) -> tuple[float, int]:
    """Seconds of work and bytes of memory that a stream takes in chunks of some size, all but its last byte."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    chunks = [stream[start : start + step] for start in range(0, len(stream) - 1, step)]
    started = time.process_time()
    for chunk in chunks:
        parser.feed(chunk)
    seconds = time.process_time() - started
    parser = Parser(recorder.routes, recorder)
    tracemalloc.start()
    try:
        for start in range(0, len(stream) - 1, step):
            parser.feed(stream[start : start + step])
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return seconds, memory


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_memory_is_what_came(shape: Callable[[int], bytes]) -> None:
    """Byte by byte no operation takes more than a few times its own size."""
    stream = shape(100_000)
    _, memory = cost(stream, 1)
    assert memory < 4 * len(stream) + 50_000


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_time_is_proportional(shape: Callable[[int], bytes]) -> None:
    """Eight times as many chunks take about eight times as long, not sixty-four times."""
    small = min(cost(shape(25_000), 2)[0] for _ in range(3))
    large = min(cost(shape(200_000), 2)[0] for _ in range(2))
    assert large < 24 * small + 0.02


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("size", [MANY - 30, MANY - 1, MANY, MANY + 1, 3 * MANY, 1_000])
def test_what_dribbles_is_read(size: int, shape: Callable[[int], bytes]) -> None:
    """Byte by byte, with CR and LF apart, the same is read as at once, and what comes behind it too."""
    stream = shape(size) + b"PING\r\n" + shape(size)
    whole, dribbled = Recorder(), Recorder()
    Parser(whole.routes, whole).feed(stream)
    parser = Parser(dribbled.routes, dribbled)
    for start in range(len(stream)):
        parser.feed(stream[start : start + 1])
    assert dribbled.events == whole.events
    assert parser.waiting_bytes == 0


@pytest.mark.parametrize("limit", [MANY - 1, MANY, MANY + 1, 5 * MANY])
def test_a_line_feed_alone_ends_no_line(limit: int) -> None:
    """A dribbled line with line feeds in it goes on until CRLF, and is refused at the very byte that is too many."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder, control_line_bytes_max=limit)
    line = (b"+OK \n" + b"\n " * limit)[:limit]
    for start in range(len(line)):
        parser.feed(line[start : start + 1])
    parser.feed(b"\r")
    with pytest.raises(ProtocolError):
        parser.feed(b"\n" if line.endswith(b"\r") else b"x")
