"""Losing links and getting new ones: what is replayed, what is pending, what is unknown, and when it is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ConnectionLostError,
    Disconnected,
    Dropped,
    Exhausted,
    NatsError,
    OperationTimeoutError,
    Outcome,
    PayloadTooLargeError,
    PendingFullError,
    PendingTimeoutError,
    Reconnected,
    ReconnectFailed,
    State,
)
from tests._memory import MemoryDialer, ToyServer, opened


async def lose_link(server: ToyServer) -> None:
    """Drop the link, refuse new ones, and wait until the client knows."""
    server.go_down()
    await trio.testing.wait_all_tasks_blocked()


async def wait_connected(nc: Client) -> None:
    """Wait until the client is connected, and for what it then does at once."""
    while nc.state is not State.CONNECTED:  # noqa: ASYNC110  # it is virtual time, in which the client reconnects
        await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked()


def delays(dialer: MemoryDialer, lost_at: float) -> list[float]:
    """Seconds between the loss and the attempts after it."""
    times = [lost_at, *(at for at, _ in dialer.dialled if at > lost_at)]
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


# Subscriptions


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


# What was on its way


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


# Pending


@pytest.mark.parametrize("count", [1, 9, 10, 95, 1_000])
async def test_the_drain_of_pending_operations(count: int, autojump_clock: MockClock) -> None:
    """Oldest first, in ten batches 20 ms apart, the first at once; what is published meanwhile comes behind them."""
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        for number in range(count):
            assert await nc.publish("a", b"%d" % number) is Outcome.QUEUED
        assert nc.stats().pending_operations == count
        server.come_up()

        async def publish_more() -> None:
            while nc.state is not State.CONNECTED:
                await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(0.001)
            for number in range(50):
                await nc.publish("a", b"%d" % (count + number))
                await trio.sleep(0.01)

        nursery.start_soon(publish_more)
        await wait_connected(nc)
        await trio.sleep(1)
        await nc.flush()
        assert server.payloads == [b"%d" % number for number in range(count + 50)]
        writes: dict[float, int] = {}
        for operation in server.record:
            if operation.verb == "PUB" and int(operation.payload) < count:
                writes[operation.at] = writes.get(operation.at, 0) + 1
        at = sorted(writes)
        assert len(at) <= 10
        assert all(later - earlier == pytest.approx(0.02) for earlier, later in pairwise(at))
        if count >= 10:
            assert len(at) >= 9
            assert max(writes.values()) <= -(-count // 10)
        assert nc.stats().pending_operations == 0
        assert nc.stats().pending_retried >= count


async def test_a_link_lost_in_the_drain_of_pending_operations(autojump_clock: MockClock) -> None:
    """What was written is unknown, the rest keeps its place before what came behind it."""
    server = ToyServer()
    async with opened(server) as nc:
        await lose_link(server)
        for number in range(100):
            await nc.publish("a", b"%d" % number)
        server.pongs_held = False
        server.come_up()
        await wait_connected(nc)
        await nc.publish("a", b"100")
        await trio.sleep(0.05)
        await lose_link(server)
        unknown = nc.ledger().unknown
        assert 20 <= unknown <= 40
        await nc.publish("a", b"101")
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        await nc.flush()
        assert server.payloads == [b"%d" % number for number in range(102)]
        assert nc.ledger().confirmed == 102 - unknown


async def test_pending_operations_expire(autojump_clock: MockClock) -> None:
    """Each after pending_timeout_seconds: counted, told by event and to its waiter; the gauge is the length."""
    server = ToyServer()
    async with opened(server, pending_timeout_seconds=10) as nc, nc.events() as events, trio.open_nursery() as nursery:
        await lose_link(server)
        expired_at: list[float] = []

        async def publish_confirmed() -> None:
            with pytest.raises(PendingTimeoutError):
                await nc.publish("b", b"x", confirm=True)
            expired_at.append(trio.current_time())

        began = trio.current_time()
        await nc.publish("a", b"1")
        await trio.sleep(1)
        nursery.start_soon(publish_confirmed)
        await trio.sleep(1)
        await nc.publish("a", b"3")
        for seconds, pending in ((9.5, 3), (10.5, 2), (11.5, 1), (12.5, 0)):
            await trio.sleep(began + seconds - trio.current_time())
            assert nc.stats().pending_operations == pending
            assert nc.ledger().expired == 3 - pending
        assert expired_at == [pytest.approx(began + 11)]
        assert nc.stats().pending_bytes == 0
        await events.receive()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert server.payloads == []


async def test_policy_block(autojump_clock: MockClock) -> None:
    """A full queue holds callers back, cancellable, until there is room or the pending timeout is over."""
    server = ToyServer()
    done: list[str] = []

    async def publish(nc: Client, name: str) -> None:
        try:
            await nc.publish("a", name.encode())
            done.append(name)
        except PendingTimeoutError:
            done.append(f"{name} timed out at {trio.current_time() - began:g}")

    async with (
        opened(server, pending_operations_max=3, pending_timeout_seconds=30) as nc,
        trio.open_nursery() as nursery,
    ):
        await lose_link(server)
        began = trio.current_time()
        for number in range(3):
            await nc.publish("a", b"%d" % number)
        with pytest.raises(trio.WouldBlock):
            nc.publish_nowait("a", b"x")
        with trio.move_on_after(1) as scope:
            await nc.publish("a", b"cancelled")
        assert scope.cancelled_caught
        nursery.start_soon(publish, nc, "late")
        await trio.sleep(20)
        assert done == []
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        assert done == ["late"]
        await nc.flush()
        assert server.payloads == [b"0", b"1", b"2", b"late"]
        await lose_link(server)
        began = trio.current_time()
        await trio.sleep(20)
        for number in range(3):
            await nc.publish("a", b"%d" % number)
        nursery.start_soon(publish, nc, "blocked")
        await trio.sleep(29)
        assert done == ["late"]
        await trio.sleep(10)
        assert done[1] in ("blocked", "blocked timed out at 50")
        assert nc.stats().pending_dropped["block"] == (done[1] != "blocked")


@pytest.mark.parametrize("bound", ["operations", "bytes"])
async def test_policy_error(bound: str, autojump_clock: MockClock) -> None:
    """A full queue is a PendingFullError with sizes and limits; nothing is queued; counted once for each."""
    server = ToyServer()
    limits: dict[str, Any] = {"pending_operations_max": 3} if bound == "operations" else {"pending_bytes_max": 36}
    async with opened(server, pending_policy="error", **limits) as nc:
        await lose_link(server)
        for number in range(3):
            await nc.publish("a", b"%d" % number)  # PUB a 1 CRLF x CRLF: 12 bytes
        for confirm in (False, True):
            with pytest.raises(PendingFullError, match="3 operations with 36 bytes"):
                await nc.publish("a", b"4", confirm=confirm)
        with pytest.raises(PendingFullError):
            await nc.request("a", b"4")
        assert (nc.stats().pending_operations, nc.ledger().accepted) == (3, 3)
        assert nc.stats().pending_dropped["error"] == 3
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
    assert server.payloads == [b"0", b"1", b"2"]


async def test_a_publish_larger_than_the_queue_is_an_error_at_once(autojump_clock: MockClock) -> None:
    """Waiting would never help: PendingFullError also with the policy block, and with a queue of no size."""
    for limits in ({"pending_bytes_max": 100}, {"pending_operations_max": 0}):
        server = ToyServer()
        async with opened(server, dialer=None, **limits) as nc:
            await lose_link(server)
            with pytest.raises(PendingFullError):
                await nc.publish("a", b"x" * 200)
            server.come_up()


async def test_what_the_new_server_would_not_take_is_told(autojump_clock: MockClock) -> None:
    """Pending operations above the max_payload of the next link fail, each waiter told; the others are sent."""
    server = ToyServer(max_payload=1_000)
    server.services[b"service"] = lambda payload: payload
    errors: list[type[BaseException]] = []

    async def expect(operation: Callable[[], Awaitable[object]]) -> None:
        try:
            await operation()
        except PayloadTooLargeError as error:
            assert (error.size, error.limit) == (800, 100)
            errors.append(type(error))

    async with opened(server) as nc, nc.events() as events, trio.open_nursery() as nursery:
        await lose_link(server)
        for size in (10, 800, 20):
            await nc.publish("a", b"x" * size)
        nursery.start_soon(expect, partial(nc.publish, "a", b"x" * 800, confirm=True))
        nursery.start_soon(expect, partial(nc.request, "service", b"x" * 800))
        await trio.testing.wait_all_tasks_blocked()
        server.send_info(max_payload=100)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        await nc.flush()
        assert len(errors) == 2
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.confirmed, ledger.unknown) == (5, 0, 2, 0)
        assert (nc.stats().requests_inflight, nc.stats().pending_operations, nc.stats().lost) == (0, 0, 1)
        dropped = 0
        nc.connection.events.end()
        async for event in events:
            dropped += event.count if isinstance(event, Dropped) else 0
        assert dropped == 3
    assert [len(payload) for payload in server.payloads] == [10, 20]


async def test_fail_open_skips(autojump_clock: MockClock) -> None:
    """Without a connection publishes are SKIPPED, counted apart and not accepted; connected they are sent."""
    server = ToyServer()
    async with opened(server, fail_open=True) as nc:
        assert await nc.publish("a", b"1") is Outcome.SENT
        assert await nc.publish("a", b"2", confirm=True) is Outcome.SENT
        await lose_link(server)
        assert await nc.publish("a", b"3") is Outcome.SKIPPED
        assert await nc.publish("a", b"4", confirm=True) is Outcome.SKIPPED
        assert nc.publish_nowait("a", b"5") is Outcome.SKIPPED
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.skipped, ledger.open) == (2, 3, 0)
        server.come_up()
        await wait_connected(nc)
        assert await nc.publish("a", b"6", confirm=True) is Outcome.SENT
        server.denied_publish.add(b"no")
        assert await nc.publish("no", b"7", confirm=True) is Outcome.SKIPPED
    assert server.payloads == [b"1", b"2", b"6", b"7"]


# When it is tried again


async def test_the_delays_between_attempts(autojump_clock: MockClock) -> None:
    """With jitter off, base 0.5 and max 2: the first attempt at once, then 0.5, 1, 2, 2 s, never above the max."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(
        server, dialer=dialer, reconnect_delay_seconds=0.5, reconnect_delay_max_seconds=2, reconnect_jitter="none"
    ) as nc:
        await nc.flush()
        await trio.sleep(100)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(60)
        attempts = [at - lost_at for at, _ in dialer.dialled if at >= lost_at]
        assert attempts[0] == pytest.approx(0, abs=0.001)
        found = [round(later - earlier, 3) for earlier, later in pairwise(attempts)]
        assert found[:5] == [0.5, 1, 2, 2, 2]
        assert max(found) == 2
        server.come_up()
        await wait_connected(nc)
        assert nc.stats().reconnect_failures["refused"] == len(attempts)
        assert nc.stats().reconnect_attempts == len(attempts) + 1


@pytest.mark.parametrize("jitter", ["upper_half", "full"])
async def test_jitter_is_drawn_from_the_clients_chance(jitter: str, autojump_clock: MockClock) -> None:
    """One seed gives one sequence of delays, another seed another; within the bounds of the kind."""
    sequences: list[list[float]] = []
    for seed in (1, 1, 2):
        server = ToyServer()
        dialer = MemoryDialer(server, seed=seed)
        async with opened(
            server, dialer=dialer, reconnect_delay_seconds=4, reconnect_delay_max_seconds=4, reconnect_jitter=jitter
        ) as nc:
            await nc.flush()
            await trio.sleep(10)
            lost_at = trio.current_time()
            await lose_link(server)
            await trio.sleep(100)
            found = delays(dialer, lost_at)
            assert found[0] <= 0.1
            assert all((2 if jitter == "upper_half" else 0) <= delay <= 4 for delay in found[1:])
            sequences.append(found[:20])
            server.come_up()
    assert sequences[0] == sequences[1] != sequences[2]


async def test_no_client_sleeps_through_the_end_of_a_short_outage(autojump_clock: MockClock) -> None:
    """In the first 3 s of an outage no delay exceeds 0.5 s with the default base."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc:
        await nc.flush()
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(2.9)
        assert max(delays(dialer, lost_at)) <= 0.5
        server.come_up()
        await wait_connected(nc)
        assert trio.current_time() - lost_at <= 3.5


async def test_a_server_that_accepts_and_hangs_up_is_paced(autojump_clock: MockClock) -> None:
    """Links that die young do not start the delays over; one that lives, or carries a confirmation, does."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_jitter="none") as nc:
        await trio.sleep(20)
        lost_at = trio.current_time()
        for _ in range(20):
            server.drop()
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
        found = [round(delay, 1) for delay in delays(dialer, lost_at)]
        assert found[:5] == [0.1, 0.2, 0.4, 0.5, 0.5]
        assert found == sorted(found)  # they grow as they do where nothing answers
        assert max(found) == 5
        await nc.publish("a", b"x", confirm=True)
        server.drop()
        before = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        assert trio.current_time() - before <= 0.1


async def test_a_server_that_hangs_up_in_the_handshake_is_paced(autojump_clock: MockClock) -> None:
    """So is one that accepts and closes before CONNECT is answered, one that is silent, one that is no NATS server."""
    failures: dict[str, dict[str, Any]] = {
        "closed": {"hangs_up": True},
        "timeout": {"silent": True},
        "protocol": {"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        "auth": {"password": ("user", "password")},
    }
    for reason, attributes in failures.items():
        server = ToyServer()
        dialer = MemoryDialer(server)
        async with opened(server, dialer=dialer, reconnect_jitter="none", connect_timeout_seconds=1) as nc:
            await trio.sleep(20)
            for name, value in attributes.items():
                setattr(server, name, value)
            server.drop()
            await trio.sleep(100)
            assert 20 <= len(dialer.dialled) <= 40, reason
            assert nc.stats().reconnect_failures[reason] == len(dialer.dialled) - 1
            assert dialer.open_streams <= 1
            server.hangs_up = server.silent = False
            server.greeting = server.password = None
            await wait_connected(nc)


async def test_the_state_in_an_outage(autojump_clock: MockClock) -> None:
    """connected, reconnecting (attempting only while it attempts), connected; each turn one event, one counter."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_jitter="none") as nc, nc.events() as events:
        assert (nc.state, nc.connection.attempting) == (State.CONNECTED, False)
        await trio.sleep(20)
        dialer.dial_seconds = 2
        await lose_link(server)
        await trio.sleep(1)
        assert (nc.state, nc.connection.attempting) == (State.RECONNECTING, True)
        await trio.sleep(1.01)
        assert (nc.state, nc.connection.attempting) == (State.RECONNECTING, False)
        server.come_up()
        await wait_connected(nc)
        seen = [await events.receive() for _ in range(3)]
        assert [type(event) for event in seen] == [Disconnected, ReconnectFailed, Reconnected]
        reconnected = seen[2]
        assert isinstance(reconnected, Reconnected)
        assert reconnected.attempts == 2
        assert reconnected.outage_seconds == pytest.approx(4.1, abs=0.05)
        stats = nc.stats()
        assert (stats.established, stats.lost, stats.restored) == (2, 1, 1)


async def test_exhausted(autojump_clock: MockClock) -> None:
    """After reconnect_attempts passes operations fail at once, those that waited for room too; a probe revives it."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    options: dict[str, Any] = {"reconnect_attempts": 3, "reconnect_jitter": "none", "pending_operations_max": 2}
    async with (
        opened(server, dialer=dialer, **options) as nc,
        nc.events() as events,
        nc.subscribe("a") as sub,
        trio.open_nursery() as nursery,
    ):
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await nc.publish("a", b"1")
        await nc.publish("a", b"2")
        errors: list[str] = []

        async def blocked() -> None:
            try:
                await nc.publish("a", b"3")
            except ConnectionLostError as error:
                errors.append(error.sent)

        nursery.start_soon(blocked)
        await trio.sleep(2)
        assert nc.state is State.EXHAUSTED
        assert len([at for at, _ in dialer.dialled if at >= lost_at]) == 3
        assert errors == ["no"]
        calls = (
            partial(nc.publish, "a", b"x"),
            partial(nc.publish, "a", b"x", confirm=True),
            partial(nc.request, "a", b"x"),
            nc.flush,
            sub.confirmed,
        )
        for call in calls:
            with pytest.raises(ConnectionLostError) as caught:
                await call()
            assert caught.value.sent == "no"
        with pytest.raises(ConnectionLostError):
            nc.publish_nowait("a", b"x")
        assert trio.current_time() == pytest.approx(lost_at + 2, abs=0.01)
        probes = [at for at, _ in dialer.dialled]
        await trio.sleep(20)
        probing = [at for at, _ in dialer.dialled][len(probes) :]
        assert all(later - earlier == pytest.approx(5) for earlier, later in pairwise(probing))
        assert len(probing) >= 3
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        assert (await sub.receive()).payload == b"1"
        await nc.flush()
        kinds: list[type] = []
        while nc.stats().restored and not (kinds and kinds[-1] is Reconnected):
            kinds.append(type(await events.receive()))
        assert kinds.count(Exhausted) == 1
        assert nc.stats().exhausted == 1
        assert server.payloads == [b"1", b"2"]


async def test_without_probing_an_exhausted_client_stays_so(autojump_clock: MockClock) -> None:
    """probe_after_exhaustion=False: no more attempts, operations go on failing, leaving is clean."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_attempts=2, probe_after_exhaustion=False) as nc:
        await lose_link(server)
        await trio.sleep(10)
        dialled = len(dialer.dialled)
        server.come_up()
        await trio.sleep(1_000)
        assert (nc.state, len(dialer.dialled)) == (State.EXHAUSTED, dialled)
        with pytest.raises(ConnectionLostError):
            await nc.publish("a", b"x")


async def test_a_pass_goes_over_all_servers(autojump_clock: MockClock) -> None:
    """No delay inside a pass; the one that was lost is tried last."""
    one, two, three = (ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three"))
    dialer = MemoryDialer(one, two, three)
    async with opened(one, two, three, dialer=dialer, reconnect_jitter="none") as nc:
        await nc.flush()
        await trio.sleep(10)
        before = len(dialer.dialled)
        for server in (one, two, three):
            server.go_down()
        await trio.sleep(0.01)
        assert [address for _, address in dialer.dialled[before:]] == [two.url, three.url, one.url]
        assert len({at for at, _ in dialer.dialled[before:]}) == 1
        three.come_up()
        await wait_connected(nc)
        assert nc.connection.address is not None
        assert str(nc.connection.address) == three.url


async def test_many_outages_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """Many short links: no task more, no stream open but the present one."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(200):
            await nc.publish("a", b"%d" % number, confirm=True)
            server.drop(reset=number % 2 == 0)
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert dialer.open_streams == 1
        assert nc.stats().restored == 200
        assert sub.delivered == 200
        assert len(server.interests) == 1
