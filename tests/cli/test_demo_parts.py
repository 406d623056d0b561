"""The parts of the demo that need no server: pace, ranges, gate, views."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import given
from rich.console import Console

from beamline_trio.cli.demo._gate import GatedDialer
from beamline_trio.cli.demo._live import LiveView
from beamline_trio.cli.demo._messages import decode_id, encode_id, from_ranges, to_ranges
from beamline_trio.cli.demo._publisher import BURST_SECONDS, Pace
from beamline_trio.cli.demo._view import ClientSnapshot, LineView, LogTally, Snapshot, logging_to
from beamline_trio.transport import Environment, ServerAddress

# Pace


@given(rate=st.floats(1, 10_000), ticks=st.lists(st.floats(0.001, 0.05), min_size=1, max_size=200))
def test_the_pace_is_the_rate(rate: float, ticks: list[float]) -> None:
    """Over any time in which nothing holds it up, it asks for rate x time messages, and the first two at once."""
    pace, now = Pace(rate, 5.0), 5.0
    asked = pace.take(now, 10**9)
    assert asked == 2
    for tick in ticks:
        now += tick
        asked += pace.take(now, 10**9)
    assert abs(asked - 2 - rate * (now - 5.0)) <= 1.001


def test_the_pace_does_not_catch_up() -> None:
    """After a halt it goes on with its rate: at most BURST_SECONDS' worth comes at once."""
    pace = Pace(1000, 0.0)
    pace.take(0.0, 2)
    assert pace.take(60.0, 10**9) == 1000 * BURST_SECONDS
    assert pace.take(60.0625, 10**9) == 62


def test_the_pace_keeps_to_the_room() -> None:
    """It never asks for more than there is room for, and keeps the rest within its burst."""
    pace = Pace(1000, 0.0)
    assert pace.take(0.05, 0) == 0
    assert pace.take(0.05, 7) == 7
    assert pace.take(0.05, 10**9) == 45


# Ids


@given(st.sets(st.integers(0, 300)))
def test_ranges_keep_every_id(ids: set[int]) -> None:
    """What the receiver tells as ranges is what it has; ranges neither touch nor overlap."""
    ranges = to_ranges(ids)
    assert from_ranges(ranges) == ids
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(ranges))


def test_ids_travel_as_payloads() -> None:
    """An id is its payload."""
    assert decode_id(encode_id(12_345)) == 12_345


# Gate


class FakeDialer:
    """Counts streams that are open."""

    environment = Environment()

    def __init__(self) -> None:
        self.opened = 0

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        near, _ = trio.testing.memory_stream_pair()
        self.opened += 1
        try:
            yield near
        finally:
            self.opened -= 1

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return stream


ADDRESS = ServerAddress("127.0.0.1")


async def test_a_shut_gate_holds_new_links_until_it_opens(autojump_clock: trio.testing.MockClock) -> None:
    """A link dialled behind a shut gate is reached at once and used when the gate opens."""
    inner = FakeDialer()
    gate = GatedDialer(inner)
    gate.close_gate()
    used_at: list[float] = []

    async def dial() -> None:
        async with gate.open(ADDRESS):
            used_at.append(trio.current_time() - began)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(3)
        assert (inner.opened, used_at) == (1, [])
        gate.open_gate()
    assert used_at == [3.0]
    await dial()
    assert len(used_at) == 2
    assert gate.environment is inner.environment


async def test_a_dial_that_is_given_up_at_the_gate_leaves_nothing() -> None:
    """Cancelled at the gate (the connect timeout), the stream is closed; links in use are never touched."""
    inner = FakeDialer()
    gate = GatedDialer(inner)
    async with gate.open(ADDRESS) as stream:
        gate.close_gate()
        gate.close_gate()
        assert await gate.start_tls(stream, "x") is stream
        with trio.move_on_after(0) as scope:
            async with gate.open(ADDRESS):
                raise AssertionError("passed a shut gate")
        assert scope.cancelled_caught
        assert inner.opened == 1
    assert inner.opened == 0


# Views


def snapshot(state: str = "connected", elapsed: float = 7.0) -> Snapshot:
    clients = (
        ClientSnapshot(name="publisher", state=state, reconnect_attempts=4, reconnects=1, pending=120),
        ClientSnapshot(name="router", state="connected", reconnect_attempts=0, reconnects=0, pending=3),
    )
    return Snapshot(
        elapsed_seconds=elapsed,
        seconds=20.0,
        phase="publishing",
        rate=499.6,
        published=3500,
        replied=1750,
        received=3490,
        clients=clients,
    )


def test_a_line_has_state_rate_pending_and_attempts(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: one line, with each client's state only where they differ."""
    view = LineView()
    view.show(snapshot())
    view.show(snapshot("reconnecting"))
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "  7.0 s  publishing: connected; 500 msg/s, published 3500, replied 1750, received 3490, pending 123, "
        "reconnect attempts 4"
    )
    assert "publishing: publisher reconnecting, router connected;" in second


def test_the_log_is_told_in_turns_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """A turn of a connection is a line; hundreds of warnings are one count; information is silence."""
    logger = logging.getLogger("beamline_trio")
    before = (logger.level, logger.propagate, list(logger.handlers))
    view = LineView()
    with logging_to(view):
        logger.error("NATS_CONNECTION_LOST reason=x", extra={"event": "NATS_CONNECTION_LOST", "client": "router"})
        for _ in range(300):
            logger.warning("no luck", extra={"event": "NATS_PUBLISH_ERROR"})
        logger.info("NATS_RECONNECT_ATTEMPT", extra={"event": "NATS_RECONNECT_ATTEMPT"})
        view.show(snapshot())
        view.show(snapshot())
    assert (logger.level, logger.propagate, logger.handlers) == before
    turn, counted, quiet = capsys.readouterr().out.splitlines()
    assert turn.strip() == "router: NATS_CONNECTION_LOST reason=x"
    assert counted.endswith("reconnect attempts 4; logged NATS_PUBLISH_ERROR x 300")
    assert "logged" not in quiet


def test_a_closed_stdout_never_hurts_whoever_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that logs a lost link goes on, though nobody reads the line."""
    tried: list[str] = []

    class ClosedView(LineView):
        def note(self, text: str) -> None:
            tried.append(text)
            raise BrokenPipeError

    with logging_to(ClosedView()):
        logging.getLogger("beamline_trio").error("x", extra={"event": "NATS_CONNECTION_LOST"})
    assert len(tried) == 1


def test_a_tally_forgets_what_it_has_told() -> None:
    """Counts are told once."""
    tally = LogTally()
    assert tally.add(logging.WARNING, "B", "text") is None
    assert tally.add(logging.WARNING, "", "plain text") is None
    assert tally.add(logging.WARNING, "B", "text") is None
    assert tally.take() == "B x 2, plain text x 1"
    assert tally.take() == ""


def test_the_live_picture_has_clients_numbers_bar_and_notes() -> None:
    """On a terminal: a row per client, the numbers, the progress, the newest notes; drawn only when it is shown."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=110, height=40, legacy_windows=False)
    with LiveView(console) as view:
        for number in range(30):
            view.note(f"note {number}")
        view.log(logging.WARNING, "NATS_CONNECTION_LOST", "router: lost")
        view.log(logging.WARNING, "NATS_PUBLISH_ERROR", "hidden")
        drawn = len(out.getvalue())
        view.show(snapshot("reconnecting"))
        assert len(out.getvalue()) > drawn
    text = out.getvalue()
    for part in ("publisher", "reconnecting", "500 msg/s", "pending 123", "reconnect attempts 4", "7.0 / 20 s"):
        assert part in text
    for part in ("note 29", "router: lost", "logged NATS_PUBLISH_ERROR x 1"):
        assert part in text
    assert "note 5\n" not in text
    assert "hidden" not in text
