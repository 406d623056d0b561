"""Entering and leaving `open_client`: nothing is left, and exceptions leave as they are."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    ClientClosedError,
    ClientOptions,
    InternalError,
    NatsError,
    State,
    Subscription,
    open_client,
    run_client,
)
from tests._memory import Audit, MemoryDialer, ToyServer, opened, tasks


def descriptors() -> list[str]:
    """What this process has open."""
    directory = Path("/proc/self/fd")
    return sorted(os.listdir(directory)) if directory.is_dir() else []


# Nothing left


class CancelAt(trio.abc.Instrument):
    """Cancels a scope right after the n-th scheduler step of a run that begins with the scope.

    Attributes:
        steps: steps of all tasks, each of which ends in a checkpoint. checkpoints: those of the task that made it.
    """

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self.steps = self.checkpoints = 0
        self._step = step
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and cancel when it is time."""
        self.steps += 1
        self.checkpoints += task is self._task
        if self.steps == self._step:
            self.scope.cancel()


async def life(server: ToyServer, dialer: MemoryDialer, audit: Audit) -> None:
    """Connect, subscribe, request, publish, drain."""
    async with open_client(server.url, dialer=dialer) as nc:
        audit.watch(nc)
        async with nc.subscribe("a.*", queue_group="q") as sub:
            await sub.confirmed()
            await nc.request("service", b"x")
            await nc.publish("a.1", b"x", headers={"A": "b"})
            await nc.publish("a.2", b"x", confirm=True)
            await sub.receive()
            await sub.receive_batch()
            await nc.flush()
            await sub.drain()
        await nc.drain()


async def one_life(step: int) -> CancelAt:
    """A life cancelled after one scheduler step; afterwards nothing may be left."""
    server = ToyServer()
    server.info_chunks = 4
    server.services[b"service"] = lambda payload: payload
    dialer = MemoryDialer(server)
    before = tasks()
    canceller, audit = CancelAt(step), Audit()
    trio.lowlevel.add_instrument(audit)
    trio.lowlevel.add_instrument(canceller)
    with canceller.scope:
        await life(server, dialer, audit)
    trio.lowlevel.remove_instrument(canceller)
    trio.lowlevel.remove_instrument(audit)
    assert tasks() == before
    assert dialer.open_streams == 0
    assert server.interests == []
    assert server.complaints == []
    assert audit.findings == []
    return canceller


async def test_cancelled_at_every_step_nothing_is_left(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cancelling a life of a client after each scheduler step, one after another, leaves no task, stream or fd."""
    before = descriptors()
    step = 0
    while (run := await one_life(step := step + 1)).scope.cancel_called:
        assert trio.current_effective_deadline() == float("inf")
    assert descriptors() == before
    with capsys.disabled():
        print(f" [cancelled after each of {run.steps} steps, {run.checkpoints} of them the caller's]", end="")
    assert run.steps > 60
    assert run.checkpoints >= 10


async def test_cancelled_while_dialling_the_stream_is_closed(autojump_clock: MockClock) -> None:
    """A cancelled dial, or a handshake with a silent server, leaves nothing open."""
    for seconds, silent in ((1.0, False), (0.0, True)):
        server = ToyServer()
        server.silent = silent
        dialer = MemoryDialer(server)
        dialer.dial_seconds = seconds
        with trio.move_on_after(0.5) as scope:
            async with open_client(server.url, dialer=dialer):
                raise AssertionError
        assert scope.cancelled_caught
        assert dialer.open_streams == 0


async def test_run_client_is_the_lower_form(autojump_clock: MockClock) -> None:
    """`nursery.start(run_client, options)` gives the client; it returns when the client was drained."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with trio.open_nursery() as nursery:
        nc: Client = await nursery.start(run_client, ClientOptions(servers=(server.url,)), dialer)
        await nc.publish("a", b"1")
        await nc.drain()
    assert server.payloads == [b"1"]
    assert dialer.open_streams == 0


async def test_a_client_is_opened_once(autojump_clock: MockClock) -> None:
    """Entering what `open_client` returned a second time is an error, whether it is open or not."""
    server = ToyServer()
    context = open_client(server.url, dialer=MemoryDialer(server))
    async with context as nc:
        with pytest.raises(RuntimeError):
            await context.__aenter__()
        await nc.flush()
    with pytest.raises(RuntimeError):
        await context.__aenter__()


async def test_leaving_drains(autojump_clock: MockClock) -> None:
    """What was published in the block has arrived when the block is left."""
    server = ToyServer()
    async with opened(server) as nc:
        for number in range(100):
            await nc.publish("a", b"%d" % number)
    assert server.payloads == [b"%d" % number for number in range(100)]
    assert (nc.state, nc.ledger().confirmed) == (State.CLOSED, 100)
    for call in (partial(nc.publish, "a", b"x"), partial(nc.request, "a"), nc.flush, nc.subscribe("a").__aenter__):
        with pytest.raises(ClientClosedError):
            await call()
    with pytest.raises(ClientClosedError):
        nc.publish_nowait("a", b"x")


# How exceptions leave


class MineError(Exception):
    pass


class MineBaseError(BaseException):
    pass


BODY_ERRORS = [
    MineError("mine"),
    MineBaseError("mine"),
    ExceptionGroup("mine", [MineError("one"), ValueError("two")]),
    BaseExceptionGroup("mine", [KeyboardInterrupt(), ValueError("two")]),
    KeyboardInterrupt(),
    SystemExit(3),
    trio.ClosedResourceError("mine"),
    ConnectionError("mine"),
    StopAsyncIteration("mine"),
]


@pytest.mark.parametrize("error", BODY_ERRORS, ids=repr)
async def test_the_users_exception_leaves_bare(error: BaseException, autojump_clock: MockClock) -> None:
    """Whatever the body raises leaves `open_client` as that very object: with a link, in an outage, and drained."""
    for situation in ("connected", "down", "stalled", "drained"):
        server = ToyServer()
        dialer = MemoryDialer(server)
        before = tasks()
        caught: BaseException | None = None
        try:
            async with open_client(server.url, dialer=dialer) as nc, nc.subscribe("a"):
                await nc.publish("a", b"x")
                if situation == "down":
                    server.go_down()
                    await trio.sleep(10)
                elif situation == "stalled":
                    server.stall()
                    await nc.publish("a", b"x")
                    await trio.testing.wait_all_tasks_blocked()
                elif situation == "drained":
                    await nc.drain()
                raise error
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it must be the same
            caught = exc
        assert caught is error, situation
        assert error.__cause__ is None
        assert tasks() == before
        assert dialer.open_streams == 0
        error.__context__ = None


async def test_the_users_exception_leaves_a_cancelled_scope_bare(autojump_clock: MockClock) -> None:
    """Raised while the scope around `open_client` is cancelled already it is still what leaves."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    with trio.CancelScope() as scope, pytest.raises(MineError):
        async with open_client(server.url, dialer=dialer) as nc:
            await nc.publish("a", b"x")
            scope.cancel()
            raise MineError
    assert scope.cancel_called
    assert not scope.cancelled_caught
    assert dialer.open_streams == 0


async def test_outer_timeouts_pass_unchanged(autojump_clock: MockClock) -> None:
    """move_on_after is caught where it was set, fail_after raises its TooSlowError, at their time."""
    server = ToyServer()
    began = trio.current_time()
    with trio.move_on_after(3) as scope:
        async with open_client(server.url, dialer=MemoryDialer(server)):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(3):
            async with open_client(server.url, dialer=MemoryDialer(server)) as nc, nc.subscribe("a") as sub:
                await sub.receive()
    assert trio.current_time() - began == pytest.approx(6)


async def test_a_timeout_while_leaving(autojump_clock: MockClock) -> None:
    """A deadline that strikes in the drain of a clean exit ends it at once; nothing is left."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    before = tasks()
    clients: list[Client] = []
    with trio.move_on_after(3) as scope:
        async with open_client(server.url, dialer=dialer, operation_timeout_seconds=None) as nc:
            clients.append(nc)
            server.pongs_held = True
            await nc.publish("a", b"x")
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)
    assert tasks() == before
    assert dialer.open_streams == 0
    assert clients[0].ledger().unknown == 1


async def test_a_cancelled_scope_inside_the_body_is_the_bodys(autojump_clock: MockClock) -> None:
    """Cancelling and failing inside the block leaves the client working."""
    server = ToyServer()
    async with opened(server) as nc:
        with trio.CancelScope() as scope:
            scope.cancel()
            await nc.flush()
        assert scope.cancelled_caught
        await nc.publish("a", b"x", confirm=True)


def test_ctrl_c_in_a_background_task_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT while a task of the client's runs leaves as KeyboardInterrupt, not as a group or a bug."""
    server = ToyServer()
    dialer = MemoryDialer(server)

    def interrupt(*args: object) -> list[object]:
        signal.raise_signal(signal.SIGINT)
        return []

    async def main() -> None:
        async with open_client(server.url, dialer=dialer, operation_timeout_seconds=1) as nc:
            monkeypatch.setattr("beamline_trio.connection._pongs.Pongs.overdue", interrupt)
            server.pongs_held = True
            await nc.flush()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert dialer.open_streams == 0


@pytest.mark.parametrize("situation", ["body", "receive", "flush"])
def test_ctrl_c_leaves_as_keyboard_interrupt(situation: str) -> None:
    """SIGINT while the body computes or waits is a bare KeyboardInterrupt, also when a task of ours runs just then."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    notes: list[str] = []

    async def main() -> None:
        async with open_client(server.url, dialer=dialer) as nc, nc.subscribe("a", callback=interrupt):
            await nc.flush()
            if situation == "body":
                signal.raise_signal(signal.SIGINT)
            server.publish("a", b"x")  # the callback runs in the reader, which is protected
            if situation == "receive":
                async with nc.subscribe("b") as sub:
                    await sub.receive()
            await nc.flush()
            await trio.sleep(1)
            notes.append("not interrupted")

    def interrupt(message: object) -> None:
        signal.raise_signal(signal.SIGINT)
        notes.append("callback returned")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert notes == ([] if situation == "body" else ["callback returned"])
    assert dialer.open_streams == 0


class BugError(Exception):
    pass


BUGS = [
    "_link.Link.on_pong",
    "_link.Link._ping",
    "_link.Link.run",
    "_outbox.Outbox.take",
    "_pongs.Pongs.overdue",
    "_supervisor.Supervisor._reconnect",
]


@pytest.mark.parametrize("place", BUGS)
async def test_a_bug_in_a_background_task_is_one_internal_error(
    place: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """It ends the body, and leaves as one InternalError whose causes lead to the bug; nothing is left."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    before = tasks()
    bug = BugError()

    def broken(*args: object) -> None:
        raise bug

    clients: list[Client] = []
    with pytest.raises(InternalError) as caught:
        async with open_client(server.url, dialer=dialer, operation_timeout_seconds=0.5) as nc:
            clients.append(nc)
            monkeypatch.setattr(f"beamline_trio.connection.{place}", broken)
            while True:  # whichever part is broken, this comes to it
                for server.pongs_held in (False, True):
                    try:
                        await nc.publish("a", b"x", confirm=True)
                    except NatsError:
                        pass
                server.release_pongs()
                server.drop()
    assert "BugError" in str(caught.value)
    cause = caught.value.__cause__
    while isinstance(cause, BaseExceptionGroup):
        assert len(cause.exceptions) == 1
        cause = cause.exceptions[0]
    assert cause is bug
    assert tasks() == before
    assert dialer.open_streams == 0
    assert clients[0].state is State.CLOSED


async def test_a_bug_in_the_first_connect_is_one_internal_error(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Entering raises it as one InternalError too; nothing is left."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    before = tasks()

    async def broken(self: object) -> None:
        raise BugError

    monkeypatch.setattr("beamline_trio.connection._handshake.Handshake.run", broken)
    with pytest.raises(InternalError, match="BugError"):
        async with open_client(server.url, dialer=dialer):
            raise AssertionError
    assert tasks() == before
    assert dialer.open_streams == 0


async def test_shielded_cleanup_in_a_cancelled_body_has_a_working_client(autojump_clock: MockClock) -> None:
    """Cancelling around `open_client` stops the body first: what it shields can still use the client."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    outcomes: list[object] = []
    with trio.move_on_after(1) as scope:
        async with open_client(server.url, dialer=dialer) as nc:
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(5, shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    outcomes.append(await nc.publish("bye", b"", confirm=True))
    assert scope.cancelled_caught
    assert outcomes == ["sent"]
    assert dialer.open_streams == 0


async def test_a_dead_reader_never_says_connected(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Even when a bug ends it, the reader says so in the step in which it ends."""
    server = ToyServer()
    audit = Audit()

    def broken(self: object, data: bytes) -> None:
        raise BugError

    trio.lowlevel.add_instrument(audit)
    with pytest.raises(InternalError):
        async with open_client(server.url, dialer=MemoryDialer(server)) as nc:
            audit.watch(nc)
            await nc.flush()
            monkeypatch.setattr("beamline_trio.protocol.Parser._parse", broken)
            server.send(b"PING\r\n")
            await trio.sleep_forever()
    trio.lowlevel.remove_instrument(audit)
    audit.check()


async def test_subscriptions_may_be_left_after_the_client(autojump_clock: MockClock) -> None:
    """A subscription that outlives its client is left without an error and without a byte."""
    server = ToyServer()
    sub: Subscription | None = None
    async with trio.open_nursery() as nursery:

        async def hold(nc: Client) -> None:
            nonlocal sub
            async with nc.subscribe("a") as sub:
                await trio.sleep(10)

        async with opened(server) as nc:
            nursery.start_soon(hold, nc)
            await trio.testing.wait_all_tasks_blocked()
    assert sub is not None
    assert nc.stats().subscriptions == 0
