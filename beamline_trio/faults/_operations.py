"""Which operation a frame of a client is, which subjects a fault is for, and what a server says when it refuses one.

The texts are those of nats-server 2.15, subjects in them quoted as Go's %q does.

Must not decide whether an operation is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import attrs

from ..protocol._errors import InvalidSubjectError
from ..protocol._subjects import encode_pattern
from ._errors import InjectionError
from ._splitter import Frame

# Subjects that are an operation of another name: without being asked for they are not met.
_OTHERS: Final = (b"$JS", b"$SRV")
_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}
# After these a server hangs up, whatever they answer.
_CLOSING: Final = (
    "authorization violation",
    "authentication",
    "user authentication",
    "account authentication",
    "maximum connections exceeded",
    "maximum account active connections exceeded",
    "maximum payload violation",
    "maximum control line exceeded",
    "unknown protocol operation",
    "parser error",
    "secure connection - tls required",
    "no responders requires headers support",
    "invalid client protocol",
    "stale connection",
)


class OperationKind(enum.StrEnum):
    """What a client does on the wire, as far as faults can meet it."""

    CONNECT = enum.auto()
    PUBLISH = enum.auto()
    SUBSCRIBE = enum.auto()


@attrs.frozen
class Operation:
    """One operation of a client.

    Attributes:
        subject: what is published to or subscribed to.
        reply: where a publish asks for replies, or None.
        queue_group: of a subscription, or None.
    """

    kind: OperationKind
    subject: bytes = b""
    reply: bytes | None = None
    queue_group: bytes | None = None


def operation_of(frame: Frame) -> Operation | None:
    """The operation of a frame that a client sends; None for PING, PONG and UNSUB, which no fault meets."""
    fields = frame.fields
    match frame.verb:
        case b"CONNECT":
            return Operation(OperationKind.CONNECT)
        case b"SUB":
            return Operation(OperationKind.SUBSCRIBE, fields[0], None, fields[1] if len(fields) == 3 else None)
        case b"PUB":
            return Operation(OperationKind.PUBLISH, fields[0], fields[1] if len(fields) == 3 else None)
        case b"HPUB":
            return Operation(OperationKind.PUBLISH, fields[0], fields[1] if len(fields) == 4 else None)
        case _:
            return None


class SubjectFilter:
    """Which subjects a fault is for.

    Args:
        patterns: a pattern or several; None = all but `$JS.>` and `$SRV.>`.

    Raises:
        InjectionError: a pattern is none.
    """

    def __init__(self, patterns: str | Iterable[str] | None) -> None:
        given = () if patterns is None else (patterns,) if isinstance(patterns, str) else tuple(patterns)
        if patterns is not None and not given:
            raise InjectionError("subjects is empty; give a pattern such as 'orders.>', or leave it out for all")
        try:
            self._patterns = [encode_pattern(pattern).split(b".") for pattern in given]
        except (InvalidSubjectError, TypeError) as exc:
            raise InjectionError(f"subjects is {patterns!r}; it must be one or more subject patterns: {exc}") from exc

    def __contains__(self, subject: bytes) -> bool:
        """Whether a subject, or everything that a pattern means, is within one of the patterns."""
        tokens = subject.split(b".")
        if not self._patterns:
            return tokens[0] not in _OTHERS
        return any(_covers(pattern, tokens) for pattern in self._patterns)


def _covers(pattern: list[bytes], tokens: list[bytes]) -> bool:
    for index, wanted in enumerate(pattern):
        if index >= len(tokens):
            return False
        if wanted == b">":
            return True
        if tokens[index] != wanted and (wanted != b"*" or tokens[index] == b">"):
            return False
    return len(pattern) == len(tokens)


def refusal(operation: Operation, reason: str | None) -> tuple[bytes, bool]:
    """The `-ERR` that a server answers an operation with, and whether it hangs up behind it.

    Args:
        operation: what is refused.
        reason: the text in the quotes; None = that of a user without the permission.
    """
    text = reason.encode() if reason is not None else _permission(operation)
    closes = operation.kind is OperationKind.CONNECT or (reason or "").lower().startswith(_CLOSING)
    return b"-ERR '%b'\r\n" % text, closes


def _permission(operation: Operation) -> bytes:
    subject = quoted(operation.subject)
    match operation.kind:
        case OperationKind.CONNECT:
            return b"Authorization Violation"
        case OperationKind.PUBLISH:
            return b"Permissions Violation for Publish to %b" % subject
        case OperationKind.SUBSCRIBE if operation.queue_group is None:
            return b"Permissions Violation for Subscription to %b" % subject
        case OperationKind.SUBSCRIBE:
            queue = quoted(operation.queue_group or b"")
            return b"Permissions Violation for Subscription to %b using queue %b" % (subject, queue)


def quoted(subject: bytes) -> bytes:
    """In double quotes, as Go's %q shows it."""
    text = subject.decode("utf-8", "surrogateescape")
    return b'"%b"' % "".join(map(_escaped, text)).encode()


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x20 or number == 0x7F:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
