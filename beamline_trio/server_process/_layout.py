"""The plan of a supercluster, and the configuration that each of its servers gets.

A plan is data: which servers are in which cluster, and on which ports each of them takes clients, routes, gateways
and questions. Every server names the routes of all others of its cluster and the gateways of all other clusters, so
that whichever is started again finds the rest, and no order of starts matters.

Must not start anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import attrs

from ._cluster_options import ClusterOptions, check_count, check_name
from ._links import Links


@attrs.frozen
class Place:
    """One server in the plan."""

    name: str
    cluster: str
    host: str
    port: int
    route_port: int
    gateway_port: int
    monitoring_port: int


async def plan(clusters: Mapping[str, int], links: Links) -> list[Place]:
    """Return the places of all servers: `east-1` to `east-3`, and so on, cluster by cluster.

    Raises:
        ValueError: there is no cluster, or a name or number is out of its bounds.
    """
    if not clusters:
        raise ValueError("a supercluster needs at least one cluster, as {'east': 3}")
    for cluster, count in clusters.items():
        check_name(cluster)
        check_count(cluster, count)
    names = {f"{name}-{number}": name for name, count in clusters.items() for number in range(1, count + 1)}
    await links.prepare(list(names))
    return [_place(name, cluster, links) for name, cluster in names.items()]


def _place(name: str, cluster: str, links: Links) -> Place:
    ports = [links.port(name) for _ in range(4)]
    return Place(name, cluster, links.host(name), *ports)


async def config_text(place: Place, places: Sequence[Place], options: ClusterOptions, links: Links) -> str:
    """Return the configuration of one server in nats-server's language, of which JSON is a part."""
    lines = [
        f"server_name: {place.name}",
        f'http: "{place.host}:{place.monitoring_port}"',
        f"cluster: {json.dumps(await _cluster(place, places, links))}",
    ]
    if len({other.cluster for other in places}) > 1:
        lines.append(f"gateway: {json.dumps(await _gateway(place, places, links))}")
    if options.system_user is not None:
        user, password = options.system_user
        accounts = {"$SYS": {"users": [{"user": user, "password": password}]}}
        lines.append(f"accounts: {json.dumps(accounts)}")
    return "\n".join([*lines, options.config])


def jetstream_settings(options: ClusterOptions) -> str:
    """Return what stands in the block of JetStream beside the store's place."""
    sync = "sync_interval: always\n" if options.sync_always else ""
    return f"{sync}{options.jetstream_settings}"


async def _cluster(place: Place, places: Sequence[Place], links: Links) -> dict[str, object]:
    routes = [
        f"nats-route://{await links.address(place.name, other.name, other.route_port)}"
        for other in places
        if other.cluster == place.cluster and other is not place
    ]
    fields: dict[str, object] = {"name": place.cluster, "listen": f"{place.host}:{place.route_port}", "routes": routes}
    return fields | _advertise(place, links)


async def _gateway(place: Place, places: Sequence[Place], links: Links) -> dict[str, object]:
    urls: dict[str, list[str]] = {}
    for other in places:
        if other.cluster != place.cluster:
            address = await links.address(place.name, other.name, other.gateway_port)
            urls.setdefault(other.cluster, []).append(f"nats://{address}")
    remotes = [{"name": cluster, "urls": theirs} for cluster, theirs in urls.items()]
    fields: dict[str, object] = {
        "name": place.cluster,
        "listen": f"{place.host}:{place.gateway_port}",
        "gateways": remotes,
    }
    return fields | _advertise(place, links)


def _advertise(place: Place, links: Links) -> dict[str, object]:
    address = links.advertised(place.name)
    return {} if address is None else {"advertise": address}
