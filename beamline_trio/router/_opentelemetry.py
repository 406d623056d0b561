"""Spans of OpenTelemetry for deliveries: a middleware for whoever uses that library.

Must not be needed: without it traces are handed on all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ..client import Message
from ..protocol import MissingExtraError
from ._delivery_batch import DeliveryBatch
from ._middleware import CallNext, Middleware
from ._outcomes import DeadLetter, HandlerOutcome, Retry
from ._trace import TraceContext

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer


def opentelemetry_spans(tracer: Tracer | None = None) -> Middleware:
    """Middleware that makes a span of each delivery, current while the handler runs.

    The span continues the trace of the message, or begins one; that of a batch begins one, with a link to each of its
    messages that has a trace. Effects carry it. It has the subject, the size of the payload (of a batch, of all of
    them, and their number) and the outcome (`ok`, `retry`, `dead_letter`), and records what the handler raises.

    Args:
        tracer: None takes the one that the application's tracer provider gives to `beamline_trio.router`.

    Raises:
        MissingExtraError: the library is not installed.
    """
    try:
        from opentelemetry import trace
        from opentelemetry.context import Context
    except ImportError:
        raise MissingExtraError(
            "spans need OpenTelemetry: pip install 'beamline-trio[opentelemetry]'; traces are handed on without it"
        ) from None
    used = tracer if tracer is not None else trace.get_tracer("beamline_trio.router")

    async def spans(delivery: Any, call_next: CallNext) -> HandlerOutcome:
        message = delivery.message
        several = delivery if isinstance(delivery, DeliveryBatch) else None
        with used.start_as_current_span(
            f"process {message.subject}",
            context=_context_of(delivery.trace) if several is None else Context(),
            kind=trace.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.subject,
                **_sizes(message, several),
            },
            links=None if several is None else [trace.Link(_sender(link)) for link in several.links],
        ) as span:
            delivery.trace = _continued(delivery.trace, span)
            outcome = await call_next(delivery)
            span.set_attribute("beamline.outcome", _name(outcome))
            return outcome

    return spans


def _sizes(message: Message, several: DeliveryBatch | None) -> dict[str, int]:
    if several is None:
        return {"messaging.message.body.size": len(message.payload)}
    return {
        "messaging.message.body.size": sum(len(one.payload) for one in several.deliveries),
        "messaging.batch.message_count": len(several.deliveries),
    }


def _context_of(parent: TraceContext | None) -> Context | None:
    """The sender's span as the library's context; None: what is current, if anything."""
    if parent is None or not parent.parent_id:
        return None
    from opentelemetry import trace

    return trace.set_span_in_context(trace.NonRecordingSpan(_sender(parent)))


def _sender(parent: TraceContext) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    return SpanContext(
        int(parent.trace_id, 16),
        int(parent.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )


def _continued(before: TraceContext | None, span: Span) -> TraceContext | None:
    """What effects carry: the span; as before where the library records none (no SDK)."""
    context = span.get_span_context()
    if not context.is_valid or context.is_remote:
        return before
    made = TraceContext(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=before.parent_id if before is not None else "",
        flags=int(context.trace_flags),
        state=context.trace_state.to_header(),
    )
    return attrs.evolve(made, state=before.state) if before is not None and not made.state else made


def _name(outcome: HandlerOutcome) -> str:
    if isinstance(outcome, Retry):
        return "retry"
    return "dead_letter" if isinstance(outcome, DeadLetter) else "ok"
