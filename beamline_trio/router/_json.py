"""JSON as every route reads and writes it, whatever makes models of it: the same texts are refused everywhere.

Stricter than the standard library: UTF-8 only and without a BOM, no NaN or infinity (also not by a number out of
range), no lone surrogates, at most NESTING_MAX levels. Of members of one name the last counts, as all of the libraries
have it.

Must not know types beyond those of JSON.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from typing import Final

# Deep enough for data; where the recursion of whoever works on it ends differs by library, Python and call stack.
NESTING_MAX: Final = 100
_SHOWN_BYTES: Final = 24

# Linear: possessive, and a string without an end reaches to the end.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_PLAIN: Final = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_OPEN: Final = ord("[")
# What a library may read as an infinity, an exponent of three digits or 309 digits, and the constants themselves.
_HUGE: Final = re.compile(rb"[eE]\+?0*[1-9]\d\d|\d(?<!\d\d)\d{308}")
_INTEGER_DIGITS_MAX: Final = 308


_NAMES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def json_name(kind: type) -> str:
    """What JSON calls values of a type."""
    return _NAMES.get(kind, kind.__name__)


class NotJSONError(ValueError):
    """A payload that is not the JSON that routes take; the text says where, and quotes at most 24 bytes."""


def decode_text(payload: bytes) -> str:
    """The payload as text, of JSON or any other.

    Raises:
        NotJSONError: it is not UTF-8.
    """
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        where = error.start
    raise NotJSONError(f"not UTF-8 at byte {where} ({_quote(payload[where:])})")


def check_text(payload: bytes) -> str:
    """The payload as text that a reader of JSON may be given.

    Raises:
        NotJSONError: it is not UTF-8, or nested too deep.
    """
    text = decode_text(payload)
    _check_nesting(payload)
    return text


def check_numbers(payload: bytes) -> None:
    """Refuse what a more generous reader of JSON would make a NaN or an infinity of.

    Raises:
        NotJSONError: there is such a number, or the payload looks so and is no JSON.
    """
    if b"NaN" in payload or b"Infinity" in payload or _HUGE.search(payload) is not None:
        _load(payload, parse_int=_small)


def load_json(payload: bytes) -> object:
    """Read a payload.

    Raises:
        NotJSONError: it is not the JSON that routes take; see the module.
    """
    return _load(payload, parse_int=None)


def dump_json(value: object, default: Callable[[object], object]) -> bytes:
    """Compact JSON in UTF-8; `default` makes JSON values of others.

    Raises:
        ValueError: it has a NaN or an infinity, refers to itself, or has text that is not valid UTF-8.
        TypeError: what `default` raises of a value.
        RecursionError: it is nested too deep.
    """
    return _encoder(default).encode(value).encode()


@functools.cache
def _encoder(default: Callable[[object], object]) -> json.JSONEncoder:
    return json.JSONEncoder(default=default, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@functools.cache
def _decoder(parse_int: Callable[[str], int] | None) -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, parse_int=parse_int)


def _load(payload: bytes, parse_int: Callable[[str], int] | None) -> object:
    text = check_text(payload)
    try:
        value = _decoder(parse_int).decode(text)
        if "\\u" in text:
            _check_surrogates(value)
    except json.JSONDecodeError as error:
        where, what = error.pos, error.msg
    except RecursionError:
        raise NotJSONError("nested too deep") from None
    except NotJSONError:
        raise
    except ValueError as error:  # more digits than Python's limit
        raise NotJSONError(f"a number is out of range ({str(error).partition(':')[0]})") from None
    else:
        return value
    near = text[where : where + _SHOWN_BYTES].encode()
    raise NotJSONError(f"not JSON at character {where}: {what}{_near(near)}")


def _check_nesting(payload: bytes) -> None:
    if payload.count(b"[") + payload.count(b"{") <= NESTING_MAX:
        return
    depth = 0
    for bracket in _without_strings(payload).translate(_BRACKETS, _OTHERS):
        depth += 1 if bracket == _OPEN else -1
        if depth > NESTING_MAX:
            raise NotJSONError(f"nested deeper than {NESTING_MAX} levels")


def _without_strings(payload: bytes) -> bytes:
    """What is outside of strings. Where nothing is escaped, two quotes in a row are in no string's way and go first."""
    if b"\\" not in payload:
        payload = payload.translate(None, _PLAIN).replace(b'""', b"")
    return _STRINGS.sub(b"", payload)


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJSONError("a string has half of a surrogate pair") from None


def _no_constant(name: str) -> float:
    raise NotJSONError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotJSONError(f"the number {text[:_SHOWN_BYTES]} is out of range")
    return value


def _small(text: str) -> int:
    if len(text) > _INTEGER_DIGITS_MAX:
        raise NotJSONError(f"the number {text[:_SHOWN_BYTES]}... is out of range")
    return int(text)


def _near(piece: bytes) -> str:
    return f", near {_quote(piece)}" if piece else ", at its end"


def _quote(payload: bytes) -> str:
    return repr(payload[:_SHOWN_BYTES])
