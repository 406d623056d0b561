"""Typed handlers, middleware and traces on routes: what a handler is given, and what becomes of what it says."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from beamline_trio import Message, open_client
from beamline_trio.router import (
    CallNext,
    DeadLetter,
    Delivery,
    HandlerError,
    HandlerOutcome,
    Publish,
    Reject,
    Reply,
    Retry,
    RetryLater,
    Router,
    current_delivery,
)
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, running, streams

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENDER = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SENDER}-01"


@attrs.frozen
class Order:
    number: int


async def test_a_handler_is_called_as_its_signature_says(nats_world: World) -> None:
    """With the message, the payload, or the payload and its delivery; models come from JSON and go as JSON."""
    router = Router("r")

    @router.route("message")
    async def message(message: Message) -> bytes | None:
        return message.payload

    @router.route("payload")
    async def payload(text: str) -> Reply:
        return Reply(text.upper())

    @router.route("model")
    async def model(order: Order, delivery: Delivery) -> Reply:
        assert current_delivery.get() is delivery
        assert (delivery.route, delivery.number, delivery.metadata) == ("model", 1, None)
        return Reply(Order(order.number + 1), headers={"K": delivery.subject})

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        assert (await nc.request("message", b"x")).payload == b"x"
        assert (await nc.request("payload", b"x")).payload == b"X"
        answer = await nc.request("model", b'{"number":7}')
        assert (answer.payload, answer.headers["K"]) == (b'{"number":8}', "model")
    assert [ended(route) for route in router.routes.values()] == [{"ok": 1}] * 3


async def test_a_model_may_be_local_to_where_its_route_is_declared(nats_world: World) -> None:
    """Its annotation is a string here, and is looked up among the locals."""
    router = Router("r")

    @attrs.frozen
    class Local:
        number: int

    @router.route("local")
    async def local(value: Local) -> Reply:
        return Reply(value.number)

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        assert (await nc.request("local", b'{"number":7}')).payload == b"7"


@pytest.mark.parametrize("payload", [b"", b"{", b'{"number":"7"}', b"\xff", b"[" * 1000])
async def test_a_bad_payload_is_told_and_no_handler_runs(payload: bytes, nats_world: World) -> None:
    """The error 400 for a request, a dead letter at the first delivery from a stream; its reason says where it is."""
    router = Router("r")

    async def work(order: Order, delivery: Delivery) -> None:
        raise AssertionError("not called")

    router.route("ask", name="core")(work)
    router.route("in.*", name="stream", stream="IN", dead_letter="dead.in")(work)
    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        answer = await nc.request("ask", payload)
        assert answer.headers["Nats-Service-Error-Code"] == "400"
        assert answer.headers["Nats-Service-Error"].startswith("not Order: ")
        await jetstream.publish("in.a", payload)
        await trio.sleep(1)
        dead = await jetstream.get_message("DEAD", sequence=1)
        assert (dead.payload, dead.headers["Beamline-Cause"]) == (payload, "bad_payload")
        assert dead.headers["Beamline-Reason"] == answer.headers["Nats-Service-Error"]
    core, stream = router.routes.values()
    assert (ended(core), ended(stream)) == ({"bad_payload": 1}, {"dead_lettered": 1})
    assert (core.statistics().failures, stream.statistics().failures) == (0, 0)


@pytest.mark.parametrize(
    "said, core, code, stream",
    [
        (Retry(reason="not now"), "unavailable", "503", {"retried": 1, "terminated": 1}),
        (RetryLater(reason="not now"), "unavailable", "503", {"retried": 1, "terminated": 1}),
        (DeadLetter("never"), "rejected", "422", {"terminated": 1}),
        (Reject("never"), "rejected", "422", {"terminated": 1}),
        (ValueError("a secret"), "error", "500", {"retried": 1, "terminated": 1}),
        ("no outcome", "error", "500", {"retried": 1, "terminated": 1}),
        (Reply(object()), "error", "500", {"retried": 1, "terminated": 1}),
    ],
)
async def test_what_a_handler_says_has_one_meaning_on_each_kind_of_route(
    said: Any, core: str, code: str, stream: dict[str, int], nats_world: World
) -> None:
    """Returned or raised; an outcome that is none, or that cannot be encoded, is an error of the handler."""
    router = Router("r")

    async def work(payload: bytes, delivery: Delivery) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    router.route("ask", name="core")(work)
    router.route("in.*", name="stream", stream="IN", retry=Retry(delays_seconds=(1,), max_deliver=2))(work)
    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        answer = await nc.request("ask", b"")
        assert (answer.headers["Nats-Service-Error-Code"], answer.payload) == (code, b"")
        assert "secret" not in str(dict(answer.headers.items()))
        await jetstream.publish("in.a", b"")
        await trio.sleep(5)
    assert [ended(route) for route in router.routes.values()] == [{core: 1}, stream]


async def test_middleware_stands_around_in_order_and_sees_the_outcome(nats_world: World) -> None:
    """The router's outside of the route's; what one answers instead is what is settled."""
    seen: list[str] = []

    def noting(name: str) -> Any:
        async def middleware(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
            seen.append(name)
            assert current_delivery.get() is delivery
            outcome = await call_next(delivery)
            seen.append(f"{name}:{type(outcome).__name__}")
            return outcome

        return middleware

    async def denied(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        return DeadLetter("denied") if "Denied" in delivery.headers else await call_next(delivery)

    router = Router("r", middleware=[noting("a"), noting("b")])

    @router.route("in.*", stream="IN", dead_letter="dead.in", middleware=[noting("c"), denied])
    async def work(order: Order) -> Publish:
        return Publish("out.a", order)

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await jetstream.publish("in.a", b'{"number":1}')
        await trio.sleep(1)
        assert seen == ["a", "b", "c", "c:tuple", "b:tuple", "a:tuple"]
        await jetstream.publish("in.a", b'{"number":2}', headers={"Denied": "yes"})
        await trio.sleep(1)
        assert seen[-3:] == ["c:DeadLetter", "b:DeadLetter", "a:DeadLetter"]
        assert await contents(jetstream, "OUT") == [b'{"number":1}']
        assert (await jetstream.get_message("DEAD", sequence=1)).headers["Beamline-Reason"] == "denied"
    assert ended(router.routes["work"]) == {"ok": 1, "dead_lettered": 1}
    with pytest.raises(HandlerError, match="is not async"):
        router.route("x", name="other", middleware=[lambda delivery, call_next: None])(work)  # type: ignore[list-item, return-value]


async def test_effects_are_in_their_inputs_trace(nats_world: World) -> None:
    """With the delivery as their parent; one without a trace begins none, one that gives its own keeps it."""
    router = Router("r")
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    spans: list[str] = []

    @router.route("in.*", stream="IN")
    async def work(payload: bytes, delivery: Delivery) -> list[Publish]:
        if delivery.trace is not None:
            assert (delivery.trace.trace_id, delivery.trace.parent_id) == (TRACE, SENDER)
            spans.append(delivery.trace.span_id)
        return [Publish("out.a", payload), Publish("out.b", payload, headers={"traceparent": own})]

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await jetstream.publish("in.a", headers={"traceparent": PARENT, "tracestate": "vendor=1"})
        await trio.sleep(1)
        await jetstream.publish("in.a")
        await jetstream.publish("in.a", headers={"traceparent": "nonsense"})
        await trio.sleep(1)
        stored = [await jetstream.get_message("OUT", sequence=number) for number in range(1, 7)]
    given = [message.headers for message in stored if message.subject == "out.a"]
    assert [headers.get("traceparent") for headers in given] == [f"00-{TRACE}-{spans[0]}-01", None, None]
    assert given[0]["tracestate"] == "vendor=1"
    assert {message.headers["traceparent"] for message in stored if message.subject == "out.b"} == {own}
    traces = router.routes["work"].traces
    assert traces is not None
    assert traces.parents_ignored == 1


async def test_replies_are_in_the_requests_trace(nats_world: World) -> None:
    """As effects of a core route are."""
    router = Router("r")

    @router.route("ask")
    async def ask(message: Message) -> bytes:
        return b"yes"

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        answer = await nc.request("ask", b"", headers={"traceparent": PARENT})
        assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert SENDER not in answer.headers["traceparent"]
        assert "traceparent" not in (await nc.request("ask", b"")).headers
