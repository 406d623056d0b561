"""Requests that many answer (ADR-47): what ends the replies, what is pending, and that nothing stays behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ClientClosedError,
    ConnectionLostError,
    InvalidHeaderError,
    InvalidSubjectError,
    Message,
    NoRespondersError,
    PayloadTooLargeError,
    PendingTimeoutError,
    PermissionsError,
    ProtocolError,
    Replies,
    RepliesEnd,
    SlowConsumer,
    SlowConsumerError,
    TooManyRequestsError,
    empty_payload,
)
from beamline_trio.connection._collection import ReplyCollection, ReplyLimits
from tests._memory import Steps, ToyServer, opened


async def inbox_of(sub: object) -> bytes:
    """Where the replies to the next request go."""
    message = await sub.receive()  # type: ignore[attr-defined]
    assert message.reply_bytes is not None
    reply: bytes = message.reply_bytes
    return reply


async def payloads_of(replies: Replies) -> list[bytes]:
    """All replies."""
    return [reply.payload async for reply in replies]


def nothing_is_left(nc: Client) -> bool:
    """No request waits, and the collections are gone."""
    return nc.stats().requests_inflight == 0 == len(nc.connection.inbox)


# ------------------------------------------------------------------------------------------------ what ends them


async def test_so_many_replies(autojump_clock: MockClock) -> None:
    """With max_replies they end with the last, at once; one that comes later is counted as late."""
    server = ToyServer()
    async with (
        opened(server) as nc,
        nc.subscribe("all") as sub,
        nc.request_many("all", b"?", headers={"Trace": "7"}, max_replies=3) as replies,
    ):
        message = await sub.receive()
        assert (message.payload, message.headers["Trace"]) == (b"?", "7")
        for number in range(4):
            await message.respond(b"%d" % number, headers={"Number": str(number)} if number else None)
        got = [reply async for reply in replies]
        assert [reply.payload for reply in got] == [b"0", b"1", b"2"]
        assert [reply.headers.get("Number") for reply in got] == [None, "1", "2"]
        assert (replies.ended, trio.current_time()) == (RepliesEnd.MAX_REPLIES, 0)
        await nc.flush()
        assert nc.stats().late_replies == 1
        assert nothing_is_left(nc)
        with pytest.raises(trio.EndOfChannel):
            await replies.receive()


async def test_the_deadline_is_for_all_replies(autojump_clock: MockClock) -> None:
    """They end, without an error, so long after the write, whether any came or none."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=4) as nc, nc.subscribe("all") as sub:
        async with nc.request_many("all", deadline_seconds=2.5) as replies:
            inbox = await inbox_of(sub)
            for _ in range(2):
                await trio.sleep(1)
                server.publish(inbox, b"x")
            assert await payloads_of(replies) == [b"x", b"x"]
            assert replies.ended is RepliesEnd.DEADLINE
            assert trio.current_time() == pytest.approx(2.5)
            server.publish(inbox, b"late")
            await nc.flush()
            assert nc.stats().late_replies == 1
        async with nc.request_many("all") as replies:  # the operation timeout
            assert await payloads_of(replies) == []
            assert replies.ended is RepliesEnd.DEADLINE
            assert trio.current_time() == pytest.approx(6.5)
        assert nothing_is_left(nc)


@pytest.mark.parametrize("limit", [None, 5])
async def test_a_deadline_without_any_reply(limit: float | None, autojump_clock: MockClock) -> None:
    """A deadline below the operation timeout, or without one, ends them to the second; others keep their own."""
    server = ToyServer()
    ended: dict[float, float] = {}

    async def ask(nc: Client, seconds: float) -> None:
        async with nc.request_many("all", deadline_seconds=seconds) as replies:
            assert await payloads_of(replies) == []
            assert replies.ended is RepliesEnd.DEADLINE
        ended[seconds] = trio.current_time()

    async with (
        opened(server, operation_timeout_seconds=limit) as nc,
        nc.subscribe("all"),
        trio.open_nursery() as nursery,
    ):
        for seconds in (3.0, 0.5, 1.5):
            nursery.start_soon(ask, nc, seconds)
    assert ended == {seconds: pytest.approx(seconds) for seconds in (0.5, 1.5, 3.0)}


async def test_without_a_timeout_only_the_caller_ends_it(autojump_clock: MockClock) -> None:
    """operation_timeout_seconds=None, or an infinite deadline: the caller's scope ends it, and nothing is left."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=None) as nc, nc.subscribe("all"):
        for deadline in (None, math.inf):
            replies = nc.request_many("all", deadline_seconds=deadline)
            with trio.move_on_after(1_000) as scope:
                async with replies:
                    await replies.receive()
            assert scope.cancelled_caught
            assert replies.ended is None
            assert nothing_is_left(nc)


async def test_a_stall_ends_them(autojump_clock: MockClock) -> None:
    """The first reply is awaited until the deadline; behind it they end when none came for stall_seconds."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub:
        async with nc.request_many("all", stall_seconds=0.25) as replies:
            inbox = await inbox_of(sub)
            await trio.sleep(2)
            for _ in range(5):
                server.publish(inbox, b"x")
                await trio.sleep(0.2)
            assert await payloads_of(replies) == [b"x"] * 5
            assert replies.ended is RepliesEnd.STALL
            assert trio.current_time() == pytest.approx(3.05)
        async with nc.request_many("all", stall_seconds=0.25, deadline_seconds=1) as replies:
            assert await payloads_of(replies) == []
            assert replies.ended is RepliesEnd.DEADLINE
        async with nc.request_many("all", stall_seconds=1, deadline_seconds=1) as replies:
            inbox = await inbox_of(sub)
            inbox = await inbox_of(sub)
            await trio.sleep(0.5)
            server.publish(inbox, b"x")
            assert await payloads_of(replies) == [b"x"]
            assert replies.ended is RepliesEnd.DEADLINE


async def test_the_receivers_time_is_not_the_services(autojump_clock: MockClock) -> None:
    """A receiver that takes longer than the stall over each reply gets all that came in time."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, trio.open_nursery() as nursery:

        async def serve() -> None:
            inbox = await inbox_of(sub)
            for number in range(5):
                await trio.sleep(0.1)
                server.publish(inbox, b"%d" % number)

        nursery.start_soon(serve)
        got = []
        async with nc.request_many("all", stall_seconds=0.2) as replies:
            async for reply in replies:
                got.append(reply.payload)
                await trio.sleep(3)
        assert got == [b"0", b"1", b"2", b"3", b"4"]
        assert replies.ended is RepliesEnd.STALL


async def test_a_sentinel_ends_them(autojump_clock: MockClock) -> None:
    """The reply for which the sentinel is true ends them and is not given; what came behind it is not either."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub:
        async with nc.request_many("all", sentinel=empty_payload) as replies:
            inbox = await inbox_of(sub)
            for payload in (b"1", b"2", b"", b"3"):
                server.publish(inbox, payload)
            assert await payloads_of(replies) == [b"1", b"2"]
            assert (replies.ended, trio.current_time()) == (RepliesEnd.SENTINEL, 0)
            assert nothing_is_left(nc)
        async with nc.request_many("all", sentinel=lambda reply: reply.headers.get("End") == "1") as replies:
            inbox = await inbox_of(sub)
            server.publish(inbox, b"")
            server.publish(inbox, b"", header=b"NATS/1.0\r\nEnd: 1\r\n\r\n")
            assert await payloads_of(replies) == [b""]


async def test_a_sentinel_that_raises(autojump_clock: MockClock) -> None:
    """What the sentinel raises is raised where the reply is received, bare; leaving cleans up all the same."""
    server = ToyServer()

    def sentinel(reply: Message) -> bool:
        raise KeyError("of the user")

    async with opened(server) as nc, nc.subscribe("all") as sub:
        with pytest.raises(KeyError, match="of the user"):
            async with nc.request_many("all", sentinel=sentinel) as replies:
                server.publish(await inbox_of(sub), b"x")
                await replies.receive()
        assert nothing_is_left(nc)


@given(
    arrivals=st.lists(st.integers(min_value=0, max_value=30), max_size=12),
    max_replies=st.none() | st.integers(min_value=1, max_value=8),
    stall=st.none() | st.integers(min_value=1, max_value=12),
    total=st.integers(min_value=1, max_value=30),
)
def test_the_first_limit_counts(arrivals: list[int], max_replies: int | None, stall: int | None, total: int) -> None:
    """For any arrivals the collection ends where a walk over the seconds says, and with its reason."""
    arrivals.sort()
    limits = ReplyLimits(
        max_replies=max_replies,
        stall_seconds=stall,
        deadline_seconds=total,
        pending_messages_max=100,
        pending_bytes_max=100,
    )
    collection = ReplyCollection(b"", b"s", b"1", limits)
    collection.written_at = 0.0
    count, last, expected = 0, None, None
    for second in range(total + 1):
        if expected is None and (second >= total or (stall and last is not None and second - last >= stall)):
            expected = RepliesEnd.DEADLINE if second >= total else RepliesEnd.STALL
        collection.expire(second)
        for _ in range(arrivals.count(second)):
            if expected is None:
                count, last = count + 1, second
                expected = RepliesEnd.MAX_REPLIES if count == max_replies else None
            if collection.ended is None:
                collection.collect((b"s", None, None, b"x"), second)
    assert (collection.ended, len(collection.pending)) == (expected, count)


# ------------------------------------------------------------------------------------------------------- errors


async def test_nobody_is_there(autojump_clock: MockClock) -> None:
    """The server's word that nobody is subscribed is NoRespondersError with the subject, at once and again."""
    server = ToyServer()
    async with opened(server) as nc, nc.request_many("nobody") as replies:
        for _ in range(2):
            with pytest.raises(NoRespondersError) as caught:
                await replies.receive()
            assert caught.value.subject == "nobody"
        assert (replies.ended, trio.current_time()) == (RepliesEnd.FAILED, 0)
        assert nothing_is_left(nc)


async def test_a_status_behind_replies(autojump_clock: MockClock) -> None:
    """503 without a payload is an error also behind replies; another status is a reply like any other."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all") as replies:
        inbox = await inbox_of(sub)
        server.publish(inbox, b"1")
        server.publish(inbox, b"", header=b"NATS/1.0 404 No Messages\r\n\r\n")
        server.publish(inbox, b"body", header=b"NATS/1.0 503\r\n\r\n")
        server.publish(inbox, b"", header=b"NATS/1.0 503\r\n\r\n")
        assert [(await replies.receive()).payload for _ in range(3)] == [b"1", b"", b"body"]
        with pytest.raises(NoRespondersError):
            await replies.receive()


async def test_headers_that_cannot_be_decoded(autojump_clock: MockClock) -> None:
    """A reply that was skipped ends them with ProtocolError, behind those that came before."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all") as replies:
        inbox = await inbox_of(sub)
        server.publish(inbox, b"1")
        server.publish(inbox, b"2", header=b"NOT A BLOCK\r\n\r\n")
        assert (await replies.receive()).payload == b"1"
        with pytest.raises(ProtocolError):
            await replies.receive()
        assert nothing_is_left(nc)


async def test_a_lost_link_is_not_a_timeout(autojump_clock: MockClock) -> None:
    """Replies that came before the loss are given; then ConnectionLostError says that the rest is unknown."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all") as replies:
        server.publish(await inbox_of(sub), b"1")
        await nc.flush()
        server.drop()
        assert (await replies.receive()).payload == b"1"
        with pytest.raises(ConnectionLostError) as caught:
            await replies.receive()
        assert (caught.value.sent, replies.ended) == ("maybe", RepliesEnd.FAILED)
        assert nothing_is_left(nc)


async def test_without_a_connection_it_waits_to_be_sent(autojump_clock: MockClock) -> None:
    """Unsent it is pending, its deadline not running; expired it is PendingTimeoutError; left it is withdrawn."""
    server = ToyServer()
    async with opened(server, pending_timeout_seconds=20) as nc, nc.subscribe("all") as sub:
        server.go_down()
        await trio.testing.wait_all_tasks_blocked()
        async with nc.request_many("all", b"expires", deadline_seconds=1) as replies:
            with pytest.raises(PendingTimeoutError, match="nothing was sent"):
                await replies.receive()
            assert trio.current_time() == pytest.approx(20)
        async with nc.request_many("all", b"withdrawn"):
            assert nc.ledger().open == 1
        assert (nc.ledger().open, nc.ledger().accepted) == (0, 1)
        async with nc.request_many("all", b"sent", deadline_seconds=1, max_replies=1) as replies:
            await trio.sleep(5)
            server.come_up()
            server.publish(await inbox_of(sub), b"x")
            assert await payloads_of(replies) == [b"x"]
        assert nothing_is_left(nc)
    assert server.payloads == [b"sent"]


async def test_an_unwritten_request_moves_to_the_next_link(autojump_clock: MockClock) -> None:
    """Lost before the write it is sent on the next link, and its replies are collected."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub:
        await nc.flush()
        server.stall()
        await nc.publish("first", b"x")
        await trio.testing.wait_all_tasks_blocked()
        async with nc.request_many("all", b"?", max_replies=1) as replies:
            server.drop()
            server.resume()
            server.publish(await inbox_of(sub), b"reply")
            assert await payloads_of(replies) == [b"reply"]


async def test_refusals(autojump_clock: MockClock) -> None:
    """A refused subject, and a refused inbox, are PermissionsError at once; the next request tries again."""
    server = ToyServer()
    server.denied_publish.add(b"no")
    async with opened(server) as nc, nc.request_many("no") as replies:
        with pytest.raises(PermissionsError) as caught:
            await replies.receive()
        assert caught.value.subject == "no"
    server.denied_subscribe.add(b"_INBOX.>")
    async with opened(server) as nc, nc.subscribe("all") as sub:
        async with nc.request_many("all") as replies:
            with pytest.raises(PermissionsError) as caught:
                await replies.receive()
            assert caught.value.operation == "subscription"
        await sub.receive()
        server.denied_subscribe.clear()
        async with nc.request_many("all", max_replies=1) as replies:
            server.publish(await inbox_of(sub), b"x")
            assert await payloads_of(replies) == [b"x"]


async def test_too_many_requests(autojump_clock: MockClock) -> None:
    """It counts among requests_inflight_max until it has ended, and beyond it nothing is sent."""
    server = ToyServer()
    async with opened(server, requests_inflight_max=1) as nc, nc.subscribe("all"):
        async with nc.request_many("all", b"1"):
            await nc.flush()
            with pytest.raises(TooManyRequestsError):
                await nc.request("all", b"2")
            with pytest.raises(TooManyRequestsError):
                async with nc.request_many("all", b"3"):
                    raise AssertionError
        async with nc.request_many("all", b"4") as replies:
            assert await payloads_of(replies) == []
    assert server.payloads == [b"1", b"4"]


BAD: list[tuple[type[Exception], Callable[[Client], object]]] = [
    (InvalidSubjectError, lambda nc: nc.request_many("a.*")),
    (InvalidSubjectError, lambda nc: nc.request_many("a b")),
    (InvalidHeaderError, lambda nc: nc.request_many("a", headers={"A": "b\r\nPUB x 0"})),
    (PayloadTooLargeError, lambda nc: nc.request_many("a", b"x" * 1_001)),
    (TypeError, lambda nc: nc.request_many("a", "text")),  # type: ignore[arg-type]
    (ValueError, lambda nc: nc.request_many("a", max_replies=0)),
    (ValueError, lambda nc: nc.request_many("a", stall_seconds=0)),
    (ValueError, lambda nc: nc.request_many("a", stall_seconds=math.nan)),
    (ValueError, lambda nc: nc.request_many("a", deadline_seconds=-1)),
    (ValueError, lambda nc: nc.request_many("a", pending_messages_max=0)),
    (ValueError, lambda nc: nc.request_many("a", pending_bytes_max=0)),
]


@pytest.mark.parametrize("number", range(len(BAD)))
async def test_bad_arguments(number: int, autojump_clock: MockClock) -> None:
    """What cannot be sent is a typed error of the call itself; no interest is made, and nothing is sent."""
    error, call = BAD[number]
    server = ToyServer(max_payload=1_000)
    async with opened(server) as nc:
        with pytest.raises(error):
            call(nc)
    assert server.operations("SUB", "PUB", "HPUB") == []


async def test_it_is_entered_once(autojump_clock: MockClock) -> None:
    """Receiving before it is entered, and entering it again, are errors that say what to do."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all"):
        replies = nc.request_many("all")
        with pytest.raises(RuntimeError, match="enter"):
            await replies.receive()
        async with replies:
            with pytest.raises(RuntimeError, match="once"):
                await replies.__aenter__()
        with pytest.raises(trio.ClosedResourceError):
            await replies.receive()
        assert "all" in repr(replies)


# ------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("bounds", [{"pending_messages_max": 3}, {"pending_bytes_max": 35}])
async def test_more_than_may_be_pending(bounds: dict[str, int], autojump_clock: MockClock) -> None:
    """Beyond its bound it ends: what fitted is given, then SlowConsumerError; counted, and told by one event."""
    server = ToyServer()
    async with (
        opened(server) as nc,
        nc.subscribe("all") as sub,
        nc.events() as events,
        nc.request_many("all", **bounds) as replies,  # type: ignore[arg-type]
    ):
        inbox = await inbox_of(sub)
        for number in range(6):
            server.publish(inbox, b"%010d" % number)
        await nc.flush()
        assert [(await replies.receive()).payload for _ in range(3)] == [b"%010d" % number for number in range(3)]
        for _ in range(2):
            with pytest.raises(SlowConsumerError, match="pending_messages_max"):
                await replies.receive()
        assert replies.ended is RepliesEnd.OVERFLOW
        assert (nc.stats().slow_consumer, nc.stats().late_replies) == (1, 2)
        assert await events.receive() == SlowConsumer("all", 3, 30)
        assert nothing_is_left(nc)


async def test_a_receiver_that_keeps_up_is_not_bounded(autojump_clock: MockClock) -> None:
    """The bound is for what is pending: a thousand replies pass through a bound of two."""
    server = ToyServer()
    async with (
        opened(server) as nc,
        nc.subscribe("all") as sub,
        nc.request_many("all", max_replies=1_000, pending_messages_max=2, pending_bytes_max=20) as replies,
    ):
        inbox = await inbox_of(sub)
        for number in range(1_000):
            server.publish(inbox, b"%d" % number)
            assert (await replies.receive()).payload == b"%d" % number
        assert await payloads_of(replies) == []


# -------------------------------------------------------------------------------------------------- many at once


async def test_many_at_once_over_one_subscription(autojump_clock: MockClock) -> None:
    """A hundred of them, and requests among them, share one interest, and each gets its own replies in order."""
    server = ToyServer()
    got: dict[int, list[bytes]] = {}

    async def ask(nc: Client, number: int) -> None:
        if number % 4:
            async with nc.request_many("all", b"%d" % number, max_replies=5) as replies:
                got[number] = await payloads_of(replies)
        else:
            got[number] = [(await nc.request("all", b"%d" % number)).payload]

    async with opened(server) as nc, nc.subscribe("all") as sub:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, nc, number)
            await trio.testing.wait_all_tasks_blocked()
            messages = await sub.receive_batch()
            assert nc.stats().requests_inflight == len(messages) == 100
            for part in range(5):
                server.random.shuffle(messages)
                for message in messages:
                    await message.respond(message.payload + b".%d" % part)
        assert all(
            got[number] == [b"%d.%d" % (number, part) for part in range(5 if number % 4 else 1)]
            for number in range(100)
        )
        assert (nc.stats().late_replies, nc.stats().requests) == (100, 100)
        assert nothing_is_left(nc)
    assert len(server.operations("SUB")) == 2


async def test_replies_running_are_all_taken(autojump_clock: MockClock) -> None:
    """Replies in one chunk, which the parser hands over as one run, arrive one by one."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all", max_replies=50) as replies:
        inbox = await inbox_of(sub)
        sid = server.interests[-1].sid
        server.link.send(b"".join(b"MSG %b %b 2\r\n%02d\r\n" % (inbox, sid, number) for number in range(50)))
        assert await payloads_of(replies) == [b"%02d" % number for number in range(50)]


async def test_several_receivers(autojump_clock: MockClock) -> None:
    """Tasks that receive at the same time get each reply once, and all of them the end."""
    server = ToyServer()
    got: list[bytes] = []
    async with (
        opened(server) as nc,
        nc.subscribe("all") as sub,
        nc.request_many("all", max_replies=20) as replies,
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            got.extend(await payloads_of(replies))

        for _ in range(3):
            nursery.start_soon(receive)
        inbox = await inbox_of(sub)
        for number in range(20):
            server.publish(inbox, b"%02d" % number)
            if number % 3 == 0:
                await trio.testing.wait_all_tasks_blocked()
    assert sorted(got) == [b"%02d" % number for number in range(20)]


# ------------------------------------------------------------------------------------------------- cancellation


async def test_cancelled_receive_loses_no_reply(autojump_clock: MockClock) -> None:
    """A reply that comes while a receive is being cancelled goes to the next one."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all", max_replies=50) as replies:
        inbox = await inbox_of(sub)
        got: list[bytes] = []
        for number in range(50):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    got.append((await replies.receive()).payload)

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                server.publish(inbox, b"%d" % number)
                for _ in range(number % 7):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        got += await payloads_of(replies)
        assert got == [b"%d" % number for number in range(50)]


async def test_a_loop_over_pending_replies_starves_nobody(autojump_clock: MockClock) -> None:
    """Receiving what is pending notices its cancellation, and has a schedule point, every few calls."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub, nc.request_many("all") as replies:
        inbox = await inbox_of(sub)
        for _ in range(4_096):
            server.publish(inbox, b"x")
        await nc.flush()
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2_048):
                await replies.receive()
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64
        steps = Steps()
        for _ in range(2_048):
            await replies.receive()
        assert steps.count >= 2


async def test_cancelled_while_it_waits_for_room(autojump_clock: MockClock) -> None:
    """Entering it while the outbox is full waits; cancelled, nothing was sent and nothing is left."""
    server = ToyServer()
    async with opened(server, outbox_bytes_max=100) as nc, nc.subscribe("all"):
        await nc.flush()
        server.stall()
        await nc.publish("first", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("second", b"x" * 200)
        with trio.move_on_after(1) as scope:
            async with nc.request_many("all", b"never"):
                raise AssertionError
        assert scope.cancelled_caught
        assert nothing_is_left(nc)
        server.resume()
        await nc.flush()
    assert server.payloads == [b"x", b"x" * 200]


async def test_left_early_nothing_stays(autojump_clock: MockClock) -> None:
    """Left by break or by an error of the user's, it collects no more, and the error goes out bare."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all") as sub:
        async with nc.request_many("all") as replies:
            inbox = await inbox_of(sub)
            server.publish(inbox, b"1")
            server.publish(inbox, b"2")
            async for _ in replies:
                break
        assert nothing_is_left(nc)
        assert replies.ended is None
        with pytest.raises(KeyError):
            async with nc.request_many("all"):
                raise KeyError
        assert nothing_is_left(nc)
        server.publish(inbox, b"3")
        await nc.flush()
        assert nc.stats().late_replies == 1


async def test_leaving_wakes_who_receives(autojump_clock: MockClock) -> None:
    """`close` of one task ends the receive of another with ClosedResourceError."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("all"), trio.open_nursery() as nursery:
        async with nc.request_many("all") as replies:

            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await replies.receive()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_closed_client(autojump_clock: MockClock) -> None:
    """Closed while replies are awaited: what came is given, then ClientClosedError; entering another raises it too."""
    server = ToyServer()
    async with opened(server) as nc:
        async with nc.subscribe("all") as sub, nc.request_many("all") as replies:
            server.publish(await inbox_of(sub), b"1")
            await nc.drain()
            assert (await replies.receive()).payload == b"1"
            with pytest.raises(ClientClosedError):
                await replies.receive()
        with pytest.raises(ClientClosedError):
            async with nc.request_many("all"):
                raise AssertionError
