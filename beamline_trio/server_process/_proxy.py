"""A TCP proxy that does to its connections what networks do: for tests where the kernel's own means are missing.

    async with open_fault_proxy(server.port) as proxy, open_client(proxy.url) as nc:
        proxy.to_client.conditions = Conditions(latency_seconds=0.1)
        proxy.hold()                  # silence, both ways; proxy.to_target.hold() is one way
        proxy.release()
        proxy.reset()                 # every connection breaks
        proxy.refuse()                # and no new one is taken ...
        await proxy.listen()          # ... until now

Where a network loses packets, TCP sends them again until it can: to the two sides a partition is silence, and
after it everything comes. So the proxy holds bytes and never loses one. What it cannot do is to leave a dial without an
answer: the kernel takes the connection, and then there is silence.

Must not understand what passes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from random import Random
from typing import final

import trio

from ._background import open_background
from ._ports import choose_port
from ._way import End, Way

_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


@final
class FaultProxy:
    """A proxy in front of one port. Made by `open_fault_proxy`.

    Attributes:
        host: where it listens.
        port: the port it listens on, the same after `refuse` and `listen`.
        to_target: the way from who dials to the target.
        to_client: the way back.
    """

    def __init__(self, target: tuple[str, int], host: str, port: int, chance: Random, nursery: trio.Nursery) -> None:
        self.host = host
        self.port = port
        self.to_target = Way(chance)
        self.to_client = Way(chance)
        self._target = target
        self._nursery = nursery
        self._listener: trio.SocketListener | None = None
        self._connections: dict[int, trio.CancelScope] = {}
        self._numbered = 0

    def __repr__(self) -> str:
        return f"<FaultProxy {self.address} -> {self._target[0]}:{self._target[1]}, {self.connections} connections>"

    @property
    def address(self) -> str:
        """Where it listens, host and port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The same for clients."""
        return f"nats://{self.address}"

    @property
    def connections(self) -> int:
        """How many connections go through it now."""
        return len(self._connections)

    def hold(self) -> None:
        """Silence both ways: nothing passes, connections stand, new ones are taken and silent too."""
        self.to_target.hold()
        self.to_client.hold()

    def release(self) -> None:
        """Let pass what was held, and all that comes."""
        self.to_target.release()
        self.to_client.release()

    def reset(self) -> int:
        """Break every connection (RST on both sides), also one that is held; what was under way is lost.

        Returns:
            How many there were.
        """
        broken = list(self._connections.values())
        for scope in broken:
            scope.cancel()
        return len(broken)

    def refuse(self) -> None:
        """Take no new connections: dials are refused, until `listen`. Those that stand go on."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    async def listen(self) -> None:
        """Take new connections again, on the same port; without effect when it does. Cancelled, it refuses as before.

        Raises:
            OSError: somebody else has taken the port.
        """
        if self._listener is None:
            (listener,) = await trio.open_tcp_listeners(self.port, host=self.host)
            self._listener = listener
            self._nursery.start_soon(self._serve, listener)
        else:
            await trio.lowlevel.checkpoint()

    async def _serve(self, listener: trio.SocketListener) -> None:
        with listener.socket:
            while True:
                try:
                    client = await listener.accept()
                except trio.ClosedResourceError:  # by `refuse`
                    return
                self._nursery.start_soon(self._pass_on, client)

    async def _pass_on(self, client: trio.SocketStream) -> None:
        self._numbered += 1
        number = self._numbered
        with trio.CancelScope() as scope, _closing(client) as ends:
            self._connections[number] = scope
            try:
                await self._to_target(client, ends)
            finally:
                del self._connections[number]

    async def _to_target(self, client: trio.SocketStream, ends: list[End]) -> None:
        try:
            target = await trio.open_tcp_stream(*self._target)
        except OSError:
            return  # and the client is reset
        with _closing(target, ends):
            await self._between(client, target, ends)

    async def _between(self, client: trio.SocketStream, target: trio.SocketStream, ends: list[End]) -> None:

        async def carry(way: Way, source: trio.SocketStream, sink: trio.SocketStream) -> None:
            ends.append(await way.carry(source, sink))
            if End.BROKEN in ends:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, self.to_target, client, target)
            nursery.start_soon(carry, self.to_client, target, client)


@contextlib.contextmanager
def _closing(stream: trio.SocketStream, ends: list[End] | None = None) -> Generator[list[End]]:
    """Close a stream behind the block: in order where both sides ended in order, else with a reset."""
    ends = [] if ends is None else ends
    try:
        yield ends
    finally:
        if ends != [End.EOF, End.EOF]:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
        stream.socket.close()


@contextlib.asynccontextmanager
async def open_fault_proxy(
    target_port: int, target_host: str = "127.0.0.1", *, host: str = "127.0.0.1", chance: Random | None = None
) -> AsyncGenerator[FaultProxy]:
    """Run a proxy in front of a port; it listens when the block begins.

    The target need not listen yet: a connection that cannot be passed on is reset. Leaving the block breaks all
    connections.

    Args:
        target_port: the port of the target.
        target_host: the address of the target.
        host: the address to listen on, at a port that is free.
        chance: where jitter comes from; None = a source of its own.

    Raises:
        OSError: the host is no address of this machine.
    """
    async with open_background() as nursery:
        target = (target_host, target_port)
        proxy = FaultProxy(target, host, choose_port(host), chance or Random(), nursery)
        await proxy.listen()
        yield proxy
