"""The processes of a run: a server that stays, servers that are taken away, the application, and two routers.

All of them are gone with the block, each by its own process. Logs go to files of the caller's directory.

Must not know of Prometheus or of alerts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

import attrs
import trio

from beamline_trio.server_process import Server, open_server
from beamline_trio.server_process._ports import choose_port

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 30.0


class RouterProcess:
    """`beamline run examples.router:router`, always at the same port for its metrics."""

    def __init__(self, nursery: trio.Nursery, server: str, log: IO[bytes]) -> None:
        self._nursery = nursery
        self._server = server
        self._log = log
        self._port = choose_port("127.0.0.1")
        self._process: trio.Process | None = None

    @property
    def address(self) -> str:
        """Where it is scraped."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "beamline_trio.cli", "run", "examples.router:router"]
        command += ["--nats", self._server, "--metrics-port", str(self._port)]
        run = partial(trio.run_process, command, cwd=ROOT, stdout=self._log, stderr=self._log, check=False)
        self._process = await self._nursery.start(run)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


class Application:
    """`tests.alerts._application`, which is told who is in trouble."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._telling = trio.Lock()
        self.address = ""

    async def start(self) -> None:
        """Wait until all of its parts run."""
        assert self._process.stdout is not None
        said = b""
        with trio.fail_after(START_SECONDS):
            while not said.endswith(b"ready\n"):
                chunk = await self._process.stdout.receive_some()
                if not chunk:
                    raise RuntimeError("the application ended before it was ready; see application.log")
                said += chunk
        self.address = f"127.0.0.1:{int(said.split()[0])}"

    async def tell(self, verb: str, part: str) -> None:
        """`begin` or `end` the trouble of a part."""
        assert self._process.stdin is not None
        async with self._telling:
            await self._process.stdin.send_all(f"{verb} {part}\n".encode())


@attrs.frozen
class Rig:
    """What runs.

    Attributes:
        application: the process with one client for each alert about a client.
        servers: part of the application -> the server that can be taken away from it.
        gone, failing: routers.
    """

    application: Application
    servers: dict[str, Server]
    gone: RouterProcess
    failing: RouterProcess


@asynccontextmanager
async def open_rig(directory: Path, taken_away: Iterable[str]) -> AsyncGenerator[Rig]:
    """Start everything."""
    async with AsyncExitStack() as stack:
        steady = await stack.enter_async_context(open_server(jetstream=True))
        servers = {part: await stack.enter_async_context(open_server()) for part in taken_away}
        application_log = stack.enter_context((directory / "application.log").open("wb"))
        router_log = stack.enter_context((directory / "routers.log").open("wb"))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        command = [sys.executable, "-m", "tests.alerts._application", steady.url]
        command += [f"{part}={server.url}" for part, server in servers.items()]
        run = partial(
            trio.run_process,
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=application_log,
            check=False,
        )
        application = Application(await nursery.start(run))
        rig = Rig(application, servers, *(RouterProcess(nursery, steady.url, router_log) for _ in range(2)))
        await application.start()
        await rig.gone.start()
        await rig.failing.start()
        yield rig
