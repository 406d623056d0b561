"""What a client leaves behind: no descriptor, no thread, no task, no memory. On a real server, in every way out."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from beamline_trio import (
    AuthorizationError,
    Client,
    ClientOptions,
    ConnectTimeoutError,
    Message,
    NameResolutionError,
    ServerUnreachableError,
    TLSError,
    open_client,
    run_client,
)
from beamline_trio.server_process import Server

from ._measure import descriptors, resident_bytes, threads

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 20.0
SUBSCRIPTIONS_MB_MAX = 20.0
STREAM_MB_MAX = 2.0


class OwnError(Exception):
    """Raised by the user of a client."""


def tasks_of_this_run() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None]:
    """No descriptor, thread or task behind the block that was not there before it, without the garbage collector.

    One that ends meanwhile is not of the block: trio lets a thread go that nobody has needed for ten seconds.
    """
    gc.collect()
    gc.disable()
    try:
        before = (descriptors(), threads(), tasks_of_this_run())
        yield
        after = (descriptors(), threads(), tasks_of_this_run())
    finally:
        gc.enable()
    assert after[0] == before[0]
    assert after[1] <= before[1]
    assert after[2] == before[2]


async def use(nc: Client) -> None:
    """A bit of everything."""

    async def handler(message: Message) -> bytes:
        return message.payload

    async with trio.open_nursery() as nursery, nc.subscribe("a") as sub, nc.events():
        await nursery.start(nc.serve, "s", handler)
        await nc.publish("a", b"x", confirm=True)
        await sub.receive()
        await nc.request("s", b"x")
        await nc.flush()
        nursery.cancel_scope.cancel()


async def leave_in_order(url: str) -> None:
    async with open_client(url) as nc:
        await use(nc)


async def leave_after_drain(url: str) -> None:
    async with open_client(url) as nc:
        await use(nc)
        await nc.drain()


async def leave_by_error(url: str) -> None:
    with pytest.raises(OwnError):
        async with open_client(url) as nc:
            await use(nc)
            raise OwnError


async def leave_by_cancellation(url: str) -> None:
    with trio.CancelScope() as scope:
        async with open_client(url) as nc, nc.subscribe("a") as sub:
            await use(nc)
            scope.cancel()
            await sub.receive()
    assert scope.cancelled_caught


async def leave_the_lower_form(url: str) -> None:
    async with trio.open_nursery() as nursery:
        nc: Client = await nursery.start(run_client, ClientOptions(servers=(url,)))
        await use(nc)
        await nc.drain()


@pytest.mark.parametrize(
    "way", [leave_in_order, leave_after_drain, leave_by_error, leave_by_cancellation, leave_the_lower_form]
)
async def test_nothing_is_left_after_a_client(nats_server: Server, way: Callable[[str], Awaitable[None]]) -> None:
    """Whichever way a client is left, its descriptors, threads and tasks are gone when the block has ended."""
    for _ in range(10):
        async with nothing_left():
            await way(nats_server.url)


async def test_a_drained_client_has_hung_up(nats_server: Server) -> None:
    """After `drain` the link is closed, although the block has not ended, and it does not come back."""
    async with nothing_left(), open_client(nats_server.url) as nc:
        connected = descriptors()
        await nc.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert len(descriptors()) == len(connected) - 1
        await trio.sleep(0.15)
        assert len(descriptors()) == len(connected) - 1


async def test_nothing_is_left_after_reconnects(nats_server: Server) -> None:
    """Lost links and failed attempts leave nothing while the client lives: one descriptor, whatever happened."""
    async with open_client(nats_server.url, reconnect_delay_max_seconds=0.02) as nc:
        gc.collect()
        gc.disable()
        try:
            await trio.testing.wait_all_tasks_blocked()
            before, tasks = descriptors(), tasks_of_this_run()
            for _ in range(5):
                nats_server.kill()
                await nats_server.wait_exit()
                await trio.sleep(0.1)
                await nats_server.start()
                with trio.fail_after(LIMIT_SECONDS):
                    await nc.flush()
            # A task that hears of the flush together with this one is still to end.
            await trio.testing.wait_all_tasks_blocked()
            after, tasks_after = descriptors(), tasks_of_this_run()
        finally:
            gc.enable()
        assert nc.stats().restored == 5
        assert sum(nc.stats().reconnect_failures.values()) > 0
        assert len(after) == len(before)
        assert tasks_after == tasks


async def connect_and_fail(url: str, kind: type[Exception], **options: float) -> None:
    with pytest.raises(kind):
        async with open_client(url, **options):  # type: ignore[arg-type]  # options are of one type here
            raise AssertionError("connected")


@pytest.mark.server_options(config="authorization { token: t }")
async def test_nothing_is_left_after_an_error_of_the_connect(nats_server: Server) -> None:
    """Refused, unknown, silent, without TLS, not let in: no attempt leaves a descriptor, a thread or a task."""
    tls = nats_server.url.replace("nats://", "tls://")
    failing = [
        partial(connect_and_fail, "nats://127.0.0.1:1", ServerUnreachableError),
        partial(connect_and_fail, nats_server.url, AuthorizationError),
        partial(connect_and_fail, tls, TLSError),
    ]
    for fail in failing:
        for _ in range(10):
            async with nothing_left():
                await fail()
    nats_server.pause()
    for _ in range(3):
        async with nothing_left():
            await connect_and_fail(nats_server.url, ConnectTimeoutError, connect_timeout_seconds=0.1)
    nats_server.resume()
    # A name is looked up in a thread, which trio keeps for the next one for some seconds: one, not one for each.
    await connect_and_fail("nats://no-such-host.invalid", NameResolutionError)
    for _ in range(5):
        async with nothing_left():
            await connect_and_fail("nats://no-such-host.invalid", NameResolutionError)


async def test_a_stream_of_messages_grows_nothing(nats_server: Server) -> None:
    """200,000 messages through one client: memory grows by no more than a million may."""
    count = 200_000
    async with open_client(nats_server.url) as nc, nc.subscribe("a") as sub:

        async def pump(messages: int) -> None:
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    for _ in range(messages):
                        await sub.receive()

                nursery.start_soon(read)
                for number in range(messages):
                    await nc.publish("a", b"0123456789abcdef")
                    if not number % 500:  # so that the receiver's queue, which may be long, does not count
                        await nc.flush()

        with trio.fail_after(LIMIT_SECONDS):
            await pump(20_000)
            gc.collect()
            before = resident_bytes()
            await pump(count)
            gc.collect()
        grown = (resident_bytes() - before) / 1024 / 1024
        assert sub.dropped == 0
    assert grown < STREAM_MB_MAX, f"{grown:.1f} MB"


def run_module(module: str, *arguments: str) -> str:
    """What a module prints in a process of its own, which measures no coverage: that would be paid for in memory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ten_thousand_subscriptions(nats_server_executable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """10,000 subscriptions cost at most 20 MB over an idle client; the figure is printed."""
    said = run_module("tests.integration.subscriptions_memory")
    with capsys.disabled():
        print(f"\n{said}", end="")
    figure = re.search(r"10000 subscriptions: ([\d.]+) MB", said)
    assert figure is not None
    assert float(figure[1]) <= SUBSCRIPTIONS_MB_MAX
