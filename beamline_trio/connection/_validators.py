"""What the options of a client are checked with: each refusal names the key, the value and the bound.

A validator is what attrs calls with (instance, field, value). Of secrets the value is never named.

Must not know which options there are.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from ..protocol import InvalidSubjectError, check_inbox_prefix
from ._errors import OptionsError

Validator: TypeAlias = Callable[[Any, Any, Any], None]


def number(*, least: float, optional: bool = False, whole: bool = False) -> Validator:
    """A number from a bound on, and None if it is optional."""
    kind = "a whole number" if whole else "a number"
    bound = f"{kind} of at least {least:g}" + (", or None" if optional else "")

    def check(_: Any, field: Any, value: Any) -> None:
        if value is None and optional:
            return
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
            raise OptionsError(f"{field.name} is {value!r}; it must be {bound}")

    return check


def one_of(*choices: str) -> Validator:
    """One of some words."""

    def check(_: Any, field: Any, value: Any) -> None:
        if value not in choices:
            raise OptionsError(f"{field.name} is {value!r}; it must be one of {', '.join(choices)}")

    return check


def flag(_: Any, field: Any, value: Any) -> None:
    """True or False, and nothing that looks like them."""
    if not isinstance(value, bool):
        raise OptionsError(f"{field.name} is {value!r}; it must be True or False")


def inbox(_: Any, field: Any, value: Any) -> None:
    """A subject without wildcards."""
    try:
        check_inbox_prefix(value)
    except (InvalidSubjectError, TypeError) as exc:
        raise OptionsError(f"{field.name} is {value!r}; it must be a subject without wildcards") from exc


def text(_: Any, field: Any, value: Any) -> None:
    """A str; the error does not repeat the value, which may be a secret."""
    if not isinstance(value, str):
        raise OptionsError(f"{field.name} must be a str, not {type(value).__name__}")


def optional_text(_: Any, field: Any, value: Any) -> None:
    """A str or None."""
    if value is not None:
        text(_, field, value)


def tls_choice(_: Any, field: Any, value: Any) -> None:
    """A context, True, False or None."""
    if not (value is None or isinstance(value, (bool, ssl.SSLContext))):
        raise OptionsError(f"{field.name} must be an ssl.SSLContext, True, False or None, not {type(value).__name__}")


def servers_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """One URL is a list of one."""
    return tuple(value) if isinstance(value, (list, tuple)) else cast("tuple[str, ...]", (value,))


def servers_given(_: Any, field: Any, value: tuple[str, ...]) -> None:
    """At least one URL; whether each can be used is looked at when the pool is made."""
    for server in value:
        text(_, field, server)
    if not value:
        raise OptionsError(f"{field.name} is empty; give at least one, such as nats://127.0.0.1:4222")
