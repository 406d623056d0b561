"""How the servers of a cluster, and the clusters of several regions, are told of each other.

Must not start a server.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ._errors import SimulationError
from ._server import Gateway, ServerConfig

_SERVERS_MAX = 64


def server_names(cluster: str, servers: int) -> list[str]:
    """The names of a cluster's servers, which are their hosts too: east-1, east-2 and so on.

    Raises:
        SimulationError: that many servers make no cluster.
    """
    if not 1 <= servers <= _SERVERS_MAX:
        raise SimulationError(f"the cluster {cluster!r} is to have {servers} servers; it can have 1 to {_SERVERS_MAX}")
    return [f"{cluster}-{index}" for index in range(1, servers + 1)]


def cluster_config(config: ServerConfig | None, cluster: str, *, jetstream: bool) -> ServerConfig:
    """The configuration of a cluster's servers: as given, with the cluster's name."""
    config = config if config is not None else ServerConfig()
    return attrs.evolve(config, cluster=cluster, jetstream=config.jetstream or jetstream)


def server_config(config: ServerConfig, server: str) -> ServerConfig:
    """The configuration of one server of a cluster: with JetStream it is called like its host."""
    return attrs.evolve(config, name=server) if config.jetstream else config


def region_config(config: ServerConfig | None, regions: Mapping[str, int]) -> ServerConfig:
    """What all servers of these regions share: as given, with gateways between the regions, and one meta group."""
    config = config if config is not None else ServerConfig()
    gateways = tuple(
        Gateway(name, tuple(f"{host}:{config.gateway_port}" for host in server_names(name, servers)))
        for name, servers in regions.items()
    )
    peers = tuple(host for name, servers in regions.items() for host in server_names(name, servers))
    return attrs.evolve(config, gateways=gateways, jetstream_peers=peers)
