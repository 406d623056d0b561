"""The guards at work, in virtual time: what they tell, when, and what they hold."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from beamline_trio import Client
from beamline_trio.connection import Closed, Connected, Event, StageEvent
from beamline_trio.router import Backpressure, Breaker, KillSwitch
from beamline_trio.router._events import BackpressureChanged, BreakerChanged, IntakePaused, IntakeResumed
from beamline_trio.router._guards import LOOK_SECONDS, RouteBreaker, RouterGuards
from tests._memory import ToyServer, opened
from tests.router._guarded import StandInRoute


def of_router(events: list[Event]) -> list[Event]:
    """The events but for those of the connection."""
    return [event for event in events if isinstance(event, StageEvent)]


@asynccontextmanager
async def told(nc: Client) -> AsyncGenerator[list[Event]]:
    """The events of a client, as they come."""
    events: list[Event] = []

    async def listen() -> None:
        async for event in nc.events():
            events.append(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        yield events
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def codes(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """The router's log records: the code and its facts."""
    names = ("route", "key", "router", "pressure", "pending", "in_flight", "messages", "failures", "pause_seconds")
    return [
        (record.__dict__["event"], {name: vars(record)[name] for name in names if name in vars(record)})
        for record in caplog.records
        if str(record.__dict__.get("event")).startswith("ROUTER_")
    ]


async def test_a_breaker_tells_each_transition_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Open, half open, closed: an event and a record each, with route and key; the key as one line of 128 at most."""
    caplog.set_level(logging.INFO, "beamline_trio")
    breaker = RouteBreaker("bill", Breaker(failures=2, successes=1, open_seconds=3.0, by=lambda message: message))
    key = "acme\r\n" + "x" * 500
    async with opened(ToyServer()) as nc, told(nc) as events:
        breaker.attach(nc)
        for _ in range(2):
            call = breaker.admit(key, 0.0)
            assert call is not None
            breaker.settle(call, failed=True, seconds=0.1, now=0.0)
        assert breaker.admit(key, 1.0) is None
        assert breaker.retry_after(key, 1.0) == 2.0
        assert breaker.admit("other", 1.0) is not None
        call = breaker.admit(key, 3.0)
        assert call is not None
        breaker.withdraw(call)
        call = breaker.admit(key, 3.0)
        assert call is not None
        breaker.settle(call, failed=False, seconds=0.1, now=3.1)
        await trio.testing.wait_all_tasks_blocked()
    found = of_router(events)
    assert [(one.before, one.after) for one in found if isinstance(one, BreakerChanged)] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    (shown,) = {(one.route, one.key) for one in found if isinstance(one, BreakerChanged)}
    assert shown[0] == "bill"
    assert shown[1].startswith("acme xxx")
    assert len(shown[1]) == 128
    assert [code for code, _ in codes(caplog)] == [
        "ROUTER_BREAKER_OPEN",
        "ROUTER_BREAKER_HALF_OPEN",
        "ROUTER_BREAKER_CLOSED",
    ]
    assert all(facts == {"route": "bill", "key": shown[1]} for _, facts in codes(caplog))


async def test_one_breaker_for_a_route_without_a_key(autojump_clock: MockClock) -> None:
    """All messages share it, and its key is told as empty."""
    breaker = RouteBreaker("bill", Breaker(failures=1))
    async with opened(ToyServer()) as nc, told(nc) as events:
        breaker.attach(nc)
        call = breaker.admit("one message", 0.0)
        assert call is not None
        breaker.settle(call, failed=True, seconds=0.0, now=0.0)
        assert breaker.admit("another message", 0.0) is None
    assert of_router(events) == [BreakerChanged("bill", "", "closed", "open")]


def test_without_a_client_there_is_nobody_to_tell_and_everything_is_counted() -> None:
    """A router's data can be used before it runs."""
    breaker = RouteBreaker("bill", Breaker(failures=1))
    call = breaker.admit("m", 0.0)
    assert call is not None
    breaker.settle(call, failed=True, seconds=0.0, now=0.0)
    assert sum(breaker.breakers.transitions.values()) == 1


def test_a_key_function_that_raises_admits_nothing() -> None:
    """Its error is the caller's, and no call is under way."""
    breaker = RouteBreaker("bill", Breaker(by=lambda message: message["Tenant"]))
    with pytest.raises(KeyError):
        breaker.admit({}, 0.0)
    assert len(breaker.breakers) == 0


async def test_the_kill_switch_holds_every_route_and_releases_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It pauses within one look, for pause_seconds, and leaves holds for other reasons alone."""
    caplog.set_level(logging.INFO, "beamline_trio")
    bad, good = StandInRoute(), StandInRoute(holds={"user"})
    guards = RouterGuards("orders", KillSwitch(messages_min=10, pause_seconds=20.0), Backpressure())
    async with opened(ToyServer()) as nc, told(nc) as events, trio.open_nursery() as nursery:
        nursery.start_soon(guards.run, nc, {"bad": bad, "good": good})
        await trio.sleep(1.1)
        assert (bad.holds, good.holds) == (set(), {"user"})
        bad.handle(9, failed=True)
        good.handle(1)
        await trio.sleep(LOOK_SECONDS)
        assert (bad.holds, good.holds) == ({"kill_switch"}, {"kill_switch", "user"})
        bad.handle(50, failed=True)  # taken before; they say nothing about the next try
        await trio.sleep(20.0 - LOOK_SECONDS)
        assert bad.holds == {"kill_switch"}
        await trio.sleep(2 * LOOK_SECONDS)
        assert (bad.holds, good.holds) == (set(), {"user"})
        bad.handle(5)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert of_router(events) == [IntakePaused("orders", 10, 9, 20.0), IntakeResumed("orders")]
    assert codes(caplog) == [
        ("ROUTER_INTAKE_PAUSED", {"router": "orders", "messages": 10, "failures": 9, "pause_seconds": 20.0}),
        ("ROUTER_INTAKE_RESUMED", {"router": "orders"}),
    ]


async def test_guards_that_end_hold_nothing(autojump_clock: MockClock) -> None:
    """A router that runs again takes messages again."""
    route = StandInRoute()
    guards = RouterGuards("orders", KillSwitch(messages_min=1), Backpressure())
    async with opened(ToyServer()) as nc, trio.open_nursery() as nursery:
        nursery.start_soon(guards.run, nc, {"r": route})
        await trio.lowlevel.checkpoint()
        route.handle(3, failed=True)
        await trio.sleep(2 * LOOK_SECONDS)
        assert route.holds == {"kill_switch"}
        nursery.cancel_scope.cancel()
    assert route.holds == set()


async def test_a_level_is_told_when_it_changes(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers of all routes together; up within one look, down after the recovery, nothing in between."""
    caplog.set_level(logging.INFO, "beamline_trio")
    one, other = StandInRoute(), StandInRoute()
    guards = RouterGuards("orders", None, Backpressure(recovery_seconds=4.0))
    async with opened(ToyServer()) as nc, told(nc) as events, trio.open_nursery() as nursery:
        nursery.start_soon(guards.run, nc, {"one": one, "other": other})
        await trio.sleep(1.1)
        one.waiting, other.waiting = 600, 400
        await trio.sleep(1)
        for _ in range(500):
            other.counters.take(1)
        await trio.sleep(1)
        one.waiting = other.waiting = 0
        await trio.sleep(3)
        assert guards.meter.level.value == "active"
        await trio.sleep(2)
        assert guards.meter.level.value == "warning"
        for _ in range(500):
            other.counters.end("ok", 0.2)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert of_router(events) == [
        BackpressureChanged("orders", "warning", 1000, 0, 0.0),
        BackpressureChanged("orders", "active", 1000, 500, 0.0),
        BackpressureChanged("orders", "warning", 0, 500, 0.0),
        BackpressureChanged("orders", "inactive", 0, 0, 0.48),
    ]
    assert [code for code, _ in codes(caplog)] == 3 * ["ROUTER_BACKPRESSURE"] + ["ROUTER_BACKPRESSURE_OVER"]
    assert codes(caplog)[1][1] == {"router": "orders", "pressure": "active", "pending": 1000, "in_flight": 500}


async def test_the_events_of_a_router_come_between_those_of_its_client(autojump_clock: MockClock) -> None:
    """One stream has all, in order."""
    kinds: list[type] = []

    async def listen(nc: Client) -> None:
        async for event in nc.events():
            kinds.append(type(event))

    async with trio.open_nursery() as nursery, opened(ToyServer()) as nc:
        nursery.start_soon(listen, nc)
        await trio.testing.wait_all_tasks_blocked()
        breaker = RouteBreaker("bill", Breaker(failures=1))
        breaker.attach(nc)
        call = breaker.admit("m", 0.0)
        assert call is not None
        breaker.settle(call, failed=True, seconds=0.0, now=0.0)
    assert kinds in ([BreakerChanged, Closed], [Connected, BreakerChanged, Closed])
