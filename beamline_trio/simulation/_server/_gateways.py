"""The regions that a server is joined to: one link out to each, links in from their servers, and what crosses them.

Each server dials one server of each other region, a second after its start and again when the link breaks, and sends
there what its own clients publish and the region wants. What comes in goes to this server's clients and to those behind
its routes, and crosses no second gateway. A queue group gets a message in one region only: at home first, then in the
nearest one.

Must not decide who gets a message within a region, nor how an answer finds back (`_ways_back`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from . import _texts as texts
from ._config import GATEWAY_PORT, Gateway
from ._delivery import publish_from_gateway
from ._dialling import dial
from ._gateway_link import GatewayConnection
from ._peer import encode_line
from ._request_info import with_region
from ._ways_back import WaysBack

if TYPE_CHECKING:
    from ._delivery import MessageParts
    from ._process import Process
    from ._surroundings import Link, LinkHandler, Network

_FIRST_DIAL_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_RETRY_SPREAD_SECONDS: Final = 0.1
_JETSTREAM: Final = b"$JS."
_API: Final = b".API."
_WRONG_GATEWAY: Final = "Wrong Gateway"


class _Region:
    """Another region: where it is dialled, and the link that stands.

    Attributes:
        hosts: of its servers that are dialled; a server's name is its host's.
        link: messages go there; None = out of reach.
        left: what is still to be tried in this round.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.name = gateway.name
        self.addresses = [_parse_url(url) for url in gateway.urls]
        self.hosts = frozenset(host for host, _ in self.addresses)
        self.link: GatewayConnection | None = None
        self.left: list[tuple[str, int]] = []


class Gateways:
    """The gateways of one process.

    Args:
        process: of the server.
        network: in which it dials.

    Attributes:
        ways_back: of answers.
    """

    def __init__(self, process: Process, network: Network) -> None:
        self._process = process
        self._network = network
        self._name = process.identity.cluster
        self._regions = {one.name: _Region(one) for one in process.config.gateways if one.name != self._name}
        self._links: dict[int, GatewayConnection] = {}
        self._inbound: dict[int, GatewayConnection] = {}
        self._interest: dict[tuple[bytes, bytes | None], int] = {}
        self.ways_back = WaysBack(process, self._name, self)

    # ------------------------------------------------------------------------------------------------- lifecycle

    def start(self) -> None:
        """Listen for other regions, and dial them a little later."""
        self._network.listen(self._process.host, self._process.config.gateway_port, self)
        for region in self._regions.values():
            self._process.call_later(_FIRST_DIAL_SECONDS, self._dial, region)

    def stop(self) -> None:
        """The server shuts down in order."""
        self._network.unlisten(self._process.host, self._process.config.gateway_port)
        for link in list(self._links.values()):
            link.close(texts.SERVER_SHUTDOWN)

    def kill(self) -> None:
        """The process is killed."""
        self._network.unlisten(self._process.host, self._process.config.gateway_port)
        for link in self._links.values():
            link.forget()

    def pause_reading(self) -> None:
        """The process is paused."""
        for link in self._links.values():
            link.pause_reading()

    def resume_reading(self) -> None:
        """The process goes on."""
        for link in list(self._links.values()):
            link.resume_reading()

    # ----------------------------------------------------------------------------------------- what others need

    def outbound(self) -> dict[str, GatewayConnection]:
        """The links to other regions that stand, by region."""
        return {name: region.link for name, region in self._regions.items() if region.link is not None}

    def regions(self) -> tuple[str, ...]:
        """The names of the other regions, in reach or not."""
        return tuple(self._regions)

    def inbound(self) -> tuple[GatewayConnection, ...]:
        """The links from servers of other regions."""
        return tuple(self._inbound.values())

    def interest_changed(self, subject: bytes, queue: bytes | None, change: int) -> None:
        """This region has one subscription more or less, of a client here or of a server behind a route."""
        key = (subject, queue)
        count = self._interest.get(key, 0) + change
        if count:
            self._interest[key] = count
        else:
            del self._interest[key]
        if count == 0 or (count == 1 and change == 1):
            for link in self._inbound.values():
                link.send_interest(subject, queue, count)

    def wanted(self, subject: bytes) -> bool:
        """Whether another region wants a subject."""
        return any(link.wanted(subject, []) is not None for link in self.outbound().values())

    def send(self, to: bytes, message: MessageParts, served: list[bytes]) -> bool:
        """Send a message to the regions that want it; False when none does.

        Args:
            to: the subject that it goes to.
            message: what is sent.
            served: queue groups that have it already.
        """
        sent = False
        onward: MessageParts | None = None
        for link in self._nearest_first():
            queues = link.wanted(to, served)
            if queues is None:
                continue
            onward = self._onward(to, message) if onward is None else onward
            link.send_message(to, onward, queues)
            served = [*served, *queues]
            sent = True
        return sent

    def _onward(self, to: bytes, message: MessageParts) -> MessageParts:
        if to.startswith(_JETSTREAM) and _API in to:
            message = with_region(message, self._name)
        return self.ways_back.mark(to, message)

    def send_to(self, receiver: str, sender: str, data: bytes) -> bool:
        """Send one server's message to a server of another region; False when that is out of reach."""
        for region in self._regions.values():
            if region.link is not None and receiver in region.link.servers:
                region.link.send_to(receiver, sender, data)
                return True
        return False

    def reaches(self, server: str) -> bool:
        """Whether there is a way to a server of another region."""
        return any(region.link is not None and server in region.link.servers for region in self._regions.values())

    def region_of(self, server: str) -> str:
        """The region of a server: another one's, if it is dialled there, or this one."""
        return next((region.name for region in self._regions.values() if server in region.hosts), self._name)

    def servers_changed(self) -> None:
        """A server of this region has come or gone: the others are told."""
        for link in self._inbound.values():
            link.outbound.add(self._info())

    def send_answer(self, region: str, way: bytes, message: MessageParts) -> bool:
        """Send an answer to a region, by its way; False when that is out of reach."""
        known = self._regions.get(region)
        if known is None or known.link is None:
            return False
        known.link.send_message(way, message, [])
        return True

    def _nearest_first(self) -> list[GatewayConnection]:
        links = [region.link for region in self._regions.values() if region.link is not None]
        return sorted(links, key=lambda link: link.liveness.round_trip) if len(links) > 1 else links

    # -------------------------------------------------------------------------------------------------- the links

    def accept(self, link: Link) -> LinkHandler | None:
        """A server of another region has dialled. Called by the network."""
        return self._take(link, None)

    def _take(self, link: Link, region: _Region | None) -> LinkHandler | None:
        if not self._process.running:
            return None
        connection = GatewayConnection(self._process, link, self, dialled=region is not None)
        if region is not None:
            connection.region = region.name
        self._links[link.number] = connection
        if self._process.paused:
            connection.pause_reading()
        self._process.run(connection.start, self._info())
        return connection

    def _info(self) -> bytes:
        cluster = self._process.cluster
        servers = [self._process.host, *(cluster.peers() if cluster is not None else ())]
        who = {"name": self._process.host, "id": self._process.identity.server_id, "region": self._name}
        return encode_line(b"INFO", {**who, "servers": servers})

    def _dial(self, region: _Region) -> None:
        if region.link is not None:
            return
        if not region.left:
            region.left = self._process.random.sample(region.addresses, len(region.addresses))
        dial(
            self._process,
            self._network,
            region.left.pop(),
            lambda link: self._take(link, region),
            lambda: self._dial_failed(region),
        )

    def _dial_failed(self, region: _Region) -> None:
        if region.left:
            self._dial(region)
        else:
            self._dial_again(region)

    def _dial_again(self, region: _Region) -> None:
        region.left = []
        spread = _RETRY_SPREAD_SECONDS * self._process.random.random()
        self._process.call_later(_RETRY_SECONDS + spread, self._dial, region)

    # -------------------------------------------------------------------------------------------- GatewayOwner

    def introduced(self, link: GatewayConnection, info: dict[str, Any]) -> None:
        """The other server has said who it is: messages go out to it, or it is told what is wanted here.

        Later it tells which servers are behind it.
        """
        link.servers = frozenset(info["servers"])
        if link.peer:
            return
        link.peer, link.peer_id = str(info["name"]), str(info["id"])
        if link.dialled and info["region"] != link.region:
            link.close(_WRONG_GATEWAY)
            return
        link.region = str(info["region"])
        self._process.note("gateway", link=link.number, peer=link.peer, region=link.region, dialled=link.dialled)
        if link.dialled:
            self._regions[link.region].link = link
            return
        self._inbound[link.number] = link
        for (subject, queue), count in self._interest.items():
            link.send_interest(subject, queue, count)

    def take(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        """A message from another region."""
        if not self.ways_back.pass_on(to, message):
            publish_from_gateway(self._process, to, message, queues)

    def lost(self, link: GatewayConnection) -> None:
        """A link is gone; one that this server has dialled is dialled again."""
        self._links.pop(link.number, None)
        self._inbound.pop(link.number, None)
        region = self._regions.get(link.region)
        if link.dialled and region is not None:
            if region.link is link:
                region.link = None
            self._dial_again(region)


def _parse_url(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("//")[2].partition(":")
    return host, int(port) if port else GATEWAY_PORT
