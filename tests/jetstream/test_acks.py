"""Acks over outages: kept, sent again, expired, refused; naks are not kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import ClientClosedError, OperationTimeoutError, PermissionsError
from beamline_trio.jetstream import AcksPendingError, JetStreamMessage, MessageSettledError, statistics_of
from beamline_trio.jetstream._acks import ACKS_PER_PING
from beamline_trio.jetstream._attachment import attachment_of
from tests._memory import lose_link, wait_connected
from tests.jetstream._pulls import PullServer, consumer_on, settle
from tests.jetstream._script import answer

ANSWERS: dict[str, Callable[[JetStreamMessage], Awaitable[None]]] = {
    "ack": lambda message: message.ack(),
    "nak": lambda message: message.nak(),
    "nak with delay": lambda message: message.nak(1.5),
    "term": lambda message: message.term(),
    "term with reason": lambda message: message.term("broken"),
    "in_progress": lambda message: message.in_progress(),
}
BODIES = {
    "ack": b"+ACK",
    "nak": b"-NAK",
    "nak with delay": b'-NAK {"delay":1500000000}',
    "term": b"+TERM",
    "term with reason": b"+TERM broken",
    "in_progress": b"+WPI",
}
answers = pytest.mark.parametrize("name", ANSWERS)


async def take(server: PullServer, consumer: object, count: int = 1) -> list[JetStreamMessage]:
    """So many messages."""
    taken: list[JetStreamMessage] = []
    async with trio.open_nursery() as nursery:

        async def fetch() -> None:
            taken.extend(await consumer.fetch(count))  # type: ignore[attr-defined]

        nursery.start_soon(fetch)
        await settle()
        server.give(count)
    return taken


@answers
async def test_what_is_sent(name: str, autojump_clock: MockClock) -> None:
    """Each answer is its body, published to the message's own ack subject; the ledger knows nothing of it."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        before = nc.ledger().accepted
        (message,) = await take(server, consumer)
        await ANSWERS[name](message)
        await nc.flush()
        assert server.acks == [(1, BODIES[name])]
        assert nc.ledger().accepted == before


@answers
async def test_the_four_ways_to_be_cancelled(name: str, autojump_clock: MockClock) -> None:
    """A checkpoint at least every few calls; cancelled, nothing was sent and it can be called again; closed, told."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        messages = await take(server, consumer, 100)
        with trio.CancelScope() as scope:
            scope.cancel()
            for message in messages:
                await ANSWERS[name](message)
        assert scope.cancelled_caught
        await nc.flush()
        assert len(server.acks) < 64
        unsettled = [message for message in messages if not message.settled]
        server.stall()
        # The first chunk goes to the stalled writer, the second fills the outbox; then an answer waits.
        await nc.publish("x", b"x" * 200_000)
        await settle()
        await nc.publish("x", b"x" * 200_000)
        with trio.move_on_after(1) as scope:
            await ANSWERS[name](unsettled[0])
        assert scope.cancelled_caught
        assert not unsettled[0].settled
        async with trio.open_nursery() as nursery:

            async def closed() -> None:
                with pytest.raises(ClientClosedError):
                    await ANSWERS[name](unsettled[0])

            nursery.start_soon(closed)
            await settle()
            nc.connection.close()
        server.resume()


async def test_kept_over_an_outage(autojump_clock: MockClock) -> None:
    """Acks and terms made while down, and those no PONG has covered, are sent by the next link, before all else."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        written, down, term, nak = await take(server, consumer, 4)
        await written.ack()
        await settle()
        assert server.acks == [(1, b"+ACK")]
        await lose_link(server)
        await down.ack()
        await term.term()
        await nak.nak()
        await nc.publish("pending", b"x")
        statistics = statistics_of(nc)
        assert statistics.acks_pending == 3
        assert statistics.nak_failures["disconnected"] == 1
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert server.acks[1:] == [(1, b"+ACK"), (2, b"+ACK"), (3, b"+TERM")]
        assert server.operations("PUB", link=1)[-1][1] == "pending"
        statistics = statistics_of(nc)
        assert (statistics.acks, statistics.acks_resent, statistics.acks_pending) == (3, 3, 0)


async def test_kept_no_longer_than_the_ack_wait(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """An ack whose message comes again anyway is not sent, but counted as expired, and logged."""
    server = PullServer(ack_wait=10_000_000_000)
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        await lose_link(server)
        await trio.sleep(4)
        await message.ack()
        assert statistics_of(nc).acks_pending == 1
        await trio.sleep(5.9)
        assert statistics_of(nc).acks_pending == 1
        await trio.sleep(0.2)
        statistics = statistics_of(nc)
        assert (statistics.acks_pending, statistics.ack_failures["expired"]) == (0, 1)
        assert statistics.redeliveries["ack_error"] == 1
        server.come_up()
        await wait_connected(nc)
        assert server.acks == []
    logged = [vars(record) for record in caplog.records if vars(record).get("event") == "NATS_ACK_ERROR"]
    assert [(record["count"], record["reason"]) for record in logged] == [(1, "expired")]


async def test_a_nak_is_counted_under_its_reason(autojump_clock: MockClock) -> None:
    """The one that is given, also beside a delay; another than NAK_REASONS is refused, and settles nothing."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        plain, delayed, named, both = await take(server, consumer, 4)
        await plain.nak()
        await delayed.nak(1.5)
        await named.nak(reason="publish_error")
        with pytest.raises(ValueError, match="reason is 'because'; it must be one of handler_error, backoff"):
            await both.nak(1.5, reason="because")
        assert not both.settled
        await both.nak(1.5, reason="processing_timeout")
        await nc.flush()
        assert [body for _, body in server.acks] == [BODIES[name] for name in 2 * ("nak", "nak with delay")]
        counted = {reason: count for reason, count in statistics_of(nc).redeliveries.items() if count}
        assert counted == {"handler_error": 1, "backoff": 1, "publish_error": 1, "processing_timeout": 1}


async def test_a_nak_is_not_kept(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Made while down, or written to a link that died: dropped, counted, logged; its message comes after its wait."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        confirmed, written, down = await take(server, consumer, 3)
        await confirmed.nak()
        await nc.flush()
        server.pongs_held = True
        await written.nak()
        await settle()
        await lose_link(server)
        await down.nak()
        server.release_pongs()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert [sequence for sequence, _ in server.acks] == [1, 2]
        statistics = statistics_of(nc)
        assert (statistics.naks, statistics.nak_failures["disconnected"]) == (3, 2)
    logged = [vars(record) for record in caplog.records if vars(record).get("event") == "NATS_NAK_ERROR"]
    assert [record["count"] for record in logged] == [1, 1]


@answers
async def test_refused_by_the_server(name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A -ERR that names the ack subject is an ack's or a nak's failure, no publish's."""
    server = PullServer()
    server.denied_publish.add(b"$JS.ACK.S.c.1.1.1.1.0")
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        await ANSWERS[name](message)
        await nc.flush()
        statistics = statistics_of(nc)
        failures = statistics.nak_failures if name.startswith("nak") else statistics.ack_failures
        assert failures["permission"] == 1
        assert nc.stats().publish_failures["permission"] == 0
        code = "NATS_NAK_ERROR" if name.startswith("nak") else "NATS_ACK_ERROR"
    assert [vars(r)["reason"] for r in caplog.records if vars(r).get("event") == code] == ["permission"]


async def test_so_many_may_wait(autojump_clock: MockClock) -> None:
    """Beyond acks_pending_max an ack is refused with a typed error, and the message is still unsettled."""
    server = PullServer()
    async with consumer_on(server, acks_pending_max=3) as (nc, consumer):
        messages = await take(server, consumer, 4)
        await lose_link(server)
        for message in messages[:3]:
            await message.ack()
        with pytest.raises(AcksPendingError, match="acks_pending_max"):
            await messages[3].ack()
        assert not messages[3].settled
        assert statistics_of(nc).ack_failures["pending_full"] == 1
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        await trio.sleep(1)


async def test_a_pong_covers_them(autojump_clock: MockClock) -> None:
    """Every so many acks a PING goes out, and what its PONG covers is not sent again and does not fill the bound."""
    server = PullServer()
    async with consumer_on(server, acks_pending_max=2 * ACKS_PER_PING) as (nc, consumer):
        for _ in range(4):
            for message in await take(server, consumer, ACKS_PER_PING):
                await message.ack()
            await settle()
        sent = len(server.acks)
        await lose_link(server)
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert len(server.acks) == sent == 4 * ACKS_PER_PING


async def test_closed_with_acks_kept(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """What is still kept when the client closes is counted and logged."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        await lose_link(server)
        await message.ack()
    assert statistics_of(nc).ack_failures["closed"] == 1
    logged = [vars(record) for record in caplog.records if vars(record).get("event") == "NATS_ACK_ERROR"]
    assert [record["reason"] for record in logged] == ["closed"]


async def test_the_double_ack(autojump_clock: MockClock) -> None:
    """Its answer settles the message; without one it is still unsettled, and can be asked again."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        one, two, three = await take(server, consumer, 3)
        subject = "$JS.ACK.S.c.1.1.1.1.0"
        answer(server, subject, None)
        with pytest.raises(OperationTimeoutError):
            await one.ack_sync()
        assert not one.settled
        server.services[subject.encode()] = lambda _: b""
        with trio.testing.assert_checkpoints():
            await one.ack_sync()
        assert one.settled
        server.denied_publish.add(b"$JS.ACK.S.c.1.2.2.1.0")
        with pytest.raises(PermissionsError):
            await two.ack_sync()
        failures = statistics_of(nc).ack_failures
        assert (failures["timeout"], failures["permission"]) == (1, 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await three.ack_sync()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def closed() -> None:
                with pytest.raises(ClientClosedError):
                    await three.ack_sync()

            answer(server, "$JS.ACK.S.c.1.3.3.1.0", None)
            nursery.start_soon(closed)
            await settle()
            nc.connection.close()


@pytest.mark.parametrize("delay", [-1, float("nan")])
async def test_a_delay_that_cannot_be(delay: float, autojump_clock: MockClock) -> None:
    """And a reason with a line break: refused before anything is sent, the message unsettled."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer):
        (message,) = await take(server, consumer)
        with pytest.raises(ValueError, match="delay_seconds"):
            await message.nak(delay)
        with pytest.raises(ValueError, match="line break"):
            await message.term("a\r\nPUB x 0")
        assert not message.settled


async def test_a_second_answer(autojump_clock: MockClock) -> None:
    """A message that was settled refuses every further answer, and nothing is sent for it."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        for message, first in zip(await take(server, consumer, 3), ("ack", "nak", "term"), strict=True):
            await ANSWERS[first](message)
            for further in ANSWERS.values():
                with trio.testing.assert_checkpoints(), pytest.raises(MessageSettledError):
                    await further(message)
            with trio.testing.assert_checkpoints(), pytest.raises(MessageSettledError):
                await message.ack_sync()
        await nc.flush()
        assert server.acks == [(1, b"+ACK"), (2, b"-NAK"), (3, b"+TERM")]


async def test_settled_once_also_by_two_tasks(autojump_clock: MockClock) -> None:
    """All have looked and then let the others run: one of them settles it, the others are told."""
    server = PullServer()
    told: list[Exception] = []
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        attachment_of(nc).acks.free = 0
        await trio.sleep(1)

        async def settle_it(how: Callable[[], Awaitable[None]]) -> None:
            try:
                await how()
            except MessageSettledError as error:
                told.append(error)

        async with trio.open_nursery() as nursery:
            for how in (message.ack, message.nak, message.term):
                nursery.start_soon(settle_it, how)
        await nc.flush()
        assert len(server.acks) == 1
        assert len(told) == 2


@pytest.mark.parametrize("limit", [1, 2, 10, 511])
async def test_a_small_bound_is_not_filled_by_what_arrived(limit: int, autojump_clock: MockClock) -> None:
    """On a link that lives acks are confirmed before they fill it."""
    server = PullServer()
    async with consumer_on(server, acks_pending_max=limit) as (_, consumer):
        for message in await take(server, consumer, 3 * limit + 3):
            await message.ack()
            await settle()
        assert len(server.acks) == 3 * limit + 3


async def test_what_has_expired_does_not_fill_the_bound(autojump_clock: MockClock) -> None:
    """Acks whose time is over while there is no link are counted then, and others take their places."""
    server = PullServer()
    async with consumer_on(server, acks_pending_max=3) as (nc, consumer):
        messages = await take(server, consumer, 4)
        await lose_link(server)
        for message in messages[:3]:
            await message.ack()
        await trio.sleep(40)
        await messages[3].ack()
        assert statistics_of(nc).ack_failures["expired"] == 4
        server.come_up()


async def test_an_extension_without_a_link_does_nothing(autojump_clock: MockClock) -> None:
    """The server has not heard of it: an ack behind it is worth sending no longer than without it."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        await lose_link(server)
        await trio.sleep(20)
        await message.in_progress()
        await message.ack()
        await trio.sleep(20)
        assert statistics_of(nc).ack_failures["expired"] == 1
        server.come_up()
