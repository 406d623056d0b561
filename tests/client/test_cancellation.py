"""The four laws of every public async operation: checkpoints, cancelled before, cancelled while waiting, closed.

`publish` without confirmation and `receive` with messages pending are amortised checkpoints, with laws of their own in
test_publish and test_receive; here they wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ConnectionLostError,
    Message,
    Router,
    State,
    Subscription,
    UndeliveredError,
    open_client,
    run_client,
)
from beamline_trio.connection import ClientOptions
from tests._memory import MemoryDialer, ToyServer, opened


@attrs.frozen
class Stage:
    """What an operation works on."""

    server: ToyServer
    nc: Client
    sub: Subscription
    dialer: MemoryDialer

    def message(self) -> Message:
        """A message that wants an answer."""
        return Message(self.nc, b"a", b"x", b"reply.to", None)


Act: TypeAlias = Callable[[Stage], Awaitable[object]]


@attrs.frozen
class Case:
    """One operation, how to make it succeed, and how to make it wait for ever.

    Attributes:
        ready: brings about that it succeeds.
        blocked: brings about that it waits; None where it never waits.
        ends: what it raises when the client is closed under it; NoneType where it ends cleanly.
        ends_cleanly: it raises nothing when the client is drained under it, but returns.
    """

    act: Act
    ready: Callable[[Stage], object] = lambda stage: None
    blocked: Callable[[Stage], object] | None = None
    ends: tuple[type[BaseException], ...] = (trio.ClosedResourceError,)
    ends_cleanly: bool = False


def hold_pongs(stage: Stage) -> None:
    stage.server.pongs_held = True


def fill_outbox(stage: Stage) -> None:
    """The writer hangs in the stream, and behind it there is no room."""
    stage.server.stall()
    stage.nc.publish_nowait("fill", b"x")


def be_silent(stage: Stage) -> None:
    stage.server.silent = True


def send_message(stage: Stage) -> None:
    stage.server.publish("pending", b"x")


async def handler(message: Message) -> bytes | None:
    return b""


async def enter_another_client(stage: Stage) -> None:
    async with open_client(stage.server.url, dialer=stage.dialer):
        pass


async def subscribe(stage: Stage) -> None:
    async with stage.nc.subscribe("b"):
        pass


async def serve(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.nc.serve, "b", handler)
        nursery.cancel_scope.cancel()


async def route(stage: Stage) -> None:
    router = Router()
    router.route("b")(handler)
    async with trio.open_nursery() as nursery:
        await nursery.start(router.run, stage.nc)
        nursery.cancel_scope.cancel()


async def run_another_client(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(run_client, ClientOptions(servers=(stage.server.url,)), stage.dialer)
        nursery.cancel_scope.cancel()


async def next_event(stage: Stage) -> None:
    async with stage.nc.events() as events:
        if not stage.server.pongs_held:
            stage.server.send(b"-ERR 'event'\r\n")
        await events.receive()


async def enter_many(stage: Stage) -> None:
    async with stage.nc.request_many("service", b"x"):
        pass


async def next_reply(stage: Stage) -> None:
    async with stage.nc.request_many("service", b"x") as replies:
        await replies.receive()


async def next_reply_of_all(stage: Stage) -> None:
    async with stage.nc.request_many("service", b"x") as replies:
        await anext(replies)


def answer(stage: Stage) -> None:
    stage.server.services[b"service"] = lambda payload: payload


received = partial(Case, ready=send_message, blocked=lambda stage: None, ends=(trio.EndOfChannel, StopAsyncIteration))
waits_for_pong = partial(Case, blocked=hold_pongs)

CASES: dict[str, Case] = {
    "open_client": Case(enter_another_client, blocked=be_silent, ends=()),
    "run_client": Case(run_another_client, blocked=be_silent, ends=()),
    "publish, confirmed": waits_for_pong(lambda stage: stage.nc.publish("a", b"x", confirm=True)),
    "request": Case(lambda stage: stage.nc.request("service", b"x"), ready=answer, blocked=lambda stage: None),
    "request_many": Case(enter_many),
    "replies.receive": Case(next_reply, ready=answer, blocked=lambda stage: None),
    "replies.anext": Case(next_reply_of_all, ready=answer, blocked=lambda stage: None),
    "flush": waits_for_pong(lambda stage: stage.nc.flush()),
    "rtt": waits_for_pong(lambda stage: stage.nc.rtt()),
    "confirmed": waits_for_pong(lambda stage: stage.sub.confirmed()),
    "subscribe": Case(subscribe),
    "unsubscribe": Case(lambda stage: stage.sub.unsubscribe()),
    "sub.drain": waits_for_pong(lambda stage: stage.sub.drain()),
    "receive": received(lambda stage: stage.sub.receive()),
    "receive_batch": received(lambda stage: stage.sub.receive_batch()),
    "anext": received(lambda stage: anext(stage.sub)),
    "serve": waits_for_pong(serve, ends_cleanly=True),
    "router.run": waits_for_pong(route, ends_cleanly=True),
    "events": waits_for_pong(next_event, ends=()),
    "drain": waits_for_pong(lambda stage: stage.nc.drain(), ends=()),
}
WAITING = {name: case for name, case in CASES.items() if case.blocked is not None}
# Those that are no amortised checkpoint although the operation could succeed at once.
STRICT = {name: case for name, case in CASES.items() if name not in ("receive", "receive_batch", "anext")}


class Staged:
    """A client with a subscription whose interest is confirmed, on a server of its own."""

    async def __aenter__(self) -> Stage:
        server = ToyServer()
        dialer = MemoryDialer(server)
        self._manager = opened(
            server,
            dialer=dialer,
            operation_timeout_seconds=None,
            connect_timeout_seconds=1e6,
            ping_interval_seconds=1e6,
            drain_deadline_seconds=1,
        )
        nc = await self._manager.__aenter__()
        self._sub = nc.subscribe("pending")
        await self._sub.__aenter__()
        await self._sub.confirmed()
        return Stage(server, nc, self._sub, dialer)

    async def __aexit__(self, *exc: object) -> None:
        self._sub.close()
        await self._manager.__aexit__(None, None, None)


@pytest.mark.parametrize("name", CASES)
async def test_it_checkpoints_when_it_succeeds(name: str, autojump_clock: MockClock) -> None:
    """A successful call has a schedule point and looks at cancellation."""
    async with Staged() as stage:
        case = CASES[name]
        if name in STRICT:
            case.ready(stage)
        if name in ("receive", "receive_batch", "anext"):  # they wait, and the message comes
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_when_blocked, partial(case.ready, stage))
                with trio.testing.assert_checkpoints():
                    await case.act(stage)
        else:
            with trio.testing.assert_checkpoints():
                await case.act(stage)


async def _when_blocked(act: Callable[[], object]) -> None:
    await trio.testing.wait_all_tasks_blocked()
    act()


@pytest.mark.parametrize("name", STRICT)
async def test_cancelled_before_it_does_nothing(name: str, autojump_clock: MockClock) -> None:
    """In a cancelled scope it raises Cancelled although it could succeed; no message of it was accepted."""
    async with Staged() as stage:
        case = STRICT[name]
        case.ready(stage)
        with trio.CancelScope() as scope:
            scope.cancel()
            await case.act(stage)
        assert scope.cancelled_caught
        assert stage.nc.ledger().accepted == 0
        await trio.testing.wait_all_tasks_blocked()
        assert stage.server.payloads == []


@pytest.mark.parametrize("name", WAITING)
async def test_cancelled_while_it_waits(name: str, autojump_clock: MockClock) -> None:
    """It ends within a few scheduler passes, and the client works on (but for its own drain)."""
    async with Staged() as stage, trio.open_nursery() as nursery:
        case = WAITING[name]
        assert case.blocked is not None
        case.blocked(stage)
        if name in ("request", "replies.receive", "replies.anext"):
            await stage.nc.subscribe("service").__aenter__()
        scope = trio.CancelScope()
        ended = trio.Event()

        async def act() -> None:
            with scope:
                await case.act(stage)
            ended.set()

        nursery.start_soon(act)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.5)
        assert not ended.is_set()
        scope.cancel()
        for _ in range(12):  # its own nurseries close in passes of their own
            await trio.lowlevel.checkpoint()
        assert ended.is_set()
        assert scope.cancelled_caught
        stage.server.silent = False
        stage.server.release_pongs()
        if name != "drain":
            await stage.nc.publish("a", b"behind", confirm=True)
            assert stage.nc.state is State.CONNECTED


@pytest.mark.parametrize("name", WAITING)
async def test_closed_while_it_waits(name: str, autojump_clock: MockClock) -> None:
    """When another task drains the client it is told: a ClosedResourceError, or the clean end of what is read."""
    async with Staged() as stage, trio.open_nursery() as nursery:
        case = WAITING[name]
        if not case.ends:
            return
        assert case.blocked is not None
        case.blocked(stage)
        if name in ("request", "replies.receive", "replies.anext"):
            await stage.nc.subscribe("service").__aenter__()
        errors: list[BaseException] = []
        returned: list[bool] = []

        async def act() -> None:
            try:
                await case.act(stage)
                returned.append(True)
            except BaseException as error:  # noqa: BLE001  # its very type is the law
                errors.append(error)

        nursery.start_soon(act)
        await trio.testing.wait_all_tasks_blocked()
        assert errors == []
        with contextlib.suppress(UndeliveredError):  # what waited may have been a publish
            await stage.nc.drain()
        await trio.testing.wait_all_tasks_blocked()
        if case.ends_cleanly:
            assert (errors, returned) == ([], [True])
            return
        (error,) = errors
        while isinstance(error, BaseExceptionGroup):  # of the nursery of serve's and run's caller
            (error,) = error.exceptions
        assert isinstance(error, case.ends)


@pytest.mark.parametrize("ending", ["cancelled", "closed", "lost"])
async def test_publish_that_waits_for_room(ending: str, autojump_clock: MockClock) -> None:
    """Cancelled it has sent nothing; closed it is told; when the link is lost it goes on in the pending queue."""
    async with Staged() as stage, trio.open_nursery() as nursery:
        fill_outbox(stage)
        await trio.testing.wait_all_tasks_blocked()
        stage.nc.publish_nowait("fill", b"x" * 200_000)
        results: list[object] = []
        scope = trio.CancelScope()

        async def act() -> None:
            with scope:
                try:
                    results.append(await stage.nc.publish("a", b"waits"))
                except (trio.ClosedResourceError, ConnectionLostError) as error:
                    results.append(error)

        nursery.start_soon(act)
        await trio.testing.wait_all_tasks_blocked()
        assert results == []
        if ending == "cancelled":
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert (results, scope.cancelled_caught) == ([], True)
            stage.server.resume()
            await stage.nc.flush()
            assert stage.server.payloads == [b"x", b"x" * 200_000]
        elif ending == "closed":
            with pytest.raises(UndeliveredError):  # what fills the outbox
                await stage.nc.drain()
            await trio.testing.wait_all_tasks_blocked()
            (error,) = results
            assert isinstance(error, trio.ClosedResourceError)
        else:
            stage.server.go_down()
            await trio.testing.wait_all_tasks_blocked()
            assert results == ["queued"]
            stage.server.resume()
            stage.server.come_up()
            await trio.sleep(10)
            await stage.nc.flush()
            assert stage.server.payloads == [b"x" * 200_000, b"waits"]


async def test_a_response_is_a_publish(autojump_clock: MockClock) -> None:
    """`respond` notices its cancellation within 64 calls, and has a schedule point every 1,024."""
    async with Staged() as stage:
        message = stage.message()
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2_048):
                await message.respond(b"x")
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64


async def test_closing_a_subscription_wakes_who_waits_for_it(autojump_clock: MockClock) -> None:
    """`close` of one task ends the receive of another at once."""
    async with Staged() as stage, trio.open_nursery() as nursery:
        ended: list[type[BaseException]] = []

        async def act() -> None:
            try:
                await stage.sub.receive()
            except trio.ClosedResourceError as error:
                ended.append(type(error))

        nursery.start_soon(act)
        await trio.testing.wait_all_tasks_blocked()
        stage.sub.close()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [trio.ClosedResourceError]


async def test_two_tasks_may_wait_for_the_same(autojump_clock: MockClock) -> None:
    """Cancelling one of several that wait for one PONG leaves the others their answer."""
    async with Staged() as stage, trio.open_nursery() as nursery:
        hold_pongs(stage)
        scopes = [trio.CancelScope() for _ in range(10)]
        answered: list[int] = []

        async def act(number: int) -> None:
            with scopes[number]:
                await stage.nc.flush()
                answered.append(number)

        for number in range(10):
            nursery.start_soon(act, number)
        await trio.testing.wait_all_tasks_blocked()
        for scope in scopes[::2]:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        stage.server.release_pongs()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(answered) == [1, 3, 5, 7, 9]
