"""The limits that the README's guarantee names: what core NATS does not keep."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from beamline_trio import Disconnected, Reconnected, TCPDialer, open_client
from beamline_trio.server_process import Server
from beamline_trio.transport import ServerAddress

LIMIT_SECONDS = 20.0


class CutDialer(TCPDialer):
    """TCP that can be cut, and then opens no further link until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = trio.Event()
        self.whole.set()
        self._stream: trio.SocketStream | None = None

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Wait until it is whole, then dial."""
        await self.whole.wait()
        async with super().open(address) as stream:
            assert isinstance(stream, trio.SocketStream)
            self._stream = stream
            yield stream

    def cut(self) -> None:
        """End the link."""
        assert self._stream is not None
        self.whole = trio.Event()
        self._stream.socket.shutdown(trio.socket.SHUT_RDWR)


async def test_what_is_published_to_nobody_is_gone(nats_server: Server) -> None:
    """Published and confirmed while nobody is subscribed: who subscribes later does not get it."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats_server.url) as nc:
            await nc.publish("a", b"too early", confirm=True)
            async with nc.subscribe("a") as sub:
                await sub.confirmed()
                await nc.publish("a", b"in time", confirm=True)
                assert [message.payload for message in await sub.receive_batch()] == [b"in time"]


async def test_what_is_published_while_the_receiver_is_away_is_gone(nats_server: Server) -> None:
    """A receiver that loses its link gets what comes before and after, and nothing of what came in between."""
    dialer = CutDialer()
    with trio.fail_after(LIMIT_SECONDS):
        async with (
            open_client(nats_server.url) as sender,
            open_client(nats_server.url, dialer=dialer) as receiver,
            receiver.events() as events,
            receiver.subscribe("a") as sub,
        ):
            await sub.confirmed()
            await sender.publish("a", b"before", confirm=True)
            await receiver.flush()
            dialer.cut()
            while not isinstance(await events.receive(), Disconnected):
                pass
            # The server forgets the old link on its own time: until then it takes messages for it.
            for _ in range(10):
                await sender.publish("a", b"meanwhile", confirm=True)
                await trio.sleep(0.01)
            dialer.whole.set()
            while not isinstance(await events.receive(), Reconnected):
                pass
            await sub.confirmed()
            await sender.publish("a", b"after", confirm=True)
            await receiver.flush()
            assert [message.payload for message in await sub.receive_batch()] == [b"before", b"after"]
