"""What the server says when it refuses: the texts of -ERR, and the reasons of a close.

Subjects in them are quoted as Go's %q does: that is what nats-server prints, and what clients take apart.

Must not decide when they are sent.
"""

from __future__ import annotations

from typing import Final

UNKNOWN_OPERATION: Final = b"Unknown Protocol Operation"
AUTHORIZATION_VIOLATION: Final = b"Authorization Violation"
AUTHENTICATION_TIMEOUT: Final = b"Authentication Timeout"
STALE_CONNECTION: Final = b"Stale Connection"
INVALID_SUBJECT: Final = b"Invalid Subject"
INVALID_PUBLISH_SUBJECT: Final = b"Invalid Publish Subject"
MAXIMUM_PAYLOAD_VIOLATION: Final = b"Maximum Payload Violation"
MAXIMUM_CONTROL_LINE: Final = b"maximum control line exceeded"
MAXIMUM_CONNECTIONS: Final = b"maximum connections exceeded"
MAXIMUM_SUBSCRIPTIONS: Final = b"maximum subscriptions exceeded"
INVALID_CLIENT_PROTOCOL: Final = b"invalid client protocol"
NO_RESPONDERS_WITHOUT_HEADERS: Final = b"no responders requires headers support"

# Why a connection was closed, in nats-server's words (its monitoring shows them).
CLIENT_CLOSED: Final = "Client Closed"
READ_ERROR: Final = "Read Error"
PROTOCOL_VIOLATION: Final = "Protocol Violation"
PARSE_ERROR: Final = "Parse Error"
AUTHENTICATION_FAILURE: Final = "Authentication Failure"
CLOSED_AUTHENTICATION_TIMEOUT: Final = "Authentication Timeout"
STALE: Final = "Stale Connection"
CONTROL_LINE_EXCEEDED: Final = "Maximum Control Line Exceeded"
PAYLOAD_EXCEEDED: Final = "Maximum Message Payload Exceeded"
CONNECTIONS_EXCEEDED: Final = "Maximum Connections Exceeded"
SLOW_CONSUMER_PENDING: Final = "Slow Consumer (Pending Bytes)"
SLOW_CONSUMER_DEADLINE: Final = "Slow Consumer (Write Deadline)"
BAD_CLIENT_PROTOCOL: Final = "Bad Client Protocol Version"
NO_RESPONDERS_REQUIRES_HEADERS: Final = "No Responders Requires Headers"
SERVER_SHUTDOWN: Final = "Server Shutdown"
DUPLICATE_ROUTE: Final = "Duplicate Route"

_ESCAPES: Final = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def publish_violation(subject: bytes) -> bytes:
    """A subject may not be published to."""
    return b"Permissions Violation for Publish to %b" % quote(subject)


def reply_violation(reply: bytes) -> bytes:
    """A reply subject is one of the server's own."""
    return b"Permissions Violation for Publish with Reply of %b" % quote(reply)


def subscription_violation(subject: bytes, queue: bytes | None, sid: bytes | None = None) -> bytes:
    """A subscription is not allowed; with the sid when it was allowed before a reload."""
    text = b"Permissions Violation for Subscription to %b" % quote(subject)
    if queue is not None:
        text += b" using queue %b" % quote(queue)
    return text if sid is None else text + b" (sid %b)" % quote(sid)


def quote(data: bytes) -> bytes:
    """Bytes as Go's %q prints them: a double-quoted literal of printable UTF-8."""
    text = data.decode("utf-8", "surrogateescape")
    return f'"{"".join([_quoted(char) for char in text])}"'.encode()


def _quoted(char: str) -> str:
    code = ord(char)
    if code in _ESCAPES:
        return _ESCAPES[code]
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
