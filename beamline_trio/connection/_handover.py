"""Two links at once: a new one takes over from one whose server shuts down, and both are subscribed for a moment.

So nothing falls between them, and each message of a subscription comes by both. The old link goes on delivering; what
the new one brings is held until the old one has been unsubscribed, and then what the old one has not brought is
delivered: nothing twice, and in order. Replies are not held, since somebody waits for them: they are taken from
whichever link is first. A queue group gives each message to one of its members, so its messages are taken as they come.

Messages have no identity; equal ones are counted.

Must not know links: it is what their parsers look sids up in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from ..protocol import Route
from ._interests import Interest, Interests
from ._waiters import Lot

# More is not kept, beside what the subscriptions themselves keep: the new link is let through, the old one cut off.
HELD_BYTES_MAX: Final = 8_388_608

_Message: TypeAlias = tuple[bytes, bytes | None, bytes | None, bytes]
_Key: TypeAlias = tuple[bytes, _Message]


class Handover:
    """What two links bring while both are subscribed.

    Args:
        interests: of the client, as both links know them now.
        inbox: the interest in replies, if there is one.
        bytes_max: how much is kept.

    Attributes:
        old: where the old link's parser looks sids up.
        new: where the new link's parser does.
        over: whether it is done; then both are what the client's interests say.
        sids: those that both links are subscribed to.
    """

    def __init__(self, interests: Interests, inbox: Interest | None, *, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._routes = interests.routes
        everything = interests.everything()
        self.sids = [interest.sid for interest in everything]
        self._inbox = inbox.sid if inbox is not None else b""
        self._shared = frozenset(
            interest.sid for interest in everything if interest.queue_group is None and interest is not inbox
        )
        self._bytes_max = bytes_max
        self._when_over: Callable[[], object] = lambda: None
        self._bytes = 0
        self._brought: Counter[_Key] = Counter()
        self._held: list[_Key] = []
        self._waiting = Lot()
        self.over = False
        self.old = _Side(self, is_new=False)
        self.new = _Side(self, is_new=True)

    def route_of(self, sid: bytes, side: _Side) -> Route:
        """Where a message of one side goes. KeyError: nowhere."""
        route = self._routes[sid]
        if self.over:
            if not side.is_new:
                raise KeyError(sid)
            return route
        if sid == self._inbox:
            return _First(self, sid, route, side, self.new if side is self.old else self.old)
        if sid in self._shared:
            return _Held(self, sid) if side.is_new else _Brought(self, sid, route)
        return route

    def when_over(self, function: Callable[[], object]) -> None:
        """Call it when it is done, before what was held is delivered."""
        self._when_over = function

    @property
    def sids_known(self) -> Mapping[bytes, Route]:
        """The client's interests."""
        return self._routes

    def bring(self, key: _Key) -> None:
        """The old link has delivered a message."""
        self._brought[key] += 1
        self.count(key)

    def hold(self, key: _Key) -> None:
        """The new link has a message that the old one may still bring, or has brought."""
        self._held.append(key)
        self.count(key)

    def finish(self) -> None:
        """The old link brings nothing more: deliver what it has not brought. Without effect when done."""
        if self.over:
            return
        self.over = True
        self._when_over()
        brought, self._brought = self._brought, Counter()
        held, self._held = self._held, []
        for key in held:
            if brought[key]:
                brought[key] -= 1
                continue
            route = self._routes.get(key[0])
            if route is not None:
                route.deliver(*key[1])
        self._waiting.wake_all()

    async def wait_over(self) -> None:
        """Wait until everything was delivered that either link has brought."""
        if not self.over:
            await self._waiting.wait()

    def count(self, key: _Key) -> None:
        """A message is kept, here or as one that was seen. Beyond the bound it is over."""
        self._bytes += sum(len(part) for part in key[1] if part is not None)
        if self._bytes > self._bytes_max:
            self.finish()


class _Side(Mapping[bytes, Route]):
    """The routes of one of the two links."""

    def __init__(self, handover: Handover, *, is_new: bool) -> None:
        self._handover = handover
        self.is_new = is_new
        self.seen: Counter[_Key] = Counter()

    def __getitem__(self, sid: bytes) -> Route:
        return self._handover.route_of(sid, self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._handover.sids_known)

    def __len__(self) -> int:
        return len(self._handover.sids_known)


class _Brought:
    """A subscription, from the old link."""

    def __init__(self, handover: Handover, sid: bytes, route: Route) -> None:
        self._handover = handover
        self._sid = sid
        self._route = route

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Deliver it, and remember it."""
        self._route.deliver(subject, reply, header, payload)
        self._handover.bring((self._sid, (subject, reply, header, payload)))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Likewise."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)


class _Held:
    """A subscription, from the new link."""

    def __init__(self, handover: Handover, sid: bytes) -> None:
        self._handover = handover
        self._sid = sid

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Hold it."""
        self._handover.hold((self._sid, (subject, reply, header, payload)))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Likewise."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)


class _First:
    """Replies, from either link: delivered unless the other one has brought it."""

    def __init__(self, handover: Handover, sid: bytes, route: Route, side: _Side, other: _Side) -> None:
        self._handover = handover
        self._sid = sid
        self._route = route
        self._seen = side.seen
        self._others = other.seen

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Deliver it if it is the first."""
        key = (self._sid, (subject, reply, header, payload))
        self._seen[key] += 1
        if self._seen[key] > self._others[key]:
            self._route.deliver(subject, reply, header, payload)
        self._handover.count(key)

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Likewise."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)
