"""Drain: unsubscribe, deliver what is pending, finish handlers, flush, close; within its deadline."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ClientClosedError, Message, State, Subscription, UndeliveredError, open_client
from tests._memory import MemoryDialer, ToyServer, opened


async def ask(nc: Client, subject: str, count: int) -> list[bytes]:
    """So many requests at once; their replies in the order of the requests."""
    replies: dict[int, bytes] = {}

    async def one(number: int) -> None:
        replies[number] = (await nc.request(subject, b"%d" % number)).payload

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return [replies[number] for number in range(count)]


async def test_the_order_on_the_wire(autojump_clock: MockClock) -> None:
    """Every UNSUB, then what handlers still publish, then a PING; after it the stream is closed."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc, nc.subscribe("a", callback=lambda _: None), nc.subscribe("b"):
        await nc.publish("x", b"1")
        await nc.drain()
        assert nc.state is State.CLOSED
        await trio.testing.wait_all_tasks_blocked()
        assert dialer.open_streams == 0
        verbs = [operation.verb for operation in server.record]
        assert [verb for verb in verbs if verb != "PING"] == ["CONNECT", "SUB", "SUB", "PUB", "UNSUB", "UNSUB"]
        assert verbs[-1] == "PING"
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.confirmed) == (1, 1)


async def test_a_drained_client_stays_closed(autojump_clock: MockClock) -> None:
    """After drain nothing dials, pings or reconnects, however long the block lasts; drain again does nothing."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc:
        await nc.drain()
        written = bytes(server.received)
        server.drop()
        await trio.sleep(1_000)
        await nc.drain()
        assert (nc.state, len(dialer.dialled), bytes(server.received)) == (State.CLOSED, 1, written)
        with pytest.raises(ClientClosedError):
            await nc.publish("a", b"x")


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_consumers_read_to_the_end(pause: float, autojump_clock: MockClock) -> None:
    """`async for` in other tasks gets every pending message, then ends; what they publish meanwhile is sent."""
    server = ToyServer()
    got: dict[str, list[bytes]] = {"a": [], "b": []}

    async def consume(nc: Client, subject: str) -> None:
        async with nc.subscribe(subject) as sub:
            async for message in sub:
                got[subject].append(message.payload)
                await nc.publish(f"done.{subject}", message.payload)
                await trio.sleep(pause)

    async with trio.open_nursery() as nursery, opened(server) as nc:
        for subject in got:
            nursery.start_soon(consume, nc, subject)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(100):
            for subject in got:
                server.publish(subject, b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        await nc.drain()
        assert got["a"] == got["b"] == [b"%d" % number for number in range(100)]
        assert len(server.payloads) == 200
        assert trio.current_time() < 5


async def test_a_consumer_that_drains_in_its_own_loop(autojump_clock: MockClock) -> None:
    """`await nc.drain()` in the body of `async for` is not waited for; the loop then gets the rest and ends cleanly."""
    server = ToyServer()
    got: list[bytes] = []
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for number in range(100):
            server.publish("a", b"%d" % number)
        async for message in sub:
            got.append(message.payload)
            if len(got) == 3:
                await nc.drain()
                assert trio.current_time() < 1
    assert got == [b"%d" % number for number in range(100)]


async def test_a_consumer_that_has_what_it_wanted_holds_up_nothing(autojump_clock: MockClock) -> None:
    """One that received every message and does something else now is not waited for."""
    server = ToyServer()

    async def consume(sub: Subscription) -> None:
        for _ in range(3):
            await sub.receive()
        await trio.sleep_forever()

    async with opened(server) as nc, trio.open_nursery() as nursery, nc.subscribe("a") as sub:
        nursery.start_soon(consume, sub)
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        await nc.drain()
        assert trio.current_time() < 1
        nursery.cancel_scope.cancel()


async def test_the_last_message_is_taken_while_draining(autojump_clock: MockClock) -> None:
    """A consumer that takes the last pending message during the drain, and then stops receiving, ends the wait."""
    server = ToyServer()

    async def consume(sub: Subscription) -> None:
        for _ in range(3):
            await sub.receive()
            await trio.sleep(1)
        await trio.sleep_forever()

    async with opened(server) as nc, trio.open_nursery() as nursery, nc.subscribe("a") as sub:
        nursery.start_soon(consume, sub)
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.drain()
        assert trio.current_time() < 5
        nursery.cancel_scope.cancel()


async def test_a_consumer_that_is_gone_holds_up_nothing(autojump_clock: MockClock) -> None:
    """Messages whose consumer was cancelled are not waited for until the deadline."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sub.receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.drain()
        assert trio.current_time() < 1
        assert (await sub.receive()).payload == b"x"


@pytest.mark.parametrize("concurrency", [1, 3, 100])
@pytest.mark.parametrize("how", ["outside", "handler", "leaving"])
async def test_serve_finishes_and_replies_arrive(how: str, concurrency: int, autojump_clock: MockClock) -> None:
    """Every request that the server had passed on is handled and answered, whoever drains; then serve returns."""
    server = ToyServer()
    handled: list[bytes] = []
    finished = trio.Event()

    async def handler(message: Message) -> bytes:
        handled.append(message.payload)
        if how == "handler" and len(handled) == 5:
            await message._client.drain()
            finished.set()
        await trio.sleep(0.01)
        return b"reply to " + message.payload

    async with opened(server) as asking, trio.open_nursery() as nursery:
        replies: list[bytes] = []

        async def collect() -> None:
            replies.extend(await ask(asking, "service", 100))

        async with opened(server) as serving, trio.open_nursery() as serve_nursery:
            await serve_nursery.start(partial(serving.serve, "service", handler, concurrency=concurrency))
            nursery.start_soon(collect)
            await trio.testing.wait_all_tasks_blocked()
            if how == "outside":
                await serving.drain()
            elif how == "leaving":
                serve_nursery.start_soon(serving.drain)
            else:
                await finished.wait()
        assert sorted(handled, key=int) == [b"%d" % number for number in range(100)]
    assert replies == [b"reply to %d" % number for number in range(100)]
    assert trio.current_time() < 10


async def test_a_handler_that_drains_is_answered_before_the_end(autojump_clock: MockClock) -> None:
    """drain() returns in the handler when all others are done; its own reply still goes out, then the client closes."""
    server = ToyServer()
    states: list[State] = []

    async def handler(message: Message) -> bytes:
        nc = message._client
        await nc.publish("first.words", b"x")
        await nc.drain()
        assert nc.ledger().open == 0
        states.append(nc.state)
        await nc.publish("last.words", b"x")
        return b"reply"

    async with opened(server) as asking:
        async with opened(server) as serving, trio.open_nursery() as nursery:
            await nursery.start(serving.serve, "service", handler)
            assert (await asking.request("service", b"x")).payload == b"reply"
        assert states == [State.CONNECTED]
    assert [operation[1] for operation in server.operations("PUB")[1:3]] == ["first.words", "last.words"]
    assert server.payloads[-1] == b"reply"


async def test_a_handler_that_drains_waits_for_the_others_replies(autojump_clock: MockClock) -> None:
    """When drain() returns in the handler, what all other handlers did has been confirmed by the server."""
    server = ToyServer()
    books: list[tuple[int, int]] = []

    async def drains(message: Message) -> None:
        nc = message._client
        await nc.drain()
        books.append((nc.ledger().accepted, nc.ledger().confirmed))

    async def replies(message: Message) -> bytes:
        await trio.sleep(1)
        return b"reply"

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await nursery.start(partial(nc.serve, "replies", replies, concurrency=3))
        await nursery.start(nc.serve, "drains", drains)
        for _ in range(3):
            server.publish("replies", b"x", reply=b"r")
        server.publish("drains", b"x")
        await trio.sleep(3)
    assert books == [(3, 3)]


async def test_two_handlers_drain_at_once(autojump_clock: MockClock) -> None:
    """None waits for the other."""
    server = ToyServer()

    async def handler(message: Message) -> bytes:
        await trio.testing.wait_all_tasks_blocked()
        await message._client.drain()
        return b"reply"

    async with opened(server) as asking, opened(server) as serving, trio.open_nursery() as nursery:
        await nursery.start(partial(serving.serve, "service", handler, concurrency=2))
        assert await ask(asking, "service", 2) == [b"reply"] * 2
    assert trio.current_time() < 1


async def test_a_subscription_made_while_it_drains_ends_cleanly(autojump_clock: MockClock) -> None:
    """A handler that is still at work may subscribe; when the client closes that is a clean end too."""
    server = ToyServer()
    ends: list[str] = []

    async def consume(sub: Subscription) -> None:
        async for _ in sub:
            pass
        ends.append("clean")

    async with opened(server) as nc, trio.open_nursery() as nursery:

        async def handler(message: Message) -> None:
            await trio.sleep(1)
            sub = await nc.subscribe("late").__aenter__()
            nursery.start_soon(consume, sub)
            await trio.sleep(1)

        await nursery.start(nc.serve, "a", handler)
        server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["clean"]


async def test_the_deadline_cuts(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that does not end is waited for as long as the deadline; the log counts the unfinished."""
    server = ToyServer()

    async def handler(message: Message) -> None:
        await trio.sleep_forever()

    async with opened(server, drain_deadline_seconds=7) as nc, trio.open_nursery() as nursery:
        await nursery.start(partial(nc.serve, "a", handler, concurrency=5))
        for _ in range(3):
            server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        await nc.drain()
        assert trio.current_time() == pytest.approx(7)
        assert nc.state is State.CLOSED
        nursery.cancel_scope.cancel()
    cut = [record for record in caplog.records if getattr(record, "event", "") == "NATS_DRAIN_DEADLINE"]
    assert [getattr(record, "unfinished", None) for record in cut] == [3]


@pytest.mark.parametrize("situation", ["stalled", "deaf"])
async def test_the_deadline_cuts_a_server_that_does_not_answer(situation: str, autojump_clock: MockClock) -> None:
    """Leaving takes no longer than the deadline; what was not confirmed is in the books."""
    server = ToyServer()
    clients: list[Client] = []
    dialer = MemoryDialer(server)
    options: dict[str, Any] = {"drain_deadline_seconds": 3, "operation_timeout_seconds": None}
    with pytest.raises(UndeliveredError) as caught:
        async with open_client(server.url, dialer=dialer, **options) as nc:
            clients.append(nc)
            setattr(server, situation, True)
            for _ in range(10):
                await nc.publish("a", b"x")
    assert (caught.value.unsent, caught.value.unknown) == (0, 10)
    assert trio.current_time() == pytest.approx(3)
    assert dialer.open_streams == 0
    ledger = clients[0].ledger()
    assert ledger.balanced
    assert (ledger.accepted, ledger.open, ledger.confirmed) == (10, 0, 0)


async def test_drain_while_disconnected(autojump_clock: MockClock) -> None:
    """Without a connection and with nothing pending it ends at once; consumers get what is pending and a clean end."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        server.go_down()
        await trio.sleep(1)
        await nc.drain()
        assert trio.current_time() == pytest.approx(1, abs=0.01)
        assert [message.payload async for message in sub] == [b"x"]


async def test_drain_while_disconnected_after_a_silent_loss(autojump_clock: MockClock) -> None:
    """Likewise where the loss was found by an unanswered PING that could not even be written."""
    server = ToyServer()
    async with opened(server, ping_interval_seconds=1, pong_timeout_seconds=1) as nc:
        server.stall()
        await nc.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        server.refuses = True
        await trio.sleep(5)
        assert (nc.state, nc.ledger().unknown, nc.stats().pending_operations) == (State.RECONNECTING, 1, 0)
        began = trio.current_time()
        await nc.drain()
        assert trio.current_time() - began < 0.01


async def test_drain_waits_for_what_is_pending(autojump_clock: MockClock) -> None:
    """Disconnected with operations pending it waits for the reconnect as long as its deadline lets it."""
    for back_after, delivered in ((5, [b"x"]), (100, [])):
        server = ToyServer()
        async with opened(server, drain_deadline_seconds=20) as nc:
            server.go_down()
            await trio.testing.wait_all_tasks_blocked()
            await nc.publish("a", b"x")
            errors: list[UndeliveredError] = []

            async def drain(nc: Client = nc, errors: list[UndeliveredError] = errors) -> None:
                try:
                    await nc.drain()
                except UndeliveredError as undelivered:
                    errors.append(undelivered)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain)
                await trio.sleep(back_after)
                server.come_up()
            assert [(error.unsent, error.unknown) for error in errors] == [(1, 0)] * (1 - len(delivered))
            assert server.payloads == delivered
            assert nc.ledger().dropped == 1 - len(delivered)
            assert nc.state is State.CLOSED


async def test_a_cancelled_drain_goes_on(autojump_clock: MockClock) -> None:
    """Who asked may be cancelled; the drain ends in the background."""
    server = ToyServer()
    async with opened(server) as nc:
        server.pongs_held = True
        await nc.publish("a", b"x")
        with trio.move_on_after(1) as scope:
            await nc.drain()
        assert scope.cancelled_caught
        assert nc.state == "connected"
        server.release_pongs()
        await trio.testing.wait_all_tasks_blocked()
        assert nc.state == "closed"
        assert nc.ledger().confirmed == 1


async def test_requests_in_flight_get_their_replies(autojump_clock: MockClock) -> None:
    """A reply that comes while the client drains still reaches its request."""
    server = ToyServer()
    async with opened(server) as nc, trio.open_nursery() as nursery:
        replies: list[bytes] = []

        async def request() -> None:
            replies.append((await nc.request("service", b"x")).payload)

        async with opened(server) as serving, trio.open_nursery() as serve_nursery:

            async def handler(message: Message) -> bytes:
                await trio.sleep(1)
                return b"late"

            await serve_nursery.start(serving.serve, "service", handler)
            async with nc.subscribe("other", callback=lambda _: None):
                nursery.start_soon(request)
                await trio.sleep(0.5)
                await serving.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert replies == [b"late"]


async def test_those_who_wait_when_the_client_closes_are_told(autojump_clock: MockClock) -> None:
    """A request without an answer, and a publish that waits for room: ClientClosedError when the drain is done."""
    server = ToyServer()
    errors: list[str] = []

    async def expect(name: str, operation: object) -> None:
        try:
            await operation()  # type: ignore[operator]
        except ClientClosedError:
            errors.append(name)

    async with opened(server, drain_deadline_seconds=2) as nc, trio.open_nursery() as nursery:
        server.services[b"silent"] = lambda payload: b""
        await nc.flush()
        server.deaf = True
        nursery.start_soon(expect, "request", partial(nc.request, "silent", b"x"))
        await trio.testing.wait_all_tasks_blocked()
        server.stall()
        await nc.publish("a", b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(expect, "confirm", partial(nc.publish, "a", b"x", confirm=True))
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"x" * 200_000)
        nursery.start_soon(expect, "publish", partial(nc.publish, "a", b"x"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UndeliveredError) as caught:
            await nc.drain()
        assert caught.value.unsent + caught.value.unknown == 4
    assert sorted(errors) == ["confirm", "publish", "request"]
