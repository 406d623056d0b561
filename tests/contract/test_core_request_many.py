"""Requests that many answer, through a server: who answers, nobody there, and links that are lost."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import ConnectionLostError, Message, NoRespondersError, RepliesEnd, empty_payload, open_client
from beamline_trio.testing import EitherServer

from ._server import LIMIT_SECONDS, Connect


async def test_every_service_answers(connect: Connect) -> None:
    """Each of many services is heard once; the replies end when none came for the stall."""
    async with connect() as services, connect() as client, trio.open_nursery() as nursery:
        for number in range(20):

            async def answer(message: Message, number: int = number) -> bytes:
                await trio.sleep(0.001 * (number % 7))
                return message.payload + b"%d" % number

            await nursery.start(services.serve, "who", answer)
        with trio.fail_after(LIMIT_SECONDS):
            async with client.request_many("who", b"it is ", stall_seconds=0.3) as replies:
                got = [reply.payload async for reply in replies]
        assert sorted(got) == sorted(b"it is %d" % number for number in range(20))
        assert replies.ended is RepliesEnd.STALL
        assert client.stats().requests_inflight == 0
        nursery.cancel_scope.cancel()


async def test_a_stream_of_replies_ends_with_its_sentinel(connect: Connect) -> None:
    """One service streams a thousand replies in order, with headers, and an empty one behind them."""

    async def stream(message: Message) -> bytes:
        for number in range(1_000):
            await message.respond(b"x" * (number % 50 + 1), headers={"Number": str(number)})
        return b""

    async with connect() as service, connect() as client, trio.open_nursery() as nursery:
        await nursery.start(service.serve, "stream", stream)
        with trio.fail_after(LIMIT_SECONDS):
            async with client.request_many("stream", sentinel=empty_payload) as replies:
                got = [(reply.headers["Number"], len(reply.payload)) async for reply in replies]
        assert got == [(str(number), number % 50 + 1) for number in range(1_000)]
        assert replies.ended is RepliesEnd.SENTINEL
        nursery.cancel_scope.cancel()


async def test_so_many_replies_and_no_more(connect: Connect) -> None:
    """With max_replies the rest is late; requests over the same inbox are not disturbed."""

    async def answer(message: Message) -> bytes:
        return b"here"

    async with connect() as services, connect() as client, trio.open_nursery() as nursery:
        for _ in range(5):
            await nursery.start(services.serve, "who", answer)
        with trio.fail_after(LIMIT_SECONDS):
            async with client.request_many("who", max_replies=2) as replies:
                assert [reply.payload async for reply in replies] == [b"here"] * 2
            assert (await client.request("who")).payload == b"here"
            while client.stats().late_replies < 3 + 4:
                await client.flush()
        assert replies.ended is RepliesEnd.MAX_REPLIES
        nursery.cancel_scope.cancel()


async def test_nobody_is_told_at_once(connect: Connect) -> None:
    """The server's 503 is NoRespondersError of the first receive."""
    async with connect() as nc, nc.request_many("nobody.here") as replies:
        with trio.fail_after(2), pytest.raises(NoRespondersError, match=r"nobody\.here"):
            await replies.receive()
        assert nc.stats().requests_inflight == 0


async def test_a_server_that_dies_is_no_deadline(nats: EitherServer) -> None:
    """Replies that came before the loss are given, then ConnectionLostError; behind the reconnect it works again."""

    async def answer(message: Message) -> bytes:
        return b"here"

    async with (
        open_client(nats.url, dialer=nats.dialer("service")) as service,
        open_client(nats.url, dialer=nats.dialer("app")) as client,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(service.serve, "who", answer)
        with trio.fail_after(LIMIT_SECONDS):
            async with client.request_many("who", deadline_seconds=600) as replies:
                assert (await replies.receive()).payload == b"here"
                await nats.kill()
                with pytest.raises(ConnectionLostError):
                    await replies.receive()
            assert replies.ended is RepliesEnd.FAILED
            await nats.start()
            while True:
                try:
                    async with client.request_many("who", max_replies=1) as replies:
                        assert (await replies.receive()).payload == b"here"
                    break
                except NoRespondersError:  # the service is not back yet
                    await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
