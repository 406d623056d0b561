"""A link is lost and another comes: what is replayed, what is unknown, what waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ConnectionLostError,
    NatsError,
    OperationTimeoutError,
    Outcome,
    PendingTimeoutError,
)
from tests._memory import ToyServer, lose_link, opened, wait_connected


async def test_subscriptions_are_replayed(autojump_clock: MockClock) -> None:
    """In the order in which they were made, with queue group and sid, before anything else; not those that ended."""
    server = ToyServer()
    async with (
        opened(server) as nc,
        nc.subscribe("a"),
        nc.subscribe("b.*", queue_group="q"),
        nc.subscribe("gone") as gone,
        nc.subscribe("c.>"),
    ):
        await nc.flush()
        await gone.unsubscribe()
        await lose_link(server)
        async with nc.subscribe("made.while.down"), nc.subscribe("made.and.left.while.down"):
            pass
        async with nc.subscribe("made.while.down"):
            await nc.publish("x", b"pending")
            server.come_up()
            await wait_connected(nc)
            await nc.flush()
            assert server.operations("SUB", "UNSUB", "PUB", link=1) == [
                ("SUB", "a", "1"),
                ("SUB", "b.*", "q", "2"),
                ("SUB", "c.>", "4"),
                ("SUB", "made.while.down", "7"),
                ("PUB", "x", "7"),
            ]


@pytest.mark.parametrize("how", ["max_messages", "unsubscribe"])
@pytest.mark.parametrize("before", [0, 2, 5])
async def test_the_rest_of_a_maximum_is_replayed(how: str, before: int, autojump_clock: MockClock) -> None:
    """The new link is asked for the remainder, over any number of links; with none left, for nothing."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a", max_messages=5 if how == "max_messages" else None) as sub:
        if how == "unsubscribe":
            await sub.unsubscribe(after=5)
        await sub.confirmed()
        for _ in range(before):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        for link in (1, 2):
            server.drop()
            await trio.sleep(1)
            await nc.flush()
            replayed = server.operations("SUB", "UNSUB", link=link)
            assert replayed == ([] if before == 5 else [("SUB", "a", "1"), ("UNSUB", "1", str(5 - before))])
        for _ in range(10):
            server.publish("a", b"y")
        assert len([message async for message in sub]) == 5
        assert sub.delivered == 5


async def test_unsubscribe_after_on_a_later_link(autojump_clock: MockClock) -> None:
    """`after` counts from the beginning of the subscription, the server from its SUB: the client reckons."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        server.drop()
        await trio.sleep(1)
        await sub.unsubscribe(after=5)
        await nc.flush()
        assert server.operations("UNSUB", link=1) == [("UNSUB", "1", "2")]
        for _ in range(5):
            server.publish("a", b"y")
        assert [message.payload async for message in sub] == [b"x"] * 3 + [b"y"] * 2


async def test_requests_work_on_the_next_link(autojump_clock: MockClock) -> None:
    """The inbox is replayed like any other subscription."""
    server = ToyServer()
    server.services[b"service"] = lambda payload: payload + b"!"
    async with opened(server) as nc:
        for number in range(3):
            assert (await nc.request("service", b"%d" % number)).payload == b"%d!" % number
            server.drop(reset=bool(number % 2))
            await trio.sleep(1)
        assert nc.stats().restored == 3


async def test_written_is_unknown_and_unwritten_is_pending(autojump_clock: MockClock) -> None:
    """Frames handed to the link before it died are unknown; the others are sent on the next one, in order, once."""
    server = ToyServer()
    async with opened(server) as nc:
        await nc.publish("a", b"confirmed", confirm=True)
        server.stall()
        await nc.publish("a", b"written 1")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            await nc.publish("a", b"unwritten %d" % number)
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.confirmed, ledger.unknown) == (7, 6, 1, 0)
        await lose_link(server)
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.confirmed, ledger.unknown) == (7, 5, 1, 1)
        assert nc.stats().pending_operations == 5
        await nc.publish("a", b"behind")
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.confirmed, ledger.unknown) == (7 + 1, 0, 7, 1)
    assert server.payloads == [b"confirmed", *(b"unwritten %d" % number for number in range(5)), b"behind"]


async def test_confirmed_publishes_wait_through_the_queue(autojump_clock: MockClock) -> None:
    """Unwritten and down they wait, and are confirmed on the next link; written they fail with sent = maybe."""
    server = ToyServer()
    results: dict[str, object] = {}

    async def publish(nc: Client, name: str) -> None:
        try:
            results[name] = await nc.publish("a", name.encode(), confirm=True)
        except ConnectionLostError as error:
            results[name] = error.sent

    async with opened(server) as nc, trio.open_nursery() as nursery:
        server.stall()
        nursery.start_soon(publish, nc, "written")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(publish, nc, "unwritten")
        await trio.testing.wait_all_tasks_blocked()
        await lose_link(server)
        assert results == {"written": "maybe"}
        nursery.start_soon(publish, nc, "down")
        await trio.sleep(3)
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(0.1)
        assert results == {"written": "maybe", "unwritten": Outcome.SENT, "down": Outcome.SENT}
    assert server.payloads == [b"unwritten", b"down"]


async def test_requests_in_flight_fail_at_once(autojump_clock: MockClock) -> None:
    """A written request fails with sent = maybe in the step in which the link is lost, not at its timeout."""
    server = ToyServer()
    errors: list[tuple[float, str]] = []

    async def request(nc: Client) -> None:
        try:
            await nc.request("service", b"x")
        except ConnectionLostError as error:
            errors.append((trio.current_time(), error.sent))

    async with opened(server) as nc, nc.subscribe("service"), trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(request, nc)
        await trio.sleep(1)
        assert nc.stats().requests_inflight == 10
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert errors == [(1.0, "maybe")] * 10
        assert nc.stats().requests_inflight == 0


async def test_a_request_while_down_waits(autojump_clock: MockClock) -> None:
    """It is sent on the next link; its operation timeout counts from the write; unsent it ends by pending timeout."""
    server = ToyServer()
    server.services[b"service"] = lambda payload: payload
    results: list[object] = []

    async def request(nc: Client, subject: str) -> None:
        try:
            results.append((await nc.request(subject, b"x")).payload)
        except NatsError as error:
            results.append((type(error), trio.current_time()))

    async with opened(server, pending_timeout_seconds=20) as nc, nc.subscribe("silent"), trio.open_nursery() as nursery:
        await lose_link(server)
        nursery.start_soon(request, nc, "service")
        nursery.start_soon(request, nc, "silent")
        await trio.sleep(10)
        assert results == []
        server.come_up()
        await wait_connected(nc)
        connected_at = trio.current_time()
        await trio.sleep(0.1)
        assert results == [b"x"]
        await trio.sleep(6)
        assert results[1:] == [(OperationTimeoutError, pytest.approx(connected_at + 5, abs=0.1))]
        await lose_link(server)
        began = trio.current_time()
        nursery.start_soon(request, nc, "service")
        await trio.sleep(30)
        assert results[2:] == [(PendingTimeoutError, pytest.approx(began + 20))]
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.expired) == (3, 1)


async def test_the_first_request_may_come_while_down(autojump_clock: MockClock) -> None:
    """Its inbox is made with the next link, in front of it."""
    server = ToyServer()
    server.services[b"service"] = lambda payload: payload
    async with opened(server) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        nursery.start_soon(nc.request, "service", b"x")
        await trio.sleep(1)
        server.come_up()
        await wait_connected(nc)
        assert [operation[0] for operation in server.operations("SUB", "PUB", link=1)] == ["SUB", "PUB"]


async def test_flush_and_confirmed_wait_for_the_next_link(autojump_clock: MockClock) -> None:
    """Down they wait behind what is pending, and return when the server has it; in the end the pending timeout."""
    server = ToyServer()
    done: dict[str, object] = {}

    async def note(name: str, operation: Callable[[], Awaitable[object]]) -> None:
        try:
            await operation()
            done[name] = (list(server.payloads), len(server.interests))
        except PendingTimeoutError:
            done[name] = trio.current_time() - began

    async with opened(server, pending_timeout_seconds=20) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        began = trio.current_time()
        async with nc.subscribe("a") as sub:
            await nc.publish("b", b"1")
            nursery.start_soon(note, "flush", nc.flush)
            await trio.testing.wait_all_tasks_blocked()
            await nc.publish("b", b"2")
            nursery.start_soon(note, "confirmed", sub.confirmed)
            await trio.sleep(3)
            server.come_up()
            await wait_connected(nc)
            await trio.sleep(1)
        assert done == {"flush": ([b"1"], 1), "confirmed": ([b"1", b"2"], 1)}
        await lose_link(server)
        began = trio.current_time()
        nursery.start_soon(note, "flush", nc.flush)
        await trio.sleep(30)
        assert done["flush"] == pytest.approx(20)


async def test_an_unwritten_flush_stays_behind_what_it_waits_for(autojump_clock: MockClock) -> None:
    """It moves to the next link with the publishes before it, and returns when the server has them all."""
    server = ToyServer()
    had: list[int] = []

    async def flush(nc: Client) -> None:
        await nc.flush()
        had.append(len(server.payloads))

    async with opened(server) as nc, trio.open_nursery() as nursery:
        server.stall()
        await nc.publish("a", b"written")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(50):
            await nc.publish("a", b"%d" % number)
        nursery.start_soon(flush, nc)
        await trio.testing.wait_all_tasks_blocked()
        await lose_link(server)
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        assert had == [50]
