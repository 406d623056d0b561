"""How answers find back across gateways before interest does.

Interest takes longer than a message where it has more links to pass. So a request whose client has subscribed for
answers only just now crosses a gateway with the way back to that client's server in its reply, `_GR_.region.server.`,
by their hashes. Where it arrives the way is taken off and kept for a while: an answer goes straight back. Neither
client sees it, as with nats-server.

Must not know links.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from ._accounts import account_of, as_seen
from ._delivery import publish_from_gateway

if TYPE_CHECKING:
    from ._delivery import MessageParts
    from ._interest import Subscription
    from ._process import Process

# How long a subscription counts as new, and how long an answer finds straight back.
_RECENT_SECONDS: Final = 2.0
_PREFIX: Final = b"_GR_."
_HASH_LENGTH: Final = 8


class Crossing(Protocol):
    """What brings answers to other regions."""

    def regions(self) -> tuple[str, ...]:
        """The names of the other regions."""
        ...

    def send_answer(self, region: str, way: bytes, message: MessageParts) -> bool:
        """Send an answer to a region, by its way; False when that is out of reach."""
        ...


class WaysBack:
    """The ways back of the requests of one process, and of those that have come to it.

    Args:
        process: of the server.
        region: its name.
        crossing: brings answers to other regions.
    """

    def __init__(self, process: Process, region: str, crossing: Crossing) -> None:
        self._process = process
        self._crossing = crossing
        self._own = b"%b%b.%b." % (_PREFIX, _hash(region), _hash(process.host))
        # Pattern -> until when it counts as new; reply as it is subscribed to -> the whole one, and until when.
        # The oldest comes first.
        self._recent: dict[bytes, float] = {}
        self._ways: dict[bytes, tuple[bytes, float]] = {}

    def subscribed(self, sub: Subscription) -> None:
        """A client or a part of this server has just subscribed."""
        now = self._process.now()
        self._forget_old(now)
        self._recent.pop(sub.subject, None)
        self._recent[sub.subject] = now + _RECENT_SECONDS

    def mark(self, to: bytes, message: MessageParts) -> MessageParts:
        """A message as it crosses: with the way back, if interest may be too slow for an answer."""
        if not message[1] or not self._recent:
            return message
        reply = account_of(to) + message[1]
        self._forget_old(self._process.now())
        matches = self._process.interest.match(reply)
        own = [*matches.plain, *(sub for sub in matches.beyond if sub.service is not None)]
        if any(sub.subject in self._recent for sub in own):
            return (message[0], self._own + reply, *message[2:])
        return message

    def take_off(self, message: MessageParts) -> MessageParts:
        """A message as clients here see it; the way back is kept for the answer."""
        reply = message[1]
        if not reply.startswith(_PREFIX):
            return message
        plain, now = _behind(reply), self._process.now()
        self._forget_old(now)
        self._ways.pop(plain, None)
        self._ways[plain] = (reply, now + _RECENT_SECONDS)
        return (message[0], as_seen(plain), *message[2:])

    def answer(self, to: bytes, message: MessageParts) -> bool:
        """Send an answer straight to where it was asked for; False when it has to go the usual way."""
        way, until = self._ways.get(to, (b"", 0.0))
        if until <= self._process.now():
            return False
        wanted = way.split(b".", 2)[1]
        region = next((name for name in self._crossing.regions() if _hash(name) == wanted), "")
        return self._crossing.send_answer(region, way, message)

    def pass_on(self, to: bytes, message: MessageParts) -> bool:
        """Bring an answer to the client that asked, or to its server; False when it goes to no way back."""
        if not to.startswith(_PREFIX):
            return False
        if to.startswith(self._own):
            publish_from_gateway(self._process, _behind(to), message, [])
        elif self._process.cluster is not None:
            wanted = to.split(b".", 3)[2]
            for peer, route in self._process.cluster.routes():
                if _hash(peer) == wanted:
                    route.send_message(to, message, [])
        return True

    def _forget_old(self, now: float) -> None:
        while self._recent and next(iter(self._recent.values())) <= now:
            del self._recent[next(iter(self._recent))]
        while self._ways and next(iter(self._ways.values()))[1] <= now:
            del self._ways[next(iter(self._ways))]


def _hash(name: str) -> bytes:
    return sha256(name.encode()).hexdigest()[:_HASH_LENGTH].encode()


def _behind(subject: bytes) -> bytes:
    return subject.split(b".", 3)[3]
