"""Options that are secrets become `Secret` before anything is checked, so that no frame of ours has one in plain.

The same functions are the converters of their fields, from which type checkers know what may be given.

Must not refuse a value; the validators do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import attrs

from ..protocol import Secret, hidden
from ..transport import HeadersCallback, WebSocketHeaders
from ._sources import CredsCallback, NkeySigner, TextCallback, UserJWT, text_of

_Class = TypeVar("_Class", bound=type[Any])


def servers_of(value: str | Secret | Sequence[str | Secret]) -> tuple[Secret, ...]:
    """URLs, which may hold passwords; one URL is a list of one."""
    given = value if isinstance(value, (list, tuple)) else (value,)
    return cast("tuple[Secret, ...]", tuple(Secret(url) if isinstance(url, str) else url for url in given))


def text_or_none(value: str | Secret | TextCallback | None) -> Secret | TextCallback | None:
    """A password or a token."""
    return None if value is None else text_of(value)


def nkey_of(
    value: str | bytes | bytearray | Secret | os.PathLike[str] | NkeySigner | None,
) -> Secret | os.PathLike[str] | NkeySigner | None:
    """A seed as text or bytes is hidden."""
    if isinstance(value, (bytes, bytearray)):
        return Secret(value.decode("utf-8", "replace"))
    return Secret(value) if isinstance(value, str) else value


def creds_of(
    value: str | bytes | bytearray | Secret | os.PathLike[str] | UserJWT | CredsCallback | None,
) -> str | Secret | os.PathLike[str] | UserJWT | CredsCallback | None:
    """The content of a file is hidden; a str is a path, unless it has several lines."""
    if isinstance(value, (bytes, bytearray)):
        return Secret(value.decode("utf-8", "replace"))
    return Secret(value) if isinstance(value, str) and "\n" in value else value


def headers_of(value: WebSocketHeaders | HeadersCallback | None) -> WebSocketHeaders | HeadersCallback | None:
    """The values of headers are hidden."""
    if not isinstance(value, Mapping):
        return value
    return {name: hidden(text) if isinstance(text, str) else text for name, text in value.items()}


SECRET_OPTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "servers": servers_of,
    "password": text_or_none,
    "token": text_or_none,
    "nkey": nkey_of,
    "creds": creds_of,
    "websocket_headers": headers_of,
}


def hide_in_place(values: dict[str, Any], known: Collection[str]) -> None:
    """Hide what is secret among options, and every text under a name that is not known: a password misspelt."""
    for option, value in values.items():
        if option in SECRET_OPTIONS:
            values[option] = SECRET_OPTIONS[option](value)
        elif option not in known and isinstance(value, str):
            values[option] = Secret(value)


def hides_secrets(cls: _Class) -> _Class:
    """A class of options whose constructor hides them first: an error in it may be shown with its locals."""
    construct: Callable[..., None] = cls.__init__
    known = {field.name for field in attrs.fields(cls)}

    @functools.wraps(construct)
    def hiding(self: Any, **values: Any) -> None:
        hide_in_place(values, known)
        construct(self, **values)

    type.__setattr__(cls, "__init__", hiding)
    return cls
