"""Servers that change: a smaller max_payload under what waits, another id, another INFO in the middle of a link."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ConnectionLostError,
    Disconnected,
    Dropped,
    Event,
    EventStream,
    InvalidHeaderError,
    NatsError,
    PayloadTooLargeError,
    ServerErrorReceived,
)
from tests._memory import ToyServer, lose_link, opened, wait_connected
from tests.protocol._mutated import mutated


async def test_it_holds_at_once_for_what_comes(autojump_clock: MockClock) -> None:
    """A smaller max_payload in a later INFO refuses larger publishes before a byte is sent, on the fast path too."""
    server = ToyServer()
    async with opened(server) as nc:
        await nc.publish("a", b"x" * 500)
        await nc.flush()
        server.send_info(max_payload=100)
        await trio.testing.wait_all_tasks_blocked()
        for headers in (None, {"A": "b"}):
            with pytest.raises(PayloadTooLargeError, match="100"):
                await nc.publish("a", b"x" * 101, headers=headers)
            with pytest.raises(PayloadTooLargeError, match="100"):
                nc.publish_nowait("a", b"x" * 101, headers=headers)
            with pytest.raises(PayloadTooLargeError, match="100"):
                await nc.request("a", b"x" * 101, headers=headers)
        await nc.publish("a", b"x" * 100, confirm=True)
        server.send_info(max_payload=1_000)
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"x" * 1_000, confirm=True)
        assert nc.stats().lost == 0


async def test_under_what_is_pending(autojump_clock: MockClock) -> None:
    """Queued while disconnected, and too large for the server that comes: told, counted, never sent; the rest goes on
    in its order.
    """
    server = ToyServer()
    failed: list[type[NatsError]] = []

    async def wait_for(nc: Client, size: int, *, request: bool) -> None:
        try:
            await (nc.request("a", b"r" * size) if request else nc.publish("a", b"c" * size, confirm=True))
        except NatsError as error:
            failed.append(type(error))

    async with opened(server) as nc, nc.events() as events, trio.open_nursery() as nursery:
        await lose_link(server)
        for size in (10, 200, 20, 300, 30):
            await nc.publish("a", b"x" * size)
        nursery.start_soon(lambda: wait_for(nc, 150, request=False))
        nursery.start_soon(lambda: wait_for(nc, 160, request=True))
        await trio.testing.wait_all_tasks_blocked()
        server._info["max_payload"] = 100
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert server.payloads == [b"x" * size for size in (10, 20, 30)]
        assert failed == [PayloadTooLargeError] * 2
        assert (nc.ledger().dropped, nc.stats().publish_failures["too_large"]) == (4, 4)
        dropped = [event for event in await seen_by(events) if isinstance(event, Dropped)]
        assert sum(event.count for event in dropped) == 4
        assert all("max_payload" in event.reason for event in dropped)
        assert nc.stats().lost == 1


async def seen_by(events: EventStream) -> list[Event]:
    """The events that have come."""
    seen: list[Event] = []
    with trio.move_on_after(1):
        while True:
            seen.append(await events.receive())
    return seen


async def test_under_what_is_in_the_outbox(autojump_clock: MockClock) -> None:
    """Taken in before the INFO and too large when written: the server hangs up with its reason, each is unknown or
    goes to the next link if it fits there, and none is sent twice.
    """
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.stall()
        await nc.publish("a", b"first")
        await trio.testing.wait_all_tasks_blocked()  # the writer hangs with it
        server.send_info(max_payload=100)
        for size in (10, 200, 20):
            nc.publish_nowait("a", b"x" * size)
        server.resume()
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        await nc.publish("a", b"behind", confirm=True)
        seen = await seen_by(events)
        refused = [event.error.text for event in seen if isinstance(event, ServerErrorReceived)]
        lost = [event.reason for event in seen if isinstance(event, Disconnected)]
        assert refused == lost == ["Maximum Payload Violation"]
        assert (nc.ledger().unknown, nc.ledger().confirmed) == (4, 1)  # `20` was written behind the one it hung up on
        assert server.payloads == [b"first", b"x" * 10, b"x" * 200, b"x" * 20, b"behind"]
        server.complaints.clear()


@pytest.mark.parametrize("header", [None, b"NATS/1.0\r\nA: b\r\n\r\n"])
async def test_what_is_stored_may_be_larger(header: bytes | None, autojump_clock: MockClock) -> None:
    """A server may hold messages from a time of a larger max_payload: they are received."""
    server = ToyServer(max_payload=100)
    async with opened(server) as nc, nc.subscribe("stored") as sub:
        await sub.confirmed()
        server.publish("stored", b"x" * 5_000_000, header=header)
        assert len((await sub.receive()).payload) == 5_000_000
        assert nc.stats().lost == 0


async def test_a_restart_with_another_id(autojump_clock: MockClock) -> None:
    """Behind the same address another server, of another version and cluster: all that is known of the old is gone."""
    server = ToyServer(server_id="OLD", cluster="old", domain="old", xkey="old")
    async with opened(server) as nc, nc.subscribe("in") as sub:
        await sub.confirmed()
        for number in range(5):
            server._info = {
                "server_id": f"NEW{number}",
                "version": f"2.{number}.0",
                "headers": True,
                "proto": 1,
                "max_payload": 1_000 + number,
            }
            server.drop(reset=bool(number % 2))
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
            info = nc.server_info
            assert (info.server_id, info.version, info.cluster, info.domain, info.max_payload) == (
                f"NEW{number}",
                f"2.{number}.0",
                "",
                "",
                1_000 + number,
            )
            assert "xkey" not in info.raw
            await nc.publish("out", b"x", confirm=True)
            server.publish("in", b"%d" % number)
            assert (await sub.receive()).payload == b"%d" % number
        assert nc.stats().restored == 5


async def test_another_info_in_the_middle(autojump_clock: MockClock) -> None:
    """Whatever a later INFO changes holds from then on, and costs no link: headers, limits, id, names."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("in") as sub:
        await sub.confirmed()
        server.send_info(server_id="OTHER", server_name="n", headers=False, tls_required=True, auth_required=True)
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.server_info.server_id, nc.server_info.server_name) == ("OTHER", "n")
        with pytest.raises(InvalidHeaderError, match="does not support headers"):
            await nc.publish("a", headers={"A": "b"})
        await nc.publish("a", b"x", confirm=True)
        server.send_info(headers=True, tls_required=False, auth_required=False)
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", headers={"A": "b"}, confirm=True)
        server.publish("in", b"x")
        await sub.receive()
        assert nc.stats().lost == 0


@pytest.mark.parametrize("seed", range(40))
async def test_any_broken_stream_ends_in_a_working_client(seed: int, autojump_clock: MockClock) -> None:
    """Legal operations with bytes changed, lost and put in, link after link: never a dead reader, never an error of the
    client's own; each link ends with a reason or goes on, and publishes and subscriptions work behind it.
    """
    rng = random.Random(seed)
    server = ToyServer()
    async with opened(server, reconnect_delay_seconds=0.001) as nc, nc.subscribe("in") as sub:
        for _ in range(25):
            await wait_connected(nc)
            stream = mutated(rng)
            server.link.send_in_chunks(stream + b"\r\n", rng.randrange(1, 6))
            server.link.send(b"")
            with trio.move_on_after(0.5):
                await sub.receive()
        server.drop()  # a half message may wait for the rest of it
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        while sub.pending_messages:
            await sub.receive()
        try:
            await nc.publish("out", b"x", confirm=True)
        except ConnectionLostError:
            await wait_connected(nc)
        server.publish("in", b"works")
        assert (await sub.receive()).payload == b"works"
        stats = nc.stats()
        assert (stats.lost, stats.established) == (stats.restored, stats.restored + 1)
        server.complaints.clear()
