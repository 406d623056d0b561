"""Who does not read is cut off, and nobody else notices."""

from __future__ import annotations

import pytest
import trio

from beamline_trio.transport import parse_address

from ._server import LIMIT_SECONDS, Connect, ContractServer, RawLink, settle

MESSAGE_BYTES = 500_000
# More than what the kernels of both sides keep for a link.
MESSAGES = 60


async def _read_to_the_end(stream: trio.abc.Stream) -> bytes:
    received = bytearray()
    with trio.fail_after(LIMIT_SECONDS):
        try:
            while chunk := await stream.receive_some():
                received += chunk
        except trio.BrokenResourceError:
            pass
    return bytes(received)


@pytest.mark.parametrize(
    "wait_seconds",
    [
        pytest.param(0.0, marks=pytest.mark.core_server(max_pending_bytes=4_000_000), id="max pending"),
        pytest.param(1.0, marks=pytest.mark.core_server(write_deadline_seconds=0.3), id="write deadline"),
    ],
)
async def test_a_slow_consumer_is_cut_off(connect: Connect, server: ContractServer, wait_seconds: float) -> None:
    """A client that does not read is closed without a word, amid a message perhaps; a quick one gets everything."""
    async with (
        connect() as quick,
        connect() as sender,
        quick.subscribe("a") as sub,
        server.dialer.open(parse_address(server.url)) as stream,
    ):
        slow = RawLink(stream)
        await slow.handshake()
        await slow.send(b"SUB a 1\r\n")
        await slow.sync()
        await sub.confirmed()
        for _ in range(MESSAGES):
            await sender.publish("a", bytes(MESSAGE_BYTES))
            await sender.flush()
        await trio.sleep(wait_seconds)
        await settle(sender, quick)
        received = await _read_to_the_end(stream)
        assert received.startswith(b"MSG a 1 500000\r\n")
        assert b"-ERR" not in received
        assert 0 < received.count(b"MSG a 1 500000\r\n") < MESSAGES
        assert sub.delivered == MESSAGES
        assert (quick.stats().lost, sender.stats().lost) == (0, 0)


async def test_who_reads_late_but_in_time_gets_everything(connect: Connect, server: ContractServer) -> None:
    """Below the limits nothing is lost: the server keeps what the network does not take."""
    async with connect() as sender, server.dialer.open(parse_address(server.url)) as stream:
        late = RawLink(stream)
        await late.handshake()
        await late.send(b"SUB a 1\r\n")
        await late.sync()
        for number in range(MESSAGES):
            await sender.publish("a", b"%02d" % number + bytes(MESSAGE_BYTES - 2))
            await sender.flush()
        await trio.sleep(0.3)
        received = bytearray()
        with trio.fail_after(LIMIT_SECONDS):
            while len(received) < MESSAGES * len(b"MSG a 1 500000\r\n" + bytes(MESSAGE_BYTES) + b"\r\n"):
                received += await stream.receive_some()
        numbers = [int(part[:2]) for part in received.split(b"MSG a 1 500000\r\n")[1:]]
        assert numbers == list(range(MESSAGES))
        assert await late.sync() == b"PONG\r\n"
