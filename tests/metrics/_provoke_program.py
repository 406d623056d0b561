"""What a program does with a client that provokes what the stages `client`, `router`, `operation` and `cli` promise.

The records of `beamline run` come from a process of its own, as JSON lines, when there is a nats-server; the rest needs
none.

Must not judge what is seen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from beamline_trio import Message, Router
from beamline_trio.operation import Response, serve_http
from beamline_trio.simulation import World
from tests.metrics._source import PACKAGE
from tests.metrics._watch import Watch

LIMIT_SECONDS: Final = 30
_ROUTER: Final = """
from beamline_trio import Message, Router

router = Router("contract")

@router.route("orders.new")
async def orders(message: Message) -> bytes:
    return b"ok"
"""


async def routes(world: World, watch: Watch) -> None:
    """A route whose handler succeeds, and one whose handler raises."""
    server = await world.start_server("a")
    router = Router("contract")

    @router.route("orders.*", name="orders")
    async def orders(message: Message) -> bytes:
        if message.subject == "orders.bad":
            raise ValueError("on purpose")
        return b"ok"

    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        await nc.request("orders.good", b"x")
        await nc.request("orders.bad", b"x")
        nursery.cancel_scope.cancel()


async def cut_drains(world: World, watch: Watch) -> None:
    """A drain that a handler outlasts, and one whose flush gets no answer."""
    server = await world.start_server("a")

    async def sleeps(message: Message) -> None:
        await trio.sleep_forever()

    async with (
        watch.open(server.url, world.dialer("app"), drain_deadline_seconds=0.5) as (nc, _),
        trio.open_nursery() as nursery,
    ):
        await nursery.start(nc.serve, "orders.new", sleeps)
        await nc.publish("orders.new", b"x")
        await nc.flush()
        await nc.drain()
        nursery.cancel_scope.cancel()
    async with watch.open(server.url, world.dialer("app"), operation_timeout_seconds=0.5) as (nc, _):
        server.pause()
        await nc.drain()


async def http_fails() -> None:
    """The application behind the HTTP server raises."""

    def broken(method: str, path: str) -> Response:
        raise RuntimeError("on purpose")

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_http, broken, 0)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while await stream.receive_some():
                pass
        nursery.cancel_scope.cancel()


def router_process(watch: Watch) -> None:
    """`beamline run` with a nats-server of its own, until SIGTERM."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "application.py").write_text(_ROUTER, encoding="utf-8")
        command = [sys.executable, "-m", "beamline_trio.cli", "run", "application:router", "--metrics-port", "0"]
        process = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(PACKAGE.parent)},
        )  # fmt: skip
        assert process.stdout is not None
        while "SIGTERM or Ctrl-C drains" not in (line := process.stdout.readline()) and line:
            pass
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=LIMIT_SECONDS)
    for line in logged.splitlines():
        watch.take_line(line)


PROVOCATIONS = (routes, cut_drains)
