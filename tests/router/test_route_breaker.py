"""Routes with a circuit breaker: what it refuses never reaches the handler, and is not lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio

from beamline_trio import Client, Message, open_client
from beamline_trio.connection import Event
from beamline_trio.router import (
    Breaker,
    BreakerChanged,
    BreakerState,
    DeadLetter,
    Delivery,
    Reject,
    Retry,
    RetryLater,
    Router,
)
from beamline_trio.router._retry import refused_delay
from beamline_trio.simulation import World
from tests.router._streams import ended, fill, running, streams

NEVER = Breaker(failures=1, open_seconds=1000)


def states(router: Router, name: str) -> dict[BreakerState, int]:
    """The route's breakers, by what they let through."""
    breaker = router.routes[name].breaker
    assert breaker is not None
    return {state: number for state, number in breaker.breakers.states.items() if number}


async def test_a_message_of_a_stream_waits_until_the_breaker_is_tried_again(nats_world: World) -> None:
    """Five failures open it; what comes then is given back unhandled, and done when the handler works again."""
    router = Router("r")
    down, calls = True, 0
    retry = Retry(delays_seconds=(1,), max_deliver=10)

    @router.route("in.*", stream="IN", retry=retry, breaker=Breaker(open_seconds=30, successes=1))
    async def provider(message: Message) -> None:
        nonlocal calls
        calls += 1
        if down:
            raise ValueError("down")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 20)
        async with running(router, nc):
            await trio.sleep(10)
            assert calls == 5
            assert states(router, "provider") == {BreakerState.OPEN: 1}
            down = False
            await trio.sleep(100)
            assert states(router, "provider") == {BreakerState.CLOSED: 1}
        assert (await jetstream.consumer_info("IN", "provider")).num_ack_pending == 0
    statistics = router.routes["provider"].statistics()
    outcomes = ended(router.routes["provider"])
    assert (calls, outcomes["ok"], outcomes["retried"]) == (25, 20, 5)
    assert outcomes["returned"] == statistics.breaker_refusals == statistics.retries["backpressure"] >= 15


@pytest.mark.parametrize("dead_letter, outcome", [("dead.in", "dead_lettered"), (None, "terminated")])
async def test_what_is_refused_on_its_last_delivery_is_given_up(
    dead_letter: str | None, outcome: str, nats_world: World
) -> None:
    """With the reason breaker_open in its dead letter, or by a term where there is none."""
    router = Router("r")
    retry = Retry(delays_seconds=(0.1,), max_deliver=2)

    @router.route("in.*", stream="IN", retry=retry, dead_letter=dead_letter, breaker=Breaker(failures=1))
    async def down(message: Message) -> None:
        raise ValueError("down")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(10)
        if dead_letter is not None:
            dead = await jetstream.get_message("DEAD", sequence=1)
            assert dead.headers["Beamline-Cause"] == "breaker_open"
            assert dead.headers["Beamline-Reason"] == "its circuit breaker is open"
    assert ended(router.routes["down"]) == {"retried": 1, outcome: 1}


async def test_a_request_is_told_at_once(nats_world: World) -> None:
    """The error 503, without a wait; the handler is not called."""
    router = Router("r")
    calls = 0

    @router.route("ask", breaker=NEVER)
    async def ask(message: Message) -> bytes | None:
        nonlocal calls
        calls += 1
        raise ValueError("down")

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        assert (await nc.request("ask", b"")).headers["Nats-Service-Error-Code"] == "500"
        began = trio.current_time()
        refused = await nc.request("ask", b"")
        assert trio.current_time() - began < 0.1
        assert refused.headers["Nats-Service-Error-Code"] == "503"
        assert refused.headers["Nats-Service-Error"] == "its circuit breaker is open"
        await nc.publish("ask", b"nobody waits for an answer", confirm=True)
    assert (calls, ended(router.routes["ask"])) == (1, {"error": 1, "unavailable": 2})


async def test_keys_have_breakers_of_their_own_and_transitions_are_told(nats_world: World) -> None:
    """The tenant that fails is refused, the others are served; the client's events name its key."""
    router = Router("r")

    @router.route("ask.*", breaker=Breaker(by=lambda message: message.subject, failures=1))
    async def ask(message: Message) -> bytes | None:
        if message.subject == "ask.bad":
            raise ValueError("down")
        return b"yes"

    server = await nats_world.start_server("a")
    seen: list[Event] = []
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, trio.open_nursery() as nursery:
        nursery.start_soon(watch, nc, seen)
        async with running(router, nc):
            await nc.request("ask.bad", b"")
            assert (await nc.request("ask.good", b"")).payload == b"yes"
            assert (await nc.request("ask.bad", b"")).headers["Nats-Service-Error-Code"] == "503"
        nursery.cancel_scope.cancel()
    changes = [event for event in seen if isinstance(event, BreakerChanged)]
    assert [(change.route, change.key, change.after) for change in changes] == [("ask", "ask.bad", "open")]


async def watch(nc: Client, seen: list[Event]) -> None:
    """All events of a client."""
    async for event in nc.events():
        seen.append(event)


def test_refused_messages_do_not_come_back_together() -> None:
    """Never before the breaker is tried again, and spread behind it as the route's retries are."""
    chance = random.Random(7)
    delays = [refused_delay(Retry(jitter=0.2), 10.0, chance) for _ in range(1000)]
    assert 10 <= min(delays) < 10.1
    assert 11.9 < max(delays) <= 12


def raising(error: Exception) -> Callable[[], object]:
    """A handler's body that raises it."""

    def body() -> object:
        raise error

    return body


@pytest.mark.parametrize(
    "body, opens",
    [
        (raising(ValueError("down")), True),
        (raising(RetryLater()), True),
        (Retry, True),
        (raising(Reject("never")), False),
        (lambda: DeadLetter("never"), False),
        (lambda: None, False),
    ],
)
async def test_what_a_failure_is(body: Callable[[], Any], opens: bool, nats_world: World) -> None:
    """Raising, and asking for a later try; a rejection is a judgement of a handler that works."""
    router = Router("r")

    @router.route("ask", breaker=NEVER)
    async def ask(payload: int, delivery: Delivery) -> Any:
        return body()

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        await nc.publish("ask", b"not a number", confirm=True)
        await trio.sleep(0.1)
        assert states(router, "ask") == {BreakerState.CLOSED: 1}
        await nc.publish("ask", b"1", confirm=True)
        await trio.sleep(0.1)
    assert states(router, "ask") == {BreakerState.OPEN if opens else BreakerState.CLOSED: 1}


async def test_a_deadline_is_a_failure_and_the_routers_end_is_none(nats_world: World) -> None:
    """A trial that hangs opens it again; a call that the end of the router cuts short leaves its place to others."""
    router = Router("r", grace_seconds=0)
    options = Breaker(failures=1, open_seconds=5, half_open_calls=1, successes=1)

    @router.route("hang", concurrency=4, deadline_seconds=3, breaker=options)
    async def hang(message: Message) -> None:
        await trio.sleep_forever()

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        async with running(router, nc):
            await nc.publish("hang", b"", confirm=True)
            await trio.sleep(4)
            assert states(router, "hang") == {BreakerState.OPEN: 1}
            await trio.sleep(5)
            await nc.publish("hang", b"the trial", confirm=True)
            await trio.sleep(1)
            assert states(router, "hang") == {BreakerState.HALF_OPEN: 1}
        assert states(router, "hang") == {BreakerState.HALF_OPEN: 1}
        async with running(router, nc):
            await nc.publish("hang", b"another trial, in its place", confirm=True)
            await trio.sleep(4)
            assert states(router, "hang") == {BreakerState.OPEN: 1}
    assert ended(router.routes["hang"]) == {"deadline": 2, "discarded": 1}


async def test_a_breakers_key_function_that_raises_fails_its_message_only(nats_world: World) -> None:
    """As if the handler had raised; the next message is handled."""
    router = Router("r")

    @router.route("ask", breaker=Breaker(by=lambda message: message.headers["Tenant"]))
    async def ask(message: Message) -> bytes:
        return b"yes"

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        assert (await nc.request("ask", b"")).headers["Nats-Service-Error-Code"] == "500"
        assert (await nc.request("ask", b"", headers={"Tenant": "a"})).payload == b"yes"


async def test_a_server_that_dies_while_the_breaker_is_open_loses_nothing(nats_world: World) -> None:
    """The naks that it had are gone; the messages come again, and each is done once at the end."""
    router = Router("r")
    down, done = True, []
    retry = Retry(delays_seconds=(1,), max_deliver=20, ack_wait_seconds=5)
    options = Breaker(failures=2, open_seconds=10, successes=1)

    @router.route("in.*", stream="IN", retry=retry, deadline_seconds=4, concurrency=4, breaker=options)
    async def provider(message: Message) -> None:
        if down:
            raise ValueError("down")
        done.append(message.payload)

    async with streams(nats_world) as (server, nc, jetstream):
        await fill(jetstream, 20)
        async with running(router, nc):
            await trio.sleep(3)
            server.kill()
            await trio.sleep(3)
            server.start()
            down = False
            await trio.sleep(120)
        info = await jetstream.consumer_info("IN", "provider")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
    assert set(done) == {b"%d" % number for number in range(20)}
