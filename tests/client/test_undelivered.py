"""Leaving with accepted operations: delivered later, or an error with their exact count."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ClientClosedError,
    ClientOptions,
    Message,
    Outcome,
    State,
    UndeliveredError,
    open_client,
    run_client,
)
from tests._memory import MemoryDialer, ToyServer, lose_link

BRIEF: dict[str, Any] = {"drain_deadline_seconds": 3, "reconnect_delay_max_seconds": 0.5}


def counts(error: UndeliveredError) -> tuple[int, int]:
    return error.unsent, error.unknown


async def test_leaving_while_disconnected_delivers_later(autojump_clock: MockClock) -> None:
    """When a link comes up within the deadline, all of them arrive, in order, and nothing is raised."""
    server = ToyServer()
    async with trio.open_nursery() as nursery, open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
        await lose_link(server)
        for number in range(20):
            assert await nc.publish("a", b"%d" % number) is Outcome.QUEUED

        async def come_back() -> None:
            await trio.sleep(1)
            server.come_up()

        nursery.start_soon(come_back)
    assert server.payloads == [b"%d" % number for number in range(20)]
    assert nc.ledger().confirmed == 20


async def test_leaving_while_disconnected_tells_how_many(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the exact count is raised by leaving the block, bare; the text names it and the option."""
    server = ToyServer()
    clients: list[Client] = []
    with pytest.raises(UndeliveredError, match=r"7 publishes not sent and 0 .*drain_deadline_seconds") as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
            clients.append(nc)
            await lose_link(server)
            for _ in range(7):
                await nc.publish("a")
    assert counts(caught.value) == (7, 0)
    assert trio.current_time() == pytest.approx(3, abs=0.01)
    assert clients[0].ledger().dropped == 7


async def test_what_expires_while_it_drains_is_counted(autojump_clock: MockClock) -> None:
    """An operation that runs out of its own time before the drain's is not delivered either."""
    server = ToyServer()
    clients: list[Client] = []
    with pytest.raises(UndeliveredError) as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), pending_timeout_seconds=1, **BRIEF) as nc:
            clients.append(nc)
            await lose_link(server)
            await nc.publish("a")
            await trio.sleep(0.5)
            await nc.publish("a")
    assert counts(caught.value) == (2, 0)
    assert trio.current_time() < 2
    assert clients[0].ledger().expired == 2


async def test_what_was_unknown_before_is_not_told_again(autojump_clock: MockClock) -> None:
    """The error is about what was open when the drain began; earlier losses were told in their time."""
    server = ToyServer()
    async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
        server.pongs_held = True
        await nc.publish("a")
        await trio.testing.wait_all_tasks_blocked()
        server.release_pongs(0)
        server.go_down()
        await trio.testing.wait_all_tasks_blocked()
        assert nc.ledger().unknown == 1
    assert nc.ledger().unknown == 1


async def test_a_link_that_dies_while_it_drains(autojump_clock: MockClock) -> None:
    """What was written to it is unknown, what was not goes over the next one: the drain does not give up."""
    server = ToyServer()
    async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc, trio.open_nursery() as nursery:
        server.stall()
        await nc.publish("a", b"written")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"waits")

        async def break_off() -> None:
            await trio.sleep(0.5)
            server.drop()
            server.resume()

        nursery.start_soon(break_off)
        with pytest.raises(UndeliveredError) as caught:
            await nc.drain()
    assert counts(caught.value) == (0, 1)
    assert server.payloads[-1] == b"waits"
    assert (nc.ledger().confirmed, nc.ledger().unknown) == (1, 1)


async def test_the_blocks_own_exception_leaves_bare(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The client closes at once; the log, the events and the ledger have the numbers."""
    server = ToyServer()
    clients: list[Client] = []
    caplog.set_level(logging.WARNING)
    with pytest.raises(KeyError) as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
            clients.append(nc)
            await lose_link(server)
            await nc.publish("a")
            raise KeyError("own")
    assert caught.value.__context__ is None
    assert trio.current_time() < 1
    assert clients[0].ledger().dropped == 1
    dropped = [vars(r) for r in caplog.records if vars(r).get("event") == "NATS_PENDING_DROPPED"]
    assert [(record["count"], record["subject"]) for record in dropped] == [(1, "a")]


async def test_every_caller_of_drain_is_told_and_the_block_is_not_told_again(autojump_clock: MockClock) -> None:
    """Two tasks that drain both get the error; leaving afterwards is quiet."""
    server = ToyServer()
    told: list[tuple[int, int]] = []

    async def drain(nc: Client) -> None:
        with pytest.raises(UndeliveredError) as caught:
            await nc.drain()
        told.append(counts(caught.value))

    async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
        await lose_link(server)
        await nc.publish("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, nc)
            nursery.start_soon(drain, nc)
        await nc.drain()
    assert told == [(1, 0)] * 2


async def test_who_leaves_is_told_when_a_handler_drained(autojump_clock: MockClock) -> None:
    """A handler that drains cannot be told, since it is a part of what is waited for: the block is."""
    server = ToyServer()

    async def handler(message: Message) -> None:
        await lose_link(server)
        await nc.publish("a")
        await nc.drain()

    with pytest.raises(UndeliveredError) as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(nc.serve, "b", handler))
                server.publish("b")
            assert nc.state is State.CLOSED
    assert counts(caught.value) == (1, 0)


async def test_run_client_tells_it_too(autojump_clock: MockClock) -> None:
    """The lower form ends with the error when nobody else has got it."""
    server = ToyServer()
    with pytest.RaisesGroup(UndeliveredError) as caught:
        async with trio.open_nursery() as nursery:
            options = ClientOptions(servers=server.url, **BRIEF)
            nc: Client = await nursery.start(run_client, options, MemoryDialer(server))
            await lose_link(server)
            await nc.publish("a")
            with trio.move_on_after(1):
                await nc.drain()
    (error,) = caught.value.exceptions
    assert isinstance(error, UndeliveredError)
    assert counts(error) == (1, 0)


async def test_exhausted_is_told_at_once(autojump_clock: MockClock) -> None:
    """When all attempts are spent nothing is waited for."""
    server = ToyServer()
    began: list[float] = []
    with pytest.raises(UndeliveredError, match="exhausted") as caught:
        async with open_client(server.url, dialer=MemoryDialer(server), reconnect_attempts=2, **BRIEF) as nc:
            await lose_link(server)
            await nc.publish("a")
            while nc.state is not State.EXHAUSTED:  # noqa: ASYNC110  # it is virtual time
                await trio.sleep(0.1)
            began.append(trio.current_time())
    assert counts(caught.value) == (1, 0)
    assert trio.current_time() - began[0] < 0.01


async def test_who_waits_is_told_by_an_error_of_his_own(autojump_clock: MockClock) -> None:
    """And is in the count all the same."""
    server = ToyServer()
    errors: list[BaseException] = []

    async def confirm(nc: Client) -> None:
        try:
            await nc.publish("a", confirm=True)
        except ClientClosedError as error:
            errors.append(error)

    async with open_client(server.url, dialer=MemoryDialer(server), **BRIEF) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        nursery.start_soon(confirm, nc)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UndeliveredError) as caught:
            await nc.drain()
        assert counts(caught.value) == (1, 0)
    assert len(errors) == 1


@pytest.mark.parametrize("seed", range(20))
def test_closed_stays_closed(seed: int) -> None:
    """A drain that ends in the step in which the last attempt fails leaves a closed client, not an exhausted one."""

    async def main() -> None:
        server = ToyServer()
        dialer = MemoryDialer(server, seed=seed)
        async with open_client(server.url, dialer=dialer, reconnect_attempts=1) as nc, trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(nc.publish, "a", b"x")
            server.drop()
            with contextlib.suppress(UndeliveredError):
                await nc.drain()
            for _ in range(3):
                assert nc.state is State.CLOSED
                await trio.sleep(1)

    trio.run(main, clock=MockClock(autojump_threshold=0))
