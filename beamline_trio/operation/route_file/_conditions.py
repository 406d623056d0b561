"""Conditions: which messages of a route are meant. All conditions of a filter must hold.

A message that lacks the value, or has one of another type, does not meet a condition, but for `exists = false` and
`not_equals`.

Must not raise for any message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ._errors import MappingError, RouteFileError
from ._paths import Input, Path, parse_path

_MISSING: Final = object()


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON has it: true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, bound: Any) -> bool:
        return _is_number(value) and holds(value, bound)

    return test


def _text(holds: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, wanted: Any) -> bool:
        return isinstance(value, str) and holds(value, wanted)

    return test


_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "exists": lambda value, wanted: (value is not _MISSING) == wanted,
    "equals": _same,
    "not_equals": lambda value, wanted: not _same(value, wanted),
    "in": lambda value, wanted: any(_same(value, one) for one in wanted),
    "above": _ordered(lambda value, bound: value > bound),
    "below": _ordered(lambda value, bound: value < bound),
    "at_least": _ordered(lambda value, bound: value >= bound),
    "at_most": _ordered(lambda value, bound: value <= bound),
    "starts_with": _text(str.startswith),
    "ends_with": _text(str.endswith),
    "contains": _text(lambda value, part: part in value),
}
_OPERANDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "exists": (lambda one: isinstance(one, bool), "true or false"),
    "equals": (lambda one: isinstance(one, (str, bool, int, float)), "a text, a number, or true or false"),
    "not_equals": (lambda one: isinstance(one, (str, bool, int, float)), "a text, a number, or true or false"),
    "in": (lambda one: isinstance(one, list) and bool(one), "a list with at least one value"),
    **dict.fromkeys(("above", "below", "at_least", "at_most"), (_is_number, "a number")),
    **dict.fromkeys(("starts_with", "ends_with", "contains"), (lambda one: isinstance(one, str), "a text")),
}


@attrs.frozen
class Condition:
    """One value of a message, and what it is compared with.

    Attributes:
        path: which value.
        tests: the name of a comparison, and the value to compare with.
    """

    path: Path
    tests: tuple[tuple[str, Any], ...]

    def holds(self, source: Input) -> bool:
        """Whether a message meets it."""
        try:
            value = self.path.find(source)
        except MappingError:
            value = _MISSING
        return all(_TESTS[name](value, wanted) for name, wanted in self.tests)


def compile_condition(table: Any, where: str) -> Condition:
    """Read a condition: `{ path = "payload.total", above = 0 }`.

    Raises:
        RouteFileError: it has no path or no comparison, or one that is unknown or compares with another type.
    """
    if not isinstance(table, dict) or "path" not in table:
        raise RouteFileError(where, 'a condition is a table with a path, as { path = "payload.total", above = 0 }')
    try:
        path = parse_path(table["path"] if isinstance(table["path"], str) else "")
    except ValueError as error:
        raise RouteFileError(f"{where}.path", str(error)) from None
    tests = tuple((name, wanted) for name, wanted in table.items() if name != "path")
    if not tests:
        raise RouteFileError(where, f"it compares {path.text} with nothing; give one of {', '.join(_TESTS)}")
    for name, wanted in tests:
        if name not in _TESTS:
            raise RouteFileError(f"{where}.{name}", f"there is no such comparison; there are {', '.join(_TESTS)}")
        accepts, what = _OPERANDS[name]
        if not accepts(wanted):
            raise RouteFileError(f"{where}.{name}", f"it is {wanted!r}; it must be {what}")
    return Condition(path, tests)
