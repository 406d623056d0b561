"""The HTTP server on real sockets: ports, places and deadlines; nobody blocks another, and nothing is left."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from beamline_trio.operation import HTTPLimits, ListenError, MissingExtraError, PortInUseError, Response, serve_http
from beamline_trio.operation._listen import _Places

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LIMIT_SECONDS = 10.0


def application(method: str, path: str) -> Response:
    return Response(200, b"x" * 1_000_000 if path == "/big" else b"ok\n")


def descriptors() -> set[str]:
    """What this process has open, less the directory listing itself."""
    return {f"{fd.name} {os.readlink(fd)}" for fd in Path("/proc/self/fd").iterdir() if fd.exists()}


async def ask(port: int, request: bytes = GET) -> bytes:
    with trio.fail_after(LIMIT_SECONDS):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(request)
            return b"".join([chunk async for chunk in stream])


async def test_it_starts_with_the_port_and_ends_without_a_trace() -> None:
    """Port 0 is any free one; while it serves it answers; cancelled, no socket is left and the port is free."""
    before = descriptors()
    for port in (0, 0):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(serve_http, application, port)
            assert bound > 0
            assert (await ask(bound)).endswith(b"\r\n\r\nok\n")
            slow = await trio.open_tcp_stream("127.0.0.1", bound)
            await slow.send_all(b"GET")
            nursery.cancel_scope.cancel()
        await slow.aclose()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", bound)
    assert descriptors() == before


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    """It names port and flag, and carries both as fields."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use.*--metrics-port") as caught:
            await serve_http(application, port)
    assert (caught.value.port, caught.value.host) == (port, "127.0.0.1")


async def test_an_address_of_another_machine_is_refused() -> None:
    """Another reason than a port in use is another class, with the reason."""
    with pytest.raises(ListenError, match=os.strerror(errno.EADDRNOTAVAIL)) as caught:
        await serve_http(application, 0, host="203.0.113.1")
    assert not isinstance(caught.value, PortInUseError)


@pytest.mark.parametrize("port", [-1, 65_536])
async def test_a_port_out_of_bounds_is_refused(port: int) -> None:
    """The error names the value and the bounds."""
    with pytest.raises(ValueError, match=f"port is {port}; it must be 1 to 65535, or 0"):
        await serve_http(application, port)


async def test_without_h11_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not start without the library it will need under the first request."""
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(MissingExtraError, match="pip install 'beamline-trio\\[cli\\]'"):
        await serve_http(application, 0)


async def test_a_slow_peer_holds_up_nobody() -> None:
    """While some send half a request and others do not read, everybody else is answered."""
    async with contextlib.AsyncExitStack() as peers, trio.open_nursery() as nursery:
        port = await nursery.start(serve_http, application, 0)
        for request in (b"GET / HT", b"", b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n") * 5:
            stream = await peers.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            if request:
                await stream.send_all(request)
        for _ in range(20):
            assert (await ask(port)).endswith(b"ok\n")
        nursery.cancel_scope.cancel()


async def test_when_all_places_are_taken_the_oldest_goes() -> None:
    """A crowd that never ends its requests locks nobody out, and is never more than the places."""
    limits = HTTPLimits(connections_max=3)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_http, application, 0, limits=limits))
        crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(12)]
        with trio.fail_after(LIMIT_SECONDS):
            for stream in crowd[:9]:
                assert await stream.receive_some() == b""
        assert (await ask(port)).endswith(b"ok\n")
        for stream in crowd:
            await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_an_answer_reaches_a_peer_that_is_still_sending() -> None:
    """The close does not overtake the answer: what the peer has sent in vain is read first."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_http, application, 0)
        request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
        for _ in range(20):
            assert (await ask(port, request)).endswith(b"ok\n")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HT", b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n"])
async def test_a_connection_has_a_deadline(request_bytes: bytes, autojump_clock: trio.testing.MockClock) -> None:
    """Nothing sent, half a request, an answer that is not read: closed at connection_deadline_seconds."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    places = _Places(application, HTTPLimits(connection_deadline_seconds=7, linger_seconds=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(places.serve, ours)
        if request_bytes:
            await theirs.send_all(request_bytes)
        await trio.sleep(6.9)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await trio.sleep(0.2)
        assert not nursery.child_tasks
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_a_peer_that_trickles_gets_no_more_time(autojump_clock: trio.testing.MockClock) -> None:
    """A byte a second does not renew the deadline."""
    ours, theirs = trio.testing.memory_stream_pair()
    places = _Places(application, HTTPLimits(connection_deadline_seconds=5))

    async def trickle() -> None:
        with pytest.raises(trio.BrokenResourceError):
            for byte in GET:
                await theirs.send_all(bytes([byte]))
                await trio.sleep(1)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        await places.serve(ours)
        assert trio.current_time() - began == 5
