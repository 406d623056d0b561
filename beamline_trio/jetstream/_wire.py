"""Records <-> the JSON of the JetStream API, by the names of their fields.

A field `ack_wait_seconds` is the key `ack_wait` with whole nanoseconds; every other is the key of its own name. By
their metadata fields are RFC3339 times (MOMENT), a further record, or records. None is left out. Keys that no field
knows stay in the field with the metadata EXTRA, and go back to the server with an update: a newer server's features
survive an older client. Reading is lenient (a value of the wrong kind is the default), writing is strict.

Must not know what a field means.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import attrs

from ..protocol import ProtocolError
from ._fields import SECONDS_MAX, check_fields, is_choice

R = TypeVar("R")

NANOSECONDS: Final = 1_000_000_000
# What a field is besides its key: a time, or the one that takes the keys no other knows.
MOMENT: Final[Mapping[str, Any]] = MappingProxyType({"moment": True})
EXTRA: Final[Mapping[str, Any]] = MappingProxyType({"extra": True})
_SECONDS: Final = "_seconds"
# What an annotation says, as it is written.
_SEQUENCE: Final = "Sequence["
_KINDS: Final[Mapping[str, type]] = MappingProxyType({"bool": bool, "int": int, "str": str})
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))? ?(Z|[+-]\d\d:?\d\d)(?: UTC)?\Z")
# Go's zero time, which the server writes where there is none.
_NO_TIME: Final = "0001-01-01T00:00:00Z"


def nanoseconds(seconds: float) -> int:
    """Seconds as the API wants them.

    Raises:
        ValueError: more than it can count, in either direction, or no number.
    """
    if not -SECONDS_MAX <= seconds <= SECONDS_MAX:
        raise ValueError(f"{seconds!r} s cannot be sent; the server counts up to {SECONDS_MAX} s (292 years)")
    return round(seconds * NANOSECONDS)


def encode_time(value: datetime.datetime) -> str:
    """RFC3339 in UTC.

    Raises:
        ValueError: the time has no zone.
    """
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; use datetime.timezone.utc")
    return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def decode_time(text: object) -> datetime.datetime | None:
    """An RFC3339 time with any fraction (kept to the microsecond), or Go's older form; None when it is neither."""
    match = _TIME.match(text) if isinstance(text, str) and text != _NO_TIME else None
    if match is None:
        return None
    date, clock, fraction, zone = match.groups()
    micro = (fraction or "0")[:6].ljust(6, "0")
    offset = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[-2:]}"
    try:
        return datetime.datetime.fromisoformat(f"{date}T{clock}.{micro}{offset}")
    except ValueError:
        return None


def encode_record(value: Any) -> dict[str, Any]:
    """The JSON object of a record.

    Raises:
        TypeError, ValueError: a field has a value that cannot be sent; the text names it.
    """
    check_fields(value)
    fields: dict[str, Any] = {}
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if field.metadata.get("extra"):
            fields = {**item, **fields}
        elif item is not None:
            key, encoded = _encode_field(field, item)
            fields[key] = encoded
    return fields


def decode_record(kind: type[R], raw: object) -> R:
    """A record from a JSON object."""
    source: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    known: dict[str, Any] = {}
    used: set[str] = set()
    rest: str | None = None
    for field in attrs.fields(cast("Any", kind)):
        if field.metadata.get("extra"):
            rest = field.name
            continue
        key = _key(field)
        if not is_choice(kind, field.name, source.get(key)):  # a newer server's; it goes back as it came
            continue
        used.add(key)
        if source.get(key) is not None:
            value = _decode_field(field, source[key])
            if value is not None:
                known[field.name] = value
    if rest is not None:
        known[rest] = {key: value for key, value in source.items() if key not in used}
    return kind(**known)


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """A request body.

    Raises:
        TypeError: JSON does not know a value.
    """
    try:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"what the request has as extra or external cannot be written as JSON: {error}") from None


def decode_json(body: bytes) -> dict[str, Any]:
    """A reply's body.

    Raises:
        ProtocolError: it is not a JSON object.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"the reply of the JetStream API is not JSON: {body[:64]!r}") from exc
    if not isinstance(raw, dict):
        raise ProtocolError(f"the reply of the JetStream API is not a JSON object: {body[:64]!r}")
    return raw


def _is_count(value: Any) -> bool:
    """Whether it is a number of nanoseconds."""
    return type(value) in (int, float) and abs(value) <= SECONDS_MAX * NANOSECONDS


def _key(field: attrs.Attribute[Any]) -> str:
    return field.name.removesuffix(_SECONDS)


def _encode_field(field: attrs.Attribute[Any], value: Any) -> tuple[str, Any]:
    key = _key(field)
    if field.name.endswith(_SECONDS):
        many = isinstance(value, Sequence)
        return key, [nanoseconds(item) for item in value] if many else nanoseconds(value)
    if "moment" in field.metadata:
        return key, encode_time(value)
    if "record" in field.metadata:
        return key, encode_record(value)
    if "records" in field.metadata:
        return key, [encode_record(item) for item in value]
    if isinstance(value, Mapping):
        return key, dict(value)
    return key, list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _decode_field(field: attrs.Attribute[Any], value: Any) -> Any:
    if field.name.endswith(_SECONDS):
        if _SEQUENCE in str(field.type):
            return tuple(item / NANOSECONDS for item in value if _is_count(item)) if isinstance(value, list) else None
        return value / NANOSECONDS if _is_count(value) else None
    if "moment" in field.metadata:
        return decode_time(value)
    if "record" in field.metadata:
        return decode_record(field.metadata["record"], value) if isinstance(value, dict) else None
    if "records" in field.metadata:
        kind = field.metadata["records"]
        return tuple(decode_record(kind, item) for item in value) if isinstance(value, list) else None
    kind = _KINDS.get(str(field.type).removesuffix(" | None"))
    if kind is not None and type(value) is not kind:
        return None
    return tuple(value) if isinstance(value, list) else value
