"""One direction of one proxy: its conditions, whether it is held, and the carrying of a connection's bytes along it.

A connection's bytes go through a queue, since what is delayed must not keep what comes behind it from being delayed at
the same time. The queue is bounded, and so a receiver that takes nothing holds its sender back, as without a proxy.

The end of a stream and its breaking travel in that queue too: a way that is held keeps even the news that the other
side is gone, as a network does.

Must not open or close connections.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from random import Random
from typing import TypeAlias, final

import trio

from ._conditions import Conditions

_CHUNK_BYTES = 16 * 1024
_CHUNKS_PENDING_MAX = 64


class End(enum.Enum):
    """How a stream ended."""

    EOF = "eof"
    BROKEN = "broken"


Item: TypeAlias = "tuple[float, bytes | End]"


@final
class Way:
    """One direction of a `FaultProxy`, for all its connections, those to come included.

    Attributes:
        conditions: what becomes of the bytes that are taken in from now on; set it to change it.
        bytes_passed: how many went through.
    """

    def __init__(self, chance: Random) -> None:
        self.conditions = Conditions()
        self.bytes_passed = 0
        self._chance = chance
        self._open = trio.Event()
        self._open.set()

    @property
    def held(self) -> bool:
        """Whether nothing passes."""
        return not self._open.is_set()

    def hold(self) -> None:
        """Let nothing pass: connections stand and are silent. Without effect on a way that is held."""
        if not self.held:
            self._open = trio.Event()

    def release(self) -> None:
        """Let what was held pass, in its order, and all that comes. Without effect on a way that is not held."""
        self._open.set()

    async def carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> End:
        """Carry bytes until the stream ends or breaks, on either side.

        Returns:
            How it ended; after `End.EOF` the sink was told so and may still be read.
        """
        sender, receiver = trio.open_memory_channel[Item](_CHUNKS_PENDING_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_in, source, sender)
            end = await self._give_out(receiver, sink)
            nursery.cancel_scope.cancel()
        return end

    async def _take_in(self, source: trio.SocketStream, queue: trio.MemorySendChannel[Item]) -> None:
        due = 0.0
        while True:
            try:
                item: bytes | End = bytes(await source.receive_some(_CHUNK_BYTES)) or End.EOF
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                item = End.BROKEN
            delay = self.conditions.latency_seconds + self._chance.random() * self.conditions.jitter_seconds
            due = max(due, trio.current_time() + delay)
            await queue.send((due, item))
            if isinstance(item, End):
                return

    async def _give_out(self, queue: trio.MemoryReceiveChannel[Item], sink: trio.SocketStream) -> End:
        async for due, item in queue:
            await trio.sleep_until(due)
            try:
                if isinstance(item, End):
                    await self._passable()
                    if item is End.EOF:
                        await sink.send_eof()
                    return item
                for piece in self._pieces(item):
                    await self._passable()
                    await sink.send_all(piece)
                    self.bytes_passed += len(piece)
                    await self._pace(len(piece))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
        return End.BROKEN

    async def _passable(self) -> None:
        while self.held:
            await self._open.wait()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        size = self.conditions.slice_bytes_max or len(data)
        for start in range(0, len(data), size):
            yield data[start : start + size]

    async def _pace(self, size: int) -> None:
        """Wait as long as so many bytes take; between slices at least for others, or the kernel would join them."""
        if self.conditions.bandwidth_bytes_per_second is not None:
            await trio.sleep(size / self.conditions.bandwidth_bytes_per_second)
        elif self.conditions.slice_bytes_max is not None:
            await trio.lowlevel.checkpoint()
