"""Pull requests that wait at a consumer: read from the wire, kept in turn, and cut when they have had enough.

Must not know messages, nor who is told of an end: `_consumer` asks and tells.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ._golang import GoError, decode

_NUMBER: Final = re.compile(rb"[+-]?\d+")
SHAPE: Final[dict[str, Any]] = {
    "expires": "duration",
    "batch": "int",
    "max_bytes": "int",
    "no_wait": "bool",
    "idle_heartbeat": "duration",
    "group": "string",
    "min_pending": "int64",
    "min_ack_pending": "int64",
    "id": "string",
    "priority": "int",
}


class PullRequest:
    """One request for messages.

    Attributes:
        reply: where they go.
        left: how many more it may get.
        given: how many it has got.
        bytes_left: how many more bytes; 0 = it has set no limit.
        expires: when it ends, in nanoseconds since the epoch; 0 = never.
        heartbeat: how often it wants to hear something, in nanoseconds; 0 = not at all.
        heartbeat_due: when the next one is.
    """

    __slots__ = ("bytes_left", "expires", "given", "heartbeat", "heartbeat_due", "left", "no_wait", "reply")

    def __init__(self, reply: bytes, body: bytes, now: int) -> None:
        """Read a request.

        Raises:
            GoError: it cannot be read, or makes no sense.
        """
        fields = _fields(body)
        lasts = fields.get("expires", 0)
        heartbeat = fields.get("idle_heartbeat", 0)
        if heartbeat > 0 and heartbeat * 2 > lasts:
            raise GoError("heartbeat value too large")
        self.reply = reply
        self.left: int = fields.get("batch", 0)
        self.given = 0
        self.bytes_left: int = fields.get("max_bytes", 0)
        self.expires: int = now + lasts if lasts else 0
        self.heartbeat: int = heartbeat
        self.heartbeat_due: int = now + heartbeat if heartbeat > 0 else 0
        self.no_wait: bool = fields.get("no_wait", False)

    @property
    def pending(self) -> dict[str, int]:
        """What it has not got, as headers."""
        return {"Nats_Pending_Messages": self.left, "Nats_Pending_Bytes": self.bytes_left}


class PullQueue:
    """The requests that wait, the next one first.

    Args:
        limit: how many may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: list[PullRequest] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Any:
        return iter(list(self._requests))

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return len(self._requests) >= self._limit

    def peek(self) -> PullRequest | None:
        """The next one."""
        return self._requests[0] if self._requests else None

    def add(self, request: PullRequest) -> None:
        """Put one behind the others."""
        self._requests.append(request)

    def remove(self, request: PullRequest) -> None:
        """Take one out."""
        self._requests.remove(request)

    def use(self, request: PullRequest) -> None:
        """The first one gets a message: it goes behind the others, or away when it has enough."""
        request.given += 1
        request.left -= 1
        if request.left <= 0:
            self._requests.pop(0)
        elif len(self._requests) > 1:
            self._requests.append(self._requests.pop(0))


def _fields(body: bytes) -> dict[str, Any]:
    text = body.strip()
    if text.startswith(b"{"):
        return decode(text, SHAPE, "")
    return {"batch": int(text) if _NUMBER.fullmatch(text) else 1}
