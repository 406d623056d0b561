"""`beamline demo` as its users run it: a process, a real nats-server, an exit code, and nothing left behind.

The runs are short, and each is asked as much as it can tell.
"""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

MAIN = "import sys; from beamline_trio.cli import main; sys.exit(main())"
LIMIT_SECONDS = 60.0
GONE_SECONDS = 5.0


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, nats_server_executable: Path) -> Iterator[Path]:
    """Where the demo's server has its files: empty when the test is over, and no process knows of it.

    It asks for the executable so that without one these tests are skipped, as the others for the real server.
    """
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert running(str(tmp_path)) == []


def running(word: str) -> list[str]:
    """The command lines of processes that have a word in theirs."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue  # it has just ended
    return [line for line in lines if word in line]


class Demo:
    """A demo that runs; what it has printed so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.text = ""
        self._grown = trio.Event()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        try:
            async for chunk in stream:
                self.text += chunk.decode()
                self._grown.set()
                self._grown = trio.Event()
        except trio.BrokenResourceError:
            pass  # how a terminal ends

    async def said(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed something."""
        while (match := re.search(pattern, self.text)) is None:
            await self._grown.wait()
        return match

    async def ended(self) -> int:
        return await self.process.wait()

    @property
    def account(self) -> dict[str, Any]:
        return dict(json.loads(self.lines[-1]))


@asynccontextmanager
async def demo(directory: Path, *arguments: str, terminal: bool = False, **environment: str) -> AsyncGenerator[Demo]:
    """Start a demo; its output is read to the end when the block is left."""
    env = (
        os.environ | {"TMPDIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"} | environment
    )
    ours, theirs = pty.openpty() if terminal else os.pipe()
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", MAIN, "demo", *arguments],
            stdout=theirs,
            stderr=theirs,
            stdin=subprocess.DEVNULL,
            env=env,
        )
    finally:
        os.close(theirs)
    with trio.fail_after(LIMIT_SECONDS):
        async with trio.lowlevel.FdStream(ours) as output:
            try:
                async with trio.open_nursery() as nursery:
                    running_demo = Demo(process)
                    nursery.start_soon(running_demo.read, output)
                    yield running_demo
            finally:
                process.kill()
                await process.wait()


async def scrape(port: int) -> dict[str, float]:
    """The samples at /metrics; nothing while it is starting."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join([bytes(chunk) async for chunk in stream]).decode()
    head, _, body = answer.partition("\r\n\r\n")
    if not head.startswith("HTTP/1.1 200"):
        return {}
    samples = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def check_account(account: dict[str, Any]) -> None:
    """What must hold of every account."""
    assert account["published"] == sum(account[kind] for kind in ("delivered", "failed", "unknown", "lost"))
    assert account["unknown"] <= account["unknown_bound"]
    assert account["replied"] <= account["delivered"] + account["lost"]
    assert account["unaccounted"] == 0
    assert sum(entry["messages"] for entry in account["reasons"]) == account["published"] - account["delivered"]


STATUS = 'router_nats_connection_status{client="%s"}'
PENDING = 'router_nats_pending_operations_count{client="%s"}'


async def test_a_run_accounts_for_every_message(directory: Path) -> None:
    """Killed and started again, with everybody reconnected: the account adds up, nothing is lost, exit 0. Meanwhile a
    line a second, and metrics that show the outage.
    """
    seen: dict[str, list[float]] = {"publisher": [], "router": []}
    pending = 0.0
    async with demo(directory, "--seconds", "6", "--rate", "200", "--metrics-port", "0", "--json") as run:
        port = int((await run.said(r"metrics at http://localhost:(\d+)/metrics")).group(1))
        while not re.search(r"^published", run.text, re.MULTILINE):
            try:
                samples = await scrape(port)
            except (OSError, trio.BrokenResourceError):
                break  # it has ended
            for client, values in seen.items():
                if STATUS % client in samples:
                    values.append(samples[STATUS % client])
                    pending = max(pending, samples[PENDING % client])
            await trio.sleep(0.05)
        assert await run.ended() == 0
    account = run.account
    check_account(account)
    assert (account["lost"], account["failed"], account["problems"]) == (0, 0, [])
    assert account["adds_up"]
    assert account["reconnects_by_client"] == {"publisher": 1, "router": 1, "receiver": 1}
    assert (account["reconnects"], account["kills"]) == (3, 1)
    assert 900 <= account["published"] <= 1_300
    # Every second message is a request. A reply that is on its way when the server dies is gone, or one to a publisher
    # that is not back yet: of those at most a second's worth.
    assert -2 <= account["delivered"] - 2 * account["replied"] <= account["unknown"] + 200
    assert 6 <= account["seconds"] < 21
    for client, values in seen.items():
        assert values[0] == 1, client
        assert min(values) < 1, client
        assert values[-1] in (0, 1), client
        assert 1 in values[values.index(min(values)) :], client
    assert pending > 0
    seconds = [float(match) for match in re.findall(r"^ *(\d+\.\d) s  ", run.text, re.MULTILINE)]
    assert len(seconds) >= 6
    assert all(after - before < 2.0 for before, after in itertools.pairwise(seconds))
    assert "publisher: NATS_CONNECTION_LOST" in run.text
    assert "receiver: NATS_CONNECTION_RESTORED" in run.text
    assert len(run.lines) < 60
    assert running(f"demo._receiver nats://127.0.0.1:{port}") == []


async def test_a_message_that_is_thrown_away_is_found(directory: Path) -> None:
    """With --sabotage drop-one exactly one message is lost, and the exit code is 1."""
    arguments = ("--seconds", "3", "--rate", "200", "--metrics-port", "0", "--sabotage", "drop-one", "--json")
    async with demo(directory, *arguments) as run:
        assert await run.ended() == 1
    account = run.account
    check_account(account)
    assert (account["lost"], account["problems"]) == (1, [])
    lost = [entry for entry in account["reasons"] if entry["kind"] == "lost"]
    assert lost == [{"kind": "lost", "hop": "router to receiver", "reason": "confirmed by PONG", "messages": 1}]
    assert "FAILED: 1 confirmed message(s) lost" in run.text


@pytest.mark.parametrize("moment, kills", [("  1.0 s", 0), ("server killed", 1)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_drains_and_prints_the_account(
    directory: Path, moment: str, kills: int, number: signal.Signals
) -> None:
    """One signal, before the outage or in it: no further message, everybody comes back, the account, exit 0."""
    async with demo(directory, "--seconds", "4", "--rate", "200", "--metrics-port", "0", "--json") as run:
        await run.said(moment)
        run.process.send_signal(number)
        assert await run.ended() == 0
    account = run.account
    check_account(account)
    assert (account["lost"], account["kills"], account["problems"]) == (0, kills, [])
    assert account["publishing_seconds"] < 4
    assert "interrupted: draining" in run.text


async def test_a_second_ctrl_c_ends_it_at_once(directory: Path) -> None:
    """Interrupted while it drains, it ends without an account, with exit code 130 and no traceback."""
    async with demo(directory, "--seconds", "4", "--rate", "200", "--metrics-port", "0", "--json") as run:
        await run.said("server killed")
        run.process.send_signal(signal.SIGINT)
        await run.said("interrupted: draining")
        run.process.send_signal(signal.SIGINT)
        assert await run.ended() == 130
    assert run.lines[-1] == "beamline: interrupted twice: ended without an account"
    assert "Traceback" not in run.text


async def test_nothing_outlives_a_demo_that_is_killed(directory: Path) -> None:
    """After SIGKILL the receiver and the server are gone as well, and the server's files."""
    async with demo(directory, "--metrics-port", "0") as run:
        url = (await run.said(r"at (nats://\S+);")).group(1)
        await run.said("1.0 s")
        assert len(running(f"demo._receiver {url}")) == 1
        assert running(str(directory))
        run.process.kill()
        await run.ended()
        with trio.fail_after(GONE_SECONDS):
            # Other processes have no events for us.
            while running(f"demo._receiver {url}") or running(str(directory)) or any(directory.iterdir()):  # noqa: ASYNC110
                await trio.sleep(0.02)


async def test_a_metrics_port_in_use_ends_the_run_before_it_begins(directory: Path) -> None:
    """One line that names the port and the flag, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with demo(directory, "--metrics-port", str(port)) as run:
            assert await run.ended() == 2
    assert len(run.lines) == 1
    assert f"port {port}" in run.text
    assert "--metrics-port" in run.text


async def test_a_missing_server_ends_the_run_with_the_remedy(directory: Path) -> None:
    """One line that says how to get a nats-server, exit code 2."""
    async with demo(directory, "--metrics-port", "0", NATS_SERVER="/nonexistent/nats-server") as run:
        assert await run.ended() == 2
    assert len(run.lines) == 1
    assert "pip install 'beamline-trio[server]'" in run.text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seconds", "1"),
        ("--sabotage", "drop-two"),
        ("--rate", "100000", "--seconds", "1000"),
        ("--rate", "nan"),
    ],
)
async def test_a_bad_option_is_a_usage_error(directory: Path, arguments: tuple[str, ...]) -> None:
    """The option is named, exit code 2."""
    async with demo(directory, *arguments) as run:
        assert await run.ended() == 2
    assert arguments[0] in run.text
    assert "Traceback" not in run.text


async def test_nobody_reading_the_output_ends_the_run_quietly(directory: Path) -> None:
    """`beamline demo | head -1` ends, without a traceback on stderr."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", MAIN, "demo", "--metrics-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(LIMIT_SECONDS):
        async with process.stderr:
            async with process.stdout:
                assert b"nats-server" in bytes(await process.stdout.receive_some())
            said = b"".join([bytes(chunk) async for chunk in process.stderr])
            assert await process.wait() == 1
    assert said == b"beamline: nobody reads its output\n"


async def test_a_terminal_shows_a_live_picture(directory: Path) -> None:
    """On a terminal the states, the numbers and the notes are drawn in place; the account follows below."""
    async with demo(directory, "--seconds", "3", "--rate", "100", "--metrics-port", "0", terminal=True) as run:
        assert await run.ended() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", run.text)
    assert "\x1b[" in run.text
    for part in ("beamline demo", "connected", "reconnecting", "reconnect attempts", "pending", "msg/s", "/ 3 s"):
        assert part in plain
    assert re.search(r"router +│ reconnecting", plain)
    assert "the account adds up, nothing is lost" in plain.splitlines()[-1]


# The receiver's process on its own


async def test_the_receiver_ends_when_its_parent_is_gone(directory: Path) -> None:
    """The end of its stdin is the end of the receiver, also when no server ever answered."""
    reading, writing = os.pipe()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "beamline_trio.cli.demo._receiver", "nats://127.0.0.1:1"],
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(reading)
    os.close(writing)
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(LIMIT_SECONDS):
        assert await process.wait() == 1
    await process.stdout.aclose()
    await process.stderr.aclose()
