"""Calls that fail at once: they yield and notice cancellation like those that succeed, and are counted by one rule.

A program that goes on over its errors must not freeze itself: the tasks that would end the errors need their turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, Message, NatsError, PendingFullError, State, Subscription
from tests._memory import Steps, ToyServer, lose_link, opened

Call: TypeAlias = Callable[[Client, Subscription], Awaitable[object]]

# Every few calls of `publish` one looks at cancellation, and at most so many go by without a schedule point.
CALLS_TO_CANCELLATION: Final = 64
CALLS_TO_YIELD: Final = 1_024


@attrs.frozen
class Situation:
    """How calls come to fail at once."""

    options: dict[str, Any]
    begin: Callable[[ToyServer, Client], Awaitable[object]]


async def exhaust(server: ToyServer, nc: Client) -> None:
    await lose_link(server)
    await trio.sleep(1)
    assert nc.state is State.EXHAUSTED


async def fill(server: ToyServer, nc: Client) -> None:
    await lose_link(server)
    await nc.publish("a", b"x")


async def close(server: ToyServer, nc: Client) -> None:
    await nc.drain()


SITUATIONS: Final = {
    "exhausted": Situation({"reconnect_attempts": 1}, exhaust),
    "full": Situation({"pending_policy": "error", "pending_operations_max": 1}, fill),
    "closed": Situation({}, close),
}


def message(nc: Client) -> Message:
    """A message that wants an answer."""
    return Message(nc, b"a", b"x", b"reply.to", None)


AMORTISED: Final[dict[str, Call]] = {
    "publish": lambda nc, sub: nc.publish("a", b"x"),
    "publish with headers": lambda nc, sub: nc.publish("a", b"x", headers={"A": "b"}),
    "respond": lambda nc, sub: message(nc).respond(b"x"),
}
WAITING: Final[dict[str, Call]] = {
    "confirm": lambda nc, sub: nc.publish("a", b"x", confirm=True),
    "request": lambda nc, sub: nc.request("a", b"x"),
    "flush": lambda nc, sub: nc.flush(),
    "rtt": lambda nc, sub: nc.rtt(),
    "confirmed": lambda nc, sub: sub.confirmed(),
}
FAILING_AT_ONCE: Final = [
    (situation, name)
    for situation in SITUATIONS
    for name in WAITING
    if situation != "full" or name in ("confirm", "request")  # a flush takes no place in the queue: it waits
]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", AMORTISED)
async def test_a_failing_publish_is_an_amortised_checkpoint(
    name: str, situation: str, autojump_clock: MockClock
) -> None:
    """A loop that ignores the errors is cancelled within 64 calls, and has a schedule point every 1,024."""
    server = ToyServer()
    call = AMORTISED[name]
    async with opened(server, **SITUATIONS[situation].options) as nc, nc.subscribe("b") as sub:
        await SITUATIONS[situation].begin(server, nc)
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2 * CALLS_TO_YIELD):
                calls += 1
                with pytest.raises(NatsError):
                    await call(nc, sub)
        assert scope.cancelled_caught
        assert calls <= CALLS_TO_CANCELLATION + 1
        steps = Steps()
        for _ in range(2 * CALLS_TO_YIELD):
            with pytest.raises(NatsError):
                await call(nc, sub)
        assert steps.count >= 2
        server.come_up()


@pytest.mark.parametrize("situation, name", FAILING_AT_ONCE)
async def test_what_waits_for_an_answer_is_a_checkpoint_when_it_fails(
    situation: str, name: str, autojump_clock: MockClock
) -> None:
    """Each call that fails at once has a schedule point; in a cancelled scope it raises Cancelled and not its error."""
    server = ToyServer()
    call = WAITING[name]
    async with opened(server, **SITUATIONS[situation].options) as nc, nc.subscribe("b") as sub:
        await SITUATIONS[situation].begin(server, nc)
        steps = Steps()
        for _ in range(100):
            with pytest.raises(NatsError):
                await call(nc, sub)
        assert steps.count >= 100
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(nc, sub)
        assert scope.cancelled_caught
        server.come_up()


async def test_skipped_calls_yield_too(autojump_clock: MockClock) -> None:
    """With fail_open a confirmed publish without a connection is a full checkpoint, the plain one an amortised one."""
    server = ToyServer()
    async with opened(server, fail_open=True) as nc:
        await lose_link(server)
        steps = Steps()
        for _ in range(100):
            await nc.publish("a", b"x", confirm=True)
        assert steps.count >= 100
        steps = Steps()
        for _ in range(2 * CALLS_TO_YIELD):
            await nc.publish("a", b"x")
        assert steps.count >= 2


@pytest.mark.parametrize("confirm", [False, True])
async def test_a_loop_over_errors_does_not_keep_the_link_from_coming_back(
    confirm: bool, autojump_clock: MockClock
) -> None:
    """A loop that publishes over PendingFullError ends when the server is back: the supervisor gets its turns."""
    server = ToyServer()
    async with opened(server, pending_policy="error", pending_operations_max=1, reconnect_jitter="none") as nc:
        await lose_link(server)
        await nc.publish("a", b"pending")
        server.come_up()
        failed = 0
        with trio.fail_after(60):
            while nc.state is not State.CONNECTED:
                assert failed < 100_000
                try:
                    await nc.publish("a", b"x", confirm=confirm)
                except PendingFullError:
                    failed += 1
                    autojump_clock.jump(0.001)
        assert failed
        await nc.flush()
    assert server.payloads[0] == b"pending"


@pytest.mark.parametrize("name", ["publish", "confirm", "request", "flush", "rtt", "confirmed"])
async def test_only_publishes_are_publish_failures(name: str, autojump_clock: MockClock) -> None:
    """In `exhausted` each failed publish is counted once as `disconnected`; a flush or a request is no publish."""
    server = ToyServer()
    call = (AMORTISED | WAITING)[name]
    async with opened(server, reconnect_attempts=1) as nc, nc.subscribe("b") as sub:
        await exhaust(server, nc)
        for _ in range(3):
            with pytest.raises(NatsError):
                await call(nc, sub)
        failures = {reason: count for reason, count in nc.stats().publish_failures.items() if count}
        assert failures == ({"disconnected": 3} if name in ("publish", "confirm") else {})
        confirmed = {reason: count for reason, count in nc.stats().confirmed_publish_failures.items() if count}
        assert confirmed == ({"disconnected": 3} if name == "confirm" else {})


BAD_CALLS: Final[dict[str, Callable[[Client], Awaitable[object]]]] = {
    "request to a wildcard": lambda nc: nc.request("a.*", b"x"),
    "request too large": lambda nc: nc.request("a", b"x" * 1_001),
    "respond too large": lambda nc: message(nc).respond(b"x" * 1_001),
    "respond to a wildcard": lambda nc: Message(nc, b"a", b"x", b"reply.*", None).respond(b"x"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
async def test_refused_arguments_yield_too(name: str, autojump_clock: MockClock) -> None:
    """Calls refused for their arguments, in a loop that ignores the errors, notice cancellation and starve nobody."""
    server = ToyServer(max_payload=1_000)
    call = BAD_CALLS[name]
    async with opened(server) as nc:
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2 * CALLS_TO_YIELD):
                calls += 1
                with pytest.raises(NatsError):
                    await call(nc)
        assert scope.cancelled_caught
        assert calls <= CALLS_TO_CANCELLATION + 1
        steps = Steps()
        for _ in range(2 * CALLS_TO_YIELD):
            with pytest.raises(NatsError):
                await call(nc)
        assert steps.count >= 2


async def test_too_many_requests_yields(autojump_clock: MockClock) -> None:
    """A loop of requests beyond `requests_inflight_max` lets the replies come that would make room for it."""
    server = ToyServer()
    async with opened(server, requests_inflight_max=1) as nc, trio.open_nursery() as nursery:
        server.deaf = True
        nursery.start_soon(partial(nc.request, "a", b"x"))
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        for _ in range(2 * CALLS_TO_YIELD):
            with pytest.raises(NatsError):
                await nc.request("a", b"x")
        assert steps.count >= 2
        nursery.cancel_scope.cancel()
        server.deaf = False
