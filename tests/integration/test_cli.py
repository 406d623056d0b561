"""`beamline run` as its users meet it: a process of its own, a real nats-server, curl's requests and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from beamline_trio import Message, Router, open_client
from beamline_trio.cli import _run
from beamline_trio.cli._target import Loaded
from beamline_trio.operation import load_options
from beamline_trio.server_process import Server

LIMIT_SECONDS = 30.0
ROUTER = """
import trio
from beamline_trio import Message, Router
router = Router("prices")

@router.route("price.get", queue_group="prices", concurrency=4)
async def price(message):
    return b"42"

@router.route("price.bad")
async def bad(message):
    raise LookupError("no such price")

@router.route("price.slow")
async def slow(message):
    await trio.sleep(float(message.payload))
    return b"at last"
"""


class Beamline:
    """A `beamline run` under way, and what it has printed."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.out = ""
        self.err = b""
        self._changed = trio.Event()

    async def collect_out(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.out += data.decode()
            self._changed.set()
            self._changed = trio.Event()

    async def collect_err(self) -> None:
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.err += data

    async def says(self, pattern: str) -> str:
        """Wait for a line; returns what the pattern's group matched."""
        with trio.fail_after(LIMIT_SECONDS):
            while (match := re.search(pattern, self.out)) is None:
                await self._changed.wait()
        return match[1] if match.groups() else match[0]

    async def running(self) -> int:
        """Wait until its router runs; returns the port for HTTP."""
        await self.says(r"router 'prices' runs")
        return int(await self.says(r"metrics at http://localhost:(\d+)/metrics"))

    async def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        with trio.fail_after(LIMIT_SECONDS):
            return await self.process.wait()

    def events(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.err.decode().splitlines()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the user's module is; servers put their files into `temporary` there."""
    (tmp_path / "prices.py").write_text(ROUTER)
    (tmp_path / "temporary").mkdir()
    return tmp_path


@asynccontextmanager
async def beamline(
    directory: Path, *arguments: str, target: str = "prices:router", **variables: str
) -> AsyncGenerator[Beamline]:
    """Run `beamline run` in a directory; killed at the end if it has not ended by then."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("NATS_") and name != "METRICS_PORT"
    }
    if "NATS_SERVER" in os.environ:
        kept["NATS_SERVER"] = os.environ["NATS_SERVER"]
    command = [sys.executable, "-m", "beamline_trio.cli", "run", target, "--metrics-port", "0", *arguments]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command,
            cwd=directory,
            env=kept | {"TMPDIR": str(directory / "temporary")} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running = Beamline(process)
        nursery.start_soon(running.collect_out)
        nursery.start_soon(running.collect_err)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def curl(port: int, path: str) -> tuple[int, str]:
    with trio.fail_after(LIMIT_SECONDS):
        async with await trio.open_tcp_stream("localhost", port) as stream:
            await stream.send_all(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            head, _, body = b"".join([chunk async for chunk in stream]).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def sample(port: int, series: str) -> float:
    _, text = await curl(port, "/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith(series)]
    return float(line.rpartition(" ")[2])


async def test_it_runs_a_router_on_a_server_of_its_own_and_drains(directory: Path) -> None:
    """Without --nats it starts a server and says so; it answers, shows, and ends in order with exit code 0."""
    async with beamline(directory) as run:
        url = await run.says(r"no --nats and no NATS_URL: started a nats-server of its own at (\S+)")
        port = await run.running()
        async with open_client(url) as nc:
            for _ in range(3):
                assert (await nc.request("price.get")).payload == b"42"
            assert (await nc.request("price.bad")).headers["Nats-Service-Error-Code"] == "500"
        assert await curl(port, "/healthz") == (200, "ok\n")
        assert await curl(port, "/readyz") == (200, "connected\n")
        assert await sample(port, 'router_requests_total{client="prices",outcome="ok",route="price"}') == 3
        assert await sample(port, 'router_requests_total{client="prices",outcome="error",route="bad"}') == 1
        _, text = await curl(port, "/metrics")
        for pattern in (
            r'^router_nats_connection_status\{client="prices"\} 1\.0$',
            r"^router_nats.*failures_total\{.*\} 0\.0$",
            r"^router_nats_pending_operations_count\{.*\} 0\.0$",
        ):
            assert re.search(pattern, text, re.MULTILINE), pattern
        run.process.terminate()
        assert await run.ended() == 0
    assert "SIGTERM: draining" in run.out
    assert "drained: 4 messages handled, 1 with an error, 0 unfinished; 0 publishes of unknown fate" in run.out
    assert [entry["event"] for entry in run.events()] == [
        "NATS_CONNECTION_ESTABLISHED",
        "NATS_HANDLER_ERROR",
        "ROUTER_DRAIN_STARTED",
        "ROUTER_DRAINED",
    ]
    assert list((directory / "temporary").iterdir()) == []


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_handler_under_way_finishes_and_its_reply_arrives(
    directory: Path, nats_server: Server, first: signal.Signals
) -> None:
    """A drain loses no request that was taken; while it lasts, the instance is not ready."""
    async with beamline(directory, NATS_URL=nats_server.url) as run:
        port = await run.running()
        async with open_client(nats_server.url) as nc, trio.open_nursery() as nursery:
            replies: list[bytes] = []

            async def ask() -> None:
                replies.append((await nc.request("price.slow", b"0.7")).payload)

            nursery.start_soon(ask)
            await nc.flush()
            await nc.request("price.get")
            run.process.send_signal(first)
            await run.says(f"{first.name}: draining")
            assert await curl(port, "/readyz") == (503, "draining\n")
        assert await run.ended() == 0
    assert replies == [b"at last"]
    assert "started a nats-server" not in run.out
    assert b"Traceback" not in run.err


@pytest.mark.parametrize("first, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_cuts_the_drain_short(
    directory: Path, nats_server: Server, first: signal.Signals, code: int
) -> None:
    """It ends at once, and the exit code tells which signal began it."""
    async with beamline(directory, "--nats", nats_server.url) as run:
        await run.running()
        async with open_client(nats_server.url) as nc:
            await nc.publish("price.slow", b"1000")
            await nc.request("price.get")
            run.process.send_signal(first)
            await run.says(f"{first.name}: draining")
            run.process.send_signal(signal.SIGTERM)
            assert await run.ended() == code
    assert "cut short: 1 messages handled, 0 with an error, 1 unfinished" in run.out
    assert b"Traceback" not in run.err


async def test_a_drain_that_meets_its_deadline_says_what_is_unfinished(directory: Path, nats_server: Server) -> None:
    """Exit code 1, and the number of handlers that were cut off."""
    async with beamline(directory, NATS_URL=nats_server.url, NATS_DRAIN_DEADLINE_SECONDS="0.3") as run:
        await run.running()
        async with open_client(nats_server.url) as nc:
            await nc.publish("price.slow", b"1000")
            await nc.request("price.get")
            run.process.terminate()
            assert await run.ended() == 1
    assert "1 unfinished" in run.out
    assert run.events()[-1]["event"] == "ROUTER_DRAINED"
    assert run.events()[-1]["unfinished"] == 1


async def test_a_lost_server_shows_and_ends_nothing(directory: Path, nats_server: Server) -> None:
    """Not ready and below 1 while the server is away, ready and 1 again when it is back: the same process goes on."""
    async with beamline(directory, NATS_URL=nats_server.url, NATS_RECONNECT_DELAY_MS="50") as run:
        port = await run.running()
        status = "router_nats_connection_status{"
        assert await sample(port, status) == 1
        nats_server.kill()
        await nats_server.wait_exit()
        with trio.fail_after(LIMIT_SECONDS):
            while await sample(port, status) == 1:
                pass
        assert (await curl(port, "/readyz"))[0] == 503
        assert (await curl(port, "/healthz"))[0] == 200
        await nats_server.start()
        with trio.fail_after(LIMIT_SECONDS):
            while await sample(port, status) != 1:
                pass
        assert (await curl(port, "/readyz"))[0] == 200
        assert await sample(port, "router_nats_connection_lost_total") == 1
        assert await sample(port, "router_nats_connection_restored_total") == 1
        async with open_client(nats_server.url) as nc:
            assert (await nc.request("price.get")).payload == b"42"
        run.process.terminate()
        assert await run.ended() == 0


async def test_a_signal_while_it_connects_ends_it(directory: Path) -> None:
    """A server that accepts and says nothing does not hold it: nothing to drain, exit code 0."""
    accepted = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        accepted.set()
        assert await stream.receive_some() == b""
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, silent, 0, host="127.0.0.1"))
        url = f"nats://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with beamline(directory, "--nats", url, NATS_CONNECT_TIMEOUT_SECONDS="1000") as run:
            with trio.fail_after(LIMIT_SECONDS):
                await accepted.wait()
            run.process.terminate()
            assert await run.ended() == 0
        nursery.cancel_scope.cancel()
    assert (run.out, run.err) == ("", b"")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--nats", "nats://127.0.0.1:1"), "cannot connect to nats://127.0.0.1:1: "),
        (("--metrics-port", "{taken}"), "port {taken} on 127.0.0.1 is in use; give another one with --metrics-port"),
    ],
)
async def test_what_cannot_start_is_one_line(directory: Path, arguments: tuple[str, ...], message: str) -> None:
    """Exit code 1, the reason on the last line, and no server left."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        taken = str(listener.socket.getsockname()[1])
        async with beamline(directory, *(one.format(taken=taken) for one in arguments)) as run:
            assert await run.ended() == 1
    last = run.err.decode().splitlines()[-1]
    assert last.startswith(f"beamline: {message.format(taken=taken)}")
    assert b"Traceback" not in run.err
    assert list((directory / "temporary").iterdir()) == []


@pytest.mark.server_options(
    config="authorization { users = [{user: r, password: r, permissions: {subscribe: {deny: 'price.bad'}}}] }"
)
async def test_a_route_that_the_server_refuses_ends_it(directory: Path, nats_server: Server) -> None:
    """A router that cannot do all it says does not run: one line with the subject, exit code 1."""
    url = nats_server.url.replace("nats://", "nats://r:r@")
    async with beamline(directory, "--nats", url) as run:
        assert await run.ended() == 1
    assert "price.bad" in run.err.decode().splitlines()[-1]
    assert b"Traceback" not in run.err


async def test_a_drain_that_a_handler_asks_for_ends_it(nats_server: Server) -> None:
    """The client is drained without a signal: the router ends, and so does the run, with exit code 0."""
    router = Router("stoppable")
    running = trio.Event()
    said: list[str] = []
    codes: list[int] = []

    @router.route("stop")
    async def stop(message: Message) -> bytes:
        await message._client.drain()
        return b"stopping"

    def say(line: str) -> None:
        said.append(line)
        if "runs on" in line:
            running.set()

    async def run() -> None:
        configuration = load_options(environment={}, servers=nats_server.url, metrics_port=0, name="stoppable")
        codes.append(await _run.run_router(Loaded(router), configuration, say))

    async with trio.open_nursery() as nursery, open_client(nats_server.url) as nc:
        nursery.start_soon(run)
        with trio.fail_after(LIMIT_SECONDS):
            await running.wait()
            assert (await nc.request("stop")).payload == b"stopping"
    assert codes == [0]
    assert said[-1].startswith("drained: 1 messages handled, 0 with an error")
