"""Two real streams, the router between them as a process of its own, and the count of what went from A to B.

Must not judge.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from beamline_trio import JetStream, open_client
from beamline_trio.jetstream import ConsumerConfig, ConsumerInfo, StoredMessage, StreamConfig
from beamline_trio.server_process import open_server

ROOT = Path(__file__).resolve().parents[3]
MAX_DELIVER = 100
PROGRAM = "tests.integration.router._program"
TARGET = StreamConfig(name="B", subjects=("b.out",), duplicate_window_seconds=600.0, storage="file")
# The same stream, and nobody listens on the subject of the router's publishes.
AWAY = attrs.evolve(TARGET, subjects=("b.elsewhere",))


class Program:
    """The router's process.

    Attributes:
        lines: what it has said of itself, in order.
        works: it has said something, or has ended.
    """

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.works = trio.Event()
        self.lines: list[dict[str, int]] = []

    async def read(self) -> None:
        """Read its lines until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += [json.loads(line) for line in lines]
            self.works.set()
        self.works.set()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        return await self._process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()


class Pipe:
    """The streams A and B on a server, and routers between them.

    Attributes:
        url: of the server.
        jetstream: of a client of its own.
        published: messages that A has.
    """

    def __init__(self, url: str, jetstream: JetStream) -> None:
        self.url = url
        self.jetstream = jetstream
        self.published = 0

    @asynccontextmanager
    async def program(
        self, *, handler_seconds: float = 0.0, concurrency: int = 64, max_deliver: int = MAX_DELIVER
    ) -> AsyncGenerator[Program]:
        """A router at work; killed at the end, if it has not ended."""
        async with self.start(PROGRAM, handler_seconds, concurrency, max_deliver) as program:
            yield program

    @asynccontextmanager
    async def start(self, module: str, *options: object) -> AsyncGenerator[Program]:
        """A module as a program, which is told the URL and these; killed at the end, if it has not ended."""
        command = [sys.executable, "-m", module, self.url, *map(str, options)]
        process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.PIPE)
        program = Program(process)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(program.read)
                await program.works.wait()
                yield program
                program.kill()
        finally:
            program.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def publish(self, per_second: float, seconds: float) -> None:
        """Numbered messages into A, at an even rate."""
        began, first = trio.current_time(), self.published
        while (passed := trio.current_time() - began) < seconds:
            async with self.jetstream.publisher() as publisher:
                while self.published - first < passed * per_second:
                    await publisher.publish("a.in", b"%d" % self.published)
                    self.published += 1
            await trio.sleep(0.02)

    async def info(self) -> ConsumerInfo:
        """The router's consumer."""
        return await self.jetstream.consumer_info("A", "pipe")

    async def redelivered(self) -> int:
        """How often the consumer has delivered what it had delivered before."""
        delivered = (await self.info()).delivered
        return delivered.consumer_seq - delivered.stream_seq

    async def dead_letter(self) -> StoredMessage:
        """The first one, when it is there."""
        while not (await self.jetstream.stream_info("DLQ")).state.messages:  # noqa: ASYNC110  # no event tells
            await trio.sleep(0.1)
        return await self.jetstream.get_message("DLQ", sequence=1)

    async def worked_off(self, within_seconds: float) -> None:
        """Wait until everything of A is acknowledged."""
        with trio.fail_after(within_seconds):
            while True:
                info = await self.info()
                if info.ack_floor.stream_seq == self.published:
                    return
                await trio.sleep(0.1)

    async def arrived(self) -> Counter[int]:
        """What B has, and how often."""
        found: Counter[int] = Counter()
        consumer = await self.jetstream.create_consumer("B", ConsumerConfig(name="count", ack_policy="none"))
        left = (await self.jetstream.stream_info("B")).state.messages
        while left:
            messages = await consumer.fetch(min(left, 500), expires_seconds=2.0)
            found.update(int(message.payload) for message in messages)
            left -= len(messages)
        return found

    async def count(self) -> dict[str, Any]:
        """What is missing in B, and what is there twice."""
        found = await self.arrived()
        missing = [number for number in range(self.published) if number not in found]
        twice = [number for number, count in found.items() if count > 1]
        return {"published": self.published, "missing": len(missing), "twice": len(twice)}


@asynccontextmanager
async def open_pipe() -> AsyncGenerator[Pipe]:
    """A server with both streams and one for dead letters, on disk."""
    async with open_server(jetstream=True) as server, open_client(server.url, name="harness") as nc:
        jetstream = JetStream(nc)
        await jetstream.create_stream(StreamConfig(name="A", subjects=("a.in",), storage="file"))
        await jetstream.create_stream(TARGET)
        await jetstream.create_stream(StreamConfig(name="DLQ", subjects=("dlq.>",), storage="file"))
        yield Pipe(server.url, jetstream)
