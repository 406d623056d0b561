"""Requests in flight: one wildcard inbox for all of them, the token at its end -> the task that waits.

The interest in the inbox is made by the first request and stays. A reply is handed over by rescheduling its task.

Must not send, and must not decode a reply.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from ..protocol import PermissionsError, ProtocolError, server_error
from ._waiters import NEVER, Waiter

Reply: TypeAlias = "tuple[bytes, bytes | None, bytes | None, bytes]"


class _Owner(Protocol):
    """Who hears about what no request waits for."""

    def on_late_reply(self, count: int) -> None: ...

    def on_inbox_refused(self, error: PermissionsError) -> None: ...

    def withdraw(self, waiter: Waiter) -> None: ...


class RequestInbox:
    """The route of the request inbox.

    Args:
        prefix: the inbox of this client, with the dot at its end.
        owner: hears of late replies and of a refused inbox.
    """

    def __init__(self, prefix: bytes, owner: _Owner) -> None:
        self.prefix = prefix
        self.pattern = prefix + b"*"
        self.delivered = 0
        self._skip = len(prefix)
        self._owner = owner
        self._last = 0
        self._waiting: dict[bytes, Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def new_token(self) -> bytes:
        """A token that no other request of this client has had."""
        self._last += 1
        return b"%x" % self._last

    def add(self, token: bytes, waiter: Waiter) -> None:
        """A request begins to wait."""
        self._waiting[token] = waiter

    def discard(self, token: bytes) -> None:
        """It no longer waits."""
        self._waiting.pop(token, None)

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Hand a reply to its request."""
        self.delivered += 1
        waiter = self._waiting.pop(subject[self._skip :], None)
        if waiter is None:
            self._owner.on_late_reply(1)
        else:
            waiter.succeed((subject, reply, header, payload))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Several replies to one request: the first counts."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)

    def skipped(self, subject: bytes, reason: str) -> None:
        """A reply could not be decoded: its request is told."""
        waiter = self._waiting.pop(subject[self._skip :], None)
        if waiter is not None:
            waiter.fail(ProtocolError(f"the reply has a {reason}"))

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the inbox: no reply can ever come."""
        for waiter in self.take_all():
            self._owner.withdraw(waiter)
            waiter.fail(server_error(error.text))
        self._owner.on_inbox_refused(error)

    def closed(self) -> None:
        """The client is closed; the waiters are told by it."""

    def take_all(self) -> list[Waiter]:
        """All waiters; none waits here any more."""
        waiters = list(self._waiting.values())
        self._waiting.clear()
        return waiters

    def take_written(self) -> list[Waiter]:
        """The waiters whose requests were handed to a link."""
        written = [(token, waiter) for token, waiter in self._waiting.items() if waiter.written]
        for token, _ in written:
            del self._waiting[token]
        return [waiter for _, waiter in written]

    def take_overdue(self, now: float, timeout: float) -> list[Waiter]:
        """The waiters that have run out of time."""
        overdue = [(t, waiter) for t, waiter in self._waiting.items() if waiter.written_at + timeout <= now]
        for token, _ in overdue:
            del self._waiting[token]
        return [waiter for _, waiter in overdue]

    def take_blamed(self, subject: bytes, reply: bytes = b"") -> list[Waiter]:
        """The waiters whose written requests went to a subject or have a reply subject, for an error that names it."""
        blamed = [(t, w) for t, w in self._waiting.items() if w.written and w.is_about(subject, reply)]
        for token, _ in blamed:
            del self._waiting[token]
        return [waiter for _, waiter in blamed]

    def next_deadline(self, timeout: float) -> float:
        """When the oldest runs out of time. Requests are written in their order, nearly: the sweep is exact."""
        for waiter in self._waiting.values():
            if waiter.written:
                return waiter.written_at + timeout
        return NEVER
