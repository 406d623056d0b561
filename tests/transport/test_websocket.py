"""WebSocket is a dialer on a dialer: any chunking of the bytes, bounded, and every way in which it fails to be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from beamline_trio import (
    AddressError,
    ClientOptions,
    OptionsError,
    TLSError,
    WebSocketDialer,
    WebSocketError,
    open_client,
)
from beamline_trio.connection import Connection
from beamline_trio.protocol import InvalidHeaderError
from beamline_trio.transport import Environment, ServerAddress, parse_address
from tests._memory import MemoryDialer
from tests._toy_server import ToyServer

Behaviour: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]
WS = parse_address("ws://h/nats?t=s3cr3t")


class PipeDialer:
    """Streams in memory, whose other end is served by a function."""

    def __init__(self, nursery: trio.Nursery, serve: Behaviour) -> None:
        self.nursery = nursery
        self.serve = serve
        self.upgraded: list[str] = []
        self.dialled: list[ServerAddress] = []
        self.open_streams = 0

    @property
    def environment(self) -> Environment:
        return Environment()

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        ours, theirs = memory_stream_pair()
        self.dialled.append(address)
        self.open_streams += 1
        self.nursery.start_soon(self.serve, theirs)
        try:
            yield ours
        finally:
            self.open_streams -= 1
            await trio.aclose_forcefully(ours)

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        self.upgraded.append(host)
        return stream


def websocket(serve: Callable[[WebSocketConnection], Awaitable[None]], heard: list[Any] | None = None) -> Behaviour:
    """A WebSocket server by trio-websocket."""

    async def accept(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            if heard is not None:
                heard.append(request)
            await serve(await request.accept())
            nursery.cancel_scope.cancel()

    return accept


async def receive_all(stream: trio.abc.Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = bytes(await stream.receive_some(7))
        assert chunk
        data += chunk
    return data


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.lists(st.binary(min_size=1, max_size=40), max_size=8)
)
def test_any_chunking_is_the_same_bytes(incoming: list[bytes], outgoing: list[bytes]) -> None:
    """Messages of any size, empty ones too, are one byte stream in both directions."""

    async def serve(peer: WebSocketConnection) -> None:
        for message in incoming:
            await peer.send_message(message)
        received = b""
        while len(received) < len(b"".join(outgoing)):
            chunk = await peer.get_message()
            assert isinstance(chunk, bytes)
            received += chunk
        assert received == b"".join(outgoing)
        await peer.aclose()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            dialer = WebSocketDialer(PipeDialer(nursery, websocket(serve)))
            async with dialer.open(WS) as stream:
                for chunk in outgoing:
                    await stream.send_all(chunk)
                assert await receive_all(stream, len(b"".join(incoming))) == b"".join(incoming)
                assert await stream.receive_some() == b""  # closed in order

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1_000])
async def test_a_message_in_fragments(size: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One message in frames of any size, with a ping between them, in any pieces of the transport."""

    async def serve(stream: trio.abc.Stream) -> None:
        async def pieces(data: bytes) -> None:
            for start in range(0, len(data), size):
                await stream.send_all(data[start : start + size])

        request = bytes(await stream.receive_some())
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        await pieces(accepted(key.partition(b": ")[2]))
        await pieces(b"\x02\x03abc" + b"\x89\x01p" + b"\x00\x00" + b"\x80\x02de" + b"\x82\x01f")

    async with WebSocketDialer(PipeDialer(nursery, serve)).open(WS) as stream:
        assert await receive_all(stream, 6) == b"abcdef"


def accepted(key: bytes) -> bytes:
    """The answer to an upgrade."""
    import base64
    import hashlib

    digest = hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


async def idle(peer: WebSocketConnection) -> None:
    await trio.sleep_forever()


async def test_the_request_has_path_query_host_and_headers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Path and query as written, and the headers of the option; a callback is asked for each dial."""
    heard: list[Any] = []
    inner = PipeDialer(nursery, websocket(idle, heard))
    numbers = iter(range(9))

    async def later() -> dict[str, str]:
        await trio.sleep(1)
        return {"Authorization": f"Bearer {next(numbers)}"}

    for headers in ({"Authorization": "Bearer x"}, lambda: {"Authorization": "Bearer y"}, later, later):
        async with WebSocketDialer(inner, headers=headers).open(WS):
            pass
    async with WebSocketDialer(inner).open(parse_address("wss://[::1]:8443")):
        pass
    assert [request.path for request in heard] == ["/nats?t=s3cr3t"] * 4 + ["/"]
    sent = [dict(request.headers) for request in heard]
    assert [one.get(b"authorization") for one in sent] == [b"Bearer x", b"Bearer y", b"Bearer 0", b"Bearer 1", None]
    assert inner.upgraded == ["::1"]
    assert inner.open_streams == 0


async def reject(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nback")


async def garbage(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b'INFO {"server_id":"x"}\r\n\r\n')


async def hang_up(stream: trio.abc.Stream) -> None:
    await stream.aclose()


async def hang_up_later(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 101 Swi")
    await stream.aclose()


class Endless:
    """An answer that never ends."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        try:
            await stream.send_all(self.head)
            while True:
                await stream.send_all(b"x" * 1_000)
                self.sent += 1_000
                await trio.testing.wait_all_tasks_blocked()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


@pytest.mark.parametrize(
    "serve, text",
    [
        (reject, "HTTP status 403"),
        (garbage, "something that is no HTTP"),
        (hang_up, "broke the connection off|closed the connection instead"),
        (hang_up_later, "closed the connection instead"),
        (Endless(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"), "more than 65536 bytes|status 200"),
        (Endless(b"HTTP/1.1 101 Switching Protocols\r\nX: "), "no HTTP|more than"),
    ],
)
async def test_no_upgrade_is_told_with_its_reason(
    serve: Behaviour, text: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Refused, no HTTP, hung up, an endless answer: WebSocketError with address and reason, and nothing is left."""
    inner = PipeDialer(nursery, serve)
    with pytest.raises(WebSocketError, match=text) as caught:
        async with WebSocketDialer(inner).open(WS):
            raise AssertionError
    assert str(caught.value).startswith("ws://h:80/nats ")
    assert "s3cr3t" not in str(caught.value)
    assert inner.open_streams == 0
    if isinstance(serve, Endless):
        assert serve.sent < 200_000


async def test_an_upgrade_that_never_comes_can_be_cancelled(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The wait for the answer ends with the caller's scope, cleanly."""

    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    inner = PipeDialer(nursery, silent)
    with trio.move_on_after(3) as scope:
        async with WebSocketDialer(inner).open(WS):
            raise AssertionError
    assert scope.cancelled_caught
    assert inner.open_streams == 0
    nursery.cancel_scope.cancel()


async def test_what_the_body_raises_leaves_bare(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An error of the body keeps its identity and its cause; a cancellation is a cancellation."""
    inner = PipeDialer(nursery, websocket(idle))
    mine = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with WebSocketDialer(inner).open(WS):
            raise mine from KeyError("cause")
    assert caught.value is mine
    assert isinstance(mine.__cause__, KeyError)
    with trio.move_on_after(1) as scope:
        async with WebSocketDialer(inner).open(WS):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert inner.open_streams == 0
    nursery.cancel_scope.cancel()


async def received(serve: Callable[[WebSocketConnection], Awaitable[None]], nursery: trio.Nursery) -> bytes:
    dialer = WebSocketDialer(PipeDialer(nursery, websocket(serve)), message_bytes_max=100)
    async with dialer.open(WS) as stream:
        return bytes(await stream.receive_some())


async def test_what_is_no_stream_of_bytes_is_a_broken_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A message above the bound, a text message, a close with an error: BrokenResourceError with the reason."""

    async def huge(peer: WebSocketConnection) -> None:
        await peer.send_message(b"x" * 101)
        await trio.sleep_forever()

    async def text(peer: WebSocketConnection) -> None:
        await peer.send_message("x")
        await trio.sleep_forever()

    async def angry(peer: WebSocketConnection) -> None:
        await peer.aclose(1011, "no more")

    for serve, words in ((huge, "1009.*100 bytes"), (text, "text message"), (angry, "1011.*no more")):
        with pytest.raises(trio.BrokenResourceError, match=words):
            await received(serve, nursery)
    nursery.cancel_scope.cancel()


async def test_sending_into_a_closed_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After the peer's close, sending is BrokenResourceError; a connection that vanishes is one for the reader."""

    async def close(peer: WebSocketConnection) -> None:
        await peer.aclose()

    async with WebSocketDialer(PipeDialer(nursery, websocket(close))).open(WS) as stream:
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")

    async def vanish(stream: trio.abc.Stream) -> None:
        key = bytes(await stream.receive_some()).partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        await stream.send_all(accepted(key))
        await stream.aclose()

    async with WebSocketDialer(PipeDialer(nursery, vanish)).open(WS) as stream:
        with pytest.raises(trio.BrokenResourceError, match="ended"):
            await stream.receive_some()


async def bridge(server: ToyServer, peer: WebSocketConnection) -> None:
    """A NATS server behind WebSocket."""
    from tests._memory import MemoryStream

    inside = MemoryStream(server.accept())

    async def out() -> None:
        while data := await inside.receive_some():
            await peer.send_message(data)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out)
            while True:
                message = await peer.get_message()
                assert isinstance(message, bytes)
                await inside.send_all(message)
    except* ConnectionClosed:
        pass


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_client_over_websocket(scheme: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The whole client works over it; there is no TLS in band even if the server wants it of others."""
    server = ToyServer(tls_required=True)
    inner = PipeDialer(nursery, websocket(partial(bridge, server)))
    async with (
        open_client(f"{scheme}://h/nats", dialer=WebSocketDialer(inner)) as nc,
        nc.subscribe("a") as sub,
    ):
        await nc.publish("a", b"hello", confirm=True)
        assert (await sub.receive()).payload == b"hello"
        assert server.link.about["tls_required"] is (scheme == "wss")
    assert inner.upgraded == (["h"] if scheme == "wss" else [])
    nursery.cancel_scope.cancel()


async def test_tls_is_never_in_band(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """tls=True with ws:// is refused before CONNECT; the dialer itself has no upgrade."""
    server = ToyServer()
    dialer = WebSocketDialer(PipeDialer(nursery, websocket(partial(bridge, server))))
    with pytest.raises(TLSError, match="use wss://"):
        async with open_client("ws://h", dialer=dialer, tls=True, token="s3cr3t"):
            raise AssertionError
    assert server.received == b""
    with pytest.raises(TLSError, match="no TLS in band"):
        await dialer.start_tls(memory_stream_pair()[0], "h")
    with pytest.raises(AddressError, match="no WebSocket address"):
        async with dialer.open(parse_address("nats://h")):
            raise AssertionError
    nursery.cancel_scope.cancel()


def test_websocket_and_tcp_do_not_mix() -> None:
    """Servers of both kinds in one pool are an AddressError, given at once or later."""
    dialer = WebSocketDialer()
    with pytest.raises(AddressError, match="one kind"):
        Connection(ClientOptions(servers=["ws://a", "nats://b"]), dialer)
    connection = Connection(ClientOptions(servers=["ws://a", "wss://b"]), dialer)
    with pytest.raises(AddressError, match="one kind"):
        connection.pool.replace(["nats://b"])
    assert len(connection.pool) == 2


@pytest.mark.parametrize(
    "headers", [{"X\r\nY": "v"}, {"": "v"}, {"X": "v\r\nSec: s3cr3t"}, {"X": "s3cr3t\x00"}, {"X": "ü"}]
)
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str]) -> None:
    """No name or value can add a line; the error does not show the value."""
    for attempt in (partial(ClientOptions, websocket_headers=headers), partial(WebSocketDialer, headers=headers)):
        with pytest.raises((OptionsError, InvalidHeaderError)) as caught:
            attempt()
        assert "s3cr3t" not in str(caught.value)


async def test_a_headers_callback_that_fails(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its error is the cause, its words are not repeated, and nothing was dialled."""

    def broken() -> dict[str, str]:
        raise ValueError("hunter2")

    inner = PipeDialer(nursery, websocket(idle))
    with pytest.raises(WebSocketError, match="callback raised ValueError") as caught:
        async with WebSocketDialer(inner, headers=broken).open(WS):
            raise AssertionError
    assert isinstance(caught.value.__cause__, ValueError)
    assert "hunter2" not in str(caught.value)
    assert inner.dialled == []


@pytest.mark.parametrize("headers", [None, 5, "a: b", [("a", "b")], {"a": 5}, {5: "b"}])
async def test_a_headers_callback_that_gives_something_else(headers: Any, autojump_clock: MockClock) -> None:
    """The error is one of an attempt that failed: a reconnect tries again."""
    dialer = WebSocketDialer(MemoryDialer(ToyServer("nats://one:80")), headers=lambda: headers)
    with pytest.raises((WebSocketError, InvalidHeaderError)):
        async with open_client("ws://one", dialer=dialer):
            raise AssertionError


def test_headers_belong_to_the_dialer_that_is_given() -> None:
    """websocket_headers beside a dialer is an error, as tls is."""
    with pytest.raises(OptionsError, match="give the headers to its WebSocketDialer"):
        open_client("ws://h", dialer=WebSocketDialer(), websocket_headers={"X": "y"})
    with pytest.raises(OptionsError, match="must be a mapping"):
        ClientOptions(websocket_headers=5)  # type: ignore[arg-type]
