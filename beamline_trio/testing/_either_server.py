"""One server for one test, simulated or real, with what can be done to both.

    async def test_something(nats: EitherServer) -> None:      # runs twice: [simulated] and [real]
        async with open_client(nats.url, dialer=nats.dialer("app")) as nc:
            ...
            await nats.kill()

Must not offer what only one of them can do: a test for one of them asks for `nats_world` or `nats_server`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from ..server_process import Server, open_server
from ..simulation import ServerConfig, SimulatedServer, World
from ..transport import Dialer, TCPDialer
from ._config_text import config_text, jetstream_text

_NAME = "nats"


class EitherServer(Protocol):
    """What the fixture `nats` gives; it runs when the test begins.

    Attributes:
        simulated: whether time is virtual.
        url: where it listens, also behind a restart.
    """

    simulated: bool

    @property
    def url(self) -> str:
        """Where it listens, also behind a restart."""
        ...

    def dialer(self, host: str = "app") -> Dialer:
        """How a client reaches it: one dialer for each client. The real network knows but one host."""
        ...

    async def kill(self) -> None:
        """SIGKILL: its connections break. It is gone when this returns."""
        ...

    async def start(self) -> None:
        """Start it again where it was. It takes connections when this returns."""
        ...

    async def pause(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay."""
        ...

    async def resume(self) -> None:
        """SIGCONT: it does what it has not done meanwhile."""
        ...

    async def lame_duck(self) -> None:
        """Let it say that it leaves, and leave when its grace is over."""
        ...


class _Simulated:
    simulated = True

    def __init__(self, world: World, server: SimulatedServer) -> None:
        self._world = world
        self._server = server

    @property
    def url(self) -> str:
        return self._server.url

    def dialer(self, host: str = "app") -> Dialer:
        return self._world.dialer(host)

    async def kill(self) -> None:
        self._server.kill()
        await trio.lowlevel.checkpoint()

    async def start(self) -> None:
        self._server.start()
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        self._server.pause()
        await trio.lowlevel.checkpoint()

    async def resume(self) -> None:
        self._server.resume()
        await trio.lowlevel.checkpoint()

    async def lame_duck(self) -> None:
        self._server.lame_duck()
        await trio.lowlevel.checkpoint()


class _Real:
    simulated = False

    def __init__(self, process: Server) -> None:
        self._process = process

    @property
    def url(self) -> str:
        return self._process.url

    def dialer(self, host: str = "app") -> Dialer:
        return TCPDialer()

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait_exit()

    async def start(self) -> None:
        await self._process.start()

    async def pause(self) -> None:
        self._process.pause()
        await trio.lowlevel.checkpoint()

    async def resume(self) -> None:
        self._process.resume()
        await trio.lowlevel.checkpoint()

    async def lame_duck(self) -> None:
        self._process.lame_duck()
        await trio.lowlevel.checkpoint()


def open_either_server(side: World | Path, config: ServerConfig) -> AbstractAsyncContextManager[EitherServer]:
    """A server of a world, or of an executable."""
    return _open_real(side, config) if isinstance(side, Path) else _open_simulated(side, config)


@asynccontextmanager
async def _open_simulated(world: World, config: ServerConfig) -> AsyncGenerator[EitherServer]:
    yield _Simulated(world, await world.start_server(_NAME, config))


@asynccontextmanager
async def _open_real(executable: Path, config: ServerConfig) -> AsyncGenerator[EitherServer]:
    async with open_server(
        executable=executable,
        jetstream=config.jetstream,
        jetstream_settings=jetstream_text(config),
        config=config_text(config),
    ) as process:
        yield _Real(process)
