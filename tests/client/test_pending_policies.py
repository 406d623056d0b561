"""A full pending queue: what each policy does, and that nobody loses an operation without being told."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    Dropped,
    Event,
    EventStream,
    Outcome,
    PendingFullError,
    PendingTimeoutError,
    UndeliveredError,
)
from tests._memory import ToyServer, lose_link, opened, wait_connected

POLICIES = ("block", "error", "drop_oldest", "drop_new")


async def read(events: EventStream) -> list[Event]:
    """The events so far."""
    found: list[Event] = []
    while True:
        with trio.move_on_after(0.001) as scope:
            found.append(await events.receive())
        if scope.cancelled_caught:
            return found


async def dropped(events: EventStream) -> Counter[str]:
    """Subject -> how many events say were dropped so far."""
    counts: Counter[str] = Counter()
    for event in await read(events):
        if isinstance(event, Dropped):
            counts[event.subject] += event.count
    return counts


async def confirm(nc: Client, subject: str, told: dict[str, object]) -> None:
    """Publish with confirmation; how it ended goes into `told`."""
    try:
        told[subject] = await nc.publish(subject, b"x", confirm=True)
    except (PendingFullError, PendingTimeoutError) as error:
        told[subject] = type(error)


async def test_drop_oldest(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The newcomer is queued, the oldest go: one event for each subject, log, counters, and an error to who waits."""
    server = ToyServer()
    told: dict[str, object] = {}
    options: dict[str, Any] = {"pending_policy": "drop_oldest", "pending_operations_max": 3}
    async with opened(server, **options) as nc, nc.events() as events, trio.open_nursery() as nursery:
        await lose_link(server)
        nursery.start_soon(confirm, nc, "first", told)
        await trio.testing.wait_all_tasks_blocked()
        for subject in ("second", "third", "fourth"):
            assert await nc.publish(subject) is Outcome.QUEUED
        await trio.testing.wait_all_tasks_blocked()
        assert told == {"first": PendingFullError}
        assert nc.publish_nowait("fifth") is Outcome.QUEUED
        nursery.start_soon(confirm, nc, "sixth", told)
        await trio.testing.wait_all_tasks_blocked()
        assert await dropped(events) == {"first": 1, "second": 1, "third": 1}
        assert nc.stats().pending_operations == 3
        assert nc.stats().pending_dropped == {"block": 0, "error": 0, "drop_oldest": 3, "drop_new": 0}
        assert nc.stats().publish_failures["pending_full"] == 3
        assert nc.stats().confirmed_publish_failures["pending_full"] == 1
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.dropped) == (6, 3, 3)
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert told["sixth"] is Outcome.SENT
    assert [subject for _, subject, *_ in server.operations("PUB")] == ["fourth", "fifth", "sixth"]
    full = [record for record in caplog.records if vars(record).get("event") == "NATS_QUEUE_FULL"]
    logged = [(vars(r)["size"], vars(r)["max_size"], vars(r)["policy"], vars(r)["count"]) for r in full]
    assert logged == [(3, 3, "drop_oldest", 1), (3, 3, "drop_oldest", 2)]


async def test_drop_oldest_drops_no_more_than_it_must(autojump_clock: MockClock) -> None:
    """As many as the newcomer's bytes take. What was accepted over the bounds before the loss goes one by one too."""
    server = ToyServer()
    options: dict[str, Any] = {"pending_policy": "drop_oldest", "pending_operations_max": 3, "pending_bytes_max": 1_000}
    async with opened(server, **options) as nc, nc.events() as events:
        server.stall()
        await nc.publish("a", b"written")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(8):
            await nc.publish("b", b"0123456789")
        await lose_link(server)
        assert nc.stats().pending_operations == 8
        await nc.publish("c", b"0123456789")
        assert await dropped(events) == {"b": 1}
        assert nc.stats().pending_operations == 8
        await nc.publish("d", b"x" * 900)
        assert (await dropped(events))["b"] == 5
        assert nc.stats().pending_bytes <= 1_000
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
    assert [subject for _, subject, *_ in server.operations("PUB")][-4:] == ["b", "b", "c", "d"]


async def test_drop_new(autojump_clock: MockClock) -> None:
    """The newcomer goes: a plain publish returns DROPPED, who waits gets an error; event, counters, the ledger."""
    server = ToyServer()
    told: dict[str, object] = {}
    options: dict[str, Any] = {"pending_policy": "drop_new", "pending_operations_max": 2}
    async with opened(server, **options) as nc, nc.events() as events:
        await lose_link(server)
        for subject in ("first", "second"):
            assert await nc.publish(subject) is Outcome.QUEUED
        assert await nc.publish("third") is Outcome.DROPPED
        assert nc.publish_nowait("third") is Outcome.DROPPED
        await confirm(nc, "fourth", told)
        with pytest.raises(PendingFullError):
            await nc.request("fifth")
        assert told == {"fourth": PendingFullError}
        assert await dropped(events) == {"third": 2, "fourth": 1, "fifth": 1}
        assert nc.stats().pending_dropped["drop_new"] == nc.stats().publish_failures["pending_full"] == 4
        assert nc.stats().requests_inflight == 0
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.dropped) == (6, 2, 4)
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
    assert [subject for _, subject, *_ in server.operations("PUB")] == ["first", "second"]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_new"])
async def test_a_loop_of_dropped_publishes_starves_nobody(policy: Any, autojump_clock: MockClock) -> None:
    """Dropping is no work, but the calls look at cancellation and let others run all the same."""
    server = ToyServer()
    async with opened(server, pending_policy=policy, pending_operations_max=1) as nc:
        await lose_link(server)
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            while calls < 1_000:
                await nc.publish("a")
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64


@pytest.mark.parametrize("policy", POLICIES)
async def test_larger_than_the_whole_queue(policy: Any, autojump_clock: MockClock) -> None:
    """It can never be queued: nothing else has to go for it, and its caller is told at once."""
    server = ToyServer()
    async with opened(server, pending_policy=policy, pending_bytes_max=100) as nc:
        await lose_link(server)
        await nc.publish("a", b"stays")
        if policy == "drop_new":
            assert await nc.publish("a", b"x" * 200) is Outcome.DROPPED
        else:
            with pytest.raises(PendingFullError):
                await nc.publish("a", b"x" * 200)
        with pytest.raises(PendingFullError):
            await nc.publish("a", b"x" * 200, confirm=True)
        assert nc.stats().pending_operations == 1
        assert nc.stats().pending_dropped[policy] == 2
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
    assert server.payloads == [b"stays"]


@pytest.mark.parametrize("policy", POLICIES)
async def test_no_policy_applies_while_connected(policy: Any, autojump_clock: MockClock) -> None:
    """What is published while the queue is being sent waits for its room, whatever the policy; nothing is dropped."""
    server = ToyServer()
    async with (
        opened(server, pending_policy=policy, pending_operations_max=20) as nc,
        nc.events() as events,
        trio.open_nursery() as nursery,
    ):
        await lose_link(server)
        for number in range(20):
            await nc.publish("a", b"%d" % number)
        server.come_up()
        await wait_connected(nc)

        async def publish(number: int) -> None:
            assert await nc.publish("late", b"%d" % number) is not Outcome.DROPPED

        for number in range(20, 60):
            nursery.start_soon(publish, number)
        await trio.sleep(1)
        await nc.flush()
        assert len(server.payloads) == 60
        assert await dropped(events) == {}
        assert nc.ledger().confirmed == 60


async def test_whoever_waits_for_room_while_connected_meets_the_policy_after_the_loss(
    autojump_clock: MockClock,
) -> None:
    """When the link dies while it waits, it is held back, refused or queued like everybody else."""
    server = ToyServer()
    told: dict[str, object] = {}
    options: dict[str, Any] = {"pending_policy": "error", "pending_operations_max": 20}
    async with opened(server, **options) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        for number in range(20):
            await nc.publish("a", b"%d" % number)
        server.come_up()
        await wait_connected(nc)
        while nc.stats().pending_operations < 20:
            await nc.publish("a")
        nursery.start_soon(confirm, nc, "b", told)
        await trio.lowlevel.checkpoint()
        assert told == {}
        await lose_link(server)
        assert told == {"b": PendingFullError}
        server.come_up()


async def test_a_caller_that_begins_to_be_held_back_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for all that are held back together: under `block` a full queue is no secret either."""
    server = ToyServer()
    caplog.set_level(logging.WARNING)
    async with opened(server, pending_operations_max=1) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        await nc.publish("a")
        for _ in range(5):
            nursery.start_soon(partial(nc.publish, "b"))
            await trio.sleep(1)
        full = [record for record in caplog.records if vars(record).get("event") == "NATS_QUEUE_FULL"]
        assert [(vars(r)["size"], vars(r)["max_size"], vars(r)["policy"]) for r in full] == [(1, 1, "block")]
        server.come_up()


async def test_the_time_of_a_held_back_caller_goes_on_in_the_queue(autojump_clock: MockClock) -> None:
    """An operation waits for a connection no longer than the pending timeout, in whatever place it waits."""
    server = ToyServer()
    told: dict[str, object] = {}
    options: dict[str, Any] = {"pending_operations_max": 1, "pending_timeout_seconds": 30}
    async with opened(server, **options) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        nursery.start_soon(confirm, nc, "b", told)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        nursery.start_soon(confirm, nc, "c", told)
        await trio.sleep(29)
        assert told == {}
        await trio.sleep(2)
        assert told == {"b": PendingTimeoutError, "c": PendingTimeoutError}
        assert trio.current_time() == pytest.approx(began + 31)


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("policy", ["error", "drop_oldest", "drop_new"])
async def test_a_full_queue_is_no_flood_of_lines(
    policy: Any, closes: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A line when an outage fills the queue, and one at its end with the count of the others; the next begins anew. The
    counts are together what the counter has.
    """
    server = ToyServer()
    caplog.set_level(logging.WARNING)
    counts: list[int] = []

    def logged() -> list[int]:
        lines = [vars(record) for record in caplog.records]
        return [line["count"] for line in lines if line.get("event") == "NATS_QUEUE_FULL"]

    with suppress(UndeliveredError):
        async with opened(server, pending_policy=policy, pending_operations_max=2) as nc:
            for refused in (1, 50):
                await lose_link(server)
                for _ in range(2 + refused):
                    with suppress(PendingFullError):
                        await nc.publish("a", b"x")
                counts += [1]
                assert logged() == counts
                counts += [refused - 1] if refused > 1 else []
                if refused == 1 or not closes:
                    server.come_up()
                    await wait_connected(nc)
                    await nc.flush()
                    assert logged() == counts
            assert nc.stats().pending_dropped[policy] == 51
    assert logged() == counts
