"""What an `-ERR` of the server means: its text -> one typed error.

The catalogue is that of nats-server 2.15. A text that is not in it becomes a plain `ServerError` that does not
close: the server's own end of the stream decides, which is safer than hanging up on an unknown string.
"""

from __future__ import annotations

import re

from ._errors import AuthorizationError, PermissionsError, ServerError

_QUOTED = r'"(?P<{}>(?:[^"\\]|\\.)*)"'
_PERMISSION = re.compile(
    "permissions violation for (?P<operation>publish with reply of|publish|subscription)(?: to)? "
    + _QUOTED.format("subject")
    + f"(?: using queue {_QUOTED.format('queue')})?"
    + r'(?: \(sid "(?P<sid>.*?)"\)|, too many tokens)?',
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|.)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_AUTHORIZATION = (
    "authorization violation",
    "authentication timeout",
    "user authentication expired",
    "user authentication revoked",
    "account authentication expired",
    "authentication expired",
)
_CLOSING = (
    "maximum connections exceeded",
    "maximum account active connections exceeded",
    "connection throttling is active",
    "secure connection - tls required",
    "maximum payload violation",
    "maximum control line exceeded",
    "unknown protocol operation",
    "no responders requires headers support",
    "invalid client protocol",
    "stale connection",
    "parser error",
)


def _unquote(text: str) -> str:
    """Undo Go's %q, in which the server shows subjects; bytes that are no UTF-8 become surrogate escapes."""
    return _ESCAPE.sub(_unescape, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if len(escape) == 1:
        return _ESCAPED.get(escape, escape)
    if escape[:1] in b"uU":
        return chr(int(escape[1:], 16)).encode("utf-8", "surrogatepass")
    return bytes((int(escape[1:], 16),))


def server_error(text: str) -> ServerError:
    """Classify the text of an `-ERR`, with or without its quotes, in any case.

    Returns:
        A `PermissionsError`, an `AuthorizationError` or a `ServerError`; never raises.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        text = text[1:-1]
    match = _PERMISSION.fullmatch(text)
    if match is not None:
        operation = match["operation"].lower()
        subject = _unquote(match["subject"])
        if operation.endswith("reply of"):
            return PermissionsError(text, operation="publish", subject="", reply=subject)
        queue_group = _unquote(match["queue"]) if match["queue"] is not None else None
        return PermissionsError(text, operation=operation, subject=subject, queue_group=queue_group, sid=match["sid"])
    lowered = text.lower()
    if lowered.startswith(_AUTHORIZATION):
        return AuthorizationError(text)
    return ServerError(text, closes=lowered.startswith(_CLOSING))
