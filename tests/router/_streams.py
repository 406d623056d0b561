"""A simulated server with streams, and what becomes of their messages when a router works on them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from beamline_trio import Client, JetStream, NatsError, StreamConfig, open_client
from beamline_trio.router import Route, Router
from beamline_trio.simulation import ServerConfig, SimulatedServer, World

PENDING = {"pending", "in_flight"}


@asynccontextmanager
async def streams(world: World, **options: Any) -> AsyncGenerator[tuple[SimulatedServer, Client, JetStream]]:
    """A server with the streams IN (in.>), OUT (out.>) and DEAD (dead.>), and a client."""
    server = await world.start_server("a", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=world.dialer("app"), **options) as nc:
        jetstream = JetStream(nc)
        for name in ("IN", "OUT", "DEAD"):
            await jetstream.create_stream(StreamConfig(name=name, subjects=[f"{name.lower()}.>"]))
        yield server, nc, jetstream


@asynccontextmanager
async def running(router: Router, nc: Client) -> AsyncGenerator[None]:
    """A router at work, drained at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        yield
        await router.drain()


async def fill(jetstream: JetStream, count: int, subject: str = "in.a") -> None:
    """So many messages, 0, 1, 2, ..."""
    for number in range(count):
        await jetstream.publish(subject, b"%d" % number)


async def feed(jetstream: JetStream, count: int, pause: float = 0.0) -> None:
    """Messages with an identity that the world knows them by."""
    for number in range(count):
        identity = f"p-{number}"
        while True:
            try:
                await jetstream.publish("in.a", b"%d" % number, headers={"Sim-Id": identity}, message_id=identity)
            except NatsError:
                await trio.sleep(0.1)
            else:
                break
        await trio.sleep(pause)


async def contents(jetstream: JetStream, stream: str) -> list[bytes]:
    """The payloads of all messages of a stream."""
    state = (await jetstream.stream_info(stream)).state
    return [
        (await jetstream.get_message(stream, sequence=number)).payload
        for number in range(state.first_seq, state.last_seq + 1)
    ]


def ended(route: Route) -> dict[str, int]:
    """The outcomes that there were; every message has exactly one."""
    statistics = route.statistics()
    outcomes = {outcome: number for outcome, number in statistics.outcomes.items() if number}
    assert statistics.taken == statistics.pending + statistics.in_flight + sum(outcomes.values())
    return outcomes
