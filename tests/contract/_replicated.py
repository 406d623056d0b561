"""A cluster of three servers with JetStream, real or simulated, behind the same names.

Must not say which of the two it is, except where a test has to wait for a moment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from beamline_trio.server_process import Server, open_cluster
from beamline_trio.simulation import ServerConfig, SimulatedServer, World
from beamline_trio.transport import Dialer, TCPDialer

SERVERS = 3
_READY_SECONDS = 2.0


class ReplicatedServer(Protocol):
    """One of the servers."""

    @property
    def name(self) -> str:
        """Its name, as infos have it."""
        ...

    @property
    def url(self) -> str:
        """Where clients connect."""
        ...

    @property
    def dialer(self) -> Dialer:
        """How a client reaches it: a new one for each client."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    async def stop(self) -> None:
        """Shut it down in order."""
        ...

    async def start(self) -> None:
        """Start it again."""
        ...

    def pause(self) -> None:
        """Stop it in its tracks."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


class _Real:
    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._server = server

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dialer(self) -> Dialer:
        return TCPDialer()

    def kill(self) -> None:
        self._server.kill()

    async def stop(self) -> None:
        await self._server.stop()

    async def start(self) -> None:
        await self._server.wait_exit()
        await self._server.start()

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()


class _Simulated:
    def __init__(self, world: World, server: SimulatedServer) -> None:
        self._world = world
        self._server = server
        self.name = server.name

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dialer(self) -> Dialer:
        return self._world.dialer("app")

    def kill(self) -> None:
        self._server.kill()

    async def stop(self) -> None:
        self._server.stop()

    async def start(self) -> None:
        self._server.start()

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()


@asynccontextmanager
async def open_replicated(side: Path | World) -> AsyncGenerator[list[ReplicatedServer]]:
    """Three servers whose meta group has a leader."""
    if isinstance(side, World):
        config = ServerConfig(jetstream_sync_interval_seconds=0.0)
        servers = await side.add_cluster("c", servers=SERVERS, jetstream=True, config=config)
        await trio.sleep(_READY_SECONDS)
        yield [_Simulated(side, server) for server in servers]
    else:
        async with open_cluster("c", SERVERS, executable=side) as cluster:
            yield [_Real(node.name, node.server) for node in cluster.nodes]
