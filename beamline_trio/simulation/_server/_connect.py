"""CONNECT: the JSON of a client about itself, read as Go's encoding/json reads it.

Field names match in any case, an absent field keeps what it was (a second CONNECT changes only what it names), null
changes nothing, and a value of a wrong type is an error even for a field that means nothing to a client.

Must not decide whether the client is welcome.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import attrs

_INT64: Final = 2**63


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its fields: of two with one name the last counts, but the first may be wrong."""


@attrs.define
class ConnectOptions:
    """What a client said; the defaults are what holds before it said anything."""

    verbose: bool = True
    pedantic: bool = True
    echo: bool = True
    headers: bool = False
    no_responders: bool = False
    protocol: int = 0
    name: str = ""
    lang: str = ""
    version: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    account: str = ""
    new_account: bool = False

    def update(self, argument: bytes) -> None:
        """Take over what a CONNECT names.

        Raises:
            ValueError: it is no JSON object, or a field has a wrong type. Then nothing is to be relied on.
        """
        fields = _parse(argument)
        if fields is None:
            return
        if not isinstance(fields, _Object):
            raise ValueError("not an object")
        for key, value in fields:
            name = key.lower().replace("\u017f", "s")  # the other letters that Go folds are lowered alike
            if name in _FIELDS and value is not None:
                attribute, kind = _FIELDS[name]
                _check(value, kind)
                if attribute:
                    setattr(self, attribute, value)


# Name on the wire -> attribute and type; an empty attribute is checked and not used.
_FIELDS: Final[dict[str, tuple[str, type]]] = {
    "verbose": ("verbose", bool),
    "pedantic": ("pedantic", bool),
    "echo": ("echo", bool),
    "tls_required": ("", bool),
    "headers": ("headers", bool),
    "no_responders": ("no_responders", bool),
    "new_account": ("new_account", bool),
    "protocol": ("protocol", int),
    "name": ("name", str),
    "lang": ("lang", str),
    "version": ("version", str),
    "user": ("user", str),
    "pass": ("password", str),
    "auth_token": ("token", str),
    "account": ("account", str),
    "nkey": ("", str),
    "jwt": ("", str),
    "sig": ("", str),
    "proxy_sig": ("", str),
    "remote_account": ("", str),
    "import": ("", _Object),
    "export": ("", _Object),
}


def is_json_object(argument: bytes) -> bool:
    """Whether an INFO of a client, which has no effect, can be read at all."""
    try:
        return isinstance(_parse(argument), _Object | None)
    except ValueError:
        return False


def _parse(argument: bytes) -> Any:
    text = argument.decode("utf-8", "replace")
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_Object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _check(value: object, kind: type) -> None:
    if type(value) is not kind or (isinstance(value, int) and not -_INT64 <= value < _INT64):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    if isinstance(value, _Object):
        for name, texts in value:
            if name.lower() in ("allow", "deny") and texts is not None:
                _check_texts(name, texts)


def _check_texts(name: str, texts: object) -> None:
    if type(texts) is not list or not all(isinstance(text, str | None) for text in texts):
        raise ValueError(f"{name} is no list of texts")
