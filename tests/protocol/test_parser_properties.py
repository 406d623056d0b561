"""Laws of the parser over generated, cut and mutated streams."""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import Parser
from tests.protocol._recorder import Recorder, parse, parse_or_refuse, single_bytes, split
from tests.protocol._reference import reference_events
from tests.protocol._streams import OPERATIONS, message_runs, operations

FULL_COUNT: Final = 100_000
# The full count takes a good part of a minute. With a smaller one the test belongs to the smoke subset.
MUTATED_STREAMS: Final = int(os.environ.get("BEAMLINE_MUTATED_STREAMS", FULL_COUNT))
MUTATED_STREAMS_MARK: Final = pytest.mark.smoke if MUTATED_STREAMS < FULL_COUNT else pytest.mark.slow


# Bounds so tight that half of OPERATIONS come near them, for every other stream. A parser for small payloads takes
# long to make, so those are fewer.
TIGHT: Final = {"control_line_bytes_max": 24, "info_bytes_max": 60, "header_bytes_max": 22}
BOUNDS: Final[tuple[dict[str, int], ...]] = ({}, TIGHT) * 8 + ({}, {**TIGHT, "payload_bytes_max": 30})


@given(st.lists(operations, max_size=8))
def test_a_legal_stream_means_what_the_reference_reads(stream: list[bytes]) -> None:
    """Whole and byte by byte, a legal stream gives the events of a second, simple reading of the protocol."""
    data = b"".join(stream)
    expected = reference_events(data)
    assert parse([data]) == expected
    assert parse(single_bytes(data)) == expected


@given(st.lists(operations, min_size=1, max_size=4))
def test_every_split_point_gives_the_same_events(stream: list[bytes]) -> None:
    """Wherever a stream is cut in two, its events are those of the whole, and nothing waits at its end."""
    data = b"".join(stream)
    expected = parse([data])
    for point in range(len(data) + 1):
        assert parse_or_refuse(split(data, [point])) == (expected, 0), point


@given(st.lists(operations, min_size=1, max_size=8), st.data())
def test_any_chunks_give_the_same_events(stream: list[bytes], data: st.DataObject) -> None:
    """However a stream is cut, empty chunks among the pieces, its events are those of the whole."""
    whole = b"".join(stream)
    points = data.draw(st.lists(st.integers(0, len(whole)), max_size=12))
    assert parse_or_refuse(split(whole, points)) == (parse([whole]), 0)


@given(message_runs(), message_runs(), st.data())
def test_runs_are_the_same_messages_wherever_they_break(first: bytes, second: bytes, data: st.DataObject) -> None:
    """A run of equal lines gives the messages of single deliveries, broken at every place and gone on with later."""
    stream = first + second + first
    expected = reference_events(stream)
    early = data.draw(st.integers(0, len(stream)))
    for point in range(len(stream) + 1):
        assert parse(split(stream, [early, point])) == expected, point


@given(st.lists(operations, min_size=1, max_size=6))
def test_an_operation_is_told_with_its_last_byte(stream: list[bytes]) -> None:
    """An operation waits for its last byte and for no byte more; nothing of it is kept afterwards."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    done = b""
    for operation in stream:
        parser.feed(operation[:-1])
        assert len(recorder.events) < len(reference_events(done + operation)) or operation[:3].upper() == b"+OK"
        parser.feed(operation[-1:])
        done += operation
        assert recorder.events == reference_events(done)
        assert parser.waiting_bytes == 0


@given(st.lists(operations, max_size=6))
def test_every_message_is_counted(stream: list[bytes]) -> None:
    """`messages` counts all of them: delivered, malformed and unroutable."""
    data = b"".join(stream)
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    for byte in single_bytes(data):
        parser.feed(byte)
    assert parser.messages == sum(event[0] in ("message", "malformed", "unroutable") for event in recorder.events)


@MUTATED_STREAMS_MARK
@pytest.mark.timeout(600)
def test_mutated_streams_never_surprise() -> None:
    """Bytes changed, lost, doubled and put in: a stream gives the same events and the same rest however it is cut, or a
    ProtocolError however it is cut, behind the same events. No other exception, and memory stays flat.
    """
    rng = random.Random(20_240_229)
    refused = 0
    tracemalloc.start()
    try:
        settled = 0
        for number in range(MUTATED_STREAMS):
            stream = mutated(rng)
            bounds = BOUNDS[number % len(BOUNDS)]
            whole = parse_or_refuse([stream], **bounds)
            refused += whole[1] is None
            for _ in range(2):
                points = [rng.randrange(len(stream) + 1) for _ in range(rng.randrange(1, 5))]
                assert parse_or_refuse(split(stream, points), **bounds) == whole, (number, stream, points)
            if number == MUTATED_STREAMS // 10:
                gc.collect()  # recorders and their routes hold each other
                settled = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Both kinds must have been met often for the comparison to mean something.
    assert MUTATED_STREAMS // 10 < refused < MUTATED_STREAMS * 9 // 10
    # A leak of the smallest object per stream would be 150 kB in 5,000 streams, 3 MB in all of them.
    assert now - settled < 65_536, "memory grew with the number of streams"
    assert peak - settled < 1_048_576, "one stream of a few hundred bytes took megabytes"


_JUNK: Final = (
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"0",
    b"9",
    b"99999999999",
    b"-1",
    b"\x00",
    b"\xff",
    b"MSG",
    b"HMSG a 1 ",
    b"{",
    b"'",
)


def mutated(rng: random.Random, operations: Sequence[bytes] = OPERATIONS) -> bytes:
    """A few legal operations, changed at up to three places."""
    stream = bytearray(b"".join(rng.choices(operations, k=rng.randrange(1, 7))))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(stream) + 1)
        span = slice(at, at + rng.randrange(1, 12))
        match rng.randrange(6):
            case 0 if at < len(stream):
                stream[at] = rng.randrange(256)
            case 1 if at < len(stream):
                stream[at] ^= 1 << rng.randrange(8)
            case 2:
                del stream[span]
            case 3:
                stream[at:at] = stream[span]
            case 4:
                stream[at:at] = rng.choice(_JUNK)
            case _:
                stream[at : at + 1] = rng.choice(_JUNK)
    return bytes(stream)
