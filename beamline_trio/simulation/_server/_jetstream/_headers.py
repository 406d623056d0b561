"""Headers that JetStream reads in a message: found by their exact name, as the server finds them.

Must not know what they mean for a stream.
"""

from __future__ import annotations

from typing import Final

from ._golang import SECOND, GoError, parse_duration

MESSAGE_ID: Final = b"Nats-Msg-Id"
EXPECTED_STREAM: Final = b"Nats-Expected-Stream"
EXPECTED_LAST_SEQUENCE: Final = b"Nats-Expected-Last-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE: Final = b"Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: Final = b"Nats-Expected-Last-Subject-Sequence-Subject"
EXPECTED_LAST_MESSAGE_ID: Final = b"Nats-Expected-Last-Msg-Id"
ROLLUP: Final = b"Nats-Rollup"
TTL: Final = b"Nats-TTL"
MARKER_REASON: Final = b"Nats-Marker-Reason"
KV_OPERATION: Final = b"KV-Operation"
REQUIRED_API_LEVEL: Final = b"Nats-Required-Api-Level"
STREAM_SOURCE: Final = b"Nats-Stream-Source"
NEVER: Final = -1
# Headers of features that the simulation does not model.
NOT_MODELLED: Final = (b"Nats-Incr", b"Nats-Batch-Id", b"Nats-Schedule", b"Nats-Scheduler")

_ALL: Final = b"\r\nNats-"
_IDENTITY: Final = b"\r\n" + MESSAGE_ID + b":"


def find(header: bytes, name: bytes) -> bytes | None:
    """The first value of a header; None when it is not there."""
    at = header.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    return header[start : header.index(b"\r\n", start)].strip(b" ")


def has_only_an_identity(header: bytes) -> bool:
    """Whether a message id is all that a stream reads in the headers, as in those of most messages."""
    return header.count(_ALL) == 1 and _IDENTITY in header


def number(header: bytes, name: bytes) -> int | None:
    """The number in a header; -1 when it is none, None when it is not there."""
    value = find(header, name)
    if value is None:
        return None
    return int(value) if value.isdigit() else -1


def time_to_live(header: bytes) -> int:
    """Seconds that a message is to live: 0 = as long as the stream lets it, -1 = for ever.

    Raises:
        GoError: the value is none.
    """
    value = find(header, TTL)
    if value is None or not value:
        return 0
    if value == b"never":
        return NEVER
    text = value.decode("utf-8", "replace")
    seconds = int(text) if text.isdigit() else parse_duration(text) // SECOND
    if seconds < 1:
        raise GoError(f"invalid TTL {text}")
    return seconds


def with_time_to_live(header: bytes, seconds: int) -> bytes:
    """The headers with another time to live, which stands behind the others then."""
    start = header.find(b"\r\n" + TTL + b":")
    end = header.index(b"\r\n", start + 2)
    return b"%b%bNats-TTL: %d\r\n\r\n" % (header[:start], header[end:-2], seconds)


def is_marker(header: bytes) -> bool:
    """Whether a message says that its subject is deleted, so that none has to say it when it goes."""
    return bool(header) and (bool(find(header, MARKER_REASON)) or find(header, KV_OPERATION) == b"PURGE")


def marker(time_to_live: str) -> bytes:
    """The headers of a message that takes the place of the last one of its subject, which has expired (ADR-43)."""
    lines = ("NATS/1.0", "Nats-Marker-Reason: MaxAge", f"Nats-TTL: {time_to_live}", "Nats-Rollup: sub", "", "")
    return "\r\n".join(lines).encode()


def block(status: int, description: str = "", **fields: object) -> bytes:
    """A header block that is a status; underscores in names stand for dashes."""
    lines = [f"NATS/1.0 {status} {description}".rstrip()]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def lines(fields: dict[bytes, bytes]) -> bytes:
    """A header block of these fields."""
    return b"NATS/1.0\r\n" + b"".join(b"%b: %b\r\n" % item for item in fields.items()) + b"\r\n"


def with_header(header: bytes, name: bytes, value: bytes) -> bytes:
    """The headers with one more behind them."""
    start = header[:-2] if header else b"NATS/1.0\r\n"
    return b"%b%b: %b\r\n\r\n" % (start, name, value)


def with_size_only(header: bytes, size: int) -> bytes:
    """The headers of a message whose payload is left out."""
    return with_header(header, b"Nats-Msg-Size", b"%d" % size)
