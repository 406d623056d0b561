"""The workflows on the router, 8 cases: requests under pressure 2, decide 5, result 1.

The other halves of cases that hold their law on a service or a small worker: what the router adds to them under the
same faults. Law of them all: restarts 0, the same process id, the same tasks before and after every fault, and a ledger
that adds up at every step (`Scene.fault`); and every message that a route has taken has exactly one outcome.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from beamline_trio import Client, Message, OperationTimeoutError, State
from beamline_trio.client import ERROR_CODE_HEADER
from beamline_trio.jetstream import JetStream
from beamline_trio.router import (
    Backpressure,
    BackpressureLevel,
    Breaker,
    BreakerState,
    CallNext,
    Delivery,
    HandlerOutcome,
    Publish,
    Reject,
    RetryLater,
    Router,
)
from tests._breaking import breaking
from tests.integration.suites._routed import (
    DEAD,
    DEAD_CONFIG,
    PATIENT_RETRY,
    RESULTS_AWAY,
    RETRY,
    WORK_CONFIG,
    open_routed,
    outcomes,
)
from tests.integration.suites._scene import Scene, until
from tests.integration.suites._workflows import STREAM

pytestmark = pytest.mark.nats_config(jetstream=True)

INACTIVE, WARNING, ACTIVE = BackpressureLevel.INACTIVE, BackpressureLevel.WARNING, BackpressureLevel.ACTIVE
RECOVERY_SECONDS = 0.5
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def level_is(router: Router, level: BackpressureLevel) -> bool:
    """Whether the router says so now."""
    return router.guards.meter.level is level


def result_of(delivery: Delivery) -> Publish:
    """The decision about a request: `result.7` of `decide.7`."""
    return Publish(delivery.subject.replace("decide.", "result."), b"yes")


# --------------------------------------------------------------------------------------------------- requests


class Requests:
    """Requests of the other client, side by side.

    Attributes:
        answers: what came back: the payload, the code of the refusal, or the class of the exception.
    """

    def __init__(self, other: Client) -> None:
        self.answers: list[str] = []
        self._other = other

    async def ask(self) -> None:
        """One request."""
        try:
            reply = await self._other.request("ask", b"x")
        except OperationTimeoutError as error:
            self.answers.append(type(error).__name__)
        else:
            self.answers.append(reply.headers.get(ERROR_CODE_HEADER) or reply.payload.decode())


async def test_requests_are_refused_under_pressure(scene: Scene) -> None:
    """Pressed, a router that is told to refuse answers 503 at once; what it had is answered, then all is."""
    pressure = Backpressure(pending=100, in_flight=8, recovery_seconds=RECOVERY_SECONDS)
    router, answered = Router("app", backpressure=pressure), trio.Event()

    async def refuse(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        if not level_is(router, INACTIVE):
            raise RetryLater(reason="the router is pressed")
        return await call_next(delivery)

    @router.route("ask", concurrency=32, middleware=[refuse])
    async def ask(message: Message) -> bytes:
        await answered.wait()
        return b"yes"

    async with open_routed(scene, router) as routed, trio.open_nursery() as nursery:
        requests = Requests(routed.other)
        async with scene.fault("what 8 handlers wait for does not answer, requests go on", routed.nc, router) as fault:
            for _ in range(8):
                nursery.start_soon(requests.ask)
            await until(partial(level_is, router, WARNING))
            for _ in range(20):
                await requests.ask()
            assert requests.answers == ["503"] * 20
            answered.set()
            await until(partial(level_is, router, INACTIVE))
            await requests.ask()
        assert sorted(requests.answers) == ["503"] * 20 + ["yes"] * 9
        assert outcomes(router.routes["ask"]) == {"ok": 9, "unavailable": 20}
        assert fault.codes() == ["ROUTER_BACKPRESSURE", "ROUTER_BACKPRESSURE_OVER"]


async def test_requests_are_held_up_to_the_limit(scene: Scene) -> None:
    """What no worker has waits, as much as the limit allows; beyond it the drop is counted and told, not silent."""
    pressure = Backpressure(pending=5, in_flight=2, recovery_seconds=RECOVERY_SECONDS)
    router, answered = Router("app", backpressure=pressure), trio.Event()

    @router.route("ask", concurrency=2, queue_messages_max=5)
    async def ask(message: Message) -> bytes:
        await answered.wait()
        return b"yes"

    async with open_routed(scene, router) as routed, trio.open_nursery() as nursery:
        route, requests = router.routes["ask"], Requests(routed.other)
        async with scene.fault("what handlers wait for does not answer, the queue fills", routed.nc, router) as fault:
            for _ in range(2):
                nursery.start_soon(requests.ask)
            await until(lambda: route.counters.in_flight == 2)
            for _ in range(8):
                nursery.start_soon(requests.ask)
            await until(partial(level_is, router, ACTIVE))
            assert (route.waiting, route.counters.in_flight) == (5, 2)
            assert routed.nc.stats().slow_consumer == 3
            answered.set()
            await until(lambda: len(requests.answers) == 10)
            await until(partial(level_is, router, INACTIVE))
        assert sorted(requests.answers) == ["OperationTimeoutError"] * 3 + ["yes"] * 7
        assert outcomes(route) == {"ok": 7}
        assert fault.codes() == ["NATS_SLOW_CONSUMER", "ROUTER_BACKPRESSURE", "ROUTER_BACKPRESSURE_OVER"]


# ----------------------------------------------------------------------------------------------------- decide


async def test_decide_intake_is_held(scene: Scene) -> None:
    """No stream takes the results: a worker at a time looks again, the rest stays where it is, nothing is lost."""
    pressure = Backpressure(pending=10, in_flight=4, recovery_seconds=RECOVERY_SECONDS)
    router = Router("app", backpressure=pressure)

    @router.route("decide.*", stream=STREAM, name="decide", concurrency=4, retry=RETRY, queue_messages_max=20)
    async def decide(payload: bytes, delivery: Delivery) -> Publish:
        return result_of(delivery)

    async with open_routed(scene, router) as routed:
        route = router.routes["decide"]
        async with scene.fault("no stream for the results, for 2 s", routed.nc, router) as fault:
            await routed.js.update_stream(RESULTS_AWAY)
            await routed.feed("decide", [b"x"] * 100)
            await until(partial(level_is, router, ACTIVE))
            await trio.sleep(2)
            info = await routed.js.consumer_info(STREAM, "decide")
            assert (route.counters.taken, route.counters.in_flight, outcomes(route)) == (4, 4, {})
            assert info.num_pending > 0
            assert info.num_pending + info.num_ack_pending == 100
            await routed.js.update_stream(WORK_CONFIG)
            await routed.settled("decide")
            await until(partial(level_is, router, INACTIVE))
        assert outcomes(route) == {"ok": 100}
        assert {one.subject for one in await routed.stored(STREAM, "result.")} == {f"result.{n}" for n in range(100)}
        assert (await routed.js.stream_info(STREAM)).state.messages == 200
        assert fault.codes()[-1] == "ROUTER_BACKPRESSURE_OVER"


async def test_decide_dead_letter(scene: Scene) -> None:
    """What can never be decided is a dead letter, once, with its cause, though the link breaks under its PubAck."""
    router = Router("app")

    @router.route("decide.*", stream=STREAM, name="decide", retry=RETRY, dead_letter="dead.decide")
    async def decide(payload: bytes, delivery: Delivery) -> Publish:
        if payload == b"no provider":
            raise Reject("nobody can do this")
        if payload == b"broken":
            raise ValueError("a bug")
        return result_of(delivery)

    async with open_routed(scene, router) as routed:
        async with scene.fault("TCP connection breaks behind a dead letter", routed.nc, router) as fault:
            async with breaking(scene.faults, routed.nc, "publish_with_ack", subjects="dead.>", after=True):
                await routed.feed("decide", [b"x", b"no provider", b"broken", b"x"])
            await scene.healed(routed.nc)
            await until(lambda: sum(router.routes["decide"].counters.dead_letters.values()) == 2)
            await routed.settled("decide")
        letters = {letter.payload: letter.headers for letter in await routed.stored(DEAD, "dead.decide")}
        assert {payload: headers["Beamline-Cause"] for payload, headers in letters.items()} == {
            b"no provider": "rejected", b"broken": "handler_error",
        }  # fmt: skip
        # A busy real server that writes to the closed link before it reads from it drops what it had not read: then the
        # letter of the second delivery is the first that is stored.
        deliveries = {"1"} if scene.nats.simulated else {"1", "2"}
        assert letters[b"no provider"]["Beamline-Deliveries"] in deliveries
        assert letters[b"broken"]["Beamline-Deliveries"] == "3"
        assert (await routed.js.stream_info(DEAD)).state.messages == 2
        assert [one.subject for one in await routed.stored(STREAM, "result.")] == ["result.0", "result.3"]
        assert outcomes(router.routes["decide"])["dead_lettered"] == 2
        assert router.routes["decide"].counters.dead_letter_failures == 1
        assert {"ROUTER_DEAD_LETTER_ERROR", "ROUTER_DEAD_LETTER"} <= set(fault.codes())


async def test_decide_dead_letter_waits_for_its_stream(scene: Scene) -> None:
    """No stream takes the dead letter of a last delivery: nothing is acked, and it is there once when one does."""
    router = Router("app")

    @router.route("decide.*", stream=STREAM, name="decide", retry=RETRY, dead_letter="dead.decide")
    async def decide(payload: bytes, delivery: Delivery) -> Publish:
        if payload == b"broken":
            raise ValueError("a bug")
        return result_of(delivery)

    async with open_routed(scene, router, dead=False) as routed:
        counters = router.routes["decide"].counters
        async with scene.fault("no stream for dead letters, until one is made", routed.nc, router) as fault:
            await routed.feed("decide", [b"broken", b"x"])
            await until(lambda: counters.dead_letter_failures > 0)
            await routed.js.create_stream(DEAD_CONFIG)
            await until(lambda: sum(counters.dead_letters.values()) == 1)
        (letter,) = await routed.stored(DEAD, "dead.decide")
        assert (letter.payload, letter.headers["Beamline-Cause"]) == (b"broken", "maxdeliver_exhausted")
        assert letter.headers["Beamline-Deliveries"] == "3"
        assert [one.subject for one in await routed.stored(STREAM, "result.")] == ["result.1"]
        assert "ROUTER_DEAD_LETTER_ERROR" in fault.codes()


@pytest.mark.parametrize("away", ["server", "stream"])
async def test_decide_long_failure_behind_a_breaker(scene: Scene, away: str) -> None:
    """What handlers store into is away for 2 s: the breaker opens, looks again, closes; all is decided, once."""
    router = Router("app")
    breaker = Breaker(failures=3, open_seconds=0.5, half_open_calls=1, successes=1)
    calls = 0
    gone = trio.Event()

    @router.route(
        "decide.*", stream=STREAM, name="decide", concurrency=4, retry=PATIENT_RETRY, deadline_seconds=5.0,
        breaker=breaker,
    )  # fmt: skip
    async def decide(payload: bytes, delivery: Delivery) -> None:
        nonlocal calls
        calls += 1
        await gone.wait()
        await trio.sleep(0.02)
        await JetStream(routed.nc).publish(
            delivery.subject.replace("decide.", "result."), b"yes", message_id=delivery.identity
        )

    async with open_routed(scene, router) as routed:
        breakers = router.routes["decide"].breaker
        assert breakers is not None
        transitions = breakers.breakers.transitions
        name = {"server": "server killed for 2 s under", "stream": "no stream for the results of"}[away]
        async with scene.fault(f"{name} decide behind a breaker", routed.nc, router) as fault:
            await routed.feed("decide", [b"x"] * 30)
            await (scene.nats.kill() if away == "server" else routed.js.update_stream(RESULTS_AWAY))
            gone.set()
            await until(lambda: transitions[CLOSED, OPEN] == 1)
            before, opened = calls, trio.current_time()
            await trio.sleep(2)
            looked = (trio.current_time() - opened) / breaker.open_seconds
            assert calls - before <= looked + 1
            await (scene.nats.start() if away == "server" else routed.js.update_stream(WORK_CONFIG))
            await scene.healed(routed.nc, routed.other)
            await routed.settled("decide")
        assert {one.subject for one in await routed.stored(STREAM, "result.")} == {f"result.{n}" for n in range(30)}
        assert (await routed.js.stream_info(STREAM)).state.messages == 60
        assert transitions[HALF_OPEN, CLOSED] == 1
        assert transitions[OPEN, HALF_OPEN] == transitions[HALF_OPEN, OPEN] + 1
        ended = outcomes(router.routes["decide"])
        assert ended["ok"] >= 30  # an ack that died with the server is one that comes again
        assert ended["returned"] == router.routes["decide"].counters.breaker_refusals > 0
        assert {"ROUTER_BREAKER_OPEN", "ROUTER_BREAKER_HALF_OPEN", "ROUTER_BREAKER_CLOSED"} <= set(fault.codes())


# ----------------------------------------------------------------------------------------------------- result


async def test_result_dead_letter(scene: Scene) -> None:
    """What can never be noted is a dead letter, once, though the server is killed between its deliveries."""
    router = Router("app")
    store: dict[str, Any] = {}
    noted: list[str] = []

    @router.route("result.*", stream=STREAM, name="result", retry=RETRY, dead_letter="dead.result")
    async def result(payload: dict[str, Any], delivery: Delivery) -> None:
        noted.append(delivery.subject)
        if payload["ok"] is None:
            raise RetryLater(0.5, "the store does not know this kind")
        store[delivery.subject] = payload["ok"]

    async with open_routed(scene, router) as routed:
        counters = router.routes["result"].counters
        async with scene.fault("server killed between the deliveries of a result", routed.nc, router) as fault:
            await routed.feed("result", [b'{"ok": 1}', b"no json", b'{"ok": null}'])
            await until(lambda: sum(counters.dead_letters.values()) == 1 and "result.2" in noted)
            await scene.nats.kill()
            await until(lambda: routed.nc.state is State.RECONNECTING)
            await scene.nats.start()
            await scene.healed(routed.nc, routed.other)
            await routed.feed("result", [b'{"ok": 1}', b"no json", b'{"ok": null}', b'{"ok": 4}'])
            await until(lambda: sum(counters.dead_letters.values()) == 2 and "result.3" in store)
            await routed.settled("result")
        causes = {letter.payload: letter.headers["Beamline-Cause"] for letter in await routed.stored(DEAD, "dead.")}
        assert causes == {b"no json": "bad_payload", b'{"ok": null}': "handler_error"}
        assert (await routed.js.stream_info(DEAD)).state.messages == 2
        assert store == {"result.0": 1, "result.3": 4}
        assert outcomes(router.routes["result"])["dead_lettered"] >= 2  # an ack may die with the server
        assert "ROUTER_DEAD_LETTER" in fault.codes()
