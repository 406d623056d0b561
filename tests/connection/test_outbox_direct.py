"""A write past the idle writer: whole or with its rest first, or as if it had not been tried."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.connection import Detached, Waiter
from beamline_trio.protocol import PING, PONG, encode_publish
from tests.connection._outbox_server import opened


@pytest.mark.parametrize("takes", [0, 5, None])
async def test_a_direct_write(takes: int | None, autojump_clock: MockClock) -> None:
    """A lone publish goes past the idle writer; what the socket did not take is written before all that comes later."""
    outbox, server = opened()
    frame = encode_publish(b"a", b"hello", b"r")
    direct: list[bytes] = []

    def write(data: bytes) -> int:
        direct.append(data[:takes])
        return len(direct[-1])

    waiter = Waiter(frame, b"a", wants_pong=False, token=b"t")
    async with trio.open_nursery() as nursery:
        outbox.direct = write
        assert not outbox.write_now(frame, waiter)  # there is no idle writer yet
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()
        assert outbox.write_now(frame, waiter)
        assert waiter.written
        assert outbox.accepted == outbox.coverage.unconfirmed == outbox.open_operations == 1
        if takes is not None:
            assert not outbox.write_now(frame, Waiter(frame))  # the rest of the first has to go before
        outbox.put(b"PUB b 0\r\n\r\n", Waiter())
        await wait_all_tasks_blocked()
        assert b"".join(direct) + server.received == frame + b"PUB b 0\r\n\r\n" + PING
        server.pong()
        assert outbox.coverage.confirmed == outbox.accepted == 2
        nursery.cancel_scope.cancel()


async def test_a_direct_write_that_cannot_be(autojump_clock: MockClock) -> None:
    """A full or broken socket, a closed outbox, a link that cannot: nothing has happened, and the publish goes the
    normal way.
    """
    outbox, server = opened()
    waiter = Waiter(b"PUB a 0\r\n\r\n")

    def full(data: bytes) -> int:
        raise BlockingIOError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()
        assert not outbox.write_now(waiter.frame, waiter)
        outbox.direct = full
        assert not outbox.write_now(waiter.frame, waiter)
        assert not waiter.written
        assert outbox.accepted == 0
        outbox.detach()
        assert outbox.direct is None
        outbox.direct = len
        assert not outbox.write_now(waiter.frame, waiter)
        assert outbox.accepted == 0
        nursery.cancel_scope.cancel()


async def test_a_half_written_publish_is_unknown(autojump_clock: MockClock) -> None:
    """When the link dies over the rest of a direct write, the publish is unknown and its rest goes to no other link."""
    outbox, server = opened()
    outbox.direct = lambda data: 3
    waiter = Waiter(b"PUB a 0\r\n\r\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.write)
        await wait_all_tasks_blocked()
        assert outbox.write_now(waiter.frame, waiter)
        assert outbox.detach() == Detached([], [], 1, 0)
        outbox.attach([b"SUB a 1\r\n"])
        outbox.open()
        outbox.put_pong()
        await wait_all_tasks_blocked()
        assert server.received == b"SUB a 1\r\n" + PONG
        nursery.cancel_scope.cancel()
