"""A publish with its PubAck: what is on the wire, what comes back, and what becomes of it when things fail."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    APIError,
    Client,
    ClientClosedError,
    ConnectionLostError,
    InvalidHeaderError,
    InvalidSubjectError,
    JetStream,
    NatsError,
    NoStreamResponseError,
    OperationTimeoutError,
    Outcome,
    PayloadTooLargeError,
    PendingTimeoutError,
    PermissionsError,
    ProtocolError,
    PubAck,
    WrongLastSequenceError,
)
from beamline_trio.jetstream import statistics_of
from tests._memory import ToyServer, lose_link, opened
from tests.jetstream._script import answer, error, headers_to, stored


def failures(nc: Client) -> dict[str, int]:
    """The reasons that have moved."""
    return {reason: count for reason, count in statistics_of(nc).publish_failures.items() if count}


async def test_a_puback(autojump_clock: MockClock) -> None:
    """Stream, sequence, duplicate and domain are the server's."""
    server = ToyServer()
    answer(server, "a", stored(7, domain="hub"), stored(7, duplicate=True))
    async with opened(server) as nc:
        js = JetStream(nc)
        assert await js.publish("a", b"x") == PubAck("S", 7, False, "hub", Outcome.SENT)
        assert await js.publish("a", b"x") == PubAck("S", 7, True, "", Outcome.SENT)
        statistics = statistics_of(nc)
        assert (statistics.publishes, statistics.publish_acks, statistics.publish_duplicates) == (2, 2, 1)
        assert sum(statistics.publish_latency_counts) == 2
    assert headers_to(server, "a") == [None, None]


async def test_what_a_publish_asks_of_its_stream(autojump_clock: MockClock) -> None:
    """Each expectation is its header, in the exact case that the server looks for; the user's own stay."""
    server = ToyServer()
    answer(server, "a", stored())
    async with opened(server) as nc:
        await JetStream(nc).publish(
            "a",
            b"x",
            headers={"Mine": ["1", "2"], "nats-msg-id": "lower"},
            message_id="id",
            expected_stream="S",
            expected_last_sequence=0,
            expected_last_subject_sequence=4,
            expected_last_message_id="before",
            ttl_seconds=1.5,
        )
        await JetStream(nc).publish("a", b"x", ttl_seconds=math.inf)
        await JetStream(nc).publish("a", b"x", headers={"Mine": "1"})
    first, second, third = headers_to(server, "a")
    assert first == (
        b"NATS/1.0\r\nMine: 1\r\nMine: 2\r\nNats-Msg-Id: id\r\nNats-Expected-Stream: S\r\n"
        b"Nats-Expected-Last-Sequence: 0\r\nNats-Expected-Last-Subject-Sequence: 4\r\n"
        b"Nats-Expected-Last-Msg-Id: before\r\nNats-TTL: 2\r\n\r\n"
    )
    assert second == b"NATS/1.0\r\nNats-TTL: never\r\n\r\n"
    assert third == b"NATS/1.0\r\nMine: 1\r\n\r\n"


@pytest.mark.parametrize(
    "arguments, kind",
    [
        ({"subject": "a.*"}, InvalidSubjectError),
        ({"subject": ""}, InvalidSubjectError),
        ({"payload": "text"}, TypeError),
        ({"payload": b"x" * 1_048_577}, PayloadTooLargeError),
        ({"message_id": "a\r\nb"}, InvalidHeaderError),
        ({"expected_stream": "a\nb"}, InvalidHeaderError),
        ({"headers": {"a b": "c"}}, InvalidHeaderError),
        ({"expected_last_sequence": -1}, ValueError),
        ({"expected_last_subject_sequence": 1.5}, TypeError),
        ({"ttl_seconds": 0.5}, ValueError),
        ({"ttl_seconds": math.nan}, ValueError),
    ],
)
async def test_what_cannot_be_published_is_not_sent(
    arguments: dict[str, Any], kind: type[Exception], autojump_clock: MockClock
) -> None:
    """It is a typed error before a byte leaves, and no failed publish, for there was none."""
    server = ToyServer()
    async with opened(server) as nc:
        with trio.testing.assert_checkpoints(), pytest.raises(kind):
            await JetStream(nc).publish(**{"subject": "a", "payload": b"x", **arguments})
        await nc.flush()
        assert server.operations("PUB", "HPUB") == []
        assert (statistics_of(nc).publishes, failures(nc)) == (0, {})


async def test_the_four_ways_to_be_cancelled(autojump_clock: MockClock) -> None:
    """A checkpoint on success; cancelled before, nothing is sent; while waiting, nothing stays; closed, it is told."""
    server = ToyServer()
    answer(server, "a", stored())
    async with opened(server) as nc:
        js = JetStream(nc)
        with trio.testing.assert_checkpoints():
            await js.publish("a")
        with trio.CancelScope() as scope:
            scope.cancel()
            await js.publish("a", b"never")
        assert scope.cancelled_caught
        answer(server, "a", None)
        with trio.move_on_after(1):
            await js.publish("a", b"unknown")
        await nc.flush()
        assert server.payloads == [b"", b"unknown"]
        assert nc.stats().requests_inflight == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, ClientClosedError, lambda: js.publish("a"))
            await trio.testing.wait_all_tasks_blocked()
            nc.connection.close()
        assert failures(nc) == {"closed": 1}


async def _fails(kind: type[Exception], call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(kind):
        await call()


async def test_withdrawn_while_down(autojump_clock: MockClock) -> None:
    """Cancelled before the write, it is never sent."""
    server = ToyServer()
    answer(server, "a", stored())
    async with opened(server) as nc:
        await lose_link(server)
        with trio.move_on_after(1):
            await JetStream(nc).publish("a", b"withdrawn")
        server.come_up()
        await trio.sleep(5)
        assert server.payloads == []
        assert nc.ledger().accepted == 0


# ---- what becomes of it: the cells of the outcome table, fail-open off and on


async def refused_by_stream(server: ToyServer, nc: Client) -> PubAck:
    answer(server, "a", error(400, 10071))
    return await JetStream(nc).publish("a", b"x", expected_last_sequence=9)


async def no_answer(server: ToyServer, nc: Client) -> PubAck:
    answer(server, "a", None)
    return await JetStream(nc).publish("a", b"x")


async def closed_under_it(server: ToyServer, nc: Client) -> PubAck:
    answer(server, "a", None)
    async with trio.open_nursery() as nursery:

        async def hang_up() -> None:
            await trio.sleep(1)
            server.drop()

        nursery.start_soon(hang_up)
        try:
            return await JetStream(nc).publish("a", b"x")
        except NatsError as caught:
            failure = caught
    raise failure


async def not_connected(server: ToyServer, nc: Client) -> PubAck:
    answer(server, "a", stored())
    await lose_link(server)
    async with trio.open_nursery() as nursery:

        async def come_up() -> None:
            await trio.sleep(3)
            server.come_up()

        nursery.start_soon(come_up)
        return await JetStream(nc).publish("a", b"x")


Situation = Callable[[ToyServer, Client], Awaitable[PubAck]]


@pytest.mark.parametrize(
    "situation, kind, reason",
    [
        (refused_by_stream, WrongLastSequenceError, "api_error"),
        (no_answer, OperationTimeoutError, "timeout"),
        (closed_under_it, ConnectionLostError, "disconnected"),
    ],
)
@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_failure_under_way(
    situation: Situation,
    kind: type[NatsError],
    reason: str,
    fail_open: bool,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It raises with the reason, or is SKIPPED for a client that fails open; counted and logged once, never queued."""
    server = ToyServer()
    async with opened(server, fail_open=fail_open, name="me") as nc:
        if fail_open:
            assert (await situation(server, nc)).outcome is Outcome.SKIPPED
        else:
            with pytest.raises(kind) as caught:
                await situation(server, nc)
            if isinstance(caught.value, ConnectionLostError):
                assert caught.value.sent == "maybe"
        assert failures(nc) == {reason: 1}
        assert nc.stats().pending_operations == 0
        await trio.sleep(5)
        assert server.payloads == [b"x"]
    logged = [vars(r) for r in caplog.records if vars(r).get("event") == "NATS_PUBLISH_WITH_ACK_ERROR"]
    assert [(r["client"], r["subject"], r["reason"], r["levelno"]) for r in logged] == [
        ("me", "a", reason, logging.WARNING)
    ]


@pytest.mark.parametrize("fail_open", [False, True])
async def test_an_unmet_expectation_may_be_an_answer(
    fail_open: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who races on purpose is told that another was first, open or not; it is no failure in the books or the log."""
    server = ToyServer()
    answer(server, "a", error(400, 10071), error(503, 10077))
    async with opened(server, fail_open=fail_open) as nc:
        js = JetStream(nc)
        with pytest.raises(WrongLastSequenceError):
            await js.publish("a", b"x", expected_last_sequence=9, raise_unmet=True)
        assert failures(nc) == {}
        assert statistics_of(nc).publish_expectations_unmet == 1
        assert not [r for r in caplog.records if vars(r).get("event") == "NATS_PUBLISH_WITH_ACK_ERROR"]
        if fail_open:
            assert (await js.publish("a", b"x", raise_unmet=True)).outcome is Outcome.SKIPPED
        else:
            with pytest.raises(APIError):
                await js.publish("a", b"x", raise_unmet=True)
        assert failures(nc) == {"api_error": 1}


@pytest.mark.parametrize("fail_open", [False, True])
async def test_not_connected(fail_open: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """It waits in the queue and is stored by the next link, with a log; a client that fails open skips it."""
    server = ToyServer()
    async with opened(server, fail_open=fail_open) as nc:
        ack = await not_connected(server, nc)
        await nc.flush()
        assert ack.outcome is (Outcome.SKIPPED if fail_open else Outcome.SENT)
        assert server.payloads == ([] if fail_open else [b"x"])
        assert failures(nc) == {}
        assert (statistics_of(nc).publishes_skipped, nc.ledger().skipped) == ((1, 1) if fail_open else (0, 0))
    queued = [vars(r) for r in caplog.records if vars(r).get("event") == "NATS_PUBLISH_WITH_ACK_QUEUED"]
    expected = [] if fail_open else [("a", "reconnecting")]
    assert [(record["subject"], record["state"]) for record in queued] == expected


async def test_no_connection_in_time(autojump_clock: MockClock) -> None:
    """The pending timeout ends it, and it was never sent."""
    server = ToyServer()
    async with opened(server, pending_timeout_seconds=10.0) as nc:
        await lose_link(server)
        with pytest.raises(PendingTimeoutError):
            await JetStream(nc).publish("a", b"x")
        assert failures(nc) == {"pending_timeout": 1}
        assert nc.ledger().expired == 1


async def test_permission(autojump_clock: MockClock) -> None:
    """A refusal that names the subject fails the publish at once, not after the operation timeout."""
    server = ToyServer()
    server.denied_publish.add(b"a")
    async with opened(server) as nc:
        began = trio.current_time()
        with pytest.raises(PermissionsError):
            await JetStream(nc).publish("a", b"x")
        assert trio.current_time() == began
        assert failures(nc) == {"permission": 1}


async def test_no_stream_takes_it(autojump_clock: MockClock) -> None:
    """A 503 is asked again twice, 250 ms apart (ADR-22); then it is an error, and nothing was stored."""
    server = ToyServer()
    async with opened(server) as nc:
        began = trio.current_time()
        with pytest.raises(NoStreamResponseError) as caught:
            await JetStream(nc).publish("a", b"x")
        assert trio.current_time() - began == pytest.approx(0.5)
        assert caught.value.subject == "a"
        assert server.payloads == [b"x", b"x", b"x"]
        assert failures(nc) == {"no_responders": 1}


async def test_a_stream_that_comes_in_time(autojump_clock: MockClock) -> None:
    """A leader that is elected within half a second takes the publish, and nobody notices."""
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def come() -> None:
            await trio.sleep(0.3)
            answer(server, "a", stored(5))

        nursery.start_soon(come)
        assert (await JetStream(nc).publish("a", b"x")).sequence == 5
        assert failures(nc) == {}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"stream":1,"seq":1}', b"hello"])
async def test_an_answer_that_is_no_puback(body: bytes, autojump_clock: MockClock) -> None:
    """Something else than a stream answers: an error, never a success."""
    server = ToyServer()
    server.services[b"a"] = lambda _: body
    async with opened(server) as nc:
        with pytest.raises(ProtocolError):
            await JetStream(nc).publish("a", b"x")
        assert failures(nc) == {"server_error": 1}


async def test_an_error_with_a_sequence_is_an_error(autojump_clock: MockClock) -> None:
    """The server puts `seq: 0` beside an error: it is no success."""
    server = ToyServer()
    answer(server, "a", error(503, 10077, "maximum messages exceeded"))
    async with opened(server) as nc:
        with pytest.raises(APIError, match="maximum messages"):
            await JetStream(nc).publish("a", b"x")


async def test_a_buffer_is_copied(autojump_clock: MockClock) -> None:
    """What the caller writes into its buffer between two attempts is not published."""
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:
        payload = bytearray(b"before")

        async def change() -> None:
            await trio.sleep(0.1)
            payload[:] = b"after!"
            answer(server, "a", stored())

        nursery.start_soon(change)
        await JetStream(nc).publish("a", payload)
        assert server.payloads == [b"before", b"before"]
