"""Requests in flight: one wildcard inbox for all of them, the token at its end -> the task that waits.

The interest in the inbox is made by the first request and stays. A reply is handed over by rescheduling its task; the
replies to a request that is answered by many are added to its collection. A reply shows that the server has had the
request, and what was written before it.

Must not send, and must not decode a reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from ..protocol import PermissionsError, ProtocolError, decode_subject, encode_pattern, server_error
from ._collection import RepliesEnd, Reply, ReplyCollection
from ._coverage import Coverage
from ._incidents import Incidents
from ._interests import Interest, InterestRoute
from ._waiters import NEVER, Sleeper, Waiter


class _Owner(Protocol):
    """Whose requests they are."""

    def subscribe(
        self, subject: bytes, queue_group: bytes | None, maximum: int | None, route: InterestRoute
    ) -> Interest: ...

    def withdraw(self, waiter: Waiter) -> None: ...


class RequestInbox:
    """The route of the request inbox.

    Args:
        prefix: the inbox of this client, with the dot at its end.
        owner: subscribes to the inbox.
        incidents: hear of late replies, and of more than may be pending.
        coverage: is told what was answered.
        sleeper: is told when collections end.

    Attributes:
        interest: in the inbox, once it is open.
    """

    def __init__(
        self, prefix: bytes, owner: _Owner, incidents: Incidents, coverage: Coverage, sleeper: Sleeper
    ) -> None:
        self.prefix = prefix
        self.interest: Interest | None = None
        self.delivered = 0
        self._skip = len(prefix)
        self._owner = owner
        self._incidents = incidents
        self._coverage = coverage
        self._sleeper = sleeper
        self._last = 0
        self._waiting: dict[bytes, Waiter] = {}
        self._collections: dict[bytes, ReplyCollection] = {}
        self._shortest_seconds = NEVER

    def __len__(self) -> int:
        return len(self._waiting) + len(self._collections)

    def open(self) -> None:
        """Make sure that replies can come.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self.interest is None:
            pattern = encode_pattern(f"{self.prefix.decode()}*")
            self.interest = self._owner.subscribe(pattern, None, None, self)

    def new_token(self) -> bytes:
        """A token that no other request of this client has had."""
        self._last += 1
        return b"%x" % self._last

    def add(self, token: bytes, waiter: Waiter) -> None:
        """A request begins to wait."""
        self._waiting[token] = waiter

    def add_collection(self, collection: ReplyCollection) -> None:
        """A request begins to wait for many replies."""
        if not self._collections:
            self._shortest_seconds = NEVER
        self._collections[collection.token] = collection
        self._shortest_seconds = min(self._shortest_seconds, collection.deadline_seconds)

    def discard(self, token: bytes) -> None:
        """It no longer waits."""
        self._waiting.pop(token, None)
        self._collections.pop(token, None)

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Hand a reply to its request."""
        self.delivered += 1
        waiter = self._waiting.pop(subject[self._skip :], None)
        if waiter is None:
            self._collect((subject, reply, header, payload))
            return
        if waiter.place > self._coverage.proven:
            self._coverage.proven = waiter.place
        waiter.succeed((subject, reply, header, payload))

    def _collect(self, reply: Reply) -> None:
        """Add a reply to its collection, if there is one."""
        collection = self._collections.get(reply[0][self._skip :])
        if collection is None:
            self._incidents.late_reply()
            return
        if collection.place > self._coverage.proven:
            self._coverage.proven = collection.place
        collection.collect(reply, trio.current_time())
        if collection.ended is None:
            self._sleeper.tell(collection.deadline)
            return
        del self._collections[collection.token]
        if collection.ended is RepliesEnd.OVERFLOW:
            subject = decode_subject(collection.subject or b"")
            self._incidents.replies_overflow(subject, len(collection.pending), collection.pending_bytes)

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Several replies to one request: the first counts, or all of them do."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)

    def skipped(self, subject: bytes, reason: str) -> None:
        """A reply could not be decoded: its request is told."""
        token = subject[self._skip :]
        waiter = self._waiting.pop(token, None) or self._collections.pop(token, None)
        if waiter is not None:
            waiter.fail(ProtocolError(f"the reply has a {reason}"))

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the inbox: no reply can ever come. The next request tries again."""
        for waiter in self.take_all():
            self._owner.withdraw(waiter)
            waiter.fail(server_error(error.text))
        self.interest = None

    def closed(self) -> None:
        """The client is closed; the waiters are told by it."""

    def tokens(self) -> list[bytes]:
        """Of the requests that wait now."""
        return [*self._waiting, *self._collections]

    def any_waits(self, tokens: list[bytes]) -> bool:
        """Whether one of some requests still waits."""
        return any(token in self._waiting or token in self._collections for token in tokens)

    def take_all(self) -> list[Waiter]:
        """All waiters; none waits here any more."""
        return self._take(lambda waiter: True)

    def take_written(self) -> list[Waiter]:
        """The waiters whose requests were handed to a link."""
        return self._take(lambda waiter: waiter.written)

    def take_overdue(self, now: float, timeout: float) -> list[Waiter]:
        """The waiters that have run out of time."""
        overdue = [(t, waiter) for t, waiter in self._waiting.items() if waiter.written_at + timeout <= now]
        for token, _ in overdue:
            del self._waiting[token]
        return [waiter for _, waiter in overdue]

    def take_blamed(self, subject: bytes, reply: bytes = b"") -> list[Waiter]:
        """The waiters whose written requests went to a subject or have a reply subject, for an error that names it."""
        return self._take(lambda waiter: waiter.written and waiter.is_about(subject, reply))

    def _take(self, wanted: Callable[[Waiter], bool]) -> list[Waiter]:
        """Those of all waiters that are wanted; they wait here no more."""
        taken = [waiter for waiter in (*self._waiting.values(), *self._collections.values()) if wanted(waiter)]
        for waiter in taken:
            self.discard(waiter.token)
        return taken

    def end_overdue(self, now: float) -> None:
        """End the collections whose time is over."""
        for collection in [one for one in self._collections.values() if one.expire(now)]:
            del self._collections[collection.token]

    def first_end(self, written_at: float) -> float:
        """When one of the collections may have to be ended, if requests were written then; at no cost for each."""
        return written_at + self._shortest_seconds if self._collections else NEVER

    def next_end(self) -> float:
        """When the first of the collections ends, unless replies come."""
        return min((collection.deadline for collection in self._collections.values()), default=NEVER)

    def next_deadline(self, timeout: float) -> float:
        """When the oldest runs out of time. Requests are written in their order, nearly: the sweep is exact."""
        for waiter in self._waiting.values():
            if waiter.written:
                return waiter.written_at + timeout
        return NEVER
