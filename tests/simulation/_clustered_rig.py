"""A simulated cluster whose groups have leaders, a client at one of its servers, and questions to both."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from beamline_trio import Client, JetStream, open_client
from beamline_trio.jetstream import StreamConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World, run

SYNCED = ServerConfig(jetstream_sync_interval_seconds=0.0)
Scenario = Callable[[World, list[SimulatedServer], JetStream], Awaitable[None]]


@asynccontextmanager
async def cluster(
    world: World, *, servers: int = 3, config: ServerConfig = SYNCED, at: int = 1
) -> AsyncGenerator[tuple[list[SimulatedServer], JetStream]]:
    """A cluster whose groups lead, and a client at one of its servers."""
    started = await world.add_cluster("c", servers=servers, jetstream=True, config=config)
    await trio.sleep(2.0)
    async with client(world, started[at - 1]) as nc:
        yield started, JetStream(nc)


@asynccontextmanager
async def client(world: World, server: SimulatedServer) -> AsyncGenerator[Client]:
    """A client that stays at one server."""
    async with open_client(
        server.url, dialer=world.dialer(f"at-{server.name}"), ignore_discovered=True, operation_timeout_seconds=3.0
    ) as nc:
        yield nc


def play(scenario: Scenario, *, seed: int = 1, **options: Any) -> None:
    """Run a scenario with a cluster."""

    async def main(world: World) -> None:
        async with cluster(world, **options) as (servers, js):
            await scenario(world, servers, js)

    run(main, seed=seed)


async def ask(js: JetStream, what: str, body: object = None) -> dict[str, Any]:
    """A request to the API, and its reply."""
    data = b"" if body is None else json.dumps(body).encode()
    reply: dict[str, Any] = json.loads((await js.client.request(f"$JS.API.{what}", data)).payload)
    return reply


async def make(js: JetStream, name: str = "S", replicas: int = 3, **fields: Any) -> None:
    """Make a stream with the subjects `<name>.>`."""
    await js.create_stream(StreamConfig(name=name, subjects=(f"{name}.>",), num_replicas=replicas, **fields))


def leader(servers: list[SimulatedServer], stream: str = "", consumer: str = "") -> SimulatedServer:
    """The server that leads a stream, a consumer, or the meta group."""
    leading = [server for server in servers if server.leads(stream, consumer)]
    assert len(leading) == 1, f"{[server.name for server in leading]} lead {stream or 'the meta group'} {consumer}"
    return leading[0]


def followers(servers: list[SimulatedServer], stream: str = "", consumer: str = "") -> list[SimulatedServer]:
    """The others."""
    return [server for server in servers if not server.leads(stream, consumer)]


async def move(js: JetStream, to: SimulatedServer, stream: str, consumer: str = "") -> None:
    """Have a server lead a stream or a consumer."""
    if not to.leads(stream, consumer):
        what = f"CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}" if consumer else f"STREAM.LEADER.STEPDOWN.{stream}"
        await ask(js, what, {"placement": {"preferred": to.name}})
        await until(lambda: to.leads(stream, consumer))


def payloads(server: SimulatedServer, stream: str = "S") -> list[bytes]:
    """What a server has of a stream."""
    return [message.payload for one in server.streams if one.name == stream for message in one.messages]


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    for _ in range(round(seconds / 0.05)):
        if holds():
            return
        await trio.sleep(0.05)
    raise AssertionError(f"after {seconds} s it does not hold")
