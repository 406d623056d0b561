"""How a handler is called: read from its signature once, when it is declared.

    handler(message)              a parameter without an annotation, or annotated as Message: the message itself
    handler(payload)              any other annotation: the decoded payload
    handler(payload, delivery)    the same, and the delivery it came with

Whatever cannot work raises here, with the names of handler and parameter, and not when the first message comes.

Must not run a handler, and must not decode.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from ..client import Message
from ..protocol import MissingExtraError, NatsError
from ._models import NoRuleError
from ._payload import Decode, decoder_of

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARRED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_PARAMETERS_MAX: Final = 2
_FORMS: Final = "async def handler(payload), handler(payload, delivery) or handler(message: Message)"


class HandlerError(NatsError, TypeError):
    """A function cannot be the handler of a route; the text names it, the parameter and what to change."""


class Carries(Protocol):
    """What a delivery has for its handler."""

    @property
    def message(self) -> Message:
        """The message as it came."""
        ...


Invoke: TypeAlias = Callable[[Any], Awaitable[object]]


def bind(handler: Callable[..., Awaitable[object]], names: Mapping[str, Any] | None = None) -> Invoke:
    """A function that calls the handler with what it takes of a delivery.

    It decodes before it returns the awaitable: BadPayloadError comes from the call, and nothing of the handler has run.

    Args:
        handler: an async function or method, or an object whose `__call__` is one.
        names: names for annotations in strings beyond those of the handler's module: the locals of where it is defined.

    Raises:
        HandlerError: it is not async, has other parameters, or an annotation that no payload can be made into.
        MissingExtraError: cattrs is needed and not installed.
    """
    label, parameters, annotation = read_signature(handler, names or {})
    if _takes_message(annotation, len(parameters)):
        return lambda delivery: handler(delivery.message)
    decode = decoder_for(label, parameters[0], bytes if annotation is inspect.Parameter.empty else annotation)
    return _call(handler, decode, with_delivery=len(parameters) > 1)


def read_signature(
    handler: Callable[..., Awaitable[object]], names: Mapping[str, Any]
) -> tuple[str, list[inspect.Parameter], Any]:
    """The handler's name in texts, the parameters that the router gives, and the annotation of the first.

    Raises:
        HandlerError: as for `bind`.
    """
    if not callable(handler):
        raise HandlerError(f"a handler is an async function, not {type(handler).__name__}; write {_FORMS}")
    label = shown(handler)
    if not is_async(handler):
        raise HandlerError(f"handler {label} is not async; write {_FORMS}")
    parameters = _parameters(handler, label)
    return label, parameters, _resolved(handler, label, parameters[0], names)


def _call(handler: Callable[..., Awaitable[object]], decode: Decode | None, *, with_delivery: bool) -> Invoke:
    """The four shapes of a call, so that a message pays for nothing that its handler does not use."""
    if decode is None:
        if with_delivery:
            return lambda delivery: handler(delivery.message.payload, delivery)
        return lambda delivery: handler(delivery.message.payload)
    if with_delivery:
        return lambda delivery: handler(decode(delivery.message.payload), delivery)
    return lambda delivery: handler(decode(delivery.message.payload))


def _takes_message(annotation: Any, count: int) -> bool:
    if annotation is inspect.Parameter.empty:
        return count == 1
    return isinstance(annotation, type) and issubclass(annotation, Message)


def decoder_for(label: str, parameter: inspect.Parameter, annotation: Any) -> Decode | None:
    """As `decoder_of`, with the names of handler and parameter in its errors."""
    try:
        return decoder_of(annotation)
    except (NoRuleError, MissingExtraError) as error:
        text = f"handler {label}: no payload can be made into its parameter {parameter.name!r}: {error}"
        if isinstance(error, MissingExtraError):
            raise MissingExtraError(text) from error
        raise HandlerError(
            f"{text}; annotate it as bytes, str, Any, dict, list, or as an attrs class, dataclass, msgspec.Struct or "
            "pydantic model whose fields can be"
        ) from error


def _parameters(handler: Callable[..., object], label: str) -> list[inspect.Parameter]:
    """The parameters that the router gives: those without defaults, one or two, by position."""
    every = list(inspect.signature(handler).parameters.values())
    wanted = [one for one in every if one.default is one.empty and one.kind not in _STARRED]
    if not 1 <= len(wanted) <= _PARAMETERS_MAX or any(one.kind not in _POSITIONAL for one in wanted):
        listed = ", ".join(str(one.name) for one in wanted) or "none"
        raise HandlerError(
            f"handler {label} has the parameters ({listed}), the router gives one or two; write {_FORMS}"
        )
    return wanted


def _resolved(
    handler: Callable[..., object], label: str, parameter: inspect.Parameter, names: Mapping[str, Any]
) -> Any:
    """The annotation, evaluated where it is a string (`from __future__ import annotations`)."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    function = _function(handler)
    module = sys.modules.get(function.__module__)
    known = {**vars(builtins), **(vars(module) if module else {}), **_closure(function), **names}
    try:
        return eval(annotation, known)  # the text of the program, as typing.get_type_hints does
    except Exception as error:
        raise HandlerError(
            f"handler {label}: the annotation {annotation!r} of its parameter {parameter.name!r} cannot be resolved "
            f"({error}); import or define it where the handler's module sees it at run time, not under TYPE_CHECKING"
        ) from error


def _closure(function: Any) -> dict[str, Any]:
    """What it closes over and has a value by now; a name may get its own behind the handler."""
    if not inspect.isfunction(function) or function.__closure__ is None:
        return {}
    known = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        try:
            known[name] = cell.cell_contents
        except ValueError:  # it is empty
            continue
    return known


def is_async(handler: Any) -> bool:
    """Whether a callable is an async function, also within partials, wrappers and objects that are called."""
    inner = handler
    while isinstance(inner, functools.partial):
        inner = inner.func
    call = inner if inspect.isroutine(inner) else type(inner).__call__
    return inspect.iscoroutinefunction(inspect.unwrap(call))


def _function(handler: Any) -> Any:
    """The plain function within partials, methods, wrappers and objects that are called."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    if not inspect.isroutine(handler):
        handler = type(handler).__call__
    return getattr(handler, "__func__", handler)


def shown(handler: Any) -> str:
    """The name of a handler in texts: its module and its qualified name."""
    function = _function(handler) if callable(handler) else type(handler)
    return f"{function.__module__}.{function.__qualname__}"
