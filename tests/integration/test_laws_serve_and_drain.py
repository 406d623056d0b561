"""Serving, draining and leaving on a real server: what was begun is finished, and nothing is lost at the end."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
import trio

from beamline_trio import (
    Message,
    Outcome,
    State,
    UndeliveredError,
    open_client,
)
from beamline_trio.server_process import Server

LIMIT_SECONDS = 20.0


async def test_serve_handles_as_many_at_once_as_it_says(nats_server: Server) -> None:
    """Ten requests of 0.2 s with concurrency 10 take little more than 0.2 s, and never more than ten run at once."""
    running = most = 0

    async def handler(message: Message) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.2)
        running -= 1
        return message.payload

    async with (
        open_client(nats_server.url) as service,
        open_client(nats_server.url) as client,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(service.serve, "s", handler, concurrency=10))

        async def ask(count: int) -> float:
            began = trio.current_time()
            async with trio.open_nursery() as asking:
                for number in range(count):
                    asking.start_soon(client.request, "s", b"%d" % number)
            return trio.current_time() - began

        assert 0.2 <= await ask(10) < 0.6
        assert 0.6 <= await ask(30) < 1.2
        assert most == 10
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["drain", "leave"])
async def test_a_drain_under_load_answers_every_request(nats_server: Server, way: str) -> None:
    """Draining a service, or leaving its client, under load: every request that had reached it is answered."""
    count = 500
    begun = trio.Event()
    answered: set[int] = set()

    async def handler(message: Message) -> bytes:
        begun.set()
        await trio.sleep(0.002)
        return message.payload

    async with open_client(nats_server.url) as client:

        async def ask(number: int) -> None:
            assert int((await client.request("s", b"%d" % number)).payload) == number
            answered.add(number)

        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as asking:
                async with trio.open_nursery() as nursery, open_client(nats_server.url) as service:
                    await nursery.start(partial(service.serve, "s", handler, concurrency=8, queue_group="q"))
                    for number in range(count):
                        asking.start_soon(ask, number)
                    await begun.wait()
                    await client.flush()
                    await service.flush()
                    assert len(answered) < count
                    if way == "drain":
                        await service.drain()
                        assert service.state is State.CLOSED
                assert service.state is State.CLOSED
        assert answered == set(range(count))


async def test_a_handler_may_drain_its_own_client(nats_server: Server) -> None:
    """Drain called from a handler ends the service and the `async for` of others cleanly, and its own reply is sent."""
    async with open_client(nats_server.url) as client, open_client(nats_server.url) as service:

        async def handler(message: Message) -> bytes:
            await service.drain()
            return b"the last word"

        read: list[bytes] = []

        async def reader(task_status: trio.TaskStatus[None]) -> None:
            async with service.subscribe("news") as sub:
                await sub.confirmed()
                task_status.started()
                async for message in sub:
                    read.append(message.payload)

        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(reader)
                await nursery.start(service.serve, "s", handler)
                await client.publish("news", b"1")
                await client.publish("news", b"2", confirm=True)
                assert (await client.request("s")).payload == b"the last word"
        assert read == [b"1", b"2"]


async def test_nothing_is_lost_between_the_last_publish_and_the_end(nats_server: Server) -> None:
    """What was published before leaving is at the server when the block has ended, and nothing of it is unknown."""
    count = 5_000
    async with open_client(nats_server.url) as receiver, receiver.subscribe("a") as sub:
        await sub.confirmed()
        for repetition in range(5):
            async with open_client(nats_server.url) as nc:
                for number in range(count):
                    await nc.publish("a", b"%d" % number)
                if repetition % 2:
                    await nc.drain()
            ledger = nc.ledger()
            assert (ledger.accepted, ledger.confirmed, ledger.balanced) == (count, count, True)
            await receiver.flush()
            assert [int(message.payload) for message in await sub.receive_batch(count)] == list(range(count))
            assert sub.pending_messages == 0


async def test_a_drain_lets_a_consumer_read_to_the_end(nats_server: Server) -> None:
    """Draining with messages pending: the consumer gets every one of them and a clean end, however slow it is."""
    count = 300
    got: list[int] = []
    async with open_client(nats_server.url) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:

        async def read() -> None:
            async for message in sub:
                got.append(int(message.payload))
                await trio.sleep(0.0005)

        nursery.start_soon(read)
        for number in range(count):
            await nc.publish("a", b"%d" % number)
        with trio.fail_after(LIMIT_SECONDS):
            await nc.drain()
        assert got == list(range(count))


@pytest.mark.parametrize("pending", [0, 10])
async def test_leaving_without_a_server_is_bounded(nats_server: Server, pending: int) -> None:
    """Leaving while there is no server: at once if nothing is pending, else by the drain's deadline, all counted."""
    told = pytest.raises(UndeliveredError, match="10 publishes not sent") if pending else contextlib.nullcontext()
    with trio.fail_after(LIMIT_SECONDS), told:
        async with open_client(nats_server.url, drain_deadline_seconds=0.3) as nc:
            nats_server.kill()
            await nats_server.wait_exit()
            while nc.state is State.CONNECTED:
                await trio.lowlevel.checkpoint()
            for _ in range(pending):
                assert await nc.publish("a", b"x") is Outcome.QUEUED
            began = trio.current_time()
    seconds = trio.current_time() - began
    assert 0.3 <= seconds < 1 if pending else seconds < 0.25
    ledger = nc.ledger()
    assert (ledger.accepted, ledger.dropped, ledger.open, ledger.balanced) == (pending, pending, 0, True)
