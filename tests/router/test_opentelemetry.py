"""Spans of OpenTelemetry, with its SDK and without a provider."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from beamline_trio import Client, Headers, Message, MissingExtraError
from beamline_trio.protocol import encode_headers
from beamline_trio.router import Batch, Delivery, DeliveryBatch
from beamline_trio.router._lanes import Lanes
from beamline_trio.router._middleware import compose
from beamline_trio.router._opentelemetry import opentelemetry_spans
from beamline_trio.router._outcomes import DeadLetter, Retry
from beamline_trio.router._route_options import RouteOptions
from beamline_trio.router._trace import TraceContext, TraceReader

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@attrs.define
class Given:
    message: Message
    trace: TraceContext | None


def given(*pairs: tuple[str, str]) -> Given:
    client: Client = None  # type: ignore[assignment]  # a message that nobody answers needs none
    message = Message(client, b"orders.new", b"12", None, encode_headers(Headers(pairs)))
    return Given(message, TraceReader(random.Random(1)).read(message))


TRACED = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1")]


@pytest.fixture
def spans() -> Iterator[tuple[trace.Tracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter
    provider.shutdown()


async def test_a_delivery_is_a_span_behind_its_senders(spans: tuple[trace.Tracer, InMemorySpanExporter]) -> None:
    """The sender's trace goes on; the span is current in the handler, and is what effects carry."""
    tracer, exporter = spans
    delivery = given(*TRACED)
    current: list[trace.SpanContext] = []

    async def handler(_: object) -> object:
        current.append(trace.get_current_span().get_span_context())
        return None

    assert await compose([opentelemetry_spans(tracer)], handler)(delivery) == ()
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert span.name == "process orders.new"
    assert span.kind is trace.SpanKind.CONSUMER
    assert span.attributes is not None
    assert span.attributes["messaging.message.body.size"] == 2
    assert span.attributes["beamline.outcome"] == "ok"
    assert current == [span.context]
    assert delivery.trace is not None
    assert span.context is not None
    assert delivery.trace.span_id == f"{span.context.span_id:016x}"
    assert (delivery.trace.trace_id, delivery.trace.parent_id, delivery.trace.state) == (TRACE, SPAN, "a=1")


async def test_a_message_without_a_trace_begins_one(spans: tuple[trace.Tracer, InMemorySpanExporter]) -> None:
    """With the library a trace begins at the router; what is raised and said is in the span."""
    tracer, exporter = spans
    said: list[object] = [Retry(), DeadLetter(), ValueError("broken")]

    async def handler(_: object) -> object:
        one = said.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    chain = compose([opentelemetry_spans(tracer)], handler)
    delivery = given()
    assert await chain(delivery) == Retry()
    assert delivery.trace is not None
    assert delivery.trace.sampled
    assert await chain(given()) == DeadLetter()
    with pytest.raises(ValueError, match="broken"):
        await chain(given())
    retry, dead, broken = exporter.get_finished_spans()
    assert [dict(one.attributes or {}).get("beamline.outcome") for one in (retry, dead, broken)] == [
        "retry",
        "dead_letter",
        None,
    ]
    assert not broken.status.is_ok
    assert broken.events[0].name == "exception"


async def test_without_a_provider_the_trace_goes_on_as_without_the_library() -> None:
    """The API alone records nothing: the delivery's own span stays what effects carry."""

    async def handler(_: object) -> object:
        return None

    delivery = given(*TRACED)
    before = delivery.trace
    await compose([opentelemetry_spans(trace.NoOpTracerProvider().get_tracer("none"))], handler)(delivery)
    assert delivery.trace == before
    nothing = given()
    await compose([opentelemetry_spans()], handler)(nothing)
    assert nothing.trace is None


def test_without_the_library_it_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has the command."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"beamline-trio\[opentelemetry\]"):
        opentelemetry_spans()


def batch(*headers: list[tuple[str, str]]) -> DeliveryBatch:
    """One delivery for each, as a route would join them."""
    lanes: Lanes[Delivery] = Lanes()
    options = RouteOptions(subject="orders.*", name="orders", stream="ORDERS", batch=Batch(10, 1))
    for pairs in headers:
        delivery = Delivery(options, given(*pairs).message, 0.0)
        delivery.trace = given(*pairs).trace
        lanes.put(delivery, key=None, tenant=None, size=1)
    items, _ = lanes.take_more(0.0, 10, ())
    joined = DeliveryBatch(options, items, 0.0)
    joined.trace = TraceReader(random.Random(2)).join(joined.links)
    return joined


async def test_a_batch_is_a_root_with_links_to_the_traces_of_its_messages(
    spans: tuple[trace.Tracer, InMemorySpanExporter],
) -> None:
    """Whatever span is current around it; what its effects carry is that span."""
    tracer, exporter = spans
    other = f"00-{'ab' * 16}-{'cd' * 8}-00"
    joined = batch(TRACED, [], [("traceparent", other)])

    async def handler(_: object) -> object:
        return None

    with tracer.start_as_current_span("around"):
        assert await compose([opentelemetry_spans(tracer)], handler)(joined) == ()
    span, _around = exporter.get_finished_spans()
    assert span.parent is None
    assert span.context is not None
    linked = [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links]
    assert linked == [(TRACE, SPAN), ("ab" * 16, "cd" * 8)]
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 3
    assert span.attributes["messaging.message.body.size"] == 6
    assert joined.trace is not None
    assert joined.trace.traceparent.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert [link.trace_id for link in joined.links] == [TRACE, "ab" * 16]


@pytest.mark.parametrize("batched", [False, True])
async def test_a_second_try_of_what_began_a_trace_is_a_span_too(
    batched: bool, spans: tuple[trace.Tracer, InMemorySpanExporter]
) -> None:
    """What waits here between its tries has the trace of the first one, and no sender in it."""
    tracer, exporter = spans
    tried = batch([]) if batched else given()

    async def handler(_: object) -> object:
        return None

    for _ in range(2):
        assert await compose([opentelemetry_spans(tracer)], handler)(tried) == ()
    assert [span.parent for span in exporter.get_finished_spans()] == [None, None]
