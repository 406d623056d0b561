"""/connz, /routez and /gatewayz: who is connected to a server.

Must not change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._jetstream._golang import SECOND, duration

if TYPE_CHECKING:
    from .._connection import ClientConnection
    from .._gateway_link import GatewayConnection
    from .._route import RouteConnection
    from ._monitor import Monitor, Options

_LIMIT: Final = 1024


def connz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /connz has it."""
    process = monitor.process
    offset, limit = int(options.get("offset", 0)), int(options.get("limit", _LIMIT))
    clients = list(process.clients.values())[offset : offset + limit]
    return {
        "server_id": process.identity.server_id,
        "now": monitor.text_now(),
        "num_connections": len(clients),
        "total": len(process.clients),
        "offset": offset,
        "limit": limit,
        "connections": [_client(monitor, client) for client in clients],
    }


def _client(monitor: Monitor, client: ClientConnection) -> dict[str, Any]:
    options = client.options
    fields: dict[str, Any] = {
        "cid": client.client_id,
        "kind": "Client",
        "type": "nats",
        "ip": client.address,
        "port": client.number,
        "start": monitor.text_at(client.started),
        "rtt": _round_trip(client.liveness.round_trip),
        "uptime": monitor.for_how_long(client.started),
        "pending_bytes": client.outbound.pending,
        "in_msgs": client.in_messages,
        "out_msgs": client.out_messages,
        "in_bytes": client.in_bytes,
        "out_bytes": client.out_bytes,
        "subscriptions": len(client.subscriptions),
    }
    for name, value in (("name", options.name), ("lang", options.lang), ("version", options.version)):
        if value:
            fields[name] = value
    return fields


def routez(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /routez has it."""
    process = monitor.process
    routes = [] if process.cluster is None else [route for _, route in process.cluster.routes()]
    return {
        "server_id": process.identity.server_id,
        "server_name": process.identity.server_name,
        "now": monitor.text_now(),
        "num_routes": len(routes),
        "routes": [_route(monitor, route) for route in routes],
    }


def _route(monitor: Monitor, route: RouteConnection) -> dict[str, Any]:
    return {
        "rid": route.number,
        "remote_id": route.peer_id,
        "remote_name": route.peer,
        "did_solicit": route.dialled,
        "is_configured": route.dialled,
        "ip": route.address,
        "port": monitor.process.config.cluster_port,
        "start": monitor.text_at(route.started),
        "rtt": _round_trip(route.liveness.round_trip),
        "uptime": monitor.for_how_long(route.started),
        "pending_size": route.outbound.pending,
        "in_msgs": route.in_messages,
        "out_msgs": route.out_messages,
        "in_bytes": route.in_bytes,
        "out_bytes": route.out_bytes,
        "subscriptions": route.subscriptions,
        "compression": "off",
    }


def gatewayz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /gatewayz has it."""
    process = monitor.process
    fields: dict[str, Any] = {"server_id": process.identity.server_id, "now": monitor.text_now()}
    if process.gateways is None:
        return fields
    inbound: dict[str, list[dict[str, Any]]] = {}
    for link in process.gateways.inbound():
        inbound.setdefault(link.region, []).append({"configured": False, "connection": _gateway(monitor, link)})
    return fields | {
        "name": process.identity.cluster,
        "host": process.identity.host,
        "port": process.config.gateway_port,
        "outbound_gateways": {
            name: {"configured": True, "connection": _gateway(monitor, link)}
            for name, link in process.gateways.outbound().items()
        },
        "inbound_gateways": inbound,
    }


def _gateway(monitor: Monitor, link: GatewayConnection) -> dict[str, Any]:
    return {
        "cid": link.number,
        "kind": "Gateway",
        "ip": link.address,
        "port": monitor.process.config.gateway_port,
        "start": monitor.text_at(link.started),
        "rtt": _round_trip(link.liveness.round_trip),
        "uptime": monitor.for_how_long(link.started),
        "pending_bytes": link.outbound.pending,
        "in_msgs": link.in_messages,
        "out_msgs": link.out_messages,
        "in_bytes": link.in_bytes,
        "out_bytes": link.out_bytes,
        "subscriptions": link.subscriptions,
        "name": link.peer_id,
    }


def _round_trip(seconds: float) -> str:
    return "" if seconds == float("inf") else duration(round(seconds * SECOND))
