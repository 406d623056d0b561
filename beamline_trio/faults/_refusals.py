"""What a server says when it refuses an operation.

The texts and errors are those of nats-server 2.15, subjects in texts quoted as Go's %q does.

Must not decide whether an operation is refused, or when the client hears of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import attrs

from ._faults import NO_RESPONDERS
from ._operations import Operation, OperationKind

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
_STREAM_IS_FULL: Final = "maximum messages exceeded"
# What a stream's error begins with, and its code and err_code.
_STREAM_ERRORS: Final = {
    "expected stream does not match": (400, 10060),
    "expected last msg ID": (400, 10070),
    "wrong last msg ID": (400, 10070),
    "wrong last sequence": (400, 10071),
    "message size exceeds maximum allowed": (400, 10054),
    "resource limits exceeded for account": (400, 10002),
    "JetStream system temporarily unavailable": (503, 10008),
    "insufficient resources": (503, 10023),
}
_STORE_FAILED: Final = (503, 10077)


@attrs.frozen
class Refusal:
    """What the client is told.

    Attributes:
        data: the frames; none = nobody hears of it.
        ends: the server hangs up behind them.
    """

    data: bytes
    ends: bool = False


def refuse(operation: Operation, reason: str | None, sids: Sequence[bytes]) -> Refusal:
    """What a server answers to an operation that it does not carry out.

    Args:
        operation: what is refused, of the kind as which it is.
        reason: of a publish with ack the stream's error, else the text of an `-ERR`, or `NO_RESPONDERS`. None = that of
            a stream that is full, or of a user without the permission.
        sids: the subscriptions of the client that its reply subject would reach.
    """
    if reason == NO_RESPONDERS and operation.kind.publishes:
        return Refusal(_no_responders(operation, sids))
    if operation.kind is OperationKind.PUBLISH_WITH_ACK:
        return Refusal(_stream_error(operation, reason or _STREAM_IS_FULL, sids))
    text = reason.encode() if reason is not None else _permission(operation)
    closes = operation.kind is OperationKind.CONNECT or (reason or "").lower().startswith(_CLOSING)
    return Refusal(b"-ERR '%b'\r\n" % text, closes)


def _no_responders(operation: Operation, sids: Sequence[bytes]) -> bytes:
    """What 2.15 says where nobody, no stream and no consumer, is subscribed: to one subscription, unlike a reply."""
    block = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % operation.subject
    size, reply = len(block), operation.reply or b""
    return b"".join(b"HMSG %b %b %d %d\r\n%b\r\n" % (reply, sid, size, size, block) for sid in sids[:1])


def _stream_error(operation: Operation, reason: str, sids: Sequence[bytes]) -> bytes:
    """A PubAck that says no. The stream's name is not known here."""
    known = (codes for begin, codes in _STREAM_ERRORS.items() if reason.startswith(begin))
    code, err_code = next(known, _STORE_FAILED)
    error = {"code": code, "err_code": err_code, "description": reason}
    body = json.dumps({"error": error, "stream": "", "seq": 0}, separators=(",", ":")).encode()
    reply = operation.reply or b""
    return b"".join(b"MSG %b %b %d\r\n%b\r\n" % (reply, sid, len(body), body) for sid in sids)


def _permission(operation: Operation) -> bytes:
    subject = quoted(operation.subject)
    match operation.kind:
        case OperationKind.CONNECT:
            return b"Authorization Violation"
        case OperationKind.PUBLISH | OperationKind.PUBLISH_WITH_ACK | OperationKind.ACK | OperationKind.NAK:
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
