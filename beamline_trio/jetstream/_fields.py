"""What a record's field may hold, by its annotation: refused before a byte is sent, with the field's name.

Literals are enums of the server's, numbers fit into its 64 bits, texts into UTF-8. A record that was read from a newer
server has what it does not know in `extra`, so nothing of it is refused here.

Must not know which records there are.
"""

from __future__ import annotations

import datetime
import functools
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from ..protocol import check_flag, check_number, check_text

# The server counts in 64 bits, most numbers with a sign.
INTEGER_MAX: Final = 2**63 - 1
SECONDS_MAX: Final = INTEGER_MAX // 1_000_000_000


@functools.cache
def hints_of(kind: Hashable) -> dict[str, Any]:
    """Field -> its annotation, without None."""
    return {name: _without_none(hint) for name, hint in typing.get_type_hints(cast("type", kind)).items()}


def is_choice(kind: type, name: str, value: object) -> bool:
    """Whether a value is one of those of an enum; true for fields that are none."""
    hint = hints_of(kind)[name]
    return typing.get_origin(hint) is not typing.Literal or value in typing.get_args(hint)


def check_fields(record: Any) -> None:
    """Check all fields that are given.

    Raises:
        TypeError: one has another type than its annotation says.
        ValueError: one is none of its enum's values, or out of bounds.
    """
    kind: type = type(record)
    hints = hints_of(kind)
    for field in attrs.fields(type(record)):
        value = getattr(record, field.name)
        if value is not None:
            _check(field.name, value, hints[field.name])


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _check(name: str, value: Any, hint: Any) -> None:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if not isinstance(value, str) or value not in parts:
            raise (ValueError if isinstance(value, str) else TypeError)(
                f"{name} is {value!r}; it must be one of {', '.join(parts)}"
            )
    elif origin is Sequence:
        _check_sequence(name, value, parts[0])
    elif origin is Mapping:
        _check_mapping(name, value, parts[1])
    elif hint is bool:
        check_flag(name, value)
    elif hint is str:
        check_text(name, value)
    elif hint is int:
        check_number(name, value, least=-INTEGER_MAX, most=INTEGER_MAX, whole=True, note="64 bits of the server's")
    elif hint is float:
        check_number(name, value, least=-SECONDS_MAX, most=SECONDS_MAX, note="292 years")
    elif not isinstance(value, hint):
        raise TypeError(f"{name} is {value!r}; it must be a {_kind(hint)}")
    elif isinstance(value, datetime.datetime) and value.tzinfo is None:
        raise ValueError(f"{name} is {value!r}; it has no time zone: use datetime.timezone.utc")


def _check_sequence(name: str, value: Any, part: Any) -> None:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} is {value!r}; it must be a list, as [{value!r}]")
    for item in value:
        if item is None:
            raise TypeError(f"{name} has None among its values; leave it out")
        _check(name, item, part)


def _check_mapping(name: str, value: Any, part: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {value!r}; it must be a mapping, as a dict")
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} has the key {key!r}; keys must be str")
        check_text(f"a key of {name}", key)
        if part is str:
            if item is None:
                raise TypeError(f"{name}[{key!r}] is None; it must be a str")
            check_text(f"{name}[{key!r}]", item)


def _kind(hint: type) -> str:
    return "datetime.datetime with a time zone" if hint is datetime.datetime else hint.__name__
