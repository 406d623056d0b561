"""Checks of the values in a fault plan: each returns the value as the plan keeps it, or raises and names the field.

Must not know what the fields mean together.
"""

from __future__ import annotations

import enum
from typing import TypeVar

from ._errors import FaultPlanError

_Kind = TypeVar("_Kind", bound=enum.StrEnum)


def require(right: bool, field: str, value: object, bound: str) -> None:
    """Raise a FaultPlanError unless it is right; `bound` begins with a verb: "must be 0"."""
    if not right:
        raise FaultPlanError(field, f"is {shown(value)}; it {bound}")


def number(value: object, field: str) -> float:
    """A number of at least 0, as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:  # NaN is not either
        raise FaultPlanError(field, f"is {shown(value)}; it must be a number from 0 to 1e9")
    return value


def seconds(value: object, field: str) -> float:
    """A number of seconds in whole milliseconds."""
    return round(float(number(value, field)), 3)


def whole(value: object, field: str) -> int:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FaultPlanError(field, f"is {shown(value)}; it must be a whole number of at least 0")
    return value


def member(kinds: type[_Kind], value: object, field: str) -> _Kind:
    """One of an enumeration, which may be given as its text."""
    for kind in kinds:
        if kind == value:
            return kind
    raise FaultPlanError(field, f"is {shown(value)}; it must be one of {', '.join(kinds)}")


def host_names(value: object, field: str) -> tuple[str, ...]:
    """A list or tuple of host names, each one printable word."""
    if not isinstance(value, (list, tuple)) or not all(map(_is_word, value)):
        raise FaultPlanError(field, f"is {shown(value)}; it must be a list of host names")
    return tuple(value)


def _is_word(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name.split() == [name]


def shown(value: object) -> str:
    """A value for an error text: ASCII, and not long."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
