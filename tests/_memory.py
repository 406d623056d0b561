"""A network in memory: the laws of the client in virtual time.

`MemoryDialer` stands where TCP stands and gives memory streams of `trio.testing` that lead to a `ToyServer`. `opened`
opens a client on it and audits the client at every scheduler step.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio
import trio.testing

from beamline_trio import Client, ServerUnreachableError, State, TLSError, open_client
from beamline_trio.transport import Environment, ServerAddress
from tests._toy_server import ServerLink as ServerLink
from tests._toy_server import ToyServer as ToyServer
from tests._toy_server import message_frame as message_frame

# In virtual time a test that hangs would let the pinger turn for ever: it ends after this.
HANGING_SECONDS: Final = 10_000


class MemoryStream(trio.abc.Stream):
    """The client's end of a link."""

    def __init__(self, link: ServerLink) -> None:
        self.link = link
        self.closed = False
        self._sender = trio.testing.MemorySendStream(send_all_hook=self._pass_on)

    async def _pass_on(self) -> None:
        while self.link.server.stalled and self.link.alive:
            await self.link.server.turned.wait()
        if not self.link.alive:
            raise trio.BrokenResourceError("the peer is gone")
        self.link.received(bytes(self._sender.get_data_nowait()))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; blocks while the server is stalled."""
        if data:
            await self._sender.send_all(data)
        else:
            await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing."""
        await self._sender.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive the next chunk."""
        self.link.fetch_chunk()
        data = bytes(await self.link.outgoing.receive_some(max_bytes))
        if self.link.was_reset:
            raise trio.BrokenResourceError("connection reset by peer")
        return data

    def close(self) -> None:
        """Close at once."""
        self.closed = True
        self._sender.close()
        self.link.outgoing.close()
        self.link.end()

    async def aclose(self) -> None:
        """Close at once."""
        self.close()
        await trio.lowlevel.checkpoint()


class MemoryDialer:
    """A `transport.Dialer` over toy servers.

    Attributes:
        dialled: when (trio's time) and where each attempt went.
        streams: every stream it gave.
        upgraded: host names of TLS upgrades (which change nothing on the stream).
        dial_seconds: how long a dial takes.
    """

    def __init__(self, *servers: ToyServer, seed: int = 1) -> None:
        self._servers = {server.url: server for server in servers}
        self._environment = Environment(random=random.Random(seed), wall_clock=lambda: 1.7e9 + trio.current_time())
        self.dialled: list[tuple[float, str]] = []
        self.streams: list[MemoryStream] = []
        self.upgraded: list[str] = []
        self.dial_seconds = 0.0
        self.tls_fails = False

    @property
    def environment(self) -> Environment:
        """A fixed wall clock and a seeded PRNG."""
        return self._environment

    @property
    def open_streams(self) -> int:
        """Streams that were given and not closed."""
        return sum(not stream.closed for stream in self.streams)

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial a toy server by its host and port."""
        self.dialled.append((trio.current_time(), str(address)))
        await trio.sleep(self.dial_seconds)
        server = self._servers.get(f"nats://{address.host}:{address.port}")
        if server is None or server.refuses:
            raise ServerUnreachableError(f"cannot connect to {address}: refused", address=str(address))
        stream = MemoryStream(server.accept())
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.close()

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Pretend."""
        await trio.lowlevel.checkpoint()
        self.upgraded.append(host)
        if self.tls_fails:
            raise TLSError(f"TLS handshake with {host} failed: certificate verify failed", address=host)
        return stream


class SlowStream(MemoryStream):
    """Takes 10 kB each 0.1 s: 100 kB/s."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, slowly."""
        for start in range(0, len(data), 10_000):
            await trio.sleep(0.1)
            await super().send_all(data[start : start + 10_000])


class SlowDialer(MemoryDialer):
    """Its links are slow."""

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial; the stream is slow."""
        async with super().open(address) as stream:
            assert isinstance(stream, MemoryStream)
            slow = SlowStream(stream.link)
            self.streams.append(slow)
            try:
                yield slow
            finally:
                slow.close()


class Audit(trio.abc.Instrument):
    """Looks at clients after every scheduler step.

    The ledger adds up and has no negative entry, and no task of a link has ended while its client says connected.
    An instrument cannot raise, so what it finds is kept for `check`.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.findings: list[str] = []
        self._clients: list[Client] = []
        self._links: dict[trio.lowlevel.Task, Any] = {}

    def watch(self, client: Client) -> None:
        """From now on look at this client."""
        self._clients.append(client)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look."""
        self.steps += 1
        for client in self._clients:
            ledger = client.ledger()
            if not ledger.balanced or min(attrs.astuple(ledger)) < 0:
                self.findings.append(f"step {self.steps}, after {task.name}: {ledger}")

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Note whose link a task serves."""
        frame = getattr(task.coro, "cr_frame", None)
        if "._link.Link._" in task.name and frame is not None:
            self._links[task] = frame.f_locals["self"]

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """The reader, writer or pinger of a link ended."""
        link = self._links.pop(task, None)
        if link is None or "_drain" in task.name:
            return
        connection = link._connection
        lives_on_it = getattr(connection.leave, "__self__", None) is link
        if lives_on_it and connection.state is State.CONNECTED:
            self.findings.append(f"{task.name} ended while the client said connected")

    def check(self) -> None:
        """Raise if anything was found."""
        assert not self.findings, "\n".join(self.findings[:5])
        assert self.steps


class Steps(trio.abc.Instrument):
    """Counts the scheduler steps of the task that makes it: one more than its schedule points from now on."""

    def __init__(self) -> None:
        self.count = 0
        self._task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self.count += task is self._task


@asynccontextmanager
async def opened(*servers: ToyServer, dialer: MemoryDialer | None = None, **overrides: Any) -> AsyncGenerator[Client]:
    """A client on toy servers, audited at every scheduler step; afterwards nothing is left and nobody complained."""
    network = dialer if dialer is not None else MemoryDialer(*servers)
    audit = Audit()
    trio.lowlevel.add_instrument(audit)
    try:
        async with open_client(*(server.url for server in servers), dialer=network, **overrides) as client:
            audit.watch(client)
            with trio.fail_after(HANGING_SECONDS):
                yield client
    finally:
        trio.lowlevel.remove_instrument(audit)
    audit.check()
    assert network.open_streams == 0
    assert client.ledger().open == 0
    assert [complaint for server in servers for complaint in server.complaints] == []


async def lose_link(server: ToyServer) -> None:
    """Drop the link, refuse new ones, and wait until the client knows."""
    server.go_down()
    await trio.testing.wait_all_tasks_blocked()


async def wait_connected(nc: Client) -> None:
    """Wait until the client is connected, and for what it then does at once."""
    while nc.state is not State.CONNECTED:  # noqa: ASYNC110  # it is virtual time, in which the client reconnects
        await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked()


def tasks() -> list[str]:
    """The tasks of this run but trio's own and this one."""
    found: list[str] = []
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        found.append(task.name)
        waiting.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return sorted(found)
