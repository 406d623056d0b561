"""Payloads, middleware and traces on messages that went over the simulated wire."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from beamline_trio import Message, Publish, Reply, open_client
from beamline_trio.router._middleware import CallNext, compose, current_delivery
from beamline_trio.router._outcomes import HandlerOutcome
from beamline_trio.router._payload import BadPayloadError
from beamline_trio.router._signature import bind
from beamline_trio.router._trace import TraceContext, TraceReader
from beamline_trio.simulation import World

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENDER = "00f067aa0ba902b7"


@attrs.frozen
class Order:
    number: int


@attrs.define
class Carrier:
    """What a route makes of a message, as far as these parts need it."""

    message: Message
    trace: TraceContext | None


async def invoice(order: Order, delivery: Any) -> list[Publish | Reply]:
    assert current_delivery.get() is delivery
    return [Publish("invoices", {"order": order.number}), Reply(order)]


async def test_a_typed_handler_answers_within_its_senders_trace(nats_world: World) -> None:
    """From the wire to the annotated type and back: effects carry the sender's trace, a bad payload reaches nobody."""
    seen: list[HandlerOutcome] = []

    async def watching(delivery: Any, call_next: CallNext) -> HandlerOutcome:
        outcome = await call_next(delivery)
        seen.append(outcome)
        return outcome

    call = compose([watching], bind(invoice))
    server = await nats_world.start_server("a")
    traces = TraceReader(nats_world.random("spans"))
    async with (
        open_client(server.url, dialer=nats_world.dialer("app")) as nc,
        nc.subscribe("orders") as orders,
        nc.subscribe("invoices") as invoices,
    ):
        headers = {"Traceparent": f"00-{TRACE}-{SENDER}-01", "tracestate": "vendor=1"}
        await nc.publish("orders", b'{"number":7}', headers=headers)
        await nc.publish("orders", b'{"number":"7"}', headers={"traceparent": "nonsense"})
        message = await orders.receive()
        delivery = Carrier(message, traces.read(message))
        outcome = await call(delivery)
        assert isinstance(outcome, tuple)
        assert seen == [outcome]
        published, reply = outcome
        assert reply == Reply(b'{"number":7}')
        assert isinstance(published, Publish)
        assert isinstance(published.payload, bytes)
        assert delivery.trace is not None
        await nc.publish(published.subject, published.payload, headers=delivery.trace.inject(published.headers))
        arrived = await invoices.receive()
        assert arrived.payload == b'{"order":7}'
        assert arrived.headers["traceparent"] == f"00-{TRACE}-{delivery.trace.span_id}-01"
        assert arrived.headers["tracestate"] == "vendor=1"
        assert delivery.trace.parent_id == SENDER
        bad = await orders.receive()
        with pytest.raises(BadPayloadError, match=r"expected int @ \$\.number"):
            await call(Carrier(bad, traces.read(bad)))
        assert (traces.parents_ignored, len(seen)) == (1, 1)
