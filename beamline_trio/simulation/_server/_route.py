r"""The link to another server of the cluster: interest and messages of one server's clients for those of the other.

Both ends say INFO and what their clients want, and keep the other informed from then on. Beside what all links between
servers have there is `PEER {...}`: another server of the cluster.

A message from a route goes to clients only: it never crosses a second route. Must not know who else is in the cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ._delivery import publish_from_route
from ._interest import Subscription
from ._peer import PeerConnection

if TYPE_CHECKING:
    from ._delivery import MessageParts
    from ._process import Process
    from ._surroundings import Link


class RouteOwner(Protocol):
    """What is told of a route."""

    def introduced(self, route: RouteConnection, info: dict[str, Any]) -> None:
        """The other server has said who it is, for the first time or anew."""
        ...

    def peer_told(self, peer: dict[str, Any]) -> None:
        """The other server knows of a server."""
        ...

    def lost(self, route: RouteConnection) -> None:
        """The route is gone."""
        ...


class RouteConnection(PeerConnection):
    """One end of a route.

    Args:
        process: of this server.
        link: to the other one.
        owner: is told of it.
        dialled: this server has dialled.
    """

    closing_note: ClassVar[str] = "route_closed"
    ping_seconds_max: ClassVar[float] = 30.0

    def __init__(self, process: Process, link: Link, owner: RouteOwner, *, dialled: bool) -> None:
        super().__init__(process, link, dialled=dialled)
        self._owner = owner
        self._interest: dict[tuple[bytes, bytes | None], Subscription] = {}

    def send_peer(self, peer: bytes) -> None:
        """Tell of another server of the cluster."""
        self.outbound.add(peer)

    def told(self, verb: bytes, fields: dict[str, Any]) -> None:
        """INFO or PEER."""
        if verb == b"INFO":
            self._owner.introduced(self, fields)
        elif verb == b"PEER":
            self._owner.peer_told(fields)

    def wants(self, subject: bytes, queue: bytes | None, count: int) -> None:
        """So many clients of the other server want a subject."""
        sub = self._interest.get((subject, queue))
        if sub is None:
            sub = self._interest[subject, queue] = Subscription(subject, queue, route=self)
            self.process.interest.insert(sub)
            self.process.region_subscribed(sub)
        if queue is not None:
            sub.weight = count
            self.process.interest.changed()

    def wants_no_more(self, subject: bytes, queue: bytes | None) -> None:
        """No client of the other server wants a subject."""
        sub = self._interest.pop((subject, queue), None)
        if sub is not None:
            self._drop(sub)

    def drop_interest(self) -> None:
        """The other server's clients are out of reach."""
        interest, self._interest = self._interest, {}
        for sub in interest.values():
            self._drop(sub)

    def _drop(self, sub: Subscription) -> None:
        sub.closed = True
        self.process.interest.remove(sub)
        self.process.region_unsubscribed(sub)

    def message(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """To the clients of this server."""
        gateways = self.process.gateways
        if gateways is None or not gateways.ways_back.pass_on(to, message):
            publish_from_route(self.process, self, to, message, queues)

    def gone(self) -> None:
        """The owner is told."""
        self._owner.lost(self)

    @property
    def subscriptions(self) -> int:
        """How many subjects the other server's clients want."""
        return len(self._interest)
