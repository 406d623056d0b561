"""A program of one's own as a child process: an instance of a router, a load balancer.

It is ready when a page of it, as `/readyz`, answers with 200. Its output goes to a file: a pipe that nobody empties
stops a program in the middle of a line. As a server it is in a session of its own, is ended by its process id only, and
does not outlive this process (`_guard`).

Must not know what the program does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn, final

import attrs
import trio

from ._errors import MonitoringError, ServerNotRunningError, ServerStartError
from ._guard import Guard, open_guard
from ._monitoring import status_of
from ._open import open_directory
from ._reap import reap

_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 2000
_COMMAND_TEXT_MAX = 200


@attrs.frozen(kw_only=True)
class ProgramOptions:
    """How `open_program` starts its program.

    Attributes:
        command: the executable and its arguments, which tell it from other processes of this machine.
        page: (host, port, path) of what answers with 200 when it is ready, as ("127.0.0.1", 9001, "/readyz").
        environment: variables in addition to this process's own.
        directory: where it runs; None = here.
        log_file: where its output is appended; it is kept. None = a temporary file.
        start_timeout_seconds: how long a start may take until it is ready.
    """

    command: tuple[str, ...]
    page: tuple[str, int, str]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    directory: Path | None = None
    log_file: Path | None = None
    start_timeout_seconds: float = attrs.field(default=20.0, validator=attrs.validators.gt(0))


@final
class Program:
    """A program that can be ended and started again. Made by `open_program`."""

    def __init__(self, options: ProgramOptions, log_path: Path, guard: Guard) -> None:
        self._options = options
        self._guard = guard
        self._process: trio.Process | None = None
        self.log_path = log_path

    @property
    def running(self) -> bool:
        """True from the start until the process has ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id, another after each start.

        Raises:
            ServerNotRunningError: it does not run.
        """
        return self._living().pid

    async def ready(self) -> bool:
        """Whether its page answers with 200 now. Cancelling it changes nothing."""
        return await ready(*self._options.page)

    async def start(self) -> None:
        """Start it and wait until it is ready. On failure or cancellation it is not running.

        Raises:
            ServerStartError: it runs already, ended, or was not ready in time; with the end of its output.
        """
        if self.running:
            raise ServerStartError(f"{self._options.command[0]} runs already as process {self.pid}; end it first")
        process = await self._spawn()
        try:
            with trio.move_on_after(self._options.start_timeout_seconds):
                return await self._until_ready(process)
            self._fail(f"was not ready after {self._options.start_timeout_seconds:g} s (start_timeout_seconds)")
        except BaseException:
            await self.aclose()
            raise

    def kill(self) -> None:
        """SIGKILL; without effect when it does not run."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, on which a router drains; without effect when it does not run."""
        self._signal(signal.SIGTERM)

    async def wait_exit(self) -> int:
        """Wait until it has ended, and return its exit code: negative for a signal. Cancelling it changes nothing.

        Raises:
            ServerNotRunningError: it was never started.
        """
        if self._process is None:
            raise ServerNotRunningError(f"{self._options.command[0]} was never started; call start() first")
        return await self._process.wait()

    async def aclose(self) -> None:
        """Kill and reap it, also when cancelled. `open_program` calls it."""
        self.kill()
        if self._process is not None:
            await reap(self._process)

    def _living(self) -> trio.Process:
        if self._process is None or not self.running:
            raise ServerNotRunningError(f"{self._options.command[0]} does not run; call start() first")
        return self._process

    def _signal(self, number: int) -> None:
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    @trio.lowlevel.enable_ki_protection  # no Ctrl-C between the fork and the note that it is ours
    async def _spawn(self) -> trio.Process:
        with self._open_log() as log:
            self._process = await trio.lowlevel.open_process(
                list(self._options.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._options.directory,
                env={**os.environ, **self._options.environment},
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)
        return self._process

    def _open_log(self) -> BinaryIO:
        return open(self.log_path, "ab")

    async def _until_ready(self, process: trio.Process) -> None:
        while process.returncode is None:
            if await self.ready():
                return
            await trio.sleep(_POLL_SECONDS)
        self._fail(f"ended with exit code {process.returncode}")

    def _text(self) -> str:
        """The command, in so far as a line has room for it."""
        text = " ".join(self._options.command)
        return text if len(text) <= _COMMAND_TEXT_MAX else f"{text[:_COMMAND_TEXT_MAX]}..."

    def _fail(self, what: str) -> NoReturn:
        with open(self.log_path, "rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(0, end - _LOG_TAIL_BYTES))
            tail = log.read().decode("utf-8", "replace").strip()
        code = None if self._process is None else self._process.returncode
        raise ServerStartError(f"`{self._text()}` {what}; its output ends:", exit_code=code, log_tail=tail)


async def ready(host: str, port: int, path: str) -> bool:
    """Whether a page answers with 200 now; no answer is no."""
    try:
        return await status_of(host, port, path) == 200
    except MonitoringError:
        return False


@contextlib.asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_program(options: ProgramOptions) -> AsyncGenerator[Program]:
    """Run a program, ready when the block begins and gone when it ends.

    Leaving the block, in whatever way, kills it: terminate it before, and wait, for an orderly end.

    Raises:
        OSError: it cannot be executed, or a file cannot be written.
        ServerStartError: it was not ready in time, or ended; the message has the end of its output.
    """
    async with open_directory() as directory, open_guard(" ".join(options.command), directory) as guard:
        program = Program(options, options.log_file or directory / "output.log", guard)
        try:
            await program.start()
            yield program
        finally:
            await program.aclose()
