"""What stands around a handler: middleware, composed once for a route, and the delivery that is current.

    async def timed(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        began = trio.current_time()
        try:
            return await call_next(delivery)
        finally:
            note(delivery.message.subject, trio.current_time() - began)

The router's middleware is outside of the route's, and of each list the first is the outermost. It sees the outcome in
the form that the route acts on, and what the handler or the decoding of its payload raised. Exceptions pass through the
chain as they are; what they mean is the route's to say, behind it.

Must not settle anything, and must not catch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from ._outcomes import DeadLetter, HandlerOutcome, InvalidOutcomeError, Retry, read_outcome
from ._payload import encode
from ._signature import HandlerError, Invoke, is_async, shown

CallNext: TypeAlias = Callable[[Any], Awaitable[HandlerOutcome]]
Middleware: TypeAlias = Callable[[Any, CallNext], Awaitable[HandlerOutcome]]

# The delivery that is being handled, in the worker's task and in tasks that the handler starts. It is reset behind the
# chain; what a handler sets in variables of its own is its own to reset, as the next message has the same task.
current_delivery: Final[ContextVar[Any]] = ContextVar("beamline_trio.current_delivery")


def compose(middleware: Sequence[Middleware], invoke: Invoke) -> CallNext:
    """One function for a route: sets the current delivery, runs the middleware and, inside, the handler.

    It returns the outcome, or raises what the handler, a middleware or the decoding raised.

    Args:
        middleware: the outermost first.
        invoke: calls the handler, as `bind` has made it.

    Raises:
        HandlerError: a middleware is not an async function.
    """
    for one in middleware:
        if not callable(one) or not is_async(one):
            raise HandlerError(
                f"middleware {shown(one)} is not async; write async def middleware(delivery, call_next), "
                "which returns what `await call_next(delivery)` gives"
            )
    if not middleware:
        return _alone(invoke)
    call = _inmost(invoke)
    for one in reversed(middleware):
        call = _around(one, call)
    return _current(call)


def _alone(invoke: Invoke) -> CallNext:
    """Without middleware: one coroutine beside the handler's own."""

    async def call(delivery: Any) -> HandlerOutcome:
        token = current_delivery.set(delivery)
        try:
            return read_outcome(await invoke(delivery), encode)
        finally:
            current_delivery.reset(token)

    return call


def _inmost(invoke: Invoke) -> CallNext:
    async def call(delivery: Any) -> HandlerOutcome:
        return read_outcome(await invoke(delivery), encode)

    return call


def _around(middleware: Middleware, inner: CallNext) -> CallNext:
    async def call(delivery: Any) -> HandlerOutcome:
        outcome = await middleware(delivery, inner)
        # None above all: it would make an ack of whatever the handler has said.
        if not isinstance(outcome, (tuple, Retry, DeadLetter)):
            raise InvalidOutcomeError(
                f"middleware {shown(middleware)} returned a value of {type(outcome).__name__}; return what "
                "`await call_next(delivery)` gave, a tuple of Publish and Reply, Retry or DeadLetter"
            )
        return read_outcome(outcome, encode)

    return call


def _current(inner: CallNext) -> CallNext:
    async def call(delivery: Any) -> HandlerOutcome:
        token = current_delivery.set(delivery)
        try:
            return await inner(delivery)
        finally:
            current_delivery.reset(token)

    return call
