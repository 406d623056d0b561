"""What the simulated servers tell of themselves has the fields of the real ones, in their order and of their kinds."""

from __future__ import annotations

import json
from typing import Any

import trio

from beamline_trio import open_client
from beamline_trio.jetstream import ConsumerConfig, JetStream, StreamConfig
from beamline_trio.server_process import open_supercluster
from beamline_trio.simulation import ServerConfig, World
from beamline_trio.simulation import run as simulate

REGIONS = {"east": 3, "west": 2}
PATHS = ("/varz", "/connz", "/routez", "/gatewayz", "/jsz", "/jsz?streams=1&consumers=1&config=1", "/healthz")
START_SECONDS = 90
# Only a group's leader says these, and of some servers.
SOMETIMES = ("leader_since", "lag", "offline")


def test_documents_have_the_fields_of_the_real_ones() -> None:
    """Each field of a simulated document is in the real one, at the same place and of the same kind."""
    real, simulated = trio.run(of_real_servers), of_simulated_servers()
    assert real.keys() == simulated.keys() == set(PATHS)
    differences = [one for path in PATHS for one in compare(path, simulated[path], real[path])]
    assert not differences, "\n".join(differences)


async def use(js: JetStream) -> None:
    await js.create_stream(StreamConfig(name="S", subjects=("s",), num_replicas=3))
    await js.create_consumer("S", ConsumerConfig(durable_name="c"))
    await js.publish("s", b"x")


async def of_real_servers() -> dict[str, Any]:
    with trio.fail_after(START_SECONDS):
        async with open_supercluster(REGIONS) as cluster:
            node = cluster["east-1"]
            async with open_client(node.url) as nc:
                await use(JetStream(nc))
                await trio.sleep(1)
                return {path: await node.ask(path) for path in PATHS}


def of_simulated_servers() -> dict[str, Any]:
    async def scenario(world: World) -> dict[str, Any]:
        regions = await world.add_regions(REGIONS, jetstream=True, config=ServerConfig(http_port=8222))
        await trio.sleep(10)
        server = regions["east"][0]
        async with open_client(server.url, dialer=world.dialer("app")) as nc:
            await use(JetStream(nc))
            await trio.sleep(1)
            return {path: json.loads(server.monitoring(path)[1]) for path in PATHS}

    return simulate(scenario, seed=1)


def compare(where: str, simulated: Any, real: Any) -> list[str]:
    if isinstance(simulated, dict) and isinstance(real, dict):
        if where.endswith(("outbound_gateways", "inbound_gateways")):
            # By region; whom a server of another region dials is chance.
            links = zip(simulated.values(), real.values(), strict=False)
            return [one for each in links for one in compare(f"{where}.*", *each)]
        unknown = [f"{where}: {name} is not in the real one" for name in simulated if name not in (*real, *SOMETIMES)]
        order = [name for name in simulated if name in real]
        if order != [name for name in real if name in simulated]:
            unknown.append(f"{where}: the order is {order}, and {list(real)} in the real one")
        return unknown + [one for name in order for one in compare(f"{where}.{name}", simulated[name], real[name])]
    if isinstance(simulated, list) and isinstance(real, list):
        return compare(f"{where}[]", simulated[0], real[0]) if simulated and real else []
    numbers = isinstance(simulated, (int, float)) and isinstance(real, (int, float))
    same = type(simulated) is type(real) or (numbers and bool not in (type(simulated), type(real)))
    return [] if same else [f"{where}: {simulated!r}, and {real!r} in the real one"]
