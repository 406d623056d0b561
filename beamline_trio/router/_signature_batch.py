"""How a handler of batches is called: read from its signature once, when it is declared.

    handler(payloads: list[T])                                  the decoded payloads, in their order
    handler(payloads: list[T], deliveries: list[Delivery])      the same, and the deliveries they came with
    handler(messages: list[Message])                            the messages themselves

What cannot be decoded is left out, and says so in its delivery's `failure`; a handler for which nothing is left is not
called.

Must not run a handler for less than one message.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..client import Message
from ._delivery_batch import batch_of
from ._payload import BadPayloadError, Decode
from ._signature import HandlerError, Invoke, decoder_for, read_signature

_FORMS: Final = "async def handler(payloads: list[T]) or handler(payloads: list[T], deliveries: list[Delivery])"


def bind_batch(handler: Callable[..., Awaitable[object]], names: Mapping[str, Any] | None = None) -> Invoke:
    """A function that calls the handler with what it takes of a batch; the arguments are those of `bind`.

    Raises:
        HandlerError: it is not async, has other parameters, or its first is not annotated as a list of something that
            a payload can be made into.
        MissingExtraError: cattrs is needed and not installed.
    """
    label, parameters, annotation = read_signature(handler, names or {})
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is not list or len(arguments) != 1:
        raise HandlerError(
            f"handler {label} is of a route with batch, and its parameter {parameters[0].name!r} is not annotated as a "
            f"list of payloads; write {_FORMS}"
        )
    of = arguments[0]
    if isinstance(of, type) and issubclass(of, Message):
        return _call(handler, None, of_messages=True, with_deliveries=len(parameters) > 1)
    decode = decoder_for(label, parameters[0], of)
    return _call(handler, decode, of_messages=False, with_deliveries=len(parameters) > 1)


def _call(
    handler: Callable[..., Awaitable[object]], decode: Decode | None, *, of_messages: bool, with_deliveries: bool
) -> Invoke:
    async def invoke(delivery: Any) -> object:
        batch = batch_of(delivery)
        values: list[object] = []
        for one in batch.handled:
            one.began = batch.began
            try:
                values.append(_value(one.message, decode, of_messages=of_messages))
            except BadPayloadError as error:
                one.failure = error
        if not values:
            return None
        return await (handler(values, batch.handled) if with_deliveries else handler(values))

    return invoke


def _value(message: Message, decode: Decode | None, *, of_messages: bool) -> object:
    if of_messages:
        return message
    return message.payload if decode is None else decode(message.payload)
