"""Tables of a TOML file, taken apart key by key; what is unknown or of another type is an error that says where.

Must not know what a field means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from ._errors import RouteFileError

T = TypeVar("T")

_NAMES: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


class Table:
    """A table, and which of its keys were asked for.

    Args:
        raw: what stands in the file.
        where: its place there.
    """

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise RouteFileError(where, f"it is {_shown(raw)}; it must be a table")
        self._raw: dict[str, Any] = raw
        self._where = where
        self._known: list[str] = []

    def place(self, key: str) -> str:
        """Where a key stands in the file."""
        return f"{self._where}.{key}" if self._where else key

    def take(self, key: str, kind: type[T], default: T | None = None) -> T | None:
        """The value of a key, or the default; a whole number will do for a number."""
        self._known.append(key)
        if key not in self._raw:
            return default
        value = self._raw[key]
        wanted: tuple[type, ...] = (int, float) if kind is float else (kind,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise RouteFileError(self.place(key), f"it is {_shown(value)}; it must be {_NAMES[kind]}")
        return cast("T", value)

    def need(self, key: str, kind: type[T]) -> T:
        """The value of a key that must be there."""
        value = self.take(key, kind)
        if value is None:
            raise RouteFileError(self.place(key), f"it is missing; it must be {_NAMES[kind]}")
        return value

    def one_of(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """The value of a key that may be one of some words."""
        value = self.take(key, str, default)
        if value not in choices:
            raise RouteFileError(self.place(key), f"it is {_shown(value)}; it must be one of {', '.join(choices)}")
        return str(value)

    def raw(self, key: str, read: Callable[[Any, str], T]) -> T | None:
        """The value of a key as a function of it and its place reads it; None when it is not there."""
        self._known.append(key)
        return read(self._raw[key], self.place(key)) if key in self._raw else None

    def several(self, key: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """The values of a key that is a list, each read by a function; without the key, none."""
        values = self.take(key, list) or []
        return tuple(read(value, f"{self.place(key)}[{index}]") for index, value in enumerate(values))

    def end(self) -> None:
        """Refuse what was not asked for.

        Raises:
            RouteFileError: there is such a key.
        """
        for key in self._raw:
            if key not in self._known:
                raise RouteFileError(
                    self.place(key), f"there is no such key; there are {', '.join(sorted(self._known))}"
                )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
