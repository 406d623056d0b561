"""The books: they add up at every scheduler step, and say what really became of each publish.

`opened` audits the ledger after every step of every task in all tests of this suite; here operations, outages, stalls
and cancellations come in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import (
    Client,
    Dropped,
    Event,
    NatsError,
    OperationTimeoutError,
    Outcome,
    PermissionsError,
    State,
    UndeliveredError,
)
from tests._memory import MemoryDialer, ToyServer, opened

SIZES = st.sampled_from([0, 1, 100, 3_000])


@attrs.define
class World:
    """A client and what its callers were told of their publishes, by payload."""

    server: ToyServer
    nc: Client
    nursery: trio.Nursery
    scopes: list[trio.CancelScope] = attrs.field(factory=list)
    sent: list[bytes] = attrs.field(factory=list)
    confirmed: list[bytes] = attrs.field(factory=list)
    in_order: list[bytes] = attrs.field(factory=list)
    count: int = 0

    def payload(self, size: int) -> bytes:
        self.count += 1
        return b"%d:" % self.count + b"x" * size

    def start(self, operation: Callable[[], Any]) -> None:
        """Run an operation in a task and a scope of its own; the errors of the catalogue are expected."""
        scope = trio.CancelScope()
        self.scopes.append(scope)

        async def run() -> None:
            with scope:
                try:
                    await operation()
                except (NatsError, trio.TooSlowError):
                    pass

        self.nursery.start_soon(run)


Step = Callable[[World], None]


def publish(size: int) -> Step:
    def step(world: World) -> None:
        payload = world.payload(size)

        async def act() -> None:
            if await world.nc.publish("a", payload) in (Outcome.SENT, Outcome.QUEUED):
                world.sent.append(payload)

        world.start(act)

    return step


def publish_nowait(size: int) -> Step:
    def step(world: World) -> None:
        payload = world.payload(size)
        try:
            outcome = world.nc.publish_nowait("a", payload, headers={"A": "b"})
        except (trio.WouldBlock, NatsError):
            return
        if outcome in (Outcome.SENT, Outcome.QUEUED):
            world.sent.append(payload)
            world.in_order.append(payload)

    return step


def confirm(size: int) -> Step:
    def step(world: World) -> None:
        payload = world.payload(size)

        async def act() -> None:
            if await world.nc.publish("a", payload, confirm=True) is Outcome.SENT:
                world.confirmed.append(payload)

        world.start(act)

    return step


def refused(world: World) -> None:
    async def act() -> None:
        try:
            await world.nc.publish("no", b"x", confirm=True)
        except PermissionsError:
            pass

    world.start(act)


def request(world: World) -> None:
    world.start(lambda: world.nc.request("service", world.payload(10)))


def request_nobody(world: World) -> None:
    world.start(lambda: world.nc.request("nobody", world.payload(10)))


def flush(world: World) -> None:
    world.start(world.nc.flush)


def cancel_first(world: World) -> None:
    if world.scopes:
        world.scopes.pop(0).cancel()


def cancel_last(world: World) -> None:
    if world.scopes:
        world.scopes.pop().cancel()


def drop(world: World) -> None:
    world.server.drop()


def go_down(world: World) -> None:
    world.server.go_down(reset=True)


def come_up(world: World) -> None:
    world.server.come_up()


def stall(world: World) -> None:
    world.server.stall()


def resume(world: World) -> None:
    world.server.resume()


def hold_pongs(world: World) -> None:
    world.server.pongs_held = True


def release_one_pong(world: World) -> None:
    world.server.release_pongs(1)


def release_pongs(world: World) -> None:
    world.server.release_pongs()


def garbage(world: World) -> None:
    world.server.send(b"GARBAGE\r\n")


def stray_pong(world: World) -> None:
    """Only where no PING is unanswered: a PONG has no name, and one too many would stand for another."""
    if not any(link.pongs_owed for link in world.server.links):
        world.server.send(b"+OK\r\n")


def leave_it_to(seconds: float) -> Any:
    async def step(world: World) -> None:
        await trio.sleep(seconds)

    return step


STEPS = st.one_of(
    SIZES.map(publish),
    SIZES.map(publish_nowait),
    SIZES.map(confirm),
    st.sampled_from([refused, request, request_nobody, flush, cancel_first, cancel_last]),
    st.sampled_from([drop, go_down, come_up, come_up, stall, resume, resume]),
    st.sampled_from([hold_pongs, release_one_pong, release_pongs, garbage, stray_pong]),
    st.sampled_from([0.0, 0.0, 0.01, 0.3, 3.0, 30.0]).map(leave_it_to),
)
OPTIONS: dict[str, Any] = {
    "outbox_bytes_max": 5_000,
    "pending_operations_max": 6,
    "pending_timeout_seconds": 20,
    "operation_timeout_seconds": 4,
    "ping_interval_seconds": 7,
    "pong_timeout_seconds": 3,
    "reconnect_delay_max_seconds": 2,
    "drain_deadline_seconds": 5,
}


@settings(max_examples=200)
@given(
    steps=st.lists(STEPS, max_size=40),
    policy=st.sampled_from(["block", "error", "drop_oldest", "drop_new"]),
    fail_open=st.booleans(),
    attempts=st.sampled_from([None, 1, 4]),
    end=st.sampled_from(["drain", "raise", "restore"]),
)
def test_the_books_add_up_whatever_happens(
    steps: list[Any], policy: str, fail_open: bool, attempts: int | None, end: str
) -> None:
    """At every step; what was confirmed to a caller arrived, nothing arrived twice, and what one task sent in order."""
    clients: list[Client] = []
    told: list[int] = []

    async def main() -> None:
        server = ToyServer()
        server.services[b"service"] = lambda payload: payload
        server.denied_publish.add(b"no")
        options = OPTIONS | {"pending_policy": policy, "fail_open": fail_open, "reconnect_attempts": attempts}
        try:
            async with opened(server, dialer=MemoryDialer(server), **options) as nc, trio.open_nursery() as nursery:
                clients.append(nc)
                _listen(nc, told)
                world = World(server, nc, nursery)
                for step in steps:
                    if (waiting := step(world)) is not None:
                        await waiting
                if end == "raise":
                    nursery.cancel_scope.cancel()
                    raise KeyError
                for settle in (resume, come_up, release_pongs):
                    settle(world)
                if end == "restore":
                    await trio.sleep(60)
                    assert nc.state is State.CONNECTED
                    await nc.flush()
                    ledger = nc.ledger()
                    assert ledger.open == 0
                    assert policy.startswith("drop") or not ledger.dropped
                    _check(world)
                    nursery.cancel_scope.cancel()
                else:
                    await _drain(nc)
                    nursery.cancel_scope.cancel()
        except* KeyError:
            pass

    trio.run(main, clock=MockClock(autojump_threshold=0))
    ledger, statistics = clients[0].ledger(), clients[0].stats()
    assert ledger.balanced
    assert ledger.open == 0
    assert sum(told) == ledger.expired + ledger.dropped
    assert statistics.pending_retry_success + statistics.pending_retry_failed <= statistics.pending_retried


def _listen(nc: Client, told: list[int]) -> None:
    """At every event the gauge is the length of the queue and the books add up; how many each says were dropped."""
    connection = nc.connection
    emit = connection.events.emit

    def look(event: Event) -> None:
        operations = [operation for operation in connection.pending._queue if operation.frame]
        assert nc.stats().pending_operations == len(operations)
        assert nc.stats().pending_bytes == sum(len(operation.frame) for operation in operations)
        assert nc.ledger().balanced
        if isinstance(event, Dropped):
            assert event.subject
            told.append(event.count)
        emit(event)

    connection.events.emit = look  # type: ignore[method-assign]


async def _drain(nc: Client) -> None:
    """An error has the exact counts of what was not delivered; without one there is none."""
    before = nc.ledger()
    unsent = unknown = 0
    try:
        await nc.drain()
    except UndeliveredError as error:
        unsent, unknown = error.unsent, error.unknown
        assert unsent or unknown
    after = nc.ledger()
    assert unsent == after.dropped - before.dropped + after.expired - before.expired
    assert unknown == after.unknown - before.unknown
    assert after.open == 0


def _check(world: World) -> None:
    """What the callers were told against what the server has."""
    arrived = [payload for payload in world.server.payloads if payload != b"x"]
    ledger = world.nc.ledger()
    assert len(set(arrived)) == len(arrived)
    assert set(world.confirmed) <= set(arrived)
    assert [payload for payload in arrived if payload in world.in_order] == [
        payload for payload in world.in_order if payload in arrived
    ]
    missing = [payload for payload in world.sent if payload not in arrived]
    assert len(missing) <= ledger.unknown + ledger.expired + ledger.dropped
    assert ledger.confirmed + ledger.failed <= len(world.server.payloads)
    assert len(world.server.payloads) <= ledger.confirmed + ledger.failed + ledger.unknown


async def test_every_fate_has_its_entry(autojump_clock: MockClock) -> None:
    """One publish for each: confirmed, failed, expired, dropped, unknown, skipped, withdrawn."""
    server = ToyServer()
    server.denied_publish.add(b"no")
    async with opened(server, pending_timeout_seconds=5, drain_deadline_seconds=1) as nc:
        await nc.publish("a", b"confirmed", confirm=True)
        await nc.publish("no", b"failed")
        await nc.flush()
        server.pongs_held = True
        await nc.publish("a", b"unknown")
        await trio.testing.wait_all_tasks_blocked()
        server.go_down()
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"expired")
        with trio.move_on_after(1):
            await nc.publish("a", b"withdrawn", confirm=True)
        await trio.sleep(5)
        await nc.publish("a", b"dropped")
        assert nc.ledger().open == 1
        with pytest.raises(UndeliveredError, match="1 publishes not sent and 0 of unknown fate") as caught:
            await nc.drain()
        assert (caught.value.unsent, caught.value.unknown) == (1, 0)
    ledger = nc.ledger()
    assert attrs.asdict(ledger) == {
        "accepted": 5,
        "open": 0,
        "confirmed": 1,
        "failed": 1,
        "expired": 1,
        "dropped": 1,
        "unknown": 1,
        "skipped": 0,
    }
    assert nc.stats().publish_failures["closed"] == 1


async def test_each_failed_call_counts_once(autojump_clock: MockClock) -> None:
    """A confirmed publish that fails moves its counter by one, whatever its fate."""
    server = ToyServer()
    server.denied_publish.add(b"no")
    expected = dict.fromkeys(("permission", "timeout", "disconnected", "pending_timeout"), 1)
    options: dict[str, Any] = {"operation_timeout_seconds": 1, "pending_timeout_seconds": 2}
    async with opened(server, ping_interval_seconds=100, **options) as nc:
        subjects = iter(("no", "timeout", "disconnected", "pending_timeout"))
        for subject in subjects:
            if subject == "timeout":
                server.pongs_held = True
            elif subject == "pending_timeout":
                server.refuses = True
            async with trio.open_nursery() as nursery:
                if subject == "disconnected":
                    nursery.start_soon(_drop_when_blocked, server)
                try:
                    await nc.publish(subject, b"x", confirm=True)
                except NatsError:
                    pass
            if subject == "disconnected":
                server.release_pongs()
        failures = nc.stats().confirmed_publish_failures
        assert {reason: count for reason, count in failures.items() if count} == expected
        assert nc.stats().confirmed_publishes == 0


async def _drop_when_blocked(server: ToyServer) -> None:
    await trio.testing.wait_all_tasks_blocked()
    server.go_down()


async def test_a_refusal_that_comes_after_the_timeout_is_no_second_failure(autojump_clock: MockClock) -> None:
    """The call failed once, by its timeout; the ledger knows what became of it. The next refusal counts again."""
    server = ToyServer()
    refusal = b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"
    async with opened(server, ping_interval_seconds=100, operation_timeout_seconds=1) as nc:
        server.pongs_held = True
        with pytest.raises(OperationTimeoutError):
            await nc.publish("a", b"x", confirm=True)
        server.send(refusal)
        await trio.testing.wait_all_tasks_blocked()
        assert {reason: count for reason, count in nc.stats().publish_failures.items() if count} == {"timeout": 1}
        await nc.publish("a", b"y")
        await trio.testing.wait_all_tasks_blocked()
        server.send(refusal)
        server.release_pongs()
        await nc.flush()
        assert nc.stats().publish_failures["permission"] == 1
        assert nc.ledger().failed == 2


# What a reply proves


@pytest.mark.parametrize("many", [False, True])
async def test_a_reply_confirms_what_was_written_before_its_request(many: bool, autojump_clock: MockClock) -> None:
    """Without any PONG the request and what was written before it are confirmed; what comes behind is open, and unknown
    when the link dies.
    """
    server = ToyServer()
    server.services[b"service"] = lambda _: b"reply"
    async with opened(server, reconnect_delay_max_seconds=0.01) as nc:
        await nc.publish("a", b"before")
        if many:
            async with nc.request_many("service", max_replies=1) as replies:
                assert [reply.payload async for reply in replies] == [b"reply"]
        else:
            assert (await nc.request("service")).payload == b"reply"
        await nc.publish("a", b"behind")
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.ledger().confirmed, nc.ledger().open, nc.stats().pings) == (2, 1, 0)
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.ledger().confirmed, nc.ledger().unknown) == (2, 1)
        assert nc.stats().publish_failures["disconnected"] == 1


async def test_a_timeout_that_a_reply_disproves_is_no_other_publishs_failure(autojump_clock: MockClock) -> None:
    """A confirmed publish with no PONG in time is counted as a timeout. If a reply shows that it arrived, and then the
    link dies, it is not one of the unknown, and each of those counts as disconnected.
    """
    server = ToyServer()
    server.services[b"service"] = lambda _: b"reply"
    async with opened(server, operation_timeout_seconds=1.0, reconnect_delay_max_seconds=0.01) as nc:
        server.pongs_held = True
        with pytest.raises(OperationTimeoutError):
            await nc.publish("a", b"x", confirm=True)
        await nc.request("service")
        await nc.publish("a", b"behind")
        await trio.testing.wait_all_tasks_blocked()
        server.pongs_held = False
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.ledger().confirmed, nc.ledger().unknown) == (2, 1)
        failures = nc.stats().publish_failures
        assert (failures["timeout"], failures["disconnected"]) == (1, 1)
