"""Payloads to what a handler's annotation asks for, and what a handler gives back to bytes.

    bytes             as they came
    str               UTF-8
    Any, object       any JSON; dict, list, int, float, bool, None: JSON of that type
    anything else     JSON made into attrs classes, dataclasses, msgspec's Structs, pydantic's models, or types of them

Which of them it is gets decided once, where the handler is declared. Whatever is wrong with a payload is one error with
a short reason, which holds at most 200 characters and nothing of the headers.

Must not know handlers, and must not let a library's error out, which may hold the payload.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ..protocol import NatsError
from ._json import NotJSONError, decode_text, dump_json, json_name, load_json
from ._models import Loader, explain, loader_of, plain
from ._outcomes import one_line

Decode: TypeAlias = Callable[[bytes], object]

REASON_CHARACTERS_MAX: Final = 200
_ANYTHING: Final = (Any, object)
_OF_ANYTHING: Final = ((str, Any), (str, object), (Any,), (object,))
_JSON_TYPES: Final = (dict, list, int, float, bool, type(None))


class BadPayloadError(NatsError, ValueError):
    """A payload is not what its handler takes. No retry can mend it: the outcome of the message is `bad_payload`.

    Attributes:
        reason: what is wrong and where; one line of at most 200 characters.
    """

    def __init__(self, reason: str) -> None:
        self.reason = one_line(reason, REASON_CHARACTERS_MAX)
        super().__init__(f"bad payload: {self.reason}")


def decoder_of(annotation: Any) -> Decode | None:
    """The function that makes the annotated type of a payload; None where bytes are wanted, as they came.

    The function raises BadPayloadError, whatever the payload is.

    Raises:
        NoRuleError: no payload can be made into it.
        MissingExtraError: it needs cattrs, which is not installed.
    """
    if annotation is bytes:
        return None
    name = annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
    return _guarded(_loader(annotation), name)


def encode(value: object) -> bytes:
    """What a handler gives as a payload, as bytes: bytes as they are, a str in UTF-8, all else as JSON.

    Raises:
        TypeError: it is no JSON and no model, or has such within.
        ValueError: it has a NaN or an infinity, text that is not valid UTF-8, refers to itself, or is nested too deep.
        MissingExtraError: cattrs is needed and not installed.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    try:
        return dump_json(value, plain)
    except RecursionError:
        raise ValueError(f"a value of {type(value).__name__} is nested too deep for JSON") from None


def _loader(annotation: Any) -> Loader:
    if annotation is str:
        return decode_text
    if annotation in _ANYTHING:
        return load_json
    kind = type(None) if annotation is None else annotation
    if kind in _JSON_TYPES:
        return _typed(kind)
    if typing.get_origin(kind) in (dict, list) and typing.get_args(kind) in _OF_ANYTHING:
        return _typed(typing.get_origin(kind))
    return loader_of(annotation)


def _typed(kind: Any) -> Loader:
    accepts = (int, float) if kind is float else (kind,)

    def load(payload: bytes) -> object:
        value = load_json(payload)
        if type(value) not in accepts:
            raise NotJSONError(f"expected {json_name(kind)}, got {json_name(type(value))}")
        return float(value) if kind is float else value  # type: ignore[arg-type]

    return load


def _guarded(load: Loader, name: str) -> Decode:
    def decode(payload: bytes) -> object:
        try:
            return load(payload)
        except MemoryError:  # of this process, not of the payload
            raise
        except Exception as error:  # noqa: BLE001  # whatever a library, or a validator of a model, says no with
            reason = _reason(error)
        # Out here, so that the library's error does not hang on to this one as its context.
        raise BadPayloadError(f"not {name}: {reason}")

    return decode


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    try:
        return explain(error)
    except Exception:  # noqa: BLE001  # the words of a library about a payload that it does not take
        return type(error).__name__
