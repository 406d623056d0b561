r"""The link to another server of the cluster: interest and messages of one server's clients for those of the other.

Both ends say INFO and what their clients want, and keep the other informed from then on. The lines are close to those
of nats-server's routes, so that traffic between servers weighs what it does there:

    INFO {...}    RS+ subject [queue weight]    RS- subject [queue]    PEER {...}    PING    PONG
    RMSG subject [reply] size, HMSG subject [reply] header-size size; with queue groups: | q1 q2 or + reply q1 q2

A message from a route goes to clients only: it never crosses a second route. Must not know who else is in the cluster.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import _texts as texts
from ._delivery import MessageParts, publish_from_route
from ._interest import Subscription
from ._liveness import Liveness
from ._outbound import Outbound

if TYPE_CHECKING:
    from ._process import Process
    from ._surroundings import Link

_FIRST_PING_SECONDS: Final = 1.0
_NO_REPLY: Final = b"|"
_WITH_REPLY: Final = b"+"


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


class RouteConnection:
    """One end of a route: a `LinkHandler`.

    Args:
        process: of this server.
        link: to the other one.
        owner: is told of it.
        dialled: this server has dialled.

    Attributes:
        peer: the other server's name, once it has said it.
        closed: this end is done with it.
    """

    def __init__(self, process: Process, link: Link, owner: RouteOwner, *, dialled: bool) -> None:
        self._process = process
        self._link = link
        self._owner = owner
        self._buffer = b""
        self._interest: dict[tuple[bytes, bytes | None], Subscription] = {}
        self._liveness = Liveness(process, self._send_ping, self._stale, always=True, first_seconds=_FIRST_PING_SECONDS)
        self.outbound = Outbound(process, link, self._too_slow, limited=False)
        self.number = link.number
        self.dialled = dialled
        self.peer = ""
        self.closed = False

    # -------------------------------------------------------------------------------------------------- sending

    def start(self, info: bytes) -> None:
        """Say who this server is."""
        self.outbound.add(info)
        self._liveness.connected()

    def send_interest(self, subject: bytes, queue: bytes | None, count: int) -> None:
        """Tell how many clients want a subject."""
        if count == 0:
            self.outbound.add(b"RS- %b%b\r\n" % (subject, b"" if queue is None else b" " + queue))
        elif queue is None:
            self.outbound.add(b"RS+ %b\r\n" % subject)
        else:
            self.outbound.add(b"RS+ %b %b %d\r\n" % (subject, queue, count))

    def send_peer(self, peer: bytes) -> None:
        """Tell of another server of the cluster."""
        self.outbound.add(peer)

    def send_message(self, message: MessageParts, queues: list[bytes]) -> None:
        """Route a message: to plain subscriptions there, and to one member of each of these queue groups."""
        subject, reply, header_size, header_text, size_text, data = message
        fields = [b"HMSG" if header_size else b"RMSG", subject]
        if queues:
            fields += [_WITH_REPLY, reply, *queues] if reply else [_NO_REPLY, *queues]
        elif reply:
            fields.append(reply)
        if header_size:
            fields.append(header_text)
        fields.append(size_text)
        self.outbound.add(b"%b\r\n%b" % (b" ".join(fields), data))

    def close(self, reason: str) -> None:
        """End the route."""
        if self.closed:
            return
        self._over(reason)
        self.outbound.close(flush=True)

    def forget(self) -> None:
        """The process is killed: only the kernel says goodbye."""
        self.closed = True
        self.outbound.close(flush=False)

    # -------------------------------------------------------------------------------------------------- the link

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._process.run(self._received, data)

    def ended(self) -> None:
        """The other server has closed it."""
        self._process.run(self.close, texts.CLIENT_CLOSED)

    def broken(self, reason: str) -> None:
        """The link is gone."""
        self.outbound.abandon()
        self._process.run(self._over, texts.READ_ERROR)

    def writable(self) -> None:
        """The link takes more."""
        self._process.run(self.outbound.flush)

    def pause_reading(self) -> None:
        """The process is paused."""
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """The process goes on."""
        if not self.closed:
            self._link.resume_reading()

    def _over(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._liveness.stop()
        interest, self._interest = self._interest, {}
        for sub in interest.values():
            sub.closed = True
            self._process.interest.remove(sub)
        self._process.note("route_closed", link=self.number, peer=self.peer, reason=reason)
        self._owner.lost(self)

    def _too_slow(self, reason: str) -> None:
        if not self.closed:
            self._over(reason)
            self.outbound.close(flush=False)

    def _stale(self) -> None:
        self.close(texts.STALE)

    def _send_ping(self) -> None:
        self.outbound.add(b"PING\r\n")

    # -------------------------------------------------------------------------------------------------- reading

    def _received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        while not self.closed:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            verb, _, rest = data[at:end].partition(b" ")
            if verb in (b"RMSG", b"HMSG"):
                size = int(rest[rest.rfind(b" ") + 1 :]) + 2
                if len(data) < end + 2 + size:
                    break
                at = end + 2 + size
                self._message(verb, rest.split(b" "), data[end + 2 : at])
            else:
                at = end + 2
                self._line(verb, rest)
        self._buffer = data[at:]

    def _line(self, verb: bytes, rest: bytes) -> None:
        if verb == b"RS+":
            self._wants(rest.split(b" "))
        elif verb == b"RS-":
            self._wants_no_more(rest.split(b" "))
        elif verb == b"INFO":
            self._owner.introduced(self, json.loads(rest))
        elif verb == b"PEER":
            self._owner.peer_told(json.loads(rest))
        elif verb == b"PING":
            self.outbound.add(b"PONG\r\n")
        elif verb == b"PONG":
            self._liveness.pong()

    def _wants(self, fields: list[bytes]) -> None:
        queue = fields[1] if len(fields) == 3 else None
        sub = self._interest.get((fields[0], queue))
        if sub is None:
            sub = self._interest[fields[0], queue] = Subscription(fields[0], queue, route=self)
            self._process.interest.insert(sub)
        if queue is not None:
            sub.weight = int(fields[2])
            self._process.interest.changed()

    def _wants_no_more(self, fields: list[bytes]) -> None:
        sub = self._interest.pop((fields[0], fields[1] if len(fields) == 2 else None), None)
        if sub is not None:
            sub.closed = True
            self._process.interest.remove(sub)

    def _message(self, verb: bytes, fields: list[bytes], data: bytes) -> None:
        subject, size_text = fields[0], fields[-1]
        header_text = fields[-2] if verb == b"HMSG" else b""
        between = fields[1:-2] if verb == b"HMSG" else fields[1:-1]
        reply, queues = b"", between
        if between and between[0] == _NO_REPLY:
            queues = between[1:]
        elif between and between[0] == _WITH_REPLY:
            reply, queues = between[1], between[2:]
        elif between:
            reply, queues = between[0], []
        header_size = int(header_text) if header_text else 0
        publish_from_route(self._process, self, (subject, reply, header_size, header_text, size_text, data), queues)
