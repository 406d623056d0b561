"""The link to a server of another region: messages one way, and what the other region wants the other way.

The server that dials sends messages on it; the one that took it says what its whole region wants, and keeps it
informed. For the other direction the other server dials too. Must not know how a message goes on from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ._interest import Interest, Subscription
from ._peer import PeerConnection

if TYPE_CHECKING:
    from ._delivery import MessageParts
    from ._process import Process
    from ._surroundings import Link


class GatewayOwner(Protocol):
    """What is told of a gateway's link."""

    def introduced(self, link: GatewayConnection, info: dict[str, Any]) -> None:
        """The other server has said who it is."""
        ...

    def take(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """A message has come from another region, for these queue groups too."""
        ...

    def lost(self, link: GatewayConnection) -> None:
        """The link is gone."""
        ...


class GatewayConnection(PeerConnection):
    """One end of a gateway's link.

    Args:
        process: of this server.
        link: to the other one.
        owner: is told of it.
        dialled: this server has dialled, so it sends messages here.

    Attributes:
        region: the other server's, once it has said it.
        servers: of that region that are in reach behind it, its other end too.
    """

    closing_note: ClassVar[str] = "gateway_closed"
    ping_seconds_max: ClassVar[float] = 15.0

    def __init__(self, process: Process, link: Link, owner: GatewayOwner, *, dialled: bool) -> None:
        super().__init__(process, link, dialled=dialled)
        self._owner = owner
        self._subs: dict[tuple[bytes, bytes | None], Subscription] = {}
        self._interest = Interest()
        self.region = ""
        self.servers: frozenset[str] = frozenset()

    def wanted(self, subject: bytes, served: list[bytes]) -> list[bytes] | None:
        """The queue groups there that want a subject.

        Args:
            subject: of a message.
            served: queue groups that have it already.

        Returns:
            None when nobody there wants it.
        """
        matches = self._interest.match(subject)
        if not matches:
            return None
        queues = [members[0].queue for members in matches.queues]
        left = [queue for queue in queues if queue is not None and queue not in served]
        return left if left or matches.plain else None

    @property
    def subscriptions(self) -> int:
        """How many subjects the other region wants."""
        return len(self._subs)

    def told(self, verb: bytes, fields: dict[str, Any]) -> None:
        """INFO."""
        if verb == b"INFO":
            self._owner.introduced(self, fields)

    def wants(self, subject: bytes, queue: bytes | None, count: int) -> None:
        """The other region wants a subject."""
        key = (subject, queue)
        if key not in self._subs:
            self._subs[key] = sub = Subscription(subject, queue)
            self._interest.insert(sub)

    def wants_no_more(self, subject: bytes, queue: bytes | None) -> None:
        """Nobody in the other region wants a subject."""
        sub = self._subs.pop((subject, queue), None)
        if sub is not None:
            self._interest.remove(sub)

    def message(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """From the other region."""
        self._owner.take(to, message, queues)

    def drop_interest(self) -> None:
        """The other region is out of reach on this way."""
        self._subs, self._interest = {}, Interest()

    def gone(self) -> None:
        """The owner is told."""
        self._owner.lost(self)
