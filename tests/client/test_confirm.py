"""Confirmation: the PONG of a PING behind what was written, for publishes and flushes, and of no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ConnectionLostError, OperationTimeoutError, Outcome, PermissionsError
from tests._memory import ToyServer, opened


async def test_a_confirmed_publish_cancelled_before_the_write_is_withdrawn(autojump_clock: MockClock) -> None:
    """Its frame never leaves, its bytes are given back, and the ledger has never accepted it."""
    server = ToyServer()
    async with opened(server) as nc:
        server.stall()
        await nc.publish("a", b"blocks the writer")
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"before")
        for _ in range(50):  # far more than the outbox holds, if their bytes were not given back
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(nc.publish, "a", b"never" + b"x" * 50_000, confirm=True))
                    await trio.testing.wait_all_tasks_blocked()
                    assert (nc.ledger().accepted, nc.ledger().open) == (3, 3)
                    scope.cancel()
            assert (nc.ledger().accepted, nc.ledger().open) == (2, 2)
        await nc.publish("a", b"after")
        server.resume()
        await nc.flush()
        assert nc.ledger().confirmed == 3
    assert server.payloads == [b"blocks the writer", b"before", b"after"]


async def test_a_confirmed_publish_cancelled_after_the_write_stays_in_the_books(autojump_clock: MockClock) -> None:
    """It may have arrived: it stays open until the server's PONG, or is unknown when the link dies before it."""
    server = ToyServer()
    async with opened(server) as nc:
        server.pongs_held = True
        for payload in (b"1", b"2"):
            with trio.move_on_after(1):
                await nc.publish("a", payload, confirm=True)
            assert nc.ledger().open == 1
            if payload == b"1":
                server.release_pongs()
                await trio.testing.wait_all_tasks_blocked()
                assert (nc.ledger().open, nc.ledger().confirmed) == (0, 1)
                server.pongs_held = True
        server.drop()
        server.release_pongs()
        await trio.sleep(1)
        assert (nc.ledger().accepted, nc.ledger().confirmed, nc.ledger().unknown) == (2, 1, 1)
    assert server.payloads == [b"1", b"2"]


async def test_one_ping_serves_all_confirmed_publishes(autojump_clock: MockClock) -> None:
    """Those that are written together wait for one PONG."""
    server = ToyServer()
    async with opened(server) as nc:
        before = len(server.operations("PING"))
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(partial(nc.publish, "a", b"x", confirm=True))
        assert len(server.operations("PING")) - before <= 3
        assert nc.stats().confirmed_publishes == 100


async def test_flush_waits_for_its_own_pong(autojump_clock: MockClock) -> None:
    """Of flushes that wait together each returns at the PONG of the first PING written behind it, not before."""
    server = ToyServer()
    done: list[int] = []

    async def flush(nc: Client, number: int) -> None:
        await nc.publish("a", b"%d" % number)
        await nc.flush()
        done.append(number)

    async with opened(server, operation_timeout_seconds=None) as nc, trio.open_nursery() as nursery:
        server.pongs_held = True
        for number in range(5):
            nursery.start_soon(flush, nc, number)
            await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            assert done == list(range(number))
            server.release_pongs(1)
            await trio.testing.wait_all_tasks_blocked()
        assert done == list(range(5))
        server.release_pongs()


async def test_a_cancelled_flush_leaves_a_late_pong_harmless(autojump_clock: MockClock) -> None:
    """The PONG of a cancelled flush ends no later flush or confirmed publish."""
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:
        server.pongs_held = True
        with trio.move_on_after(1) as scope:
            await nc.flush()
        assert scope.cancelled_caught
        results: list[object] = []

        async def note(operation: Callable[[], Awaitable[object]]) -> None:
            results.append(await operation())

        nursery.start_soon(note, nc.rtt)
        nursery.start_soon(note, partial(nc.publish, "a", b"x", confirm=True))
        await trio.testing.wait_all_tasks_blocked()
        server.release_pongs(1)
        await trio.testing.wait_all_tasks_blocked()
        assert results == []
        server.release_pongs()
        await trio.testing.wait_all_tasks_blocked()
        assert len(results) == 2


async def test_an_unsolicited_pong_confirms_nothing(autojump_clock: MockClock) -> None:
    """PONGs that nobody asked for change nothing, and do not spoil those that are asked for later."""
    server = ToyServer()
    async with opened(server) as nc:
        server.send(b"PONG\r\n" * 3)
        await trio.testing.wait_all_tasks_blocked()
        server.pongs_held = True
        await nc.publish("a", b"x")
        with trio.move_on_after(1) as scope:
            await nc.flush()
        assert scope.cancelled_caught
        assert nc.ledger().open == 1
        server.release_pongs()
        await nc.flush()
        assert nc.ledger().confirmed == 1


async def test_a_confirmation_that_does_not_come(autojump_clock: MockClock) -> None:
    """It is a timeout after operation_timeout_seconds from the write, to the second; the connection stays."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=2.0, pong_timeout_seconds=60) as nc:
        server.pongs_held = True
        began = trio.current_time()
        with pytest.raises(OperationTimeoutError):
            await nc.publish("a", b"x", confirm=True)
        assert trio.current_time() - began == pytest.approx(2.0)
        with pytest.raises(OperationTimeoutError):
            await nc.flush()
        assert nc.state == "connected"
        assert nc.stats().confirmed_publish_failures["timeout"] == 1
        server.release_pongs()
        await nc.flush()
        assert nc.ledger().confirmed == 1


async def test_a_confirmed_publish_that_is_refused(autojump_clock: MockClock) -> None:
    """Only those on the refused subject are blamed; others that wait for the same PONG are confirmed."""
    server = ToyServer()
    server.denied_publish.add(b"no.*")
    results: dict[str, object] = {}

    async def publish(nc: Client, subject: str) -> None:
        try:
            results[subject] = await nc.publish(subject, b"x", confirm=True)
        except PermissionsError as error:
            results[subject] = (error.operation, error.subject)

    async with opened(server) as nc:
        server.pongs_held = True
        async with trio.open_nursery() as nursery:
            for subject in ("yes", "no.1", "yes.2", "no.2"):
                nursery.start_soon(publish, nc, subject)
            await trio.testing.wait_all_tasks_blocked()
            assert set(results) == {"no.1", "no.2"}
            server.release_pongs()
        assert results == {
            "yes": Outcome.SENT,
            "yes.2": Outcome.SENT,
            "no.1": ("publish", "no.1"),
            "no.2": ("publish", "no.2"),
        }
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.confirmed, ledger.failed) == (4, 2, 2)


async def test_a_link_lost_under_a_confirmed_publish(autojump_clock: MockClock) -> None:
    """It fails at once, typed, with sent = maybe: the server may have it."""
    server = ToyServer()
    async with opened(server) as nc:
        server.pongs_held = True
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drop_when_blocked, server)
            with pytest.raises(ConnectionLostError) as caught:
                await nc.publish("a", b"x", confirm=True)
        assert caught.value.sent == "maybe"
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert trio.current_time() == began
        server.release_pongs()
        await trio.sleep(1)
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.unknown) == (1, 1)
        assert nc.stats().confirmed_publish_failures["disconnected"] == 1


async def _drop_when_blocked(server: ToyServer) -> None:
    await trio.testing.wait_all_tasks_blocked()
    server.drop()
