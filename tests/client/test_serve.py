"""Serving: workers, replies, errors as answers, permission errors where they belong."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ClientClosedError, Message, PermissionsError, Subscription, open_client
from tests._memory import MemoryDialer, ToyServer, opened

ERROR_BLOCK = b"NATS/1.0\r\nNats-Service-Error-Code: 500\r\nNats-Service-Error: internal error\r\n\r\n"


async def test_what_the_handler_returns_is_the_reply(autojump_clock: MockClock) -> None:
    """Bytes are the reply, None is none; without a reply subject nothing is sent."""
    server = ToyServer()

    async def handler(message: Message) -> bytes | None:
        return None if message.payload == b"quiet" else message.payload.upper()

    async with opened(server, operation_timeout_seconds=1) as nc, trio.open_nursery() as nursery:
        sub: Subscription = await nursery.start(partial(nc.serve, "a.*", handler, queue_group="q"))
        assert (sub.subject, sub.queue_group) == ("a.*", "q")
        assert len(server.interests) == 1  # started means confirmed
        assert (await nc.request("a.b", b"x")).payload == b"X"
        with pytest.raises(trio.TooSlowError):
            await nc.request("a.b", b"quiet")
        await nc.publish("a.b", b"no reply wanted", confirm=True)
        await nc.drain()
    assert [operation.args[0] for operation in server.record if operation.payload == b"NO REPLY WANTED"] == []


ERRORS = [
    ValueError("a secret"),
    ExceptionGroup("a secret", [KeyError("x")]),
    trio.TooSlowError(),
    ClientClosedError("x"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_raising_handler_is_answered(
    error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty reply with code 500 and without internals, a log with the traceback; the service lives on."""
    server = ToyServer()

    async def handler(message: Message) -> bytes | None:
        if message.payload == b"raise":
            raise error
        return b"ok"

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "a", handler)
        reply = await nc.request("a", b"raise")
        assert (reply.header_block, reply.payload) == (ERROR_BLOCK, b"")
        await nc.publish("a", b"raise")
        assert (await nc.request("a", b"x")).payload == b"ok"
        await nc.drain()
    assert b"secret" not in server.received
    records = [record for record in caplog.records if getattr(record, "event", "") == "NATS_HANDLER_ERROR"]
    assert [record.exc_info is not None and record.exc_info[1] is error for record in records] == [True, True]


async def test_a_handler_that_returns_nonsense_is_answered(autojump_clock: MockClock) -> None:
    """A str, or more than max_payload, is an error of the handler."""
    server = ToyServer(max_payload=100)
    replies: list[object] = ["text", b"x" * 101, 7]

    async def handler(message: Message) -> bytes | None:
        return replies.pop()  # type: ignore[return-value]

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "a", handler)
        while replies:
            assert (await nc.request("a", b"x")).headers["Nats-Service-Error-Code"] == "500"
        await nc.drain()


async def test_concurrency_is_a_bound(autojump_clock: MockClock) -> None:
    """At most so many handlers run at once, and as many as there are messages for."""
    for concurrency in (1, 4, 32):
        server = ToyServer()
        running = most = 0

        async def handler(message: Message) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await trio.sleep(0.01)
            running -= 1
            return b""

        async with opened(server) as nc, trio.open_nursery() as nursery:
            await nursery.start(partial(nc.serve, "a", handler, concurrency=concurrency))
            began = trio.current_time()
            async with trio.open_nursery() as requests:
                for _ in range(64):
                    requests.start_soon(nc.request, "a", b"x")
            assert most == concurrency
            assert trio.current_time() - began == pytest.approx(0.01 * 64 / concurrency)
            await nc.drain()
    with pytest.raises(ValueError, match="at least 1"):
        await nc.serve("a", handler, concurrency=0)


async def test_cancelling_a_service_cancels_its_handlers(autojump_clock: MockClock) -> None:
    """The interest is gone, nothing is answered, the client goes on."""
    server = ToyServer()
    cancelled = 0

    async def handler(message: Message) -> bytes:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled += 1
            raise
        return b""

    async with opened(server) as nc:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(nc.serve, "a", handler, concurrency=3))
            for _ in range(5):
                await nc.publish("a", b"x", reply="r")
            await nc.flush()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert cancelled == 3
        await nc.flush()
        assert server.interests == []
        assert [operation.args[0] for operation in server.record if operation.verb == "PUB"] == [b"a"] * 5


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_a_refused_service_never_starts(concurrency: int, autojump_clock: MockClock) -> None:
    """PermissionsError leaves serve bare, before started."""
    server = ToyServer()
    server.denied_subscribe.add(b"a")

    async def handler(message: Message) -> None:
        raise AssertionError

    async with opened(server) as nc:
        with pytest.raises(PermissionsError):
            await nc.serve("a", handler, concurrency=concurrency)
        with pytest.RaisesGroup(PermissionsError):
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(nc.serve, "a", handler, concurrency=concurrency))
        await nc.publish("b", b"x", confirm=True)


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_a_service_refused_later_ends(concurrency: int, autojump_clock: MockClock) -> None:
    """The server names the sid when its permissions change: that service ends with one bare error, no other does."""
    server = ToyServer()
    errors: list[BaseException] = []

    async def handler(message: Message) -> bytes:
        return b"ok"

    async def serve(nc: Client, task_status: trio.TaskStatus[Subscription]) -> None:
        try:
            await nc.serve("a", handler, concurrency=concurrency, task_status=task_status)
        except BaseException as error:  # noqa: BLE001  # its very type is the law
            errors.append(error)

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await nursery.start(serve, nc)
        await nursery.start(nc.serve, "b", handler)
        server.revoke(b"a")
        await trio.testing.wait_all_tasks_blocked()
        assert [type(error) for error in errors] == [PermissionsError]
        assert (await nc.request("b", b"x")).payload == b"ok"
        await nc.drain()


async def test_a_service_of_a_client_that_is_closed_at_once(autojump_clock: MockClock) -> None:
    """Leaving by an exception ends services in outer nurseries with ClientClosedError, not cleanly."""
    server = ToyServer()

    async def handler(message: Message) -> None: ...

    with pytest.RaisesGroup(ClientClosedError):
        async with trio.open_nursery() as nursery:
            with pytest.raises(KeyError):
                async with open_client(server.url, dialer=MemoryDialer(server)) as nc:
                    await nursery.start(nc.serve, "a", handler)
                    raise KeyError


async def test_a_service_outlives_reconnects(autojump_clock: MockClock) -> None:
    """What was in a handler when the link was lost is answered on the next one; new requests come."""
    server = ToyServer()

    async def handler(message: Message) -> bytes:
        if message.payload == b"long":
            await trio.sleep(2)
        return message.payload

    async with opened(server) as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "a", handler)
        server.publish("a", b"long", reply=b"r")
        await trio.testing.wait_all_tasks_blocked()
        server.drop()
        await trio.sleep(5)
        assert [operation.args for operation in server.record if operation.link == 1 and operation.verb == "PUB"] == [
            (b"r", b"4")
        ]
        assert (await nc.request("a", b"x")).payload == b"x"
        await nc.drain()
