"""From which region a request to JetStream comes: a header that it gets where it crosses a gateway.

nats-server says more of the client in it, and to itself alone. Must not know what the request is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._delivery import MessageParts

_START: Final = b"NATS/1.0\r\n"
_NAME: Final = b"Nats-Request-Info: "


def with_region(message: MessageParts, region: str) -> MessageParts:
    """The message with the name of its region."""
    subject, reply, size, _, _, data = message
    line = _NAME + json.dumps({"cluster": region}, separators=(",", ":")).encode() + b"\r\n"
    block = (data[: size - 2] if size else _START) + line + b"\r\n"
    whole = block + data[size:]
    return (subject, reply, len(block), b"%d" % len(block), b"%d" % (len(whole) - 2), whole)


def region_of(header: bytes) -> str:
    """The region that a request comes from; empty when it has crossed no gateway."""
    at = header.find(b"\r\n" + _NAME)
    if at < 0:
        return ""
    start = at + 2 + len(_NAME)
    fields = json.loads(header[start : header.index(b"\r\n", start)])
    return str(fields["cluster"])
