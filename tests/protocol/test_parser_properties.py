"""Laws of the parser over generated, cut and mutated streams."""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import Parser
from tests.protocol._mutated import compared
from tests.protocol._recorder import Recorder, parse, parse_or_refuse, single_bytes, split
from tests.protocol._reference import reference_events
from tests.protocol._streams import message_runs, operations

FULL_COUNT: Final = 15_000
# The full count takes some 15 s. With a smaller one the test belongs to the smoke subset.
MUTATED_STREAMS: Final = int(os.environ.get("BEAMLINE_MUTATED_STREAMS", FULL_COUNT))
MUTATED_STREAMS_MARK: Final = pytest.mark.smoke if MUTATED_STREAMS < FULL_COUNT else pytest.mark.slow


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
            refused += compared(rng, number).refused
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
