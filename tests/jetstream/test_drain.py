"""A drain with consumers: what came is delivered, and the acks of what is in hand still leave."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import ClientClosedError, State
from beamline_trio.jetstream._session import Messages
from tests.jetstream._pulls import PullServer, consumer_on, settle


async def work(messages: Messages) -> None:
    """A second for each message, and its ack then."""
    async for message in messages:
        await trio.sleep(1)
        await message.ack()


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("came", [1, 2, 5])
async def test_a_message_in_hand_is_acked(came: int, tasks: int, autojump_clock: MockClock) -> None:
    """Nothing is pending, but somebody is at work: the client closes when all have come back for more."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:

        async def session() -> None:
            async with consumer.messages(10) as messages, trio.open_nursery() as workers:
                for _ in range(tasks):
                    workers.start_soon(work, messages)

        nursery.start_soon(session)
        await settle()
        server.give(came)
        await settle()
        await nc.drain()
        assert sorted(server.acks) == [(number + 1, b"+ACK") for number in range(came)]


async def test_who_has_died_is_not_waited_for(autojump_clock: MockClock) -> None:
    """A task for each message: those that are over are forgotten, and a drain does not wait for them."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10) as messages:
        await settle()

        async def one() -> None:
            await (await messages.receive()).ack()

        for _ in range(200):
            server.give()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
        assert len(messages._receivers) <= 20
        began = trio.current_time()
        await nc.drain()
        assert trio.current_time() - began < 1


async def test_whoever_drains_with_a_message_in_hand_acks_before(autojump_clock: MockClock) -> None:
    """A drain by the receiver itself does not wait for it."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10) as messages:
        await settle()
        server.give()
        message = await messages.receive()
        await message.ack()
        began = trio.current_time()
        await nc.drain()
        assert trio.current_time() - began < 1
        assert server.acks == [(1, b"+ACK")]


@pytest.mark.parametrize("came", [0, 1, 3])
async def test_a_fetch_gives_back_what_has_come(came: int, autojump_clock: MockClock) -> None:
    """It is told, what came and what still comes is given back before the client closes, and no other begins."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:

        async def fetch() -> None:
            for _ in range(2):
                with pytest.raises(ClientClosedError, match="drains"):
                    await consumer.fetch(10)

        nursery.start_soon(fetch)
        await settle()
        server.give(came)
        await settle()
        server.pongs_held = True
        began = trio.current_time()
        nursery.start_soon(nc.drain)
        server.give()  # on its way while UNSUB is
        await settle()
        server.release_pongs()
        await settle()
        assert nc.state is State.CLOSED
        assert trio.current_time() == began
        assert server.acks == [(number + 1, b"-NAK") for number in range(came + 1)]
        assert len(server.pulls) == 1
