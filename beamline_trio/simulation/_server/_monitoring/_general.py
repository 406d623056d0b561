"""/varz, and the statistics that answer a ping: what a server is, how it is configured, what it has done.

Must not change anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from .._accounts import SYSTEM, USERS
from .._info import PROGRAM
from .._jetstream._golang import SECOND
from ._jetstream import jetstream_fields

if TYPE_CHECKING:
    from .._connection import ClientConnection
    from .._peer import PeerConnection
    from .._process import Process, Traffic
    from ._monitor import Monitor, Options

# There is nothing to measure.
MEMORY_BYTES: Final = 20_971_520
_CORES: Final = 2
_CPU: Final = 0
_NONE_BY_KIND: Final = {"clients": 0, "routes": 0, "gateways": 0, "leafs": 0}


def varz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /varz has it."""
    process = monitor.process
    config, identity = process.config, process.identity
    totals = Totals(process)
    fields: dict[str, Any] = {
        "server_id": identity.server_id,
        "server_name": identity.server_name,
        **PROGRAM,
        "host": identity.host,
        "port": identity.port,
    }
    if config.auth_required:
        fields["auth_required"] = True
    if process.connect_urls():
        fields["connect_urls"] = list(process.connect_urls())
    fields |= {
        "max_connections": config.max_connections,
        "ping_interval": round(config.ping_interval_seconds * SECOND),
        "ping_max": config.ping_max,
        "http_host": identity.host,
        "http_port": config.http_port,
        "http_base_path": "",
        "https_port": 0,
        "auth_timeout": config.auth_timeout_seconds,
        "max_control_line": config.max_control_line,
        "max_payload": config.max_payload,
        "max_pending": config.max_pending_bytes,
        "cluster": _cluster(process),
        "gateway": _gateway(process),
        "leaf": {},
        "mqtt": {},
        "websocket": {},
        "jetstream": jetstream_fields(process, pinged=False),
        "tls_timeout": 2,
        "write_deadline": round(config.write_deadline_seconds * SECOND),
        "start": monitor.text_at(monitor.started),
        "now": monitor.text_now(),
        "uptime": monitor.for_how_long(monitor.started),
        "mem": MEMORY_BYTES,
        "cores": _CORES,
        "gomaxprocs": _CORES,
        "cpu": _CPU,
        "connections": len(process.clients),
        "total_connections": totals.connections,
        "routes": len(totals.routes),
        "remotes": len(totals.routes),
        "leafnodes": 0,
        **totals.fields(),
        "slow_consumers": totals.slow,
        "stale_connections": 0,
        "stalled_clients": 0,
        "subscriptions": totals.subscriptions,
        "config_load_time": monitor.text_at(monitor.started),
        "system_account": "$SYS",
        "slow_consumer_stats": {**_NONE_BY_KIND, "clients": totals.slow},
    }
    return fields


def statsz(monitor: Monitor) -> dict[str, Any]:
    """As it answers a ping."""
    process = monitor.process
    totals = Totals(process)
    fields: dict[str, Any] = {
        "start": monitor.text_at(monitor.started),
        "mem": MEMORY_BYTES,
        "cores": _CORES,
        "cpu": _CPU,
        "connections": len(process.clients),
        "total_connections": totals.connections,
        "active_accounts": 1 + any(client.account for client in process.clients.values()),
        "subscriptions": totals.subscriptions,
        "sent": traffic(totals.all_out),
        "sent_to_clients": traffic(totals.out),
        "received": traffic(totals.all_in),
        "received_from_clients": traffic(totals.inward),
        "slow_consumers": totals.slow,
    }
    routes = [
        {"rid": one.number, "name": one.peer, **_both_ways([one]), "pending": one.outbound.pending}
        for one in totals.routes
    ]
    if routes:
        fields["routes"] = routes
    if process.gateways is not None and totals.gateways:
        inbound = process.gateways.inbound()
        fields["gateways"] = [
            {
                "gwid": link.number,
                "name": name,
                **_both_ways([link, *(one for one in inbound if one.region == name)]),
                "inbound_connections": sum(one.region == name for one in inbound),
            }
            for name, link in process.gateways.outbound().items()
        ]
    fields["active_servers"] = 1 + len(totals.routes) + sum(len(link.servers) for link in totals.gateways)
    if process.jetstream is not None:
        fields["jetstream"] = jetstream_fields(process, pinged=True)
    return fields | {"gomaxprocs": _CORES}


class Totals:
    """What has gone through a server.

    Attributes:
        inward: messages and bytes that came from clients; `out`, `all_in` and `all_out` likewise.
        subscriptions: of clients.
        connections: clients so far.
        slow: how many of them did not read.

    Args:
        process: of the server.
        accounts: only clients of these.
    """

    def __init__(self, process: Process, accounts: tuple[bytes, ...] = (USERS, SYSTEM)) -> None:
        clients = [client for client in process.clients.values() if client.account in accounts]
        gone = [process.traffic[account] for account in accounts]
        self.routes: list[PeerConnection] = []
        if process.cluster is not None:
            self.routes = [route for _, route in process.cluster.routes()]
        self.gateways = [] if process.gateways is None else list(process.gateways.outbound().values())
        inbound = () if process.gateways is None else process.gateways.inbound()
        links: list[PeerConnection] = [*self.routes, *self.gateways, *inbound]
        both: list[ClientConnection | Traffic] = [*clients, *gone]
        self.inward = (sum(one.in_messages for one in both), sum(one.in_bytes for one in both))
        self.out = (sum(one.out_messages for one in both), sum(one.out_bytes for one in both))
        self.connections = len(clients) + sum(one.clients for one in gone)
        self.slow = sum(one.slow for one in gone)
        self.all_in = _sum(self.inward, ((one.in_messages, one.in_bytes) for one in links))
        self.all_out = _sum(self.out, ((one.out_messages, one.out_bytes) for one in links))
        self.subscriptions = sum(len(client.subscriptions) for client in clients)

    def fields(self) -> dict[str, int]:
        """As they stand in /varz."""
        return {
            "in_msgs": self.all_in[0],
            "in_bytes": self.all_in[1],
            "in_client_msgs": self.inward[0],
            "in_client_bytes": self.inward[1],
            "out_msgs": self.all_out[0],
            "out_bytes": self.all_out[1],
            "out_client_msgs": self.out[0],
            "out_client_bytes": self.out[1],
        }


def _sum(first: tuple[int, int], others: Iterable[tuple[int, int]]) -> tuple[int, int]:
    messages, size = first
    for one, its_size in others:
        messages, size = messages + one, size + its_size
    return messages, size


def traffic(counts: tuple[int, int]) -> dict[str, int]:
    return {"msgs": counts[0], "bytes": counts[1]}


def _both_ways(links: list[PeerConnection]) -> dict[str, dict[str, int]]:
    return {
        "sent": traffic(_sum((0, 0), ((one.out_messages, one.out_bytes) for one in links))),
        "received": traffic(_sum((0, 0), ((one.in_messages, one.in_bytes) for one in links))),
    }


def _cluster(process: Process) -> dict[str, Any]:
    if process.cluster is None:
        return {}
    return {
        "name": process.identity.cluster,
        "addr": process.identity.host,
        "cluster_port": process.config.cluster_port,
        "urls": list(process.cluster.urls()),
    }


def _gateway(process: Process) -> dict[str, Any]:
    if process.gateways is None:
        return {}
    return {
        "name": process.identity.cluster,
        "host": process.identity.host,
        "port": process.config.gateway_port,
        "gateways": [{"name": one.name, "urls": list(one.urls)} for one in process.config.gateways],
    }
