"""Ways that can be cut: nothing passes while they are, and all of it afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair

from beamline_trio.scenarios._ways import Ways
from beamline_trio.transport import Environment, ServerAddress, TCPDialer, parse_address

ADDRESS = parse_address("nats://server:4222")


class MemoryDialer:
    """Dials a pair of streams in memory."""

    def __init__(self) -> None:
        self.environment: Environment = TCPDialer().environment
        self.servers: list[trio.abc.Stream] = []

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        client, server = memory_stream_pair()
        self.servers.append(server)
        yield client

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream


async def test_nothing_passes_while_a_way_is_cut_and_all_of_it_afterwards(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both ways, without a word to either side, and only for the hosts that are cut."""
    ways, memory = Ways(), MemoryDialer()
    async with (
        ways.dialer("router", memory).open(ADDRESS) as router,
        ways.dialer("source", memory).open(ADDRESS) as source,
        trio.open_nursery() as nursery,
    ):
        assert ways.open_count == 2
        async with ways.cut(["router"]):
            nursery.start_soon(router.send_all, b"late")
            await source.send_all(b"now")
            assert await memory.servers[1].receive_some() == b"now"
            await memory.servers[0].send_all(b"answer")
            with trio.move_on_after(10) as waited:
                await router.receive_some()
            assert waited.cancelled_caught
            with trio.move_on_after(10) as waited:
                await memory.servers[0].receive_some()
            assert waited.cancelled_caught
        assert await memory.servers[0].receive_some() == b"late"
    assert ways.open_count == 0


async def test_what_was_received_by_a_read_that_was_cancelled_is_there_for_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As from a socket: a cancelled read has taken nothing."""
    ways, memory = Ways(), MemoryDialer()
    async with ways.dialer("router", memory).open(ADDRESS) as stream:
        await memory.servers[0].send_all(b"answer")
        async with ways.cut(["router"]):
            with trio.move_on_after(1):
                await stream.receive_some()
        assert await stream.receive_some() == b"answer"


async def test_dials_wait_until_a_way_is_whole(autojump_clock: trio.testing.MockClock) -> None:
    """As a SYN that is not answered; two cuts of one host are whole when both are."""
    ways, memory = Ways(), MemoryDialer()
    dialer = ways.dialer("router", memory)
    async with ways.cut(["router"]):
        async with ways.cut(["router"]):
            pass
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            async with dialer.open(ADDRESS):
                pass
    async with dialer.open(ADDRESS) as stream:
        await stream.wait_send_all_might_not_block()
        assert await dialer.start_tls(stream, "server") is stream
        assert dialer.environment is memory.environment
