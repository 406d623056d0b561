"""Middleware around a handler, and the current delivery."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from beamline_trio.router._middleware import CallNext, Middleware, compose, current_delivery
from beamline_trio.router._outcomes import (
    DeadLetter,
    HandlerOutcome,
    InvalidOutcomeError,
    Publish,
    Reject,
    Reply,
    Retry,
)
from beamline_trio.router._signature import HandlerError


@attrs.frozen
class Given:
    """A delivery of which the chain knows nothing."""

    number: int = 1


def logging(name: str, log: list[str]) -> Middleware:
    async def middleware(delivery: Any, call_next: CallNext) -> HandlerOutcome:
        log.append(f"{name} in")
        try:
            return await call_next(delivery)
        finally:
            log.append(f"{name} out")

    return middleware


async def answers(delivery: Given) -> object:
    return Reply({"number": delivery.number})


async def test_the_first_middleware_is_the_outermost() -> None:
    """In by the order of the list, out by its reverse; what it sees is the outcome with bytes."""
    log: list[str] = []
    chain = compose([logging("a", log), logging("b", log)], answers)
    assert await chain(Given(7)) == (Reply(b'{"number":7}'),)
    assert log == ["a in", "b in", "b out", "a out"]
    assert await compose([], answers)(Given(7)) == (Reply(b'{"number":7}'),)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_exceptions_pass_as_they_are(count: int) -> None:
    """What the handler raises leaves the chain as the same object, and every middleware has seen it."""
    error = Reject("no")
    log: list[str] = []

    async def handler(delivery: object) -> object:
        raise error

    with pytest.raises(Reject) as caught:
        await compose([logging(str(number), log) for number in range(count)], handler)(Given())
    assert caught.value is error
    assert len(log) == 2 * count


async def test_a_middleware_may_answer_in_place_of_the_handler() -> None:
    """It may leave the handler out, call it with another delivery, or change what it said."""

    async def guard(delivery: Given, call_next: CallNext) -> HandlerOutcome:
        if delivery.number == 0:
            return DeadLetter("zero", effects=[Reply([0])])
        if delivery.number == 1:
            return Retry(1.0)
        outcome = await call_next(attrs.evolve(delivery, number=9))
        assert isinstance(outcome, tuple)
        return (*outcome, Publish("x", {"more": 1}))

    chain = compose([guard], answers)
    assert await chain(Given(0)) == DeadLetter("zero", effects=[Reply(b"[0]")])
    assert await chain(Given(1)) == Retry(1.0)
    assert await chain(Given(2)) == (Reply(b'{"number":9}'), Publish("x", b'{"more":1}'))


@pytest.mark.parametrize("returned", [None, b"x", Reply(b"x"), [Reply(b"x")], ("x",)])
async def test_a_middleware_that_forgets_the_outcome_is_a_bug(returned: Any) -> None:
    """A forgotten `return` never makes an ack of what the handler has refused."""

    async def forgets(delivery: Given, call_next: CallNext) -> HandlerOutcome:
        await call_next(delivery)
        return returned  # type: ignore[no-any-return]

    with pytest.raises(InvalidOutcomeError, match=r"forgets|list with a value of str"):
        await compose([forgets], answers)(Given())


async def test_what_is_not_async_is_refused_at_once() -> None:
    """Where the route is declared, by name."""

    def plain(delivery: object, call_next: object) -> object:
        return None

    for one in (plain, functools.partial(plain), 3):
        with pytest.raises(HandlerError, match=r"(plain|int) is not async"):
            compose([one], answers)  # type: ignore[list-item]


@pytest.mark.parametrize("count", [0, 2])
async def test_the_current_delivery_is_seen_inside_and_gone_behind(count: int) -> None:
    """In the handler, in tasks that it starts, for each worker its own; reset after returns, errors, cancellation."""
    seen: list[object] = []

    async def handler(delivery: Given) -> object:
        async def child() -> None:
            seen.append(current_delivery.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.lowlevel.checkpoint()
        assert current_delivery.get() is delivery
        if delivery.number < 0:
            raise ValueError(delivery.number)
        if delivery.number == 0:
            await trio.sleep_forever()
        return None

    chain = compose([logging("m", []) for _ in range(count)], handler)
    first, second = Given(1), Given(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chain, first)
        nursery.start_soon(chain, second)
    assert {id(one) for one in seen} == {id(first), id(second)}
    with pytest.raises(ValueError, match="-1"):
        await chain(Given(-1))
    with trio.CancelScope() as scope:
        scope.cancel()
        await chain(Given(0))
    assert scope.cancelled_caught
    assert current_delivery.get(None) is None


async def test_nothing_is_handled_twice_or_left_by_a_cancelled_chain() -> None:
    """Cancelled while the handler waits, each middleware is left in order and the cancellation passes."""
    log: list[str] = []
    waiting = trio.Event()

    async def handler(delivery: object) -> object:
        waiting.set()
        await trio.sleep_forever()

    chain = compose([logging("a", log), logging("b", log)], handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chain, Given())
        await waiting.wait()
        nursery.cancel_scope.cancel()
    assert log == ["a in", "b in", "b out", "a out"]
