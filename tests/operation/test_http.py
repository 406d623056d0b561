"""One request over one stream: whatever a peer sends, in whatever pieces, it is answered or left, and never raises."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.operation import HTTPLimits, Response
from beamline_trio.operation._http import converse

GET = b"GET /page?query=1 HTTP/1.1\r\nHost: here\r\n\r\n"


def application(method: str, path: str) -> Response:
    if path == "/bug":
        raise RuntimeError("secret internals")
    if path == "/no":
        return Response(405, b"use GET\n", allow="GET")
    return Response(200, f"{method} {path}\n".encode())


async def converse_with(*chunks: bytes, limits: HTTPLimits | None = None) -> bytes:
    """What a peer gets that sends these chunks, each when the one before was read, and then waits."""
    ours, theirs = trio.testing.memory_stream_pair()
    received = bytearray()

    async def peer() -> None:
        for chunk in chunks:
            await theirs.send_all(chunk)
            await trio.testing.wait_all_tasks_blocked()
        async for data in theirs:
            received.extend(data)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        await converse(ours, application, limits if limits is not None else HTTPLimits())
        await ours.aclose()
    return bytes(received)


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


async def test_a_request_is_answered() -> None:
    """Status, type, length and body; the query is not part of the path; the connection ends."""
    status, headers, body = parts(await converse_with(GET))
    assert (status, body) == (200, b"GET /page\n")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Connection"] == "close"


async def test_a_request_is_the_same_in_all_pieces() -> None:
    """Whole, byte by byte, at every split, and with trailing data behind it."""
    whole = await converse_with(GET)
    assert await converse_with(*(GET[i : i + 1] for i in range(len(GET)))) == whole
    for split in range(1, len(GET)):
        assert await converse_with(GET[:split], GET[split:]) == whole
    assert await converse_with(GET + GET + b"rubbish") == whole


async def test_head_gets_the_head() -> None:
    """The headers of GET, and no body."""
    status, headers, body = parts(await converse_with(GET.replace(b"GET", b"HEAD")))
    assert (status, headers["Content-Length"], body) == (200, "11", b"")


async def test_what_may_be_done_instead_is_said() -> None:
    """A 405 names the methods."""
    status, headers, _ = parts(await converse_with(GET.replace(b"/page", b"/no")))
    assert (status, headers["Allow"]) == (405, "GET")


async def test_a_body_is_not_read_and_does_no_harm() -> None:
    """A request with a body is answered by its head."""
    request = b"POST /x HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
    assert parts(await converse_with(request))[2] == b"POST /x\n"
    chunked = b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert parts(await converse_with(chunked))[2] == b"POST /x\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: many\r\n\r\n",
        b"INFO {}\r\nPING\r\n\r\n",
    ],
    ids=["TLS", "no host", "not ASCII", "bad length", "NATS"],
)
async def test_what_is_no_http_gets_400(request_bytes: bytes) -> None:
    """A stranger's protocol is answered in ours, and the connection ends."""
    assert parts(await converse_with(request_bytes))[0] == 400


async def test_a_head_beyond_the_limit_gets_431() -> None:
    """A request that does not end is given up at the limit, not at the end of memory."""
    limits = HTTPLimits(request_bytes_max=1_000, linger_bytes_max=0)
    ours, theirs = trio.testing.lockstep_stream_pair()
    sent = 0

    async def peer() -> None:
        nonlocal sent
        with pytest.raises(trio.BrokenResourceError):
            await theirs.send_all(b"GET / HTTP/1.1\r\n")
            while True:
                await theirs.send_all(b"X-More: " + b"x" * 90 + b"\r\n")
                sent += 100

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        answer = bytearray()

        async def read() -> None:
            async for data in theirs:
                answer.extend(data)

        nursery.start_soon(read)
        await converse(ours, application, limits)
        await ours.aclose()
    assert parts(bytes(answer))[0] == 431
    assert sent <= 1_000 + 4_096


async def test_a_bug_of_the_application_is_a_500_without_internals(caplog: pytest.LogCaptureFixture) -> None:
    """The peer learns nothing, the log everything."""
    with caplog.at_level(logging.ERROR, "beamline_trio"):
        status, _, body = parts(await converse_with(GET.replace(b"/page", b"/bug")))
    assert (status, body) == (500, b"internal server error\n")
    (record,) = caplog.records
    assert vars(record)["event"] == "HTTP_ERROR"
    assert "secret internals" in caplog.text


async def test_a_peer_that_leaves_is_left() -> None:
    """Closed before a request, within one, or before the answer: nothing is raised, nothing is left waiting, and the
    application is asked only for a whole request.
    """
    for chunk, calls in ((b"", 0), (b"GET / HT", 0), (GET, 1)):
        asked: list[str] = []

        def noting(method: str, path: str, asked: list[str] = asked) -> Response:
            asked.append(path)
            return application(method, path)

        ours, theirs = trio.testing.memory_stream_pair()
        if chunk:
            await theirs.send_all(chunk)
        await theirs.aclose()
        await converse(ours, noting, HTTPLimits())
        assert len(asked) == calls


async def test_a_peer_that_does_not_hang_up_is_lingered_for_briefly(autojump_clock: trio.testing.MockClock) -> None:
    """After the answer the peer has linger_seconds to close, and may send so many bytes meanwhile."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(GET)
    began = trio.current_time()
    await converse(ours, application, HTTPLimits(linger_seconds=3))
    assert trio.current_time() - began == 3

    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(GET)
    await theirs.send_all(b"x" * 100_000)
    began = trio.current_time()
    await converse(ours, application, HTTPLimits(linger_seconds=3, linger_bytes_max=50_000))
    assert trio.current_time() == began


@given(data=st.binary(max_size=200), where=st.integers(0, len(GET)))
def test_no_bytes_make_it_raise(data: bytes, where: int) -> None:
    """Any bytes, and a request with any bytes inside: an answer or nothing."""

    async def main() -> None:
        for sent in (data, GET[:where] + data + GET[where:]):
            ours, theirs = trio.testing.memory_stream_pair()
            await theirs.send_all(sent)
            await theirs.send_eof()
            await converse(ours, application, HTTPLimits())
            await ours.aclose()
            answer = b"".join([chunk async for chunk in theirs])
            assert answer.startswith(b"HTTP/1.1 ") or not answer

    trio.run(main)


@pytest.mark.parametrize("field", ["connections_max", "request_bytes_max", "connection_deadline_seconds"])
def test_a_limit_that_cannot_work_is_refused(field: str) -> None:
    """The error names the limit, the value and the bound."""
    with pytest.raises(ValueError, match=f"{field} is 0; it must be at least"):
        HTTPLimits(**{field: 0})
