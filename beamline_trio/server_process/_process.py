"""One nats-server process: its starts and ends, its readiness, the signals it is sent.

A start spawns the server and waits for two proofs. The ports file (the server writes one under its process id
once it listens) proves that the port is this process's: otherwise a stranger's server on the same port would
be taken for ours. An INFO line read from the port proves that it serves. The log is a file, not a pipe: a
pipe needs a task to empty it, and this object owns no task.

It must not know what clients do with the server, nor who removes its files (`_open`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn, final

import trio

from ._errors import PORT_IN_USE, ServerNotRunningError, ServerStartError
from ._files import ServerFiles
from ._guard import Guard
from ._options import ServerOptions
from ._ports import choose_port
from ._probe import answers
from ._reap import reap

_POLL_SECONDS = 0.002
_PORT_ATTEMPTS = 5
_START_END_DEADLINE_SECONDS = 5.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@final
class Server:
    """A nats-server that can be killed, paused and started again, always on the same port.

    Made by `open_server`, which also ends it. The methods that wait may be cancelled; each says what that
    leaves.
    """

    def __init__(self, options: ServerOptions, executable: Path, files: ServerFiles, guard: Guard) -> None:
        self._options = options
        self._executable = executable
        self._files = files
        self._guard = guard
        self._config = options.config
        self._port = options.port or choose_port(options.host)
        self._port_may_change = options.port == 0
        self._process: trio.Process | None = None
        self._changing = trio.Lock()  # one start or stop at a time
        self._closed = False

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process is not None and self.running else "not running"
        return f"<Server {self.url} {state}>"

    @property
    def url(self) -> str:
        """Where clients connect: nats://address:port, the same over restarts."""
        host = self._client_host
        return f"nats://[{host}]:{self._port}" if ":" in host else f"nats://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on, the same over restarts."""
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id, another after each start.

        Raises:
            ServerNotRunningError: it does not run; an old id might be somebody else's by now.
        """
        return self._living().pid

    @property
    def running(self) -> bool:
        """True from the spawn until the process has ended; a paused server runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def store_directory(self) -> Path:
        """Where JetStream stores its streams, if it is enabled; kept over restarts."""
        return self._files.store_directory

    @property
    def config_path(self) -> Path:
        """The generated configuration file."""
        return self._files.config_path

    @property
    def log_path(self) -> Path:
        """The server's log, appended to by each start."""
        return self._files.log_path

    async def start(self) -> None:
        """Start the server and wait until it answers. On failure or cancellation nothing is left running.

        The first start takes another port when somebody took the chosen one in between, unless a port was
        given.

        Raises:
            ServerStartError: it runs already, or ended, or did not answer within `start_timeout_seconds`.
        """
        async with self._changing:
            if self._closed:
                raise ServerStartError(f"{self!r} is closed; its open_server() block has ended")
            if self.running:
                raise ServerStartError(f"{self!r} runs already; stop it first")
            attempts = _PORT_ATTEMPTS if self._port_may_change else 1
            while True:
                attempts -= 1
                try:
                    await self._start_once()
                except ServerStartError as error:
                    if not (error.port_in_use and attempts):
                        raise
                    self._port = choose_port(self._options.host)
                else:
                    self._port_may_change = False
                    return

    async def wait_ready(self) -> None:
        """Return when the server answers: it listens, accepts a connection and sends a whole INFO line.

        A paused server is waited for until it is resumed: bound it by a cancel scope. It can be cancelled at
        any time, and leaves only a closed connection.

        Raises:
            ServerNotRunningError: it does not run.
            ServerStartError: it ended while it was waited for.
        """
        await self._until_ready(self._living())

    def pause(self) -> None:
        """Stop the server in its tracks (SIGSTOP): its port accepts, its connections stand, nothing answers.

        On Linux it has stopped when this returns, which may block for as long as a write to the disk takes.

        Raises:
            ServerNotRunningError: it does not run.
        """
        process = self._living()
        process.send_signal(signal.SIGSTOP)
        if sys.platform == "linux":
            # The signal only asks. WNOWAIT leaves the exit code, should there be one, to trio.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT); without effect on one that is not paused.

        Raises:
            ServerNotRunningError: it does not run.
        """
        self._living().send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Ask the server to read its configuration again (SIGHUP); see `write_config`.

        It does so on its own time. A configuration it refuses is in its log only, and the old one stays in
        force.

        Raises:
            ServerNotRunningError: it does not run.
        """
        self._living().send_signal(signal.SIGHUP)

    def lame_duck(self) -> None:
        """Put the server into lame duck mode (SIGUSR2): no new connections, clients are told, then it ends.

        Without clients it ends at once; else after `lame_duck_grace_period` (10 s) it closes them one by one
        over `lame_duck_duration` (2 min), which `ServerOptions.config` may set. The probe of a start may
        still count as a client for a moment.

        Raises:
            ServerNotRunningError: it does not run.
        """
        self._living().send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        """Kill the server (SIGKILL), paused or not; without effect when it does not run.

        The signal is sent when this returns. Before a start on the same port, wait for `wait_exit`.
        """
        if self._process is not None and self.running:
            # The whole group, for a wrapper script that did not exec the server. The process is not reaped
            # yet, so the id is still its own; macOS denies the signal to one that has just ended.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait_exit(self) -> int:
        """Wait until the process has ended, and return its exit code: negative for a signal, -9 after `kill`.

        Cancelling it leaves the server as it is. It returns at once when the process has ended before.

        Raises:
            ServerNotRunningError: it was never started.
        """
        if self._process is None:
            self._raise_not_running()
        return await self._process.wait()

    async def stop(self) -> int:
        """Shut the server down in order (SIGTERM, also when paused); kill it after `stop_timeout_seconds`.

        Cancelling it leaves a server that is shutting down. Stopping one that does not run returns its exit
        code.

        Returns:
            The exit code: 0 after an orderly shutdown, -9 when it had to be killed.

        Raises:
            ServerNotRunningError: it was never started.
        """
        async with self._changing:
            if self._process is not None and self.running:
                self._process.send_signal(signal.SIGTERM)
                self._process.send_signal(signal.SIGCONT)
                with trio.move_on_after(self._options.stop_timeout_seconds):
                    await self._process.wait()
                self.kill()
            return await self.wait_exit()

    async def restart(self) -> None:
        """Stop the server in order and start it again on the same port, with the same store.

        Cancelling it leaves the server running, shutting down or stopped; `open_server` ends it in any case.

        Raises:
            ServerStartError: as `start`.
        """
        await self.stop()
        await self.start()

    async def aclose(self) -> None:
        """Kill and reap the server, also when cancelled; no start after that. `open_server` calls it."""
        self._closed = True
        self.kill()
        try:
            with trio.move_on_after(_START_END_DEADLINE_SECONDS, shield=True):
                async with self._changing:
                    pass  # a start in flight has seen the kill, or `_closed`, and ended by itself
        finally:
            await self._end()

    def write_config(self, text: str) -> None:
        """Replace `ServerOptions.config` for the next `reload`, `start` or `restart`.

        What `open_server` generates (host, port, JetStream) stays.

        Args:
            text: configuration as the server reads it, for example `max_payload: 4KB`.
        """
        self._files.write_config(self._port, text)
        self._config = text

    @property
    def _client_host(self) -> str:
        return _ANY_ADDRESS.get(self._options.host, self._options.host)

    def _living(self) -> trio.Process:
        if self._process is None or not self.running:
            self._raise_not_running()
        return self._process

    def _raise_not_running(self) -> NoReturn:
        code = None if self._process is None else self._process.returncode
        ended = "was never started" if code is None else f"has ended with exit code {code}"
        raise ServerNotRunningError(f"the server at {self.url} {ended}; call start() first")

    async def _start_once(self) -> None:
        self._files.write_config(self._port, self._config)
        self._files.begin_start()
        timeout_seconds = self._options.start_timeout_seconds
        try:
            process = await self._spawn()
            with trio.move_on_after(timeout_seconds):
                return await self._until_ready(process)
            self._raise_start_error(f"was not ready after {timeout_seconds} s (start_timeout_seconds)", None)
        except BaseException:
            await self._end()
            raise

    @trio.lowlevel.enable_ki_protection  # no Ctrl-C between the fork and the note that it is ours
    async def _spawn(self) -> trio.Process:
        command = [*self._entrance(), str(self._executable), "-c", str(self.config_path), *self._options.arguments]
        with self._files.open_log() as log:
            try:
                process = self._process = await trio.lowlevel.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the terminal is for us alone
                )
            except OSError as error:
                raise ServerStartError(
                    f"{self._executable} cannot be executed: {error}; name a nats-server by NATS_SERVER"
                ) from error
        if self._closed:
            self.kill()
        else:
            self._guard.watch(process.pid)
        return process

    def _entrance(self) -> list[str]:
        # nsenter changes its own namespace and then execs, so the process id is the server's.
        namespace = self._options.network_namespace
        return [] if namespace is None else ["nsenter", f"--net=/run/netns/{namespace}"]

    async def _until_ready(self, process: trio.Process) -> None:
        while process.returncode is None:
            if self._files.listens(process.pid) and await answers(
                self._client_host, self._port, tls_first=self._options.tls_first
            ):
                return
            await trio.sleep(_POLL_SECONDS)
        self._raise_start_error(f"ended with exit code {process.returncode}", process.returncode)

    async def _end(self) -> None:
        self.kill()
        if self._process is not None:
            await reap(self._process)

    def _raise_start_error(self, what: str, exit_code: int | None) -> NoReturn:
        log_tail = self._files.log_tail()
        where = f"{self._executable} on {self._options.host} port {self._port}"
        hint = self._hint(log_tail, exit_code)
        raise ServerStartError(f"{where} {what}; {hint}", exit_code=exit_code, log_tail=log_tail)

    def _hint(self, log_tail: str, exit_code: int | None) -> str:
        if PORT_IN_USE in log_tail:
            return "the port is taken: give another one, or port=0 for any free one; its log ends:"
        if exit_code is None and self._files.any_listens():
            if self._process is not None and self._files.listens(self._process.pid):
                return "it listens and sends no INFO: with handshake_first, set tls_first=True; its log ends:"
            return "it listens under another process id: a wrapper script must exec it; its log ends:"
        return "its log ends:" if log_tail else "its log is empty"
