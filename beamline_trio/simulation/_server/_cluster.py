"""The servers that a server is joined to: a full mesh of routes, and what clients are told of it.

Configured routes are dialled until they stand, and again when they break. Whoever gets a new route tells its other
routes of the newcomer, and they dial it, once. Two servers that dial each other at the same time keep one route: that
of the server whose name comes first. Clients are told the addresses of the servers as these come and go.

Must not know what is routed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from . import _texts as texts
from ._config import CLUSTER_PORT
from ._dialling import dial
from ._peer import encode_line
from ._route import RouteConnection

if TYPE_CHECKING:
    from ._process import Process
    from ._surroundings import Link, LinkHandler, Network

_RETRY_SECONDS: Final = 1.0
_RETRY_SPREAD_SECONDS: Final = 0.1
_CLUSTER_CONFLICT: Final = "Cluster Name Conflict"


class _Target:
    """A server to dial.

    Attributes:
        explicit: it is configured, so it is dialled for ever.
        peer: its name, once it has said it.
        dialling: an attempt is under way, or will be.
    """

    def __init__(self, host: str, port: int, *, explicit: bool) -> None:
        self.host = host
        self.port = port
        self.explicit = explicit
        self.peer = ""
        self.dialling = False


class Cluster:
    """The routes of one process.

    Args:
        process: of the server.
        network: in which it dials.
        routes: what it dials, as host, host:port or nats-route://host:port.
    """

    def __init__(self, process: Process, network: Network, routes: Sequence[str]) -> None:
        self._process = process
        self._network = network
        self._targets = [_parse_route(text) for text in routes]
        self._links: dict[int, RouteConnection] = {}  # all that are open, by link
        self._dialled: dict[int, _Target] = {}
        self._routes: dict[str, RouteConnection] = {}  # those that stand, by peer
        self._interest: dict[tuple[bytes, bytes | None], int] = {}
        self._urls: dict[str, str] = {}  # of the peers' clients
        self._urls_known = False
        self._lame_duck = False

    # ------------------------------------------------------------------------------------------------- lifecycle

    def start(self) -> None:
        """Listen for routes and dial those that are configured."""
        self._network.listen(self._process.host, self._process.config.cluster_port, self)
        for target in self._targets:
            self._dial(target)

    def stop(self) -> None:
        """The server shuts down in order."""
        self._network.unlisten(self._process.host, self._process.config.cluster_port)
        for route in list(self._links.values()):
            route.close(texts.SERVER_SHUTDOWN)

    def kill(self) -> None:
        """The process is killed."""
        self._network.unlisten(self._process.host, self._process.config.cluster_port)
        for route in self._links.values():
            route.forget()

    def lame_duck(self) -> None:
        """Clients should not come here any more: tell the other servers, and forget the own address."""
        self._lame_duck = True
        info = self._info()
        for route in self._routes.values():
            route.outbound.add(info)

    def pause_reading(self) -> None:
        """The process is paused."""
        for route in self._links.values():
            route.pause_reading()

    def resume_reading(self) -> None:
        """The process goes on."""
        for route in list(self._links.values()):
            route.resume_reading()

    # ----------------------------------------------------------------------------------------- what others need

    def peers(self) -> tuple[str, ...]:
        """The names of the servers it is joined to."""
        return tuple(self._routes)

    def routes(self) -> tuple[tuple[str, RouteConnection], ...]:
        """The routes that stand, with the name of the server behind each."""
        return tuple(self._routes.items())

    def urls(self) -> tuple[str, ...]:
        """Where the servers of the cluster take routes, this one first."""
        return tuple(f"{host}:{self._process.config.cluster_port}" for host in (self._process.host, *self._routes))

    def send_to(self, receiver: str, sender: str, data: bytes) -> bool:
        """Send one server's message to another one of the cluster; False when that is out of reach."""
        route = self._routes.get(receiver)
        if route is not None:
            route.send_to(receiver, sender, data)
        return route is not None

    def connect_urls(self) -> tuple[str, ...]:
        """What clients are told: this server first. Nothing before the first other one has come."""
        if self._process.config.no_advertise or not (self._urls_known or self._lame_duck):
            return ()
        own = () if self._lame_duck else (self._own_url(),)
        return (*own, *self._urls.values())

    def interest_changed(self, subject: bytes, queue: bytes | None, change: int) -> None:
        """A client has one subscription more or less."""
        key = (subject, queue)
        before = self._interest.get(key, 0)
        count = before + change
        if count:
            self._interest[key] = count
        else:
            del self._interest[key]
        if queue is not None or not before or not count:
            for route in self._routes.values():
                route.send_interest(subject, queue, count)

    # -------------------------------------------------------------------------------------------------- the links

    def accept(self, link: Link) -> LinkHandler | None:
        """Another server has dialled. Called by the network."""
        return self._take(link, None)

    def _take(self, link: Link, target: _Target | None) -> LinkHandler | None:
        if not self._process.running:
            return None
        route = RouteConnection(self._process, link, self, dialled=target is not None)
        self._links[link.number] = route
        if target is not None:
            self._dialled[link.number] = target
        if self._process.paused:
            route.pause_reading()
        self._process.run(route.start, self._info())
        return route

    def _dial(self, target: _Target) -> None:
        target.dialling = True
        dial(
            self._process,
            self._network,
            (target.host, target.port),
            lambda link: self._take(link, target),
            lambda: self._dial_failed(target),
        )

    def _dial_failed(self, target: _Target) -> None:
        target.dialling = False
        if target.explicit:
            self._dial_again(target, _RETRY_SECONDS)

    def _dial_again(self, target: _Target, seconds: float) -> None:
        if not target.dialling:
            target.dialling = True
            self._process.call_later(seconds, self._dial_unless_joined, target)

    def _dial_unless_joined(self, target: _Target) -> None:
        target.dialling = False
        if target.peer not in self._routes:
            self._dial(target)

    # ---------------------------------------------------------------------------------------------- RouteOwner

    def introduced(self, route: RouteConnection, info: dict[str, Any]) -> None:
        """The other server has said who it is: the route stands, if it is the only one."""
        if route.peer:
            if info["ldm"]:
                self._forget_url(route.peer)
            return
        peer, route.peer_id = str(info["name"]), str(info["id"])
        route.peer = peer
        target = self._dialled.get(route.number)
        if target is not None:
            target.peer, target.dialling = peer, False
        if info["cluster"] != self._process.identity.cluster:
            route.close(_CLUSTER_CONFLICT)
        elif peer == self._process.host or not self._is_better(route):
            route.close(texts.DUPLICATE_ROUTE)
        else:
            self._join(route, info)

    def peer_told(self, peer: dict[str, Any]) -> None:
        """There is another server: dial it, unless it is known."""
        name = str(peer["name"])
        if name == self._process.host or name in self._routes or any(target.peer == name for target in self._targets):
            return
        target = _Target(str(peer["host"]), int(peer["port"]), explicit=False)
        target.peer = name
        self._dial(target)

    def lost(self, route: RouteConnection) -> None:
        """A route is gone: its server's clients are out of reach, and perhaps it is dialled again."""
        self._links.pop(route.number, None)
        target = self._dialled.pop(route.number, None)
        if target is not None:
            target.dialling = False
        if self._routes.get(route.peer) is route:
            del self._routes[route.peer]
            self._servers_changed()
            self._forget_url(route.peer)
        elif route.peer:
            return
        spread = _RETRY_SPREAD_SECONDS * self._process.random.random()
        for known in self._targets:
            if known is target or (route.peer and known.peer == route.peer):
                self._dial_again(known, _RETRY_SECONDS + spread)
        if target is not None and not target.explicit:
            self._dial_again(target, spread)

    def _is_better(self, route: RouteConnection) -> bool:
        """Whether it replaces a route to the same server, which is closed then."""
        other = self._routes.get(route.peer)
        if other is None:
            return True
        if other.dialled is not route.dialled and route.dialled is not (self._process.host < route.peer):
            return False
        del self._routes[route.peer]
        other.close(texts.DUPLICATE_ROUTE)
        return True

    def _join(self, route: RouteConnection, info: dict[str, Any]) -> None:
        self._process.note("route", link=route.number, peer=route.peer)
        for (subject, queue), count in self._interest.items():
            route.send_interest(subject, queue, count)
        newcomer = encode_line(b"PEER", {key: info[key] for key in ("name", "host", "port")})
        for other in self._routes.values():
            other.send_peer(newcomer)
        self._routes[route.peer] = route
        self._servers_changed()
        url = str(info["connect_url"])
        if url and not info["ldm"] and self._urls.get(route.peer) != url:
            self._urls[route.peer] = url
            self._tell_clients()

    def _servers_changed(self) -> None:
        if self._process.gateways is not None:
            self._process.gateways.servers_changed()

    # ------------------------------------------------------------------------------------------------- addresses

    def _forget_url(self, peer: str) -> None:
        if self._urls.pop(peer, None) is not None:
            self._tell_clients()

    def _tell_clients(self) -> None:
        if not self._process.config.no_advertise:
            self._urls_known = True
            for client in self._process.clients.values():
                client.send_info()

    def _own_url(self) -> str:
        process = self._process
        return process.config.advertise or f"{process.host}:{process.identity.port}"

    def _info(self) -> bytes:
        process = self._process
        fields = {
            "name": process.host,
            "id": process.identity.server_id,
            "cluster": process.identity.cluster,
            "host": process.host,
            "port": process.config.cluster_port,
            "connect_url": "" if process.config.no_advertise else self._own_url(),
            "ldm": self._lame_duck,
        }
        return encode_line(b"INFO", fields)


def route_host(text: str) -> str:
    """The host of a configured route."""
    return _parse_route(text).host


def _parse_route(text: str) -> _Target:
    host, _, port = text.rpartition("//")[2].partition(":")
    return _Target(host, int(port) if port else CLUSTER_PORT, explicit=True)
