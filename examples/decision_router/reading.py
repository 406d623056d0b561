"""Bytes -> a JSON object whose fields are read one by one, each with its type and its bounds.

A field that is wrong is a `Refusal` that names it. Must not know which fields a message has.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

import attrs

from .errors import ErrorCode, Refusal

PAYLOAD_BYTES_MIN: Final = 10
PAYLOAD_BYTES_MAX: Final = 1024 * 1024
TEXT_CHARACTERS_MAX: Final = 256
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


def read_object(payload: bytes) -> Fields:
    """The JSON object that a payload is.

    Raises:
        Refusal: PAYLOAD_TOO_SMALL, or SCHEMA_VALIDATION_FAILED: too large, no JSON, no object.
    """
    size = len(payload)
    if size < PAYLOAD_BYTES_MIN:
        raise Refusal(
            ErrorCode.PAYLOAD_TOO_SMALL,
            f"the payload is {size} bytes, the least is {PAYLOAD_BYTES_MIN}; send a JSON object",
            {"bytes": size, "bytes_min": PAYLOAD_BYTES_MIN},
        )
    if size > PAYLOAD_BYTES_MAX:
        raise Refusal(
            ErrorCode.SCHEMA_VALIDATION_FAILED,
            f"the payload is {size} bytes, the most is {PAYLOAD_BYTES_MAX}; store it and send task.payload_ref",
            {"bytes": size, "bytes_max": PAYLOAD_BYTES_MAX},
        )
    try:
        value = json.loads(payload.decode("utf-8"), parse_float=_finite, parse_constant=_no_number)
    except RecursionError:
        raise Refusal(ErrorCode.SCHEMA_VALIDATION_FAILED, "the payload is nested too deeply; flatten it") from None
    except ValueError as error:  # no UTF-8 and no JSON are both one
        raise Refusal(ErrorCode.SCHEMA_VALIDATION_FAILED, f"the payload is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refusal(ErrorCode.SCHEMA_VALIDATION_FAILED, f"the payload is {_kind(value)}; send a JSON object")
    return Fields(cast("dict[str, Any]", value))


@attrs.frozen
class Fields:
    """The fields of a JSON object, read with their types.

    Each reader raises `Refusal` with SCHEMA_VALIDATION_FAILED where the field is of another type or out of its bounds,
    and where it is missing without being optional. A JSON null is a missing field.

    Attributes:
        values: as they came.
        path: where the object lies in the message, with a dot behind it.
    """

    values: Mapping[str, Any]
    path: str = ""

    def optional_text(self, name: str) -> str | None:
        """A text of 1 to 256 characters that can be printed, or None."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 1 <= len(value) <= TEXT_CHARACTERS_MAX or not value.isprintable():
            self.wrong(name, f"a text of 1 to {TEXT_CHARACTERS_MAX} printable characters")
        return value

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.optional_text(name)
        return self.wrong(name, "a text") if value is None else value

    def optional_number(self, name: str) -> float | None:
        """A number that is not negative, or None."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e15:
            self.wrong(name, "a number from 0 to 10^15")
        return value

    def number(self, name: str) -> float:
        """A number that must be there."""
        value = self.optional_number(name)
        return self.wrong(name, "a number") if value is None else value

    def flag(self, name: str) -> bool:
        """True or false; missing is false."""
        value = self.values.get(name)
        if value is None:
            return False
        return value if isinstance(value, bool) else self.wrong(name, "true or false")

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """One of these texts."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value in choices else self.wrong(name, " or ".join(choices))

    def optional_object(self, name: str) -> Fields:
        """An object; missing is an empty one."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            self.wrong(name, "an object")
        return Fields(cast("dict[str, Any]", value or {}), f"{self.path}{name}.")

    def object(self, name: str) -> Fields:
        """An object that must be there."""
        if self.values.get(name) is None:
            self.wrong(name, "an object")
        return self.optional_object(name)

    def wrong(self, name: str, wanted: str) -> NoReturn:
        """Refuse the field."""
        path = f"{self.path}{name}"
        value = self.values.get(name)
        has = "is missing" if value is None else f"is {_kind(value)}"
        raise Refusal(ErrorCode.SCHEMA_VALIDATION_FAILED, f"{path} {has}; it must be {wanted}", {"field": path})

    def optional_uuid(self, name: str) -> str | None:
        """A UUID in lower case, or None.

        Raises:
            Refusal: CORRELATION_FIELDS_INVALID.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _UUID.match(value):
            raise Refusal(
                ErrorCode.CORRELATION_FIELDS_INVALID,
                f"{self.path}{name} is {_kind(value)}; it must be a UUID, such as 0f8fad5b-d9cb-469f-a165-70867728950e",
                {"field": f"{self.path}{name}"},
            )
        return value.lower()

    def uuid(self, name: str) -> str:
        """A UUID that must be there.

        Raises:
            Refusal: CORRELATION_FIELDS_INVALID.
        """
        value = self.optional_uuid(name)
        if value is None:
            raise Refusal(
                ErrorCode.CORRELATION_FIELDS_INVALID,
                f"{self.path}{name} is missing; it must be a UUID",
                {"field": f"{self.path}{name}"},
            )
        return value

    def optional_trace(self, name: str) -> str | None:
        """What a client traces its request by, or None.

        Raises:
            Refusal: CORRELATION_FIELDS_INVALID.
        """
        try:
            return self.optional_text(name)
        except Refusal as refusal:
            raise Refusal(ErrorCode.CORRELATION_FIELDS_INVALID, refusal.message, refusal.details) from None


def _kind(value: object) -> str:
    """A value in an error text: its beginning, or what it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no number that JSON can say")
