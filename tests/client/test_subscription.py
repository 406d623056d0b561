"""Subscriptions: queue groups, a maximum, callbacks, what the server is told."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ClientClosedError, ConnectionLostError, Message, NatsError, OperationTimeoutError
from tests._memory import ToyServer, opened


async def test_wildcards_and_queue_groups(autojump_clock: MockClock) -> None:
    """Each plain subscription gets every message, of a queue group one member."""
    server = ToyServer()
    got: dict[str, list[bytes]] = {name: [] for name in ("all", "one", "two")}
    async with (
        opened(server) as nc,
        nc.subscribe("a.>", callback=lambda message: got["all"].append(message.payload)),
        nc.subscribe("a.*", queue_group="q", callback=lambda message: got["one"].append(message.payload)),
        nc.subscribe("a.*", queue_group="q", callback=lambda message: got["two"].append(message.payload)) as last,
    ):
        await last.confirmed()
        for number in range(100):
            await nc.publish("a.b", b"%d" % number)
        await nc.flush()
    assert got["all"] == [b"%d" % number for number in range(100)]
    assert sorted(got["one"] + got["two"], key=int) == got["all"]
    assert got["one"]
    assert got["two"]


@pytest.mark.parametrize("sent", [2, 3, 10])
async def test_a_maximum_ends_it_cleanly(sent: int, autojump_clock: MockClock) -> None:
    """After max_messages `async for` ends; the server was told the number, and sends no more."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a", max_messages=3) as sub:
        await sub.confirmed()
        for number in range(sent):
            server.publish("a", b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        if sent < 3:
            await sub.unsubscribe()
        assert [int(message.payload) async for message in sub] == list(range(min(sent, 3)))
        assert nc.stats().subscriptions == 0
    assert server.operations("SUB", "UNSUB")[:2] == [("SUB", "a", "1"), ("UNSUB", "1", "3")]
    assert server.interests == []


async def test_more_than_the_maximum_is_not_delivered(autojump_clock: MockClock) -> None:
    """A server that sends on after the maximum is not believed, in one run or one by one."""
    for separate in (False, True):
        server = ToyServer()
        async with opened(server) as nc, nc.subscribe("a", max_messages=3) as sub:
            await sub.confirmed()
            for _ in range(10):
                server.send(b"MSG a 1 1\r\nx\r\n")
                if separate:
                    await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
            assert [message.payload async for message in sub] == [b"x"] * 3
            assert sub.delivered == 3


async def test_a_message_that_was_skipped_counts_for_the_maximum(autojump_clock: MockClock) -> None:
    """The server has counted it, so the subscription ends as the server ends it."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a", max_messages=3) as sub:
        await sub.confirmed()
        server.publish("a", b"1")
        server.publish("a", b"malformed", header=b"no header block")
        server.publish("a", b"3")
        assert [message.payload async for message in sub] == [b"1", b"3"]
        assert (nc.stats().subscriptions, nc.stats().malformed) == (0, 1)


async def test_unsubscribe_after(autojump_clock: MockClock) -> None:
    """`after` counts all messages of the subscription, those that came before the call included."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await sub.unsubscribe(after=5)
        await nc.flush()
        for _ in range(5):
            server.publish("a", b"y")
        await trio.testing.wait_all_tasks_blocked()
        assert [message.payload async for message in sub] == [b"x", b"x", b"x", b"y", b"y"]
        assert nc.stats().unroutable == 0
        assert server.interests == []


@pytest.mark.parametrize("after", [1, 3])
async def test_unsubscribe_after_what_has_come_ends_it_now(after: int, autojump_clock: MockClock) -> None:
    """Where so many have come already, it ends at once; what is pending is still received."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await sub.unsubscribe(after=after)
        assert [message.payload async for message in sub] == [b"x"] * 3
        await nc.flush()
        assert server.interests == []


async def test_what_could_never_be_called_is_refused(autojump_clock: MockClock) -> None:
    """A callback that is no function, or that nobody would await, and a handler that is none: TypeErrors at once."""
    server = ToyServer()

    async def asynchronous(message: Message) -> None:
        pytest.fail("it is never called")

    async with opened(server) as nc:
        wrong: list[Any] = [asynchronous, partial(asynchronous), "print"]
        for bad in wrong:
            with pytest.raises(TypeError, match="callback"):
                nc.subscribe("a", callback=bad)
        with pytest.raises(TypeError, match="handler must be an async function, not str"):
            await nc.serve("a", wrong[-1])
        assert server.interests == []


async def test_bounds_are_checked(autojump_clock: MockClock) -> None:
    """Numbers below 1 are ValueErrors, a subscription is entered once, and used only when it was."""
    server = ToyServer()
    async with opened(server) as nc:
        wrong: list[dict[str, Any]] = [{"max_messages": 0}, {"pending_messages_max": 0}, {"pending_bytes_max": -1}]
        for bad in wrong:
            with pytest.raises(ValueError, match="at least 1"):
                nc.subscribe("a", **bad)
        sub = nc.subscribe("a")
        for call in (sub.confirmed, sub.drain, sub.unsubscribe, sub.receive, sub.receive_batch, sub.__anext__):
            with pytest.raises(RuntimeError, match="enter the subscription first"):
                await call()
        async with sub:
            with pytest.raises(RuntimeError):
                await sub.__aenter__()
            with pytest.raises(ValueError, match="at least 1"):
                await sub.unsubscribe(after=0)
            with pytest.raises(ValueError, match="at least 1"):
                await sub.receive_batch(0)


async def test_leaving_tells_the_server_once(autojump_clock: MockClock) -> None:
    """UNSUB goes out when it is left; never twice; late messages are counted as unroutable."""
    server = ToyServer()
    async with opened(server) as nc:
        async with nc.subscribe("a") as sub:
            await sub.confirmed()
            await sub.unsubscribe()
            await sub.unsubscribe()
        sub.close()
        await nc.flush()
        server.send(b"MSG a 1 1\r\nx\r\n" * 3)
        await trio.testing.wait_all_tasks_blocked()
        assert nc.stats().unroutable == 3
    assert server.operations("UNSUB") == [("UNSUB", "1")]


async def test_confirmed_is_one_ping(autojump_clock: MockClock) -> None:
    """When `confirmed` returns the server has the interest; without a PONG it is a timeout, without a link an error."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=1, pong_timeout_seconds=100) as nc:
        async with nc.subscribe("a") as sub:
            assert server.interests == []
            await sub.confirmed()
            assert len(server.interests) == 1
            server.pongs_held = True
            with pytest.raises(OperationTimeoutError):
                await sub.confirmed()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drop_when_blocked, server)
                with pytest.raises(ConnectionLostError):
                    await sub.confirmed()
            server.release_pongs()
            await sub.confirmed()
        failures = nc.stats().subscribe_failures
        assert (failures["timeout"], failures["disconnected"]) == (1, 1)


async def test_a_client_that_closes_is_told_to_who_confirms(autojump_clock: MockClock) -> None:
    """ClientClosedError, and the subscription counts as failed with the reason `closed`."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:
        server.pongs_held = True
        nursery.start_soon(_close_when_blocked, nc)
        with pytest.raises(ClientClosedError):
            await sub.confirmed()
        assert nc.stats().subscribe_failures["closed"] == 1


async def _close_when_blocked(nc: Client) -> None:
    await trio.testing.wait_all_tasks_blocked()
    nc.connection.close()


async def _drop_when_blocked(server: ToyServer) -> None:
    await trio.testing.wait_all_tasks_blocked()
    server.drop()


async def test_a_drained_subscription_loses_nothing(autojump_clock: MockClock) -> None:
    """Messages that the server sent before it read UNSUB are delivered, those behind it are nobody's."""
    server = ToyServer()
    got: list[bytes] = []
    async with opened(server) as nc, nc.subscribe("a", callback=lambda message: got.append(message.payload)) as sub:
        await sub.confirmed()
        server.pongs_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sub.drain)
            await trio.testing.wait_all_tasks_blocked()
            server.send(b"MSG a 1 1\r\n1\r\n")  # sent before UNSUB was read, on the wire behind it
            await trio.testing.wait_all_tasks_blocked()
            server.release_pongs()
        server.send(b"MSG a 1 1\r\n2\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"1"]
        assert nc.stats().unroutable == 1


async def test_draining_under_a_lost_link(autojump_clock: MockClock) -> None:
    """The drain of a subscription says that the link was lost; the subscription has ended all the same."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.publish("a", b"1")
        server.pongs_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drop_when_blocked, server)
            with pytest.raises(ConnectionLostError):
                await sub.drain()
        server.release_pongs()
        await trio.sleep(5)
        await nc.flush()
        assert server.interests == []
        assert [message.payload async for message in sub] == [b"1"]


async def test_a_message_answers_where_it_was_asked_to(autojump_clock: MockClock) -> None:
    """`respond` publishes to the reply subject, refuses a message without one, and one that nobody can publish to."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.publish("a", b"x", reply=b"r.1")
        message = await sub.receive()
        assert (message.subject, message.reply, message.payload) == ("a", "r.1", b"x")
        await message.respond(b"y", headers={"A": "b"})
        await message.respond()
        server.publish("a", b"x")
        with pytest.raises(NatsError, match="no reply subject"):
            await (await sub.receive()).respond(b"y")
        for reply in (b"r.*", b"r..s", b">"):
            server.publish("a", b"x", reply=reply)
            with pytest.raises(NatsError, match="publish"):
                await (await sub.receive()).respond(b"y")
        await nc.flush()
    assert server.operations("PUB", "HPUB") == [("HPUB", "r.1", "18", "19"), ("PUB", "r.1", "0")]


async def test_what_two_clients_hold_is_apart(autojump_clock: MockClock) -> None:
    """Clients of one server share nothing but the server; `echo=False` keeps a client's own messages from it."""
    server = ToyServer()
    got: list[tuple[str, bytes]] = []

    def note(name: str) -> Any:
        def callback(message: Message) -> None:
            got.append((name, message.payload))

        return callback

    async def publish(nc: Client, payload: bytes) -> None:
        await nc.publish("a", payload)
        await nc.flush()

    async with (
        opened(server) as one,
        opened(server, echo=False) as two,
        one.subscribe("a", callback=note("one")),
        two.subscribe("a", callback=note("two")),
    ):
        await one.flush()
        await two.flush()
        await publish(one, b"1")
        await publish(two, b"2")
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(got) == [("one", b"1"), ("one", b"2"), ("two", b"1")]


async def test_subscribing_into_a_stalled_server_is_bounded(autojump_clock: MockClock) -> None:
    """SUB and UNSUB need no room, but making subscriptions waits before they pile up."""
    server = ToyServer()
    made = 0
    async with opened(server, ping_interval_seconds=1_000) as nc:
        server.stall()
        with trio.move_on_after(5) as scope:
            while True:
                async with nc.subscribe("a" * 1_000):
                    made += 1
        assert scope.cancelled_caught
        assert 100 < made < 600
        server.resume()
        await nc.flush()
        assert len(server.operations("SUB")) == made
        assert server.interests == []
