"""What nats-server's language does to JSON, times and durations, as far as a client can see it.

`encode` writes as encoding/json does (no blanks, `<`, `>` and `&` escaped), `decode` reads into a shape of Go types and
fails with Go's words, `timestamp` is RFC 3339 with as many digits as it takes.

Must not know JetStream.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
ZERO_TIME: Final = "0001-01-01T00:00:00Z"

_HTML: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")
_UNITS: Final = {
    "h": 3600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": MILLISECOND,
    "us": 1000,
    "\u00b5s": 1000,
    "ns": 1,
}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|\u00b5s|ns|m|s)")


class GoError(ValueError):
    """What Go says of something that it cannot read.

    Attributes:
        offset: of a syntax error: how many bytes were read; else 0.
    """

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


def encode(value: object) -> bytes:
    """JSON as encoding/json writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return _ESCAPED.sub(lambda found: _HTML[found[0]], text).encode("utf-8", "surrogateescape")


def timestamp(nanoseconds: int) -> str:
    """A moment since the epoch, in UTC; 0 is Go's zero time."""
    if not nanoseconds:
        return ZERO_TIME
    seconds, rest = divmod(nanoseconds, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch; 0 for Go's zero time.

    Raises:
        GoError: it is no RFC 3339 time.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise GoError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    if found[1].startswith("0001-01-01"):
        return 0
    moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return round((moment - _EPOCH).total_seconds()) * SECOND + int((found[2] or "0").ljust(9, "0"))


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as `1m30s`.

    Raises:
        GoError: it is none.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None:
            raise GoError(f"time: invalid duration {json.dumps(text)}")
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if not rest:
        raise GoError(f"time: invalid duration {json.dumps(text)}")
    return sign * round(total)


def duration(nanoseconds: int) -> str:
    """A duration as Go prints it, such as `1m0s` or `250ms`."""
    if nanoseconds < SECOND:
        for unit, size in (("ms", MILLISECOND), ("\u00b5s", 1000)):
            if nanoseconds >= size:
                return f"{_trimmed(nanoseconds / size)}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    text = f"{_trimmed(rest / SECOND)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return text


def _trimmed(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------------------------------------------- decoding


def load(data: bytes) -> object:
    """Any JSON.

    Raises:
        GoError: it is none, in Go's words.
    """
    text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None


def decode(data: bytes, shape: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object of a shape: the fields that are there, of the right types; unknown ones and nulls are left out.

    Args:
        data: JSON.
        shape: field -> Go type ("string", "int", "int64", "uint64", "bool", "time", "[]string", "map", "any"),
            another shape, or a list with the shape of its elements.
        name: of the Go struct, for errors.

    Raises:
        GoError: in Go's words.
    """
    value = load(data)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GoError(f"json: cannot unmarshal {_kind(value)} into Go value of type server.{name}")
    return _object(value, shape, name, "")


def _object(value: dict[str, Any], shape: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, item in value.items():
        field = key if key in shape else key.lower()
        if field not in shape or item is None:
            continue
        fields[field] = _item(item, shape[field], name, f"{path}.{field}")
    return fields


def _item(item: Any, kind: Any, name: str, path: str) -> Any:
    if isinstance(kind, list):
        if not isinstance(item, list):
            raise _mismatch(item, name, path, "[]server.object")
        return tuple(_item(one, kind[0], name, f"{path}.{at}") for at, one in enumerate(item) if one is not None)
    if isinstance(kind, Mapping):
        if not isinstance(item, dict):
            raise _mismatch(item, name, path, "server.object")
        return _object(item, kind, name, path)
    if kind == "any":
        return item
    if kind.startswith("[]"):
        if not isinstance(item, list):
            raise _mismatch(item, name, path, kind)
        return tuple(_element(one, kind[2:], name, f"{path}.{at}") for at, one in enumerate(item) if one is not None)
    if kind == "map":
        if not isinstance(item, dict):
            raise _mismatch(item, name, path, "map[string]string")
        return {key: _item(one, "string", name, path) for key, one in item.items()}
    return _scalar(item, kind, name, path)


def _element(item: Any, kind: str, name: str, path: str) -> Any:
    try:
        return _scalar(item, kind, name, path)
    except GoError as error:
        raise GoError(str(error).replace("Go struct field ", "")) from None


def _scalar(item: Any, kind: str, name: str, path: str) -> Any:
    if kind == "time":
        if not isinstance(item, str):
            raise GoError("Time.UnmarshalJSON: input is not a JSON string")
        return parse_time(item)
    if kind in ("string", "bool"):
        if not isinstance(item, str if kind == "string" else bool):
            raise _mismatch(item, name, path, kind)
        return item
    if isinstance(item, bool) or not isinstance(item, int) or (kind.startswith("uint") and item < 0):
        raise _mismatch(item, name, path, "time.Duration" if kind == "duration" else kind)
    return item


def _mismatch(item: Any, name: str, path: str, kind: str) -> GoError:
    what = _kind(item)
    if what == "number" and kind not in ("string", "bool"):
        what = f"number {json.dumps(item)}"
    return GoError(f"json: cannot unmarshal {what} into Go struct field {name}{path} of type {kind}")


def _kind(item: object) -> str:
    if isinstance(item, bool):
        return "bool"
    for kind, name in ((str, "string"), (int, "number"), (float, "number"), (list, "array")):
        if isinstance(item, kind):
            return name
    return "object"


def _syntax_error(text: str, error: json.JSONDecodeError) -> GoError:
    at = error.pos
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    if at >= len(text) or error.msg.startswith("Unterminated"):
        return GoError("unexpected EOF")
    where = "looking for beginning of value"
    if "property name" in error.msg:
        where = "looking for beginning of object key string"
    elif "':'" in error.msg:
        where = "after object key"
    elif "','" in error.msg:
        before = text[:at].count("[") > text[:at].count("]")
        where = "after array element" if before else "after object key:value pair"
    elif "Extra data" in error.msg:
        where = "after top-level value"
    return GoError(f"invalid character {_char(text[at])} {where}", at + 1)


def _char(char: str) -> str:
    return "'\\''" if char == "'" else f"'{char}'"
