"""Own the servers of a cluster or supercluster for the time of an `async with`.

Each is a server of `open_server`, with its guard and its temporary directory, so that nothing is left of any of them
however this process ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import attrs

from ._cluster import Node, RealCluster, RealSupercluster, wait_formed
from ._cluster_options import ClusterOptions
from ._layout import Place, config_text, jetstream_settings, plan
from ._links import DirectLinks, Links
from ._open import open_server
from ._options import ServerOptions


@contextlib.asynccontextmanager
async def open_cluster(
    name: str = "cluster",
    servers: int = 3,
    options: ClusterOptions | None = None,
    *,
    links: Links | None = None,
    **overrides: Any,
) -> AsyncGenerator[RealCluster]:
    """Run a cluster of one's own, ready when the block begins and gone when it ends.

    Ready is: every server has routes to all others, knows the leader of JetStream's meta group, and says that it is
    healthy, which takes less than a second for three servers unless the first election fails (then 4 to 9 s more).
    Leaving the block, in whatever way, kills all servers and removes their stores.

    Args:
        name: the cluster's name; its servers are `name-1`, `name-2` and so on.
        servers: how many, 2 to 9; JetStream with replicas needs 3.
        options: how each is started; None = `ClusterOptions()`.
        links: how they reach each other; None = directly, on the loopback interface.
        overrides: fields of `ClusterOptions` that replace those of `options`.

    Raises:
        OSError: a file cannot be written.
        ServerNotFoundError: there is no nats-server.
        ServerStartError: a server did not start, or they were not ready in time.
        TypeError: an override is no field of `ClusterOptions`.
        ValueError: a field, the name or the number is out of its bounds.
    """
    async with open_supercluster({name: servers}, options, links=links, **overrides) as supercluster:
        yield supercluster.regions[name]


@contextlib.asynccontextmanager
async def open_supercluster(
    regions: Mapping[str, int],
    options: ClusterOptions | None = None,
    *,
    links: Links | None = None,
    **overrides: Any,
) -> AsyncGenerator[RealSupercluster]:
    """Run clusters of one's own that are joined by gateways; see `open_cluster`.

    JetStream's meta group spans all regions: it goes on as long as more than half of all servers see each other.

    Args:
        regions: how many servers each region has, by its name: `{"east": 3, "west": 3}`.
        options: how each server is started; None = `ClusterOptions()`.
        links: how they reach each other; None = directly, on the loopback interface.
        overrides: fields of `ClusterOptions` that replace those of `options`.

    Raises:
        OSError: a file cannot be written.
        ServerNotFoundError: there is no nats-server.
        ServerStartError: a server did not start, or they were not ready in time.
        TypeError: an override is no field of `ClusterOptions`.
        ValueError: a field, a name or a number is out of its bounds.
    """
    options = attrs.evolve(options or ClusterOptions(), **overrides)
    links = links or DirectLinks()
    places = await plan(regions, links)
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await _open_node(stack, place, places, options, links) for place in places]
        seconds = options.ready_timeout_seconds
        await wait_formed(nodes, regions, jetstream=options.jetstream, seconds=seconds)
        yield RealSupercluster(
            {name: RealCluster(name, [node for node in nodes if node.cluster == name]) for name in regions}
        )


async def _open_node(
    stack: contextlib.AsyncExitStack, place: Place, places: Sequence[Place], options: ClusterOptions, links: Links
) -> Node:
    text = await config_text(place, places, options, links)
    server = await stack.enter_async_context(open_server(_server_options(place, options, links, text)))
    return Node(place, server)


def _server_options(place: Place, options: ClusterOptions, links: Links, text: str) -> ServerOptions:
    return ServerOptions(
        host=place.host,
        port=place.port,
        network_namespace=links.namespace(place.name),
        jetstream=options.jetstream,
        jetstream_settings=jetstream_settings(options),
        config=text,
        executable=options.executable,
        log_file=options.directory / f"{place.name}.log" if options.directory else None,
        start_timeout_seconds=options.start_timeout_seconds,
    )
