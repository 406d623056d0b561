"""The subscriptions of a client, as the server has to know them: sids, routes, and what to replay on a new link.

The server counts an auto-unsubscribe from the SUB of its own link, so a replay asks for the remainder.

Must not send.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from ..protocol import PermissionsError, Route, decode_subject, encode_subscribe, encode_unsubscribe


class InterestRoute(Route, Protocol):
    """What takes the messages of an interest and hears of its fate.

    Attributes:
        delivered: messages that came so far, over all links.
    """

    delivered: int

    def skipped(self, subject: bytes, reason: str) -> None:
        """A message came that could not be decoded; the server has counted it."""

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the subscription; no message will come."""

    def closed(self) -> None:
        """The client is closed."""


@attrs.define(eq=False)
class Interest:
    """One SUB: what was asked of the server, and how many messages at the most.

    Attributes:
        delivered_before: messages delivered before the SUB of the present link.
    """

    sid: bytes
    subject: bytes
    queue_group: bytes | None
    route: InterestRoute
    maximum: int | None = None
    delivered_before: int = 0

    def frames(self) -> list[bytes]:
        """SUB, and UNSUB with the remainder where there is a maximum, for a new link."""
        self.delivered_before = self.route.delivered
        frames = [encode_subscribe(self.subject, self.sid, self.queue_group)]
        if self.maximum is not None:
            frames.append(self.unsubscribe_frame())
        return frames

    def unsubscribe_frame(self) -> bytes:
        """UNSUB for the present link: with the count the server has to reach, or at once."""
        if self.maximum is None:
            return encode_unsubscribe(self.sid)
        return encode_unsubscribe(self.sid, self.maximum - self.delivered_before)

    @property
    def spent(self) -> bool:
        """Whether all messages that were asked for have come."""
        return self.maximum is not None and self.route.delivered >= self.maximum


class Interests:
    """All interests of a client; `routes` is what the parser looks sids up in."""

    def __init__(self) -> None:
        self.routes: dict[bytes, InterestRoute] = {}
        self._interests: dict[bytes, Interest] = {}
        self._last_sid = 0

    def __len__(self) -> int:
        return len(self._interests)

    def add(self, subject: bytes, queue_group: bytes | None, maximum: int | None, route: InterestRoute) -> Interest:
        """Take one in, under a new sid. Sids are never used twice."""
        self._last_sid += 1
        interest = Interest(b"%d" % self._last_sid, subject, queue_group, route, maximum)
        self._interests[interest.sid] = interest
        self.routes[interest.sid] = route
        return interest

    def remove(self, interest: Interest, *, keep_route: bool = False) -> None:
        """Forget one; with `keep_route` messages that are on their way still reach it."""
        self._interests.pop(interest.sid, None)
        if not keep_route:
            self.forget_route(interest)

    def forget_route(self, interest: Interest) -> None:
        """Messages for it are for nobody from now on."""
        self.routes.pop(interest.sid, None)

    def has(self, interest: Interest) -> bool:
        """Whether it is in force."""
        return interest.sid in self._interests

    def replay(self) -> list[bytes]:
        """The frames that make a new link know all interests, in the order in which they were made."""
        return [frame for interest in self._interests.values() if not interest.spent for frame in interest.frames()]

    def forget_kept_routes(self) -> None:
        """The link is gone that might still have brought something for interests that were removed."""
        for sid in [sid for sid in self.routes if sid not in self._interests]:
            del self.routes[sid]

    def everything(self) -> list[Interest]:
        """All of them, in the order in which they were made."""
        return list(self._interests.values())

    def blamed(self, error: PermissionsError) -> list[Interest]:
        """Those that a permission error is about: the sid it names, else all of its subject and queue group."""
        if error.sid is not None:
            named = self._interests.get(error.sid.encode())
            return [named] if named is not None else []
        return [
            interest
            for interest in self._interests.values()
            if decode_subject(interest.subject) == error.subject
            and (interest.queue_group or b"").decode() == (error.queue_group or "")
        ]
