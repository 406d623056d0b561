"""Drains that somebody joins: handlers and consumers that drain while a drain waits for them, and who comes late.

A drain looks again whenever something it may be waiting for has changed; none of these takes the deadline.
"""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, Message, Router, State, Subscription
from tests._memory import ToyServer, opened


async def test_two_handlers_of_one_service_drain(autojump_clock: MockClock) -> None:
    """The second handler that drains is not waited for by the first one's drain: both end with their work."""
    server = ToyServer()
    ended: list[tuple[bytes, float]] = []

    async def handler(message: Message) -> None:
        await trio.sleep(1 if message.payload == b"first" else 2)
        await message._client.drain()
        ended.append((message.payload, trio.current_time()))

    async with opened(server) as nc:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(nc.serve, "a", handler, concurrency=2))
            server.publish("a", b"first")
            server.publish("a", b"second")
        assert sorted(payload for payload, _ in ended) == [b"first", b"second"]
        assert [at for _, at in ended] == pytest.approx([2, 2])
        await trio.testing.wait_all_tasks_blocked()
        assert nc.state is State.CLOSED


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("pending", [0, 3])
async def test_a_handler_joins_a_drain_that_waits_for_it(
    concurrency: int, pending: int, autojump_clock: MockClock
) -> None:
    """A drain from outside waits for a handler; when that drains too, both go on, and what is pending is handled."""
    server = ToyServer()
    handled: list[bytes] = []

    async def handler(message: Message) -> None:
        if message.payload == b"drains":
            await trio.sleep(1)
            await message._client.drain()
        handled.append(message.payload)

    async with opened(server) as nc:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(nc.serve, "a", handler, concurrency=concurrency))
            server.publish("a", b"drains")
            for _ in range(pending):
                server.publish("a", b"pending")
            await trio.sleep(0.5)
            await nc.drain()
            assert trio.current_time() == pytest.approx(1)
        assert trio.current_time() == pytest.approx(1)
        assert sorted(handled) == [b"drains"] + [b"pending"] * pending


async def test_a_handler_joins_the_drain_of_leaving(autojump_clock: MockClock) -> None:
    """Leaving the block drains; a handler that drains meanwhile holds it up no longer than it works."""
    server = ToyServer()

    async def handler(message: Message) -> None:
        await trio.sleep(1)
        await message._client.drain()

    async with trio.open_nursery() as nursery, opened(server) as nc:
        await nursery.start(nc.serve, "a", handler)
        server.publish("a", b"x")
        server.publish("a", b"x")
        await trio.sleep(0.5)
    assert trio.current_time() == pytest.approx(2)


async def test_a_consumer_joins_a_drain_that_waits_for_it(autojump_clock: MockClock) -> None:
    """A drain waits for a consumer to read to the end; when that drains in its loop, it is not waited for any more."""
    server = ToyServer()
    got: list[bytes] = []

    async def consume(nc: Client, sub: Subscription) -> None:
        async for message in sub:
            got.append(message.payload)
            await trio.sleep(1)
            await nc.drain()

    async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:
        await sub.confirmed()
        nursery.start_soon(consume, nc, sub)
        await trio.testing.wait_all_tasks_blocked()
        server.publish("a", b"1")
        server.publish("a", b"2")
        await trio.sleep(0.5)
        await nc.drain()
        assert trio.current_time() == pytest.approx(1)
    assert got == [b"1", b"2"]
    assert trio.current_time() == pytest.approx(2)


async def test_after_the_deadline_nothing_more_is_handled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is pending when the deadline has closed the client could not be answered: a service ends with the handlers
    that run.
    """
    server = ToyServer()
    handled: list[float] = []

    async def handler(message: Message) -> None:
        await trio.sleep(10)
        handled.append(trio.current_time())

    async with opened(server, drain_deadline_seconds=5) as nc:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(nc.serve, "a", handler))
            for _ in range(20):
                server.publish("a", b"x")
            await trio.testing.wait_all_tasks_blocked()
            await nc.drain()
            assert trio.current_time() == pytest.approx(5)
        assert handled == [pytest.approx(10)]
    cut = [record for record in caplog.records if getattr(record, "event", "") == "NATS_DRAIN_DEADLINE"]
    assert [getattr(record, "unfinished", None) for record in cut] == [1]


async def test_closing_the_subscription_of_a_service_ends_it(autojump_clock: MockClock) -> None:
    """`serve` gives its subscription when it starts: closing that is a way to end the service, without an error."""
    server = ToyServer()
    answers: list[bytes] = []

    async def handler(message: Message) -> bytes:
        answers.append(message.payload)
        await trio.sleep(1)
        return b"reply"

    async with opened(server) as nc:
        async with trio.open_nursery() as nursery:
            sub = await nursery.start(partial(nc.serve, "a", handler, concurrency=3))
            assert isinstance(sub, Subscription)
            server.publish("a", b"x", reply=b"r")
            await trio.testing.wait_all_tasks_blocked()
            sub.close()
        assert trio.current_time() == pytest.approx(1)
        await nc.publish("b", b"the client lives on", confirm=True)
        assert server.interests == []
    assert answers == [b"x"]
    assert server.payloads == [b"reply", b"the client lives on"]


async def _drain_slowly(nc: Client, server: ToyServer, nursery: trio.Nursery) -> None:
    """Begin a drain that a handler holds up for three seconds."""

    async def slow(message: Message) -> None:
        await trio.sleep(3)

    await nursery.start(nc.serve, "slow", slow)
    server.publish("slow", b"x")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(nc.drain)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("kind", ["serve", "router"])
async def test_what_is_served_while_draining_ends_cleanly(kind: str, autojump_clock: MockClock) -> None:
    """A service or router that starts while the client drains returns when it is drained: a shutdown is no error."""
    server = ToyServer()
    router = Router("router")

    @router.route("late")
    async def handler(message: Message) -> None: ...

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await _drain_slowly(nc, server, nursery)
        await nursery.start(partial(nc.serve, "late", handler) if kind == "serve" else partial(router.run, nc))
    assert trio.current_time() == pytest.approx(3)
    assert nc.state is State.CLOSED


async def test_what_is_subscribed_while_draining_ends_cleanly(autojump_clock: MockClock) -> None:
    """`async for` over a subscription made while the client drains ends without an error, and holds the drain up for
    nothing.
    """
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:
        await _drain_slowly(nc, server, nursery)
        async with nc.subscribe("late") as sub:
            async for message in sub:
                raise AssertionError(message)
        assert trio.current_time() <= 3
    assert trio.current_time() == pytest.approx(3)


async def test_the_log_names_what_held_a_drain_up(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A subscription whose last receiver lives on without reading takes the deadline: the log names it, and no other
    one.
    """
    server = ToyServer()
    async with (
        opened(server, drain_deadline_seconds=5) as nc,
        nc.subscribe("held.up") as ready,
        nc.subscribe("read.to.the.end") as other,
        trio.open_nursery() as nursery,
    ):
        await other.confirmed()
        for subject in ("held.up", "held.up", "read.to.the.end"):
            server.publish(subject, b"x")
        await ready.receive()
        await other.receive()
        nursery.start_soon(nc.drain)
        await trio.sleep(6)
        assert nc.state is State.CLOSED
    cut = [record for record in caplog.records if getattr(record, "event", "") == "NATS_DRAIN_DEADLINE"]
    assert [(getattr(record, "unfinished", None), getattr(record, "unread", None)) for record in cut] == [(0, 1)]
    assert "held.up" in cut[0].getMessage()
    assert "read.to.the.end" not in cut[0].getMessage()
