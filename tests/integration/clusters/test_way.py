"""One direction of the proxy on memory streams and in virtual time: whatever the conditions, bytes are as they were."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.server_process import Conditions, Way
from beamline_trio.server_process._way import End

CONDITIONS = st.builds(
    Conditions,
    latency_seconds=st.floats(0, 5),
    jitter_seconds=st.floats(0, 5),
    bandwidth_bytes_per_second=st.none() | st.floats(100, 1e6),
    slice_bytes_max=st.none() | st.integers(1, 50),
)
CHUNKS = st.lists(st.tuples(st.floats(0, 2), st.binary(min_size=1, max_size=200)), max_size=8)


class Sink:
    """Takes what comes, and notes when."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.ended = False

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        assert not self.ended
        self.pieces.append((trio.current_time(), data))

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self.ended = True


async def carried(
    way: Way, chunks: list[tuple[float, bytes]], holds: list[tuple[float, float]]
) -> tuple[Sink, End, list[float]]:
    """Send chunks after pauses and end, while the way is held and released now and then; when each was sent, too."""
    sender, source = trio.testing.memory_stream_one_way_pair()
    sink = Sink()
    sent: list[float] = []
    ends: list[End] = []

    async def send() -> None:
        for pause, chunk in chunks:
            await trio.sleep(pause)
            sent.append(trio.current_time())
            await sender.send_all(chunk)
        await sender.aclose()

    async def hold() -> None:
        for before, during in holds:
            await trio.sleep(before)
            way.hold()
            await trio.sleep(during)
            way.release()

    async def carry() -> None:
        ends.append(await way.carry(cast("Any", source), cast("Any", sink)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(hold)
        nursery.start_soon(carry)
    return sink, ends[0], sent


@given(CONDITIONS, CHUNKS, st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), max_size=3), st.integers(0, 100))
def test_bytes_arrive_as_they_were_whatever_the_conditions(
    conditions: Conditions, chunks: list[tuple[float, bytes]], holds: list[tuple[float, float]], seed: int
) -> None:
    """All of them, in order, then the end; none before its latency, and no piece larger than a slice."""
    way = Way(Random(seed))
    way.conditions = conditions
    clock = trio.testing.MockClock(autojump_threshold=0)
    sink, end, sent = trio.run(carried, way, chunks, holds, clock=clock)
    assert b"".join(piece for _, piece in sink.pieces) == b"".join(chunk for _, chunk in chunks)
    assert (end, sink.ended) == (End.EOF, True)
    assert way.bytes_passed == sum(len(chunk) for _, chunk in chunks)
    if sink.pieces:
        assert sink.pieces[0][0] >= sent[0] + conditions.latency_seconds - 1e-9
        assert sink.pieces[-1][0] >= sent[-1] + conditions.latency_seconds - 1e-9
    if conditions.slice_bytes_max is not None:
        assert all(len(piece) <= conditions.slice_bytes_max for _, piece in sink.pieces)


@given(CHUNKS, st.floats(0.1, 5), st.floats(0.1, 5))
def test_nothing_passes_while_it_is_held(chunks: list[tuple[float, bytes]], before: float, during: float) -> None:
    """No piece, and not the end either, comes between the hold and the release."""
    way = Way(Random(1))
    clock = trio.testing.MockClock(autojump_threshold=0)
    began = clock.current_time()
    sink, _, _ = trio.run(carried, way, chunks, [(before, during)], clock=clock)
    assert not way.held
    inside = [at for at, _ in sink.pieces if began + before + 1e-6 < at < began + before + during - 1e-6]
    assert not inside
