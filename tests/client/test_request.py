"""Requests: one inbox, one reply each, no responders, timeouts, and what a late reply finds."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    Message,
    NatsError,
    NoRespondersError,
    OperationTimeoutError,
    PermissionsError,
    TooManyRequestsError,
)
from tests._memory import ToyServer, opened


async def test_replies_reach_their_requests(autojump_clock: MockClock) -> None:
    """A thousand requests at once over one subscription: each gets its own reply, in whatever order they come."""
    server = ToyServer()
    replies: dict[int, bytes] = {}

    async def request(nc: Client, number: int) -> None:
        replies[number] = (await nc.request("service", b"%d" % number)).payload

    async with opened(server, outbox_bytes_max=10_000_000) as nc, nc.subscribe("service") as sub:
        async with trio.open_nursery() as nursery:
            for number in range(1_000):
                nursery.start_soon(request, nc, number)
            await trio.testing.wait_all_tasks_blocked()
            assert nc.stats().requests_inflight == 1_000
            messages = await sub.receive_batch(10_000)
            server.random.shuffle(messages)
            for message in messages:
                await message.respond(message.payload + b"!")
        assert replies == {number: b"%d!" % number for number in range(1_000)}
        assert nc.stats().requests_inflight == 0
    assert len(server.operations("SUB")) == 2


async def test_a_reply_as_it_came(autojump_clock: MockClock) -> None:
    """Headers, payload and a further reply subject are given; only the first reply counts, others are counted late."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("service") as sub, trio.open_nursery() as nursery:

        async def serve() -> None:
            message = await sub.receive()
            assert message.headers["Trace"] == "7"
            assert message.reply is not None
            await nc.publish(message.reply, b"first", reply="further", headers={"A": "b"})
            await message.respond(b"second")

        nursery.start_soon(serve)
        reply = await nc.request("service", b"x", headers={"Trace": "7"})
        assert (reply.payload, reply.reply, reply.headers["A"]) == (b"first", "further", "b")
        await nc.flush()
        assert nc.stats().late_replies == 1


async def test_no_responders(autojump_clock: MockClock) -> None:
    """Nobody subscribed: a typed error with the subject, at once."""
    server = ToyServer()
    async with opened(server) as nc:
        with pytest.raises(NoRespondersError) as caught:
            await nc.request("nobody.here", b"x")
        assert caught.value.subject == "nobody.here"
        assert trio.current_time() == 0
        assert (nc.ledger().accepted, nc.stats().requests_inflight) == (1, 0)


async def test_a_service_may_answer_with_a_status(autojump_clock: MockClock) -> None:
    """Another status, or a 503 with a payload, is a reply like any other."""
    server = ToyServer()
    blocks = [(b"NATS/1.0 503\r\n\r\n", b"body"), (b"NATS/1.0 404 No Messages\r\n\r\n", b"")]
    async with opened(server) as nc, nc.subscribe("service") as sub, trio.open_nursery() as nursery:

        async def serve() -> None:
            for block, body in blocks:
                message = await sub.receive()
                assert message.reply_bytes is not None
                server.publish(message.reply_bytes, body, header=block)

        nursery.start_soon(serve)
        for _, body in blocks:
            assert (await nc.request("service", b"x")).payload == body


async def test_the_operation_timeout(autojump_clock: MockClock) -> None:
    """No reply within operation_timeout_seconds of the write, or the caller's own deadline: whichever is smaller."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=2) as nc, nc.subscribe("service") as sub:
        with pytest.raises(OperationTimeoutError, match="service"):
            await nc.request("service", b"1")
        assert trio.current_time() == pytest.approx(2)
        with trio.move_on_after(1) as scope:
            await nc.request("service", b"2")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(3)
        assert nc.stats().requests_inflight == 0
        for message in await sub.receive_batch():
            await message.respond(b"late")
        await nc.flush()
        assert nc.stats().late_replies == 2
    async with opened(server, operation_timeout_seconds=None) as nc, nc.subscribe("service"):
        with trio.move_on_after(1_000) as scope:
            await nc.request("service", b"3")
        assert scope.cancelled_caught


async def test_each_request_has_its_own_deadline(autojump_clock: MockClock) -> None:
    """Requests written at different times end each to the second, also those that waited for room in between."""
    server = ToyServer()
    ended: dict[int, float] = {}

    async def request(nc: Client, number: int, size: int) -> None:
        with pytest.raises(OperationTimeoutError):
            await nc.request("service", b"x" * size)
        ended[number] = trio.current_time()

    async with (
        opened(server, outbox_bytes_max=1_000, ping_interval_seconds=100) as nc,
        nc.subscribe("service"),
        trio.open_nursery() as nursery,
    ):
        for number in range(4):
            nursery.start_soon(request, nc, number, 10)
            await trio.sleep(1)
        server.stall()
        await nc.publish("other", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("other", b"x" * 2_000)
        for number in range(4, 8):
            nursery.start_soon(request, nc, number, 900)  # they wait for room
            await trio.sleep(0.25)
        server.resume()
    assert [ended[number] for number in range(4)] == pytest.approx([5, 6, 7, 8])
    assert [ended[number] for number in range(4, 8)] == pytest.approx([10] * 4)


async def test_a_cancelled_request_is_withdrawn_or_unknown(autojump_clock: MockClock) -> None:
    """Before the write nothing is sent and nothing was accepted; after it the server has it."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("service"):
        await nc.flush()
        server.stall()
        await nc.publish("first", b"1")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await nc.request("service", b"withdrawn")
        assert (nc.ledger().accepted, nc.stats().requests_inflight) == (1, 0)
        server.resume()
        with trio.move_on_after(1):
            await nc.request("service", b"written")
        assert (nc.ledger().accepted, nc.stats().requests_inflight) == (2, 0)
    assert server.payloads == [b"1", b"written"]


async def test_requests_inflight_max(autojump_clock: MockClock) -> None:
    """One more is a TooManyRequestsError, and nothing is sent; when one has ended there is room again."""
    server = ToyServer()
    async with (
        opened(server, requests_inflight_max=3) as nc,
        nc.subscribe("service") as sub,
        trio.open_nursery() as nursery,
    ):
        for _ in range(3):
            nursery.start_soon(nc.request, "service", b"x")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyRequestsError, match="3"):
            await nc.request("service", b"one too many")
        assert (nc.ledger().accepted, nc.stats().requests_inflight) == (3, 3)
        for message in await sub.receive_batch():
            await message.respond(b"y")
        await trio.testing.wait_all_tasks_blocked()
        server.services[b"other"] = lambda payload: payload
        await nc.request("other", b"z")


async def test_permission_errors_of_requests(autojump_clock: MockClock) -> None:
    """A refused subject fails its requests only; a refused inbox fails all, and the next request tries again."""
    server = ToyServer()
    server.services[b"yes"] = lambda payload: payload
    server.denied_publish.add(b"no")
    results: list[object] = []

    async def request(nc: Client, subject: str) -> None:
        try:
            results.append((await nc.request(subject, b"x")).payload)
        except NatsError as error:
            results.append(type(error))

    async with opened(server) as nc, nc.subscribe("waits"), trio.open_nursery() as nursery:
        nursery.start_soon(request, nc, "waits")
        with pytest.raises(PermissionsError) as caught:
            await nc.request("no", b"x")
        assert (caught.value.operation, caught.value.subject) == ("publish", "no")
        assert (await nc.request("yes", b"x")).payload == b"x"
        assert results == []
        assert nc.ledger().failed == 1
        nursery.cancel_scope.cancel()
    server.denied_subscribe.add(b"_INBOX.>")
    async with opened(server) as nc:
        for _ in range(2):
            with pytest.raises(PermissionsError) as caught:
                await nc.request("yes", b"x")
            assert caught.value.operation == "subscription"
        server.denied_subscribe.clear()
        assert (await nc.request("yes", b"x")).payload == b"x"


async def test_the_inbox_prefix(autojump_clock: MockClock) -> None:
    """Replies come where the option says, on an inbox that no other client has."""
    server = ToyServer()
    server.services[b"service"] = lambda payload: payload
    inboxes: set[bytes] = set()
    async with opened(server, inbox_prefix="_REPLY.orders") as nc:
        await nc.request("service", b"x")
        inboxes.add(server.interests[-1].pattern)
        assert server.interests[-1].pattern.startswith(b"_REPLY.orders.")
        replies = [operation.args[1] for operation in server.record if operation.verb == "PUB"]
        assert all(reply.startswith(b"_REPLY.orders.") for reply in replies)


async def test_a_callback_serves_in_the_readers_step(autojump_clock: MockClock) -> None:
    """The hot path: a synchronous callback that answers with publish_nowait."""
    server = ToyServer()

    async with opened(server) as serving, opened(server) as asking:

        def callback(message: Message) -> None:
            assert message.reply is not None
            serving.publish_nowait(message.reply, message.payload + b"!")

        async with serving.subscribe("service", callback=callback) as sub:
            await sub.confirmed()
            for number in range(100):
                assert (await asking.request("service", b"%d" % number)).payload == b"%d!" % number
