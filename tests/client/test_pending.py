"""Operations without a connection: their bounds, their policies, their time, and the drain that sends them."""

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
    Dropped,
    Outcome,
    PayloadTooLargeError,
    PendingFullError,
    PendingTimeoutError,
    State,
)
from tests._memory import MemoryStream, ToyServer, lose_link, opened, wait_connected


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


async def test_the_drain_keeps_to_the_bound_of_the_outbox(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """However much is pending, little more than outbox_bytes_max is written at once."""
    server = ToyServer()
    writes: list[int] = []
    send_all = MemoryStream.send_all

    async def noted(self: MemoryStream, data: bytes) -> None:
        writes.append(len(data))
        await send_all(self, data)

    async with opened(server, outbox_bytes_max=10_000) as nc:
        await lose_link(server)
        for _ in range(1_000):
            await nc.publish("a", b"x" * 1_000)
        monkeypatch.setattr(MemoryStream, "send_all", noted)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        await nc.flush()
        assert len(server.payloads) == 1_000
        assert max(writes) <= 2 * (10_000 + 1_020)


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


async def test_waiting_for_room_in_the_outbox_is_not_waiting_for_a_connection(autojump_clock: MockClock) -> None:
    """The pending timeout of a caller that was held back while connected counts from the loss."""
    server = ToyServer()
    ended: list[float] = []

    async def publish(nc: Client) -> None:
        try:
            await nc.publish("a", b"waits")
        except PendingTimeoutError:
            pass  # or, in the same moment, the place of what has expired
        ended.append(trio.current_time())

    options: dict[str, Any] = {"pending_operations_max": 1, "pending_timeout_seconds": 30, "outbox_bytes_max": 10}
    async with opened(server, ping_interval_seconds=100, **options) as nc, trio.open_nursery() as nursery:
        server.stall()
        await nc.publish("a", b"written")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"fills the outbox")
        nursery.start_soon(publish, nc)
        await trio.sleep(50)
        await lose_link(server)
        lost_at = trio.current_time()
        await trio.sleep(29)
        assert ended == []
        await trio.sleep(2)
        assert ended == [pytest.approx(lost_at + 30)]


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
    told: list[float] = []

    async def expect(operation: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(PayloadTooLargeError, match=r"800 .* 100"):
            await operation()
        told.append(trio.current_time())

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
        assert len(told) == 2
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
