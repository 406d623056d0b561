"""What the options of a client are checked with: each refusal names the key, the value and the bound.

A validator is what attrs calls with (instance, field, value). Of secrets the value is never named.

Must not know which options there are.
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..protocol import InvalidHeaderError, InvalidSubjectError, Secret, check_inbox_prefix, decode_public_key, is_seed
from ..transport import TLSFiles, checked_headers
from ._errors import OptionsError
from ._sources import NkeySigner, UserJWT

Validator: TypeAlias = Callable[[Any, Any, Any], None]


def number(*, least: float, most: float = math.inf, optional: bool = False, whole: bool = False) -> Validator:
    """A number between bounds, and None if it is optional."""
    kind = "a whole number" if whole else "a number"
    upper = f" and at most {most:g}" if most < math.inf else ""
    bound = f"{kind} of at least {least:g}{upper}" + (", or None" if optional else "")

    def check(_: Any, field: Any, value: Any) -> None:
        if value is None and optional:
            return
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise OptionsError(f"{field.name} is {value!r}; it must be {bound}")

    return check


def one_of(*choices: str, optional: bool = False) -> Validator:
    """One of some words, and None if it is optional."""
    bound = f"one of {', '.join(choices)}" + (", or None" if optional else "")

    def check(_: Any, field: Any, value: Any) -> None:
        if value not in choices and not (value is None and optional):
            raise OptionsError(f"{field.name} is {value!r}; it must be {bound}")

    return check


def flag(_: Any, field: Any, value: Any) -> None:
    """True or False, and nothing that looks like them."""
    if not isinstance(value, bool):
        raise OptionsError(f"{field.name} is {value!r}; it must be True or False")


def function(_: Any, field: Any, value: Any) -> None:
    """A function or None."""
    if not (value is None or callable(value)):
        raise OptionsError(f"{field.name} must be a function, or None, not {type(value).__name__}")


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


def client_name(_: Any, field: Any, value: Any) -> None:
    """A name that is a label, and stands in lines of a log: not empty, and on one line."""
    if not isinstance(value, str):
        raise OptionsError(
            f"{field.name} must be a text of at least one printable character, not {type(value).__name__}"
        )
    if not value or not value.isprintable():
        raise OptionsError(
            f"{field.name} is {value!r}; it must be a text of at least one printable character, since logs and metrics "
            "show it; leave it out for 'default'"
        )


def optional_text(_: Any, field: Any, value: Any) -> None:
    """A str or None."""
    if value is not None:
        text(_, field, value)


def secret(_: Any, field: Any, value: Any) -> None:
    """A text or a callback that gives it, or None."""
    if not (value is None or isinstance(value, (str, Secret)) or callable(value)):
        raise OptionsError(f"{field.name} must be a str or a callback that gives one, not {type(value).__name__}")


def nkey(_: Any, field: Any, value: Any) -> None:
    """A user's seed, the path of its file, or an NkeySigner."""
    if isinstance(value, Secret):
        if not is_seed(bytearray(value.reveal().strip(), "utf-8", "replace")):
            raise OptionsError(f"{field.name} is no user seed, which begins with SU; give a file as a pathlib.Path")
    elif isinstance(value, NkeySigner):
        if not isinstance(value.public_key, str):
            raise OptionsError(f"{field.name} has a public key that is no str, but {type(value.public_key).__name__}")
        _signs(field.name, "NkeySigner", value.sign)
        public = decode_public_key(value.public_key)
        if public is None or public[0] != "U":
            raise OptionsError(f"{field.name} has the public key {value.public_key!r}; a user's begins with U")
    elif not (value is None or isinstance(value, os.PathLike)):
        raise OptionsError(
            f"{field.name} must be a seed, the pathlib.Path of its file or an NkeySigner, not {type(value).__name__}"
        )


def creds(_: Any, field: Any, value: Any) -> None:
    """The path of a credentials file, its content, a UserJWT, or a callback."""
    if isinstance(value, UserJWT):
        if not (isinstance(value.jwt, Secret) or callable(value.jwt)):
            raise OptionsError(
                f"{field.name} has a UserJWT whose jwt must be a str or a callback that gives one, "
                f"not {type(value.jwt).__name__}"
            )
        if value.sign is not None:
            _signs(field.name, "UserJWT", value.sign)
    if not (value is None or isinstance(value, (str, Secret, os.PathLike, UserJWT)) or callable(value)):
        raise OptionsError(
            f"{field.name} must be a path, the content of a credentials file as bytes, a UserJWT or a callback, "
            f"not {type(value).__name__}"
        )


def _signs(option: str, kind: str, sign: object) -> None:
    if not callable(sign):
        raise OptionsError(
            f"{option} has {kind} whose sign must be a function: nonce -> 64 bytes, not {type(sign).__name__}"
        )


def websocket_headers(_: Any, field: Any, value: Any) -> None:
    """HTTP headers, or a callback that gives them."""
    if value is None or callable(value):
        return
    if not isinstance(value, Mapping):
        raise OptionsError(f"{field.name} must be a mapping of str to str or a callback, not {type(value).__name__}")
    try:
        checked_headers(value)
    except InvalidHeaderError as error:
        raise OptionsError(f"{field.name}: {error}") from None


def one_kind_of_credentials(options: Any) -> None:
    """Token, user, nkey and creds exclude each other: a server would look at one of them."""
    kinds = [kind for kind in ("token", "user", "nkey", "creds") if getattr(options, kind) is not None]
    if len(kinds) > 1:
        raise OptionsError(f"{' and '.join(kinds)} are both given, and each says who the client is; give one")


def tls_not_refused(options: Any) -> None:
    """tls_first is TLS."""
    if options.tls_first and options.tls is False:
        raise OptionsError("tls_first is True and tls is False; give one of them, or neither")


def tls_choice(_: Any, field: Any, value: Any) -> None:
    """A context, files, True, False or None."""
    if not (value is None or isinstance(value, (bool, ssl.SSLContext, TLSFiles))):
        raise OptionsError(
            f"{field.name} must be an ssl.SSLContext, TLSFiles, True, False or None, not {type(value).__name__}"
        )


def servers_given(_: Any, field: Any, value: tuple[Secret, ...]) -> None:
    """At least one URL; whether each can be used is looked at when the pool is made."""
    for server in value:
        if isinstance(server, (list, tuple, set)):
            kind = type(server).__name__
            raise OptionsError(f"{field.name} has a {kind} in it; give the URLs one by one, such as open_client(*urls)")
        if not isinstance(server, Secret):
            raise OptionsError(
                f"{field.name} must be a URL, or a list of URLs, such as nats://127.0.0.1:4222, "
                f"not {type(server).__name__}"
            )
    if not value:
        raise OptionsError(f"{field.name} is empty; give at least one, such as nats://127.0.0.1:4222")
