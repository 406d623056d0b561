"""Behind an outbox in its tests: the writer of a link, which may stall, and a server that answers when told."""

from __future__ import annotations

import trio

from beamline_trio.connection import Outbox


class Server:
    """A link's writer and the other end: reads what was taken, answers when it is told to."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.chunks: list[bytes] = []
        self.stalled = False
        self._go = trio.Event()

    async def write(self) -> None:
        while True:
            await self.outbox.wait_frames()
            self.chunks.append(self.outbox.take())
            if self.stalled:
                await self._go.wait()

    def resume(self) -> None:
        self.stalled = False
        self._go.set()

    def pong(self) -> None:
        expectation = self.outbox.pongs.come()
        assert expectation is not None
        for waiter in expectation.waiters:
            waiter.succeed(None)

    @property
    def received(self) -> bytes:
        return b"".join(self.chunks)


def opened(bytes_max: int = 100) -> tuple[Outbox, Server]:
    outbox = Outbox(bytes_max)
    outbox.attach([])
    outbox.open()
    return outbox, Server(outbox)
