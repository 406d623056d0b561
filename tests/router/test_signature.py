"""How handlers are called, and what is said of functions that cannot be one."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from beamline_trio import Client, JetStreamMessage, Message, MissingExtraError
from beamline_trio.router import _models
from beamline_trio.router._payload import BadPayloadError
from beamline_trio.router._signature import HandlerError, bind

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

    from beamline_trio.router._delivery import Delivery


@attrs.frozen
class Order:
    number: int


@attrs.frozen
class Given:
    """A delivery, as far as a call knows it."""

    message: Message


class Odd:
    pass


def given(payload: bytes) -> Given:
    client: Client = None  # type: ignore[assignment]  # a message that nobody answers needs none
    return Given(Message(client, b"x", payload, None, None))


async def called(handler: Any, payload: bytes, **names: Any) -> Any:
    return await bind(handler, names)(given(payload))


class Methods:
    async def method(self, payload: str) -> object:
        return payload

    @staticmethod
    async def static(payload: str, delivery: Delivery) -> object:
        return payload, type(delivery)

    async def __call__(self, payload: Order) -> object:
        return payload


async def message_bare(msg):  # type: ignore[no-untyped-def]
    return msg


async def message_annotated(message: Message) -> object:
    return message


async def stream_message(message: JetStreamMessage) -> object:
    return message


async def payload_bare(payload, delivery):  # type: ignore[no-untyped-def]
    return payload, type(delivery)


async def payload_bytes(payload: bytes) -> object:
    return payload


async def payload_order(order: Order, delivery: Delivery, more: int = 1, *args: int, key: int = 2, **kw: int) -> object:
    return order, type(delivery)


async def two(prefix: str, payload: str) -> object:
    return prefix + payload


def wrapping(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> object:
        return await function(*args)

    return wrapper


async def test_a_handler_gets_what_it_takes() -> None:
    """The message, the payload as annotated, and the delivery; defaults of others stay."""
    for handler in (message_bare, message_annotated, stream_message):
        assert (await called(handler, b"a")).payload == b"a"
    assert await called(payload_bare, b"a") == (b"a", Given)
    assert await called(payload_bytes, b"a") == b"a"
    assert await called(payload_order, b'{"number":1}') == (Order(1), Given)


async def test_methods_partials_and_wrappers_are_handlers() -> None:
    """Whatever is async inside is a handler, with the annotations of what is inside."""
    methods = Methods()
    assert await called(methods.method, b"a") == "a"
    assert await called(methods.static, b"a") == ("a", Given)
    assert await called(methods, b'{"number":1}') == Order(1)
    assert await called(functools.partial(two, "x"), b"a") == "xa"
    assert await called(wrapping(payload_order), b'{"number":1}') == (Order(1), Given)


async def test_annotations_in_strings_see_where_they_are_written() -> None:
    """The module's names, the closure's, and the names that are handed over."""

    @attrs.frozen
    class Local:
        number: int

    async def with_closure(payload: Local) -> object:
        return payload, Local

    async def without(payload: Local) -> object:
        return payload

    assert await called(with_closure, b'{"number":1}') == (Local(1), Local)

    async def with_later(payload: Local) -> object:
        return payload, later, Local

    invoke = bind(with_later)
    later = 7
    assert await invoke(given(b'{"number":1}')) == (Local(1), later, Local)
    with pytest.raises(HandlerError, match="'Local' of its parameter 'payload' cannot be resolved"):
        bind(without)
    assert await called(without, b'{"number":1}', Local=Local) == Local(1)


async def test_a_bad_payload_is_raised_by_the_call() -> None:
    """Nothing of the handler has run, and no coroutine is left that nobody awaits."""
    with pytest.raises(BadPayloadError, match="not Order"):
        await bind(payload_order)(given(b"[]"))


async def checkers_only(payload: OnlyForCheckers) -> None: ...


async def odd(payload: Odd, delivery: Delivery) -> None: ...


async def many(first: bytes, second: object, third: object) -> None: ...


async def keyword(*, payload: bytes) -> None: ...


async def nothing() -> None: ...


def not_async(payload: bytes) -> None: ...


@pytest.mark.parametrize(
    "handler, words",
    [
        (checkers_only, ["checkers_only", "'payload'", "OnlyForCheckers", "TYPE_CHECKING"]),
        (odd, ["test_signature.odd", "'payload'", "no rule for Odd", "attrs"]),
        (many, ["many", "(first, second, third)", "one or two"]),
        (keyword, ["keyword", "(payload)"]),
        (nothing, ["nothing", "(none)"]),
        (not_async, ["not_async", "is not async"]),
        (b"handler", ["not bytes"]),
    ],
)
def test_what_cannot_be_a_handler_is_told_by_name(handler: Any, words: list[str]) -> None:
    """The error names the handler, the parameter and the next step, where the handler is declared."""
    with pytest.raises(HandlerError) as caught:
        bind(handler)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_missing_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes of attrs need cattrs: without it the declaration says which extra to install, for which parameter."""
    monkeypatch.setitem(sys.modules, "cattrs.preconf.json", None)
    _models._converter.cache_clear()
    with pytest.raises(MissingExtraError, match=r"payload_order.*'order'.*beamline-trio\[typed\]"):
        bind(payload_order)
    monkeypatch.undo()
    bind(payload_order)
