"""How handlers of batches are called, and what is said of functions that cannot be one."""

from __future__ import annotations

from typing import Any

import pytest

from beamline_trio import Message
from beamline_trio.router import Batch, Delivery, HandlerError, Router
from beamline_trio.router._signature_batch import bind_batch


async def bare(payloads):  # type: ignore[no-untyped-def]
    raise AssertionError


async def single(payload: bytes) -> None:
    raise AssertionError


async def untold(payloads: list) -> None:  # type: ignore[type-arg]
    raise AssertionError


async def mapping(payloads: dict[str, Any]) -> None:
    raise AssertionError


async def message(message: Message) -> None:
    raise AssertionError


@pytest.mark.parametrize("handler", [bare, single, untold, mapping, message])
def test_a_handler_without_a_list_of_payloads_is_refused(handler: Any) -> None:
    """The error names handler and parameter, and what to write; nothing is added."""
    router = Router("r")
    with pytest.raises(HandlerError, match=rf"{handler.__name__} .*'(payloads?|message)'.*list\[T\]"):
        router.route("a", stream="S", batch=Batch(2, 1))(handler)
    assert router.routes == {}


def test_what_single_handlers_are_refused_for_holds_too() -> None:
    """They must be async, with one or two parameters, of something that payloads can be made into."""

    def plain(payloads: list[bytes]) -> None:
        raise AssertionError

    async def many(one: list[bytes], two: list[Delivery], three: int) -> None:
        raise AssertionError

    async def odd(payloads: list[Delivery]) -> None:
        raise AssertionError

    with pytest.raises(HandlerError, match="not async"):
        bind_batch(plain)  # type: ignore[arg-type]
    with pytest.raises(HandlerError, match="one or two"):
        bind_batch(many)
    with pytest.raises(HandlerError, match="'payloads'"):
        bind_batch(odd)
