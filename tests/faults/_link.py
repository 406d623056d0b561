"""One link through a fault dialer: the client's end as the client gets it, the server's end raw."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from beamline_trio.faults import FaultDialer
from beamline_trio.transport import Environment, ServerAddress, TCPDialer

ADDRESS = ServerAddress("toy")
Pair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


class PairDialer(TCPDialer):
    """A dialer that gives memory streams; TLS is the real one.

    Attributes:
        servers: the other ends.
    """

    def __init__(self, *, lockstep: bool = False) -> None:
        super().__init__(environment=Environment())
        self._lockstep = lockstep
        self.servers: list[trio.abc.HalfCloseableStream] = []

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Both ends of a fresh pair."""
        ours, theirs = self._pair()
        self.servers.append(theirs)
        try:
            yield ours
        finally:
            await trio.aclose_forcefully(ours)

    def _pair(self) -> Pair:
        return trio.testing.lockstep_stream_pair() if self._lockstep else trio.testing.memory_stream_pair()


@attrs.frozen
class Link:
    """Both ends."""

    faults: FaultDialer
    client: trio.abc.Stream
    server: trio.abc.HalfCloseableStream

    async def arrived(self) -> bytes:
        """What the server has got since it was last asked."""
        return await _there(self.server)

    async def answered(self) -> bytes:
        """What the client has got since it was last asked."""
        return await _there(self.client)


async def _there(stream: trio.abc.Stream) -> bytes:
    data = b""
    while True:
        chunk = b""
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal chunk
                chunk = bytes(await stream.receive_some())
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        if not chunk:
            return data
        data += chunk


@asynccontextmanager
async def opened(faults: FaultDialer | None = None, network: PairDialer | None = None) -> AsyncGenerator[Link]:
    """A link."""
    dialer = network if network is not None else PairDialer()
    wrapped = faults if faults is not None else FaultDialer(dialer)
    async with wrapped.open(ADDRESS) as client:
        yield Link(wrapped, client, dialer.servers[-1])
