"""Requests through a server: the first reply, nobody there, and what is not a reply."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from beamline_trio import Message, NoReplySubjectError, NoRespondersError, OperationTimeoutError

from ._server import LIMIT_SECONDS, Connect, RawConnect, settle, take


async def test_a_request_gets_the_reply_of_its_own(connect: Connect) -> None:
    """Of many requests at once each gets the reply to itself, whatever the order of the replies."""
    count = 300

    async def answer(message: Message) -> bytes:
        await trio.sleep(0.001 * (int(message.payload) % 7))
        return b"re " + message.payload

    async with connect() as service, connect() as client, trio.open_nursery() as nursery:
        await nursery.start(partial(service.serve, "echo", answer, concurrency=50))
        replies: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            replies[number] = (await client.request("echo", b"%d" % number)).payload

        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as asking:
                for number in range(count):
                    asking.start_soon(ask, number)
        assert replies == {number: b"re %d" % number for number in range(count)}
        stats = client.stats()
        assert (stats.requests, stats.requests_inflight, stats.late_replies) == (count, 0, 0)
        nursery.cancel_scope.cancel()


async def test_requests_of_a_mebibyte(connect: Connect) -> None:
    """Large requests, alone and at once and between small ones, arrive whole and get their large replies."""
    small, large = b"s", bytes(range(256)) * 4096

    async def answer(message: Message) -> bytes:
        return message.payload[::-1]

    async with connect() as service, connect() as client, trio.open_nursery() as nursery:
        await nursery.start(partial(service.serve, "turn", answer, concurrency=4))

        async def ask(payload: bytes) -> None:
            assert (await client.request("turn", payload)).payload == payload[::-1]

        with trio.fail_after(LIMIT_SECONDS):
            for payload in (large, small, large):
                await ask(payload)
            async with trio.open_nursery() as asking:
                for number in range(20):
                    asking.start_soon(ask, small if number % 3 else large)
                    asking.start_soon(partial(client.publish, "other", large))
        assert (client.stats().lost, client.ledger().failed) == (0, 0)
        nursery.cancel_scope.cancel()


async def test_headers_travel_both_ways(connect: Connect) -> None:
    """Headers of a request and of its reply arrive, and the reply says where it went."""

    async def answer(message: Message) -> None:
        await message.respond(message.headers["Name"].encode(), headers={"Answer": ["a", "b"]})

    async with connect() as service, connect() as client, trio.open_nursery() as nursery:
        await nursery.start(service.serve, "name", answer)
        reply = await client.request("name", headers={"Name": "beam"})
        assert reply.payload == b"beam"
        assert reply.headers.get_all("answer") == ["a", "b"]
        nursery.cancel_scope.cancel()


async def test_a_request_to_many_takes_the_first_reply(connect: Connect) -> None:
    """With many responders the first reply counts; the others are counted as late and disturb nothing."""
    slow = trio.Event()

    async def quick(message: Message) -> bytes:
        return b"quick"

    async def late(message: Message) -> bytes:
        await slow.wait()
        return b"late"

    async with connect() as service, connect() as client, trio.open_nursery() as nursery:
        for handler in (late, quick, late):
            await nursery.start(service.serve, "who", handler)
        with trio.fail_after(LIMIT_SECONDS):
            assert (await client.request("who")).payload == b"quick"
            slow.set()
            while client.stats().late_replies < 2:
                await settle(service, client)
            assert (await client.request("who")).payload in (b"quick", b"late")
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_told_at_once(connect: Connect) -> None:
    """A request that nobody can receive raises NoRespondersError with its subject, at once, and again each time."""
    async with connect() as nc:
        with trio.fail_after(2):
            for _ in range(3):
                with pytest.raises(NoRespondersError, match="nobody is subscribed") as caught:
                    await nc.request("nobody.here", b"?", headers={"a": "b"})
                assert caught.value.subject == "nobody.here"
        assert nc.stats().requests_inflight == 0


async def test_no_responders_is_an_error_of_requests_only(connect: Connect) -> None:
    """A message that looks like the server's status 503 is a plain message on a plain subscription."""
    async with connect() as nc, nc.subscribe("answers") as sub:
        await settle(nc)
        await nc.publish("nobody.here", b"?", reply="answers")
        (message,) = await take(sub, 1)
        assert (message.headers.status, message.payload, message.subject) == (503, b"", "answers")
        await nc.publish("answers", b"next")
        assert (await take(sub, 1))[0].payload == b"next"


async def test_a_reply_may_have_a_status_of_its_own(connect: Connect) -> None:
    """A service's empty or error answer is a reply: only the server's 503 is NoRespondersError."""

    async def answer(message: Message) -> None:
        if message.payload == b"empty":
            await message.respond()
        else:
            await message.respond(headers={"Nats-Service-Error-Code": "503", "Nats-Service-Error": "NATS/1.0 503"})

    async with connect() as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "s", answer)
        assert (await nc.request("s", b"empty")).payload == b""
        assert (await nc.request("s", b"error")).headers["Nats-Service-Error-Code"] == "503"
        nursery.cancel_scope.cancel()


async def test_a_handler_that_raises_answers_with_an_error(connect: Connect) -> None:
    """A raising handler answers empty with error headers that say nothing of its insides, and the service goes on."""

    async def answer(message: Message) -> bytes:
        if message.payload == b"raise":
            raise LookupError("the password is sesame")
        return b"fine"

    async with connect() as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "s", answer)
        reply = await nc.request("s", b"raise")
        assert reply.payload == b""
        assert reply.headers["Nats-Service-Error-Code"] == "500"
        assert "sesame" not in reply.headers["Nats-Service-Error"]
        assert (await nc.request("s")).payload == b"fine"
        nursery.cancel_scope.cancel()


async def test_no_answer_is_a_timeout(connect: Connect) -> None:
    """A responder that never answers ends the request by `operation_timeout_seconds`, and a late answer is harmless."""
    answer_now = trio.Event()

    async def answer(message: Message) -> bytes:
        await answer_now.wait()
        return b"too late"

    async with connect() as service, connect(operation_timeout_seconds=0.1) as client, trio.open_nursery() as nursery:
        await nursery.start(service.serve, "s", answer)
        with pytest.raises(OperationTimeoutError, match=r"no reply to a request to s within 0\.1 s"):
            await client.request("s")
        answer_now.set()
        with trio.fail_after(LIMIT_SECONDS):
            while client.stats().late_replies < 1:
                await settle(service, client)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_request_leaves_nothing_behind(connect: Connect) -> None:
    """The caller's own deadline ends a request at once, and the next one is not disturbed."""

    async def never(message: Message) -> bytes:
        if message.payload == b"sleep":
            await trio.sleep_forever()
        return b"awake"

    async with connect() as nc, trio.open_nursery() as nursery:
        await nursery.start(partial(nc.serve, "s", never, concurrency=2))
        with trio.move_on_after(0.05) as scope:
            await nc.request("s", b"sleep")
        assert scope.cancelled_caught
        assert nc.stats().requests_inflight == 0
        assert (await nc.request("s")).payload == b"awake"
        nursery.cancel_scope.cancel()


async def test_the_inbox_prefix_is_where_replies_come(connect: Connect) -> None:
    """With `inbox_prefix` reply subjects begin with it."""
    async with connect(inbox_prefix="_mine.box") as client, connect() as service, service.subscribe("s") as sub:
        await sub.confirmed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.request, "s")
            (message,) = await take(sub, 1)
            assert message.reply is not None
            assert message.reply.startswith("_mine.box.")
            await message.respond()


async def test_a_message_without_reply_subject_cannot_be_answered(connect: Connect) -> None:
    """`respond` on a message whose sender wants no reply is an error, and nothing is sent."""
    async with connect() as nc, nc.subscribe("a") as sub:
        await nc.publish("a")
        (message,) = await take(sub, 1)
        with pytest.raises(NoReplySubjectError, match="no reply subject"):
            await message.respond(b"x")
        assert nc.ledger().accepted == 1


async def test_requests_share_one_subscription(connect: Connect, raw: RawConnect) -> None:
    """All requests of a client share one subscription, and a reply may come from any kind of client."""
    async with connect() as nc, raw() as service:
        await service.send(b"SUB s 1\r\n")
        await service.sync()
        for number in range(20):
            async with trio.open_nursery() as nursery:

                async def respond(number: int) -> None:
                    line = await service.receive_until(b"\r\n\r\n")
                    _, _, _, reply, _ = line.split(b"\r\n")[0].split(b" ")
                    await service.send(b"PUB %b 2\r\n%02d\r\n" % (reply, number))

                nursery.start_soon(respond, number)
                assert (await nc.request("s")).payload == b"%02d" % number
        assert nc.stats().subscriptions == 1
