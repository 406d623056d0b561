"""What was pending when a link came up: how often, with what success, and in what time it is sent again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ConnectionLostError, Outcome, PendingTimeoutError
from tests._memory import SlowDialer, ToyServer, lose_link, opened, wait_connected


def logged(caplog: pytest.LogCaptureFixture, code: str, *fields: str) -> list[tuple[object, ...]]:
    """The fields of the records with a code."""
    records = [vars(record) for record in caplog.records if vars(record).get("event") == code]
    return [tuple(record[field] for field in fields) for record in records]


def retries(nc: Client) -> tuple[int, int, int]:
    """Handed over, succeeded, failed."""
    statistics = nc.stats()
    return statistics.pending_retried, statistics.pending_retry_success, statistics.pending_retry_failed


async def test_a_retry_says_what_it_begins_with_and_how_it_ended(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Success is what the server has confirmed; refused and too large are failures. Later publishes are neither."""
    caplog.set_level(logging.INFO)
    server = ToyServer(max_payload=1_000)
    server.denied_publish.add(b"no")
    async with opened(server) as nc:
        await lose_link(server)
        for number in range(20):
            await nc.publish("a", b"%d" % number)
        for subject, payload in (("no", b"x"), ("no", b"y"), ("a", b"x" * 800)):
            await nc.publish(subject, payload)
        server.send_info(max_payload=100)
        server.come_up()
        await wait_connected(nc)
        for subject in ("later", "no"):
            await nc.publish(subject, b"z")
        await trio.sleep(1)
        await nc.publish("no", b"after the retry")
        await nc.flush()
        assert logged(caplog, "NATS_RETRY_PENDING", "pending") == [(23,)]
        assert logged(caplog, "NATS_RETRY_COMPLETE", "success", "failed") == [(21, 4)]
        assert retries(nc) == (24, 21, 4)


async def test_a_link_lost_in_the_middle_of_a_retry(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was written to it and not confirmed failed, what was not written is retried on the next one."""
    caplog.set_level(logging.INFO)
    server = ToyServer()
    async with opened(server) as nc:
        await lose_link(server)
        for number in range(100):
            await nc.publish("a", b"%d" % number)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(0.05)
        await lose_link(server)
        unknown = nc.ledger().unknown
        assert 0 < unknown < 100
        assert retries(nc) == (unknown, 0, unknown)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        assert logged(caplog, "NATS_RETRY_PENDING", "pending") == [(100,), (100 - unknown,)]
        assert logged(caplog, "NATS_RETRY_COMPLETE", "success", "failed") == [(0, unknown), (100 - unknown, 0)]
        assert retries(nc) == (100, 100 - unknown, unknown)


async def test_a_loss_with_nothing_pending_is_no_retry(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither log nor counter."""
    caplog.set_level(logging.INFO)
    server = ToyServer()
    async with opened(server) as nc:
        await lose_link(server)
        server.come_up()
        await wait_connected(nc)
        await nc.publish("a", confirm=True)
        assert retries(nc) == (0, 0, 0)
    assert not logged(caplog, "NATS_RETRY_PENDING") + logged(caplog, "NATS_RETRY_COMPLETE")


async def test_what_goes_back_to_the_queue_keeps_its_deadline(autojump_clock: MockClock) -> None:
    """An operation expires pending_timeout_seconds after it was first queued, however many links died meanwhile."""
    server = ToyServer()
    ended: dict[str, float] = {}

    async def expect_expiry(name: str, operation: Callable[[], Awaitable[object]]) -> None:
        try:
            await operation()
        except PendingTimeoutError:
            ended[name] = trio.current_time()
        except ConnectionLostError:
            ended[name] = -1

    options: dict[str, Any] = {"pending_timeout_seconds": 10, "reconnect_delay_max_seconds": 0.1}
    async with opened(server, dialer=SlowDialer(server), **options) as nc, trio.open_nursery() as nursery:
        await lose_link(server)
        began = trio.current_time()
        for number in range(20):
            publish = partial(nc.publish, "a", bytes(10_000), confirm=True)
            nursery.start_soon(expect_expiry, f"{number}", publish)
            await trio.testing.wait_all_tasks_blocked()
            if number == 3:
                nursery.start_soon(expect_expiry, "flush", nc.flush)
                await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(5)
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(0.05)
        assert nc.connection.outbox.has_work
        await lose_link(server)
        await trio.sleep(20)
        assert nc.ledger().unknown == 2
        assert ended == dict.fromkeys(["0", "1"], -1) | dict.fromkeys(
            ["flush", *map(str, range(2, 20))], pytest.approx(began + 10)
        )
        server.come_up()


async def test_who_fails_open_does_not_wait_for_another_connection(autojump_clock: MockClock) -> None:
    """A confirmed publish whose link dies before it was written is skipped: not queued, not accepted, no failure."""
    server = ToyServer()
    outcomes: list[Outcome] = []

    async def confirm(nc: Client) -> None:
        outcomes.append(await nc.publish("a", b"never written", confirm=True))

    async with opened(server, fail_open=True, operation_timeout_seconds=None) as nc, trio.open_nursery() as nursery:
        server.stall()
        await nc.publish("a", b"written")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"plain")
        nursery.start_soon(confirm, nc)
        await trio.testing.wait_all_tasks_blocked()
        assert nc.ledger().open == 3
        server.go_down()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [Outcome.SKIPPED]
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open, ledger.unknown, ledger.skipped) == (2, 1, 1, 1)
        assert sum(nc.stats().confirmed_publish_failures.values()) == 0
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
    assert server.payloads[-1] == b"plain"
