"""A dialer over any anyio byte stream: the whole client runs on it, and anyio's errors become trio's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from anyio.abc import ByteStream, SocketAttribute
from trio.testing import MockClock

from beamline_trio import ServerUnreachableError, from_anyio, open_client
from beamline_trio.transport import AnyioStream, Environment, parse_address
from tests._memory import MemoryStream, ToyServer


class ToyByteStream(ByteStream):
    """anyio's view of a link to the toy server."""

    def __init__(self, server: ToyServer) -> None:
        self.inner = MemoryStream(server.accept())
        self.closed = False
        self.failure: Exception | None = None

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.remote_address: lambda: ("toy", 4222)}

    async def send(self, item: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        await self.inner.send_all(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if self.failure is not None:
            raise self.failure
        data = await self.inner.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


async def test_the_client_runs_on_it(autojump_clock: MockClock) -> None:
    """Connect, publish, subscribe, lose the link and come back; every stream is closed at the end."""
    server = ToyServer()
    streams: list[ToyByteStream] = []

    async def connect(host: str, port: int) -> ByteStream:
        assert (host, port) == ("toy", 4222)
        streams.append(ToyByteStream(server))
        return streams[-1]

    async with open_client(server.url, dialer=from_anyio(connect)) as nc, nc.subscribe("a") as sub:
        await nc.publish("a", b"1", confirm=True)
        assert (await sub.receive()).payload == b"1"
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        await nc.publish("a", b"2", confirm=True)
        assert (await sub.receive()).payload == b"2"
    assert len(streams) == 2
    assert all(stream.closed for stream in streams)


async def test_a_connect_that_fails(autojump_clock: MockClock) -> None:
    """An OSError of the connect function is ServerUnreachableError, with the address and the cause."""

    async def refuse(host: str, port: int) -> ByteStream:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(ServerUnreachableError, match=r"nats://h:4222: nobody there") as caught:
        async with open_client("nats://h", dialer=from_anyio(refuse)):
            raise AssertionError
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    "failure, kind",
    [
        (anyio.BrokenResourceError(), trio.BrokenResourceError),
        (anyio.ClosedResourceError(), trio.ClosedResourceError),
        (anyio.BusyResourceError("x"), trio.BusyResourceError),
    ],
)
async def test_errors_are_trios(failure: Exception, kind: type[Exception], autojump_clock: MockClock) -> None:
    """Broken, closed and busy are told in trio's words, in both directions."""
    inner = ToyByteStream(ToyServer())
    inner.failure = failure
    stream = AnyioStream(inner)
    with pytest.raises(kind):
        await stream.send_all(b"x")
    with pytest.raises(kind):
        await stream.receive_some()
    await stream.wait_send_all_might_not_block()


async def test_the_environment_is_the_one_given(autojump_clock: MockClock) -> None:
    """Chance and clock come from the environment, the real one by default; a dial can be cancelled."""
    environment = Environment()

    async def slow(host: str, port: int) -> ByteStream:
        await trio.sleep_forever()
        raise AssertionError

    dialer = from_anyio(slow, environment=environment)
    assert dialer.environment is environment
    assert isinstance(from_anyio(slow).environment, Environment)
    with trio.move_on_after(1) as scope:
        async with dialer.open(parse_address("nats://h")):
            raise AssertionError
    assert scope.cancelled_caught
