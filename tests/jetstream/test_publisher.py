"""The pipelined publisher: a bounded window, and every outcome known or reported as unknown."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import (
    APIError,
    ClientClosedError,
    ConnectionLostError,
    InvalidSubjectError,
    JetStream,
    NoStreamResponseError,
    OperationTimeoutError,
    Outcome,
    PendingFullError,
    PendingTimeoutError,
    PermissionsError,
)
from beamline_trio.jetstream import PublisherError, PublishInProcessError, statistics_of
from tests._memory import ToyServer, lose_link, opened, wait_connected
from tests._toy_server import Operation, ServerLink
from tests.jetstream._script import answer, error, headers_to, stored


class StreamServer(ToyServer):
    """A stream of `s`: PubAcks that the test may hold back."""

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.waiting: list[tuple[ServerLink, bytes]] = []
        self.stored: list[bytes] = []

    def published(self, link: ServerLink, subject: bytes, reply: bytes | None, operation: Operation) -> None:
        """PUB."""
        if subject != b"s" or reply is None:
            super().published(link, subject, reply, operation)
            return
        self.stored.append(operation.payload)
        self.waiting.append((link, reply))
        if not self.held:
            self.acknowledge()

    def acknowledge(self, most: int = 1_000_000) -> None:
        """Send PubAcks that were held."""
        for _ in range(min(most, len(self.waiting))):
            _, reply = self.waiting.pop(0)
            self.publish(reply, json.dumps({"stream": "S", "seq": len(self.stored)}).replace(" ", "").encode())


async def test_all_are_stored(autojump_clock: MockClock) -> None:
    """In order, each once, by the ordinary publishes of the client's ledger; nothing is in flight afterwards."""
    server = StreamServer()
    async with opened(server) as nc:
        async with JetStream(nc).publisher() as publisher:
            for number in range(3000):
                assert await publisher.publish("s", b"%d" % number) is Outcome.SENT
        assert server.stored == [b"%d" % number for number in range(3000)]
        assert (publisher.acknowledged, publisher.in_flight) == (3000, 0)
        assert nc.ledger().accepted == 3000
        statistics = statistics_of(nc)
        assert (statistics.publishes, statistics.publish_acks) == (3000, 3000)
        assert len(nc.connection.followers) == 1


@pytest.mark.parametrize("window", [1, 2, 3, 10])
async def test_the_window(window: int, autojump_clock: MockClock) -> None:
    """Never more are in flight; whoever publishes waits, and goes on when PubAcks come."""
    server = StreamServer()
    server.held = True
    done: list[int] = []
    async with opened(server) as nc, JetStream(nc).publisher(window) as publisher, trio.open_nursery() as nursery:

        async def publish() -> None:
            for number in range(4 * window):
                await publisher.publish("s", b"x")
                done.append(number)

        nursery.start_soon(publish)
        await trio.testing.wait_all_tasks_blocked()
        assert len(done) == window
        for _ in range(4):
            assert publisher.in_flight <= window
            server.acknowledge(window)
            await trio.testing.wait_all_tasks_blocked()
        assert len(done) == 4 * window
        server.held = False
        server.acknowledge()


async def test_many_tasks_share_a_window(autojump_clock: MockClock) -> None:
    """Each gets its turn; none waits for ever."""
    server = StreamServer()
    async with opened(server) as nc, JetStream(nc).publisher(3) as publisher, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(publisher.publish, "s", b"x")
    assert len(server.stored) == 20


async def test_what_is_on_the_wire(autojump_clock: MockClock) -> None:
    """Headers, ids, expected stream and time to live are as in `js.publish`; a duplicate is told by the stream."""
    server = ToyServer()
    answer(server, "a", stored(1), {**stored(1), "duplicate": True})
    async with opened(server) as nc, JetStream(nc).publisher() as publisher:
        await publisher.publish("a", b"x", headers={"A": "1"}, message_id="i", expected_stream="S", ttl_seconds=3)
        await publisher.publish("a", b"x")
        await publisher.flush()
        assert (publisher.acknowledged, publisher.duplicates) == (2, 1)
    first, second = headers_to(server, "a")
    assert first == b"NATS/1.0\r\nA: 1\r\nNats-Msg-Id: i\r\nNats-Expected-Stream: S\r\nNats-TTL: 3\r\n\r\n"
    assert second is None


async def test_refusals_are_gathered(autojump_clock: MockClock) -> None:
    """Refused by a stream, by nobody, by permission: one error at the end has each with subject, id and reason."""
    server = ToyServer()
    answer(server, "a", error(400, 10071))
    answer(server, "b", stored())
    server.denied_publish.add(b"denied")
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await publisher.publish("a", b"x", message_id="one")
                await publisher.publish("nobody", b"x", message_id="two")
                await publisher.publish("denied", b"x")
                await publisher.publish("b", b"x")
        assert [(one.subject, one.message_id, type(one.error).__mro__[0]) for one in caught.value.failed][:2] == [
            ("a", "one", type(caught.value.failed[0].error)),
            ("nobody", "two", NoStreamResponseError),
        ]
        assert isinstance(caught.value.failed[0].error, APIError)
        assert isinstance(caught.value.failed[2].error, PermissionsError)
        assert (caught.value.failed_count, caught.value.unknown_count, publisher.acknowledged) == (3, 0, 1)
        failures = statistics_of(nc).publish_failures
        assert (failures["api_error"], failures["no_responders"], failures["permission"]) == (1, 1, 1)


async def test_what_a_cluster_is_still_storing_is_unknown(autojump_clock: MockClock) -> None:
    """10158: an earlier publish under the id has no majority yet, so that it may or may not be stored."""
    server = ToyServer()
    answer(server, "a", error(409, 10158))
    async with opened(server) as nc:
        with pytest.raises(PublisherError) as caught:
            async with JetStream(nc).publisher() as publisher:
                await publisher.publish("a", b"x", message_id="one")
        assert (caught.value.failed_count, caught.value.unknown_count) == (0, 1)
        assert isinstance(caught.value.unknown[0].error, PublishInProcessError)


async def test_a_link_that_dies(autojump_clock: MockClock) -> None:
    """What was written is unknown at once; what was not is stored by the next link; later publishes go on."""
    server = StreamServer()
    server.held = True
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await publisher.publish("s", b"written", message_id="w")
                await trio.testing.wait_all_tasks_blocked()
                server.stall()
                await publisher.publish("s", b"taken by the writer", message_id="t")
                await trio.testing.wait_all_tasks_blocked()
                await publisher.publish("s", b"not written")
                await lose_link(server)
                assert publisher.unknown_count == 2
                assert await publisher.publish("s", b"queued") is Outcome.QUEUED
                server.held = False
                server.resume()
                server.come_up()
                await wait_connected(nc)
                await publisher.publish("s", b"after")
        assert [one.message_id for one in caught.value.unknown] == ["w", "t"]
        assert isinstance(caught.value.unknown[0].error, ConnectionLostError)
        assert caught.value.failed == ()
        assert publisher.acknowledged == 3
        assert server.stored == [b"written", b"not written", b"queued", b"after"]
        assert statistics_of(nc).publish_failures["disconnected"] == 2


async def test_what_expires_while_older_publishes_are_sent(autojump_clock: MockClock) -> None:
    """A link is up, and the queue before it is long: what runs out of time in it was not sent, and is known at once."""
    server = StreamServer()
    async with opened(server, pending_timeout_seconds=2.0, reconnect_delay_max_seconds=0.01) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await lose_link(server)
                await trio.sleep(0.1)
                for _ in range(30):
                    await publisher.publish("s", b"queued")
                await trio.sleep(1.85)
                server.come_up()
                await wait_connected(nc)
                connected_at = trio.current_time()
                await publisher.flush()
                assert trio.current_time() - connected_at < 1.0
        expired = nc.ledger().expired
        assert 0 < expired < 30
        assert (caught.value.failed_count, caught.value.unknown_count) == (expired, 0)
        assert {type(one.error) for one in caught.value.failed} == {PendingTimeoutError}
        assert publisher.acknowledged == 30 - expired


async def test_no_puback(autojump_clock: MockClock) -> None:
    """After the operation timeout a publish is unknown, and its place in the window is free."""
    server = StreamServer()
    server.held = True
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher(1)
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                for _ in range(2):
                    await publisher.publish("s", b"x")
        assert [type(one.error) for one in caught.value.unknown] == [OperationTimeoutError] * 2
        assert trio.current_time() == pytest.approx(10, abs=0.1)
        server.acknowledge()
        await nc.flush()
        assert nc.stats().late_replies == 0  # the interest has ended: they are for nobody


async def test_nobody_connects(autojump_clock: MockClock) -> None:
    """What waits in the queue ends with the pending timeout, and was not sent."""
    server = StreamServer()
    async with opened(server, pending_timeout_seconds=10.0) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await lose_link(server)
                await publisher.publish("s", b"x")
        assert [type(one.error) for one in caught.value.failed] == [PendingTimeoutError]
        assert trio.current_time() < 11


async def test_dropped_by_policy(autojump_clock: MockClock) -> None:
    """What the queue drops for others is told as not sent."""
    server = StreamServer()
    async with opened(server, pending_policy="drop_oldest", pending_operations_max=1) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await lose_link(server)
                await publisher.publish("s", b"1", message_id="first")
                await publisher.publish("s", b"2", message_id="second")
                server.come_up()
                await wait_connected(nc)
        assert [(one.message_id, type(one.error)) for one in caught.value.failed] == [("first", PendingFullError)]
        assert server.stored == [b"2"]


async def test_fail_open(autojump_clock: MockClock) -> None:
    """Without a connection it is SKIPPED, and failures are counted instead of raised."""
    server = StreamServer()
    async with opened(server, fail_open=True) as nc:
        async with JetStream(nc).publisher() as publisher:
            await publisher.publish("nobody", b"x")
            await publisher.flush()
            await lose_link(server)
            assert await publisher.publish("s", b"x") is Outcome.SKIPPED
        assert (publisher.failed_count, publisher.skipped_count, publisher.in_flight) == (1, 1, 0)


async def test_lists_are_bounded(autojump_clock: MockClock) -> None:
    """Beyond `errors_max` failures are counted only."""
    async with opened(ToyServer()) as nc:
        publisher = JetStream(nc).publisher(errors_max=2)
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                for _ in range(5):
                    await publisher.publish("nobody", b"x")
        assert (len(caught.value.failed), caught.value.failed_count) == (2, 5)


async def test_left_by_an_exception(autojump_clock: MockClock) -> None:
    """It leaves unchanged and at once; what was in flight is unknown, and counted."""
    server = StreamServer()
    server.held = True
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(ZeroDivisionError):
            async with publisher:
                await publisher.publish("s", b"x")
                raise ZeroDivisionError
        assert trio.current_time() == 0
        assert (publisher.unknown_count, publisher.in_flight) == (1, 0)
        assert statistics_of(nc).publish_failures["closed"] == 1


async def test_the_four_ways_to_be_cancelled(autojump_clock: MockClock) -> None:
    """A checkpoint every few calls; cancelled before or while waiting, nothing was sent; closed, it is told."""
    server = StreamServer()
    async with opened(server) as nc:
        js = JetStream(nc)
        async with js.publisher(2) as publisher:
            with trio.testing.assert_checkpoints():
                for _ in range(64):
                    await publisher.publish("s", b"x")
            with trio.testing.assert_checkpoints():
                await publisher.flush()
            sent = len(server.stored)
            with trio.CancelScope() as scope:
                scope.cancel()
                while True:
                    await publisher.publish("s", b"x")
            assert scope.cancelled_caught
            await publisher.flush()
            assert len(server.stored) - sent < 64
            server.held = True
            sent = len(server.stored)
            with trio.move_on_after(1) as scope:
                for _ in range(3):
                    await publisher.publish("s", b"x")
            assert scope.cancelled_caught
            await nc.flush()
            assert len(server.stored) - sent == 2
            with trio.move_on_after(1) as scope:
                await publisher.flush()
            assert scope.cancelled_caught
            server.held = False
            server.acknowledge()
        with pytest.raises(PublisherError) as caught:
            async with js.publisher() as publisher, trio.open_nursery() as nursery:
                server.held = True
                await publisher.publish("s", b"x")
                nursery.start_soon(publisher.flush)
                await trio.testing.wait_all_tasks_blocked()
                nc.connection.close()
        assert [type(one.error) for one in caught.value.unknown] == [ClientClosedError]


async def test_mistakes(autojump_clock: MockClock) -> None:
    """Not entered, entered twice, left, out of bounds, or a bad subject: told, and nothing is sent."""
    server = StreamServer()
    async with opened(server) as nc:
        js = JetStream(nc)
        for bounds in ({"max_in_flight": 0}, {"errors_max": 0}):
            with pytest.raises(ValueError, match=next(iter(bounds))):
                js.publisher(**bounds)
        publisher = js.publisher()
        with pytest.raises(RuntimeError, match="enter"):
            await publisher.publish("s")
        async with publisher:
            with pytest.raises(RuntimeError, match="once"):
                await publisher.__aenter__()
            with pytest.raises(InvalidSubjectError):
                await publisher.publish("s.*", b"x")
            assert publisher.in_flight == 0
        with pytest.raises(RuntimeError, match="enter"):
            await publisher.publish("s")


async def test_answers_in_another_form(autojump_clock: MockClock) -> None:
    """A PubAck with its fields in another order counts; one that cannot be read leaves its publish unknown."""
    server = ToyServer()
    server.services[b"a"] = lambda _: b'{"seq":1,"stream":"S","duplicate":true}'
    server.services[b"b"] = lambda _: b"hello"
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await publisher.publish("a", b"x")
                await publisher.publish("b", b"x")
        assert (publisher.acknowledged, publisher.duplicates) == (1, 1)
        assert [one.subject for one in caught.value.unknown] == ["b"]


async def test_the_inbox_is_refused(autojump_clock: MockClock) -> None:
    """No PubAck can come: what is in flight is unknown at once."""
    server = StreamServer()
    server.denied_subscribe.add(b"_INBOX.*.j.>")
    async with opened(server) as nc:
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await publisher.publish("s", b"x")
        assert [type(one.error) for one in caught.value.unknown] == [PermissionsError]


@given(st.lists(st.sampled_from(["ack", "refuse", "lose", "down", "silence", "publish"]), max_size=25))
def test_every_publish_has_one_outcome(steps: list[str]) -> None:
    """Whatever happens, what was taken in is acknowledged, failed or unknown, and each of them once."""

    async def main() -> None:
        server = StreamServer()
        server.held = True
        taken = 0
        async with opened(server) as nc:
            publisher = JetStream(nc).publisher(4)
            try:
                async with publisher:
                    for step in steps:
                        if step == "publish" or (step == "refuse" and publisher.in_flight < 4):
                            await publisher.publish("s" if step == "publish" else "nobody", b"x")
                            taken += 1
                        elif step == "ack":
                            server.acknowledge(1)
                        elif step == "lose":
                            server.waiting.clear()
                            server.drop()
                            await wait_connected(nc)
                        elif step == "down" and publisher.in_flight < 4:
                            server.waiting.clear()
                            await lose_link(server)
                            await trio.sleep(1)
                            await publisher.publish("s", b"x")
                            taken += 1
                            await trio.sleep(1)
                            server.come_up()
                            await wait_connected(nc)
                        else:
                            await trio.sleep(2)
                        await trio.testing.wait_all_tasks_blocked()
                        known = publisher.acknowledged + publisher.failed_count + publisher.unknown_count
                        assert known + publisher.in_flight == taken
            except PublisherError:
                pass
            assert publisher.acknowledged + publisher.failed_count + publisher.unknown_count == taken
            assert statistics_of(nc).publishes == taken

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_time_counts_from_the_publish(autojump_clock: MockClock) -> None:
    """Idle for long, then on the fast path because somebody else has published: it still has all its time."""
    server = StreamServer()
    async with opened(server, operation_timeout_seconds=5) as nc, JetStream(nc).publisher() as publisher:
        await publisher.publish("s", b"1")
        await publisher.flush()
        await trio.sleep(10)
        await nc.publish("x", b"")
        await publisher.publish("s", b"2")
        await publisher.flush()
        assert (publisher.acknowledged, publisher.unknown_count) == (2, 0)


async def test_why_nothing_is_taken_in(autojump_clock: MockClock) -> None:
    """The client is closed, or its inbox refused: that is what is told, and not that it was not entered."""
    async with opened(StreamServer()) as nc, JetStream(nc).publisher() as publisher:
        nc.connection.close()
        with pytest.raises(ClientClosedError):
            await publisher.publish("s", b"1")
    server = StreamServer()
    async with opened(server) as nc:
        server.denied_subscribe.add(nc.connection.inbox.prefix + b"j.1.*")
        async with JetStream(nc).publisher() as publisher:
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(PermissionsError):
                await publisher.publish("s", b"1")
        with pytest.raises(RuntimeError, match="left"):
            await publisher.publish("s", b"1")
    assert server.stored == []


async def test_left_while_others_wait_for_room(autojump_clock: MockClock) -> None:
    """Nothing is sent for them any more, since nobody would hear of its fate."""
    server = StreamServer()
    server.held = True
    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def late() -> None:
            with pytest.raises(RuntimeError, match="left"):
                await publisher.publish("s", b"2")

        publisher = JetStream(nc).publisher(1)
        with pytest.raises(KeyError):
            async with publisher:
                await publisher.publish("s", b"1")
                nursery.start_soon(late)
                await trio.testing.wait_all_tasks_blocked()
                raise KeyError
        await trio.testing.wait_all_tasks_blocked()
        await nc.flush()
        assert server.stored == [b"1"]


# What an answer proves


async def test_what_was_answered_is_not_unknown(autojump_clock: MockClock) -> None:
    """A PubAck shows that the server has its publish, and all that was written before: they are confirmed at once, and
    when the link dies without any PONG only what was written behind is unknown.
    """
    server = StreamServer()
    async with opened(server, reconnect_delay_max_seconds=0.01) as nc:
        with pytest.raises(PublisherError) as caught:
            async with JetStream(nc).publisher() as publisher:
                await nc.publish("plain", b"x")
                for number in range(5):
                    await publisher.publish("s", b"x", message_id=str(number) if number % 2 else None)
                await trio.testing.wait_all_tasks_blocked()
                assert (nc.ledger().confirmed, nc.ledger().open, publisher.in_flight) == (6, 0, 0)
                server.held = True
                await publisher.publish("s", b"x")
                await nc.publish("plain", b"x")
                await trio.testing.wait_all_tasks_blocked()
                server.waiting.clear()
                server.drop()
                await wait_connected(nc)
        assert caught.value.unknown_count == 1
        assert nc.stats().pings == 0
        assert (nc.ledger().confirmed, nc.ledger().unknown) == (6, 2)
        assert nc.stats().publish_failures["disconnected"] == 2


@pytest.mark.parametrize("subject", ["nobody", "refused"])
async def test_a_refusal_of_the_stream_proves_as_much(subject: str, autojump_clock: MockClock) -> None:
    """Also an error of the API, or a 503, comes only behind the publish that it is about."""
    server = StreamServer()
    answer(server, "refused", error(400, 10071))
    async with opened(server, reconnect_delay_max_seconds=0.01) as nc:
        with pytest.raises(PublisherError):
            async with JetStream(nc).publisher() as publisher:
                await nc.publish("plain", b"x")
                await publisher.publish(subject, b"x")
                await trio.testing.wait_all_tasks_blocked()
                assert (nc.ledger().confirmed, nc.ledger().open) == (2, 0)


async def test_what_was_queued_is_confirmed_on_its_own_link(autojump_clock: MockClock) -> None:
    """What a link leaves unwritten, and what is queued without one, is proven by PubAcks of the link that wrote it."""
    server = StreamServer()
    async with opened(server, reconnect_delay_max_seconds=0.01) as nc, JetStream(nc).publisher() as publisher:
        await publisher.publish("s", b"x")
        await trio.testing.wait_all_tasks_blocked()
        server.stall()
        await nc.publish("taken.by.the.writer", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await publisher.publish("s", b"unwritten")
        await lose_link(server)
        server.resume()
        for _ in range(3):
            assert await publisher.publish("s", b"queued") is Outcome.QUEUED
        server.come_up()
        await wait_connected(nc)
        server.pongs_held = True
        await publisher.flush()
        assert (nc.ledger().confirmed, nc.ledger().unknown, nc.ledger().open) == (5, 1, 0)
        server.release_pongs()


async def test_what_waits_for_room_is_not_unknown(autojump_clock: MockClock) -> None:
    """Who waits for room in the outbox when the link dies has written nothing: it is stored by the next link."""
    server = StreamServer()
    async with (
        opened(server, outbox_bytes_max=100, reconnect_delay_max_seconds=0.01) as nc,
        trio.open_nursery() as nursery,
    ):
        publisher = JetStream(nc).publisher()
        with pytest.raises(PublisherError) as caught:
            async with publisher:
                await nc.flush()
                server.stall()
                await publisher.publish("s", b"written")
                await trio.testing.wait_all_tasks_blocked()
                await publisher.publish("s", bytes(90), message_id="full")
                nursery.start_soon(partial(publisher.publish, "s", b"waits", message_id="room"))
                await trio.testing.wait_all_tasks_blocked()
                assert publisher.in_flight == 3
                await lose_link(server)
                server.resume()
                server.come_up()
                await wait_connected(nc)
        assert caught.value.unknown_count == 1
        assert server.stored[-2:] == [bytes(90), b"waits"]
        assert nc.stats().late_replies == 0


# Its log


def failure_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """Subject, reason and count of each."""
    lines = [vars(record) for record in caplog.records]
    lines = [line for line in lines if line.get("event") == "NATS_PUBLISH_WITH_ACK_ERROR"]
    return [(line["subject"], line["reason"], line["count"]) for line in lines]


async def test_one_line_for_what_ends_at_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A lost link, a stream that refuses, time that runs out, an outage that lasts, the end: a line for each, written
    in that step, with the count; and together they are what is counted.
    """
    server = StreamServer()
    server.held = True
    options: dict[str, Any] = {"reconnect_delay_max_seconds": 0.01, "pending_timeout_seconds": 5.0}
    expected: list[tuple[str, str, int]] = []
    async with opened(server, **options) as nc:
        with pytest.raises(ZeroDivisionError):
            async with JetStream(nc).publisher() as publisher:

                async def publish(subject: str, count: int, reason: str) -> None:
                    for _ in range(count):
                        await publisher.publish(subject, b"x")
                    await trio.testing.wait_all_tasks_blocked()
                    expected.append((subject, reason, count))

                await publish("s", 640, "disconnected")
                await lose_link(server)
                assert failure_lines(caplog) == expected
                await publish("s", 30, "pending_timeout")
                await trio.sleep(6)
                assert failure_lines(caplog) == expected
                server.come_up()
                await wait_connected(nc)
                await publish("nobody", 200, "no_responders")
                answers = failure_lines(caplog)[2:]  # a line for each chunk that they came in
                assert sum(count for *_, count in answers) == 200
                assert len(answers) < 20
                expected[2:] = answers
                server.waiting.clear()
                await publish("s", 10, "timeout")
                await publisher.flush()
                assert failure_lines(caplog) == expected
                await publish("s", 5, "closed")
                raise ZeroDivisionError
        assert failure_lines(caplog) == expected
        counted = statistics_of(nc).publish_failures
        logged: Counter[str] = Counter()
        for _, reason, count in expected:
            logged[reason] += count
        assert logged == Counter(counted)
