"""No text of a WebSocket dialer, and no part of a URL, becomes a line of its own in the HTTP upgrade."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import NatsError
from beamline_trio.transport import Environment, ServerAddress, WebSocketDialer, parse_address

from ._hostile import FRAMES, MARK, SEPARATORS, texts

URL: Final = "ws://host:1"


class DeafDialer:
    """Gives streams that note what is sent and answer nothing."""

    def __init__(self) -> None:
        self.sent = b""

    @property
    def environment(self) -> Environment:
        """Not asked for."""
        return Environment()

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """A stream whose peer has closed."""

        async def note() -> None:
            self.sent += bytes(sender.get_data_nowait())

        sender = trio.testing.MemorySendStream(send_all_hook=note)
        receiver = trio.testing.MemoryReceiveStream()
        receiver.put_eof()
        yield trio.StapledStream(sender, receiver)

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """No TLS."""
        await trio.lowlevel.checkpoint()
        return stream


async def upgrade(url: str, dialer: Callable[[DeafDialer], WebSocketDialer]) -> bytes:
    """What is sent for the upgrade; nothing where it was refused."""
    below = DeafDialer()
    try:
        async with dialer(below).open(parse_address(url)):
            pass
    except* (NatsError, OSError, ValueError, TypeError):
        pass
    return below.sent


PLACES: Final[dict[str, Callable[[str], tuple[str, Callable[[DeafDialer], WebSocketDialer]]]]] = {
    "header value": lambda text: (URL, lambda below: WebSocketDialer(below, headers={"Name": text})),
    "header name": lambda text: (URL, lambda below: WebSocketDialer(below, headers={text: "value"})),
    "callback value": lambda text: (URL, lambda below: WebSocketDialer(below, headers=lambda: {"Name": text})),
    "callback name": lambda text: (URL, lambda below: WebSocketDialer(below, headers=lambda: {text: "value"})),
    "host": lambda text: (f"ws://{text}:1", lambda below: WebSocketDialer(below, headers={"Name": "value"})),
    "path": lambda text: (f"{URL}/{text}", lambda below: WebSocketDialer(below, headers={"Name": "value"})),
    "query": lambda text: (f"{URL}/path?{text}", lambda below: WebSocketDialer(below, headers={"Name": "value"})),
    "user": lambda text: (f"ws://{text}:p@host:1", lambda below: WebSocketDialer(below, headers={"Name": "value"})),
}


async def tried(place: str, text: str) -> bytes:
    """What is sent with a text in a place."""
    try:
        url, dialer = PLACES[place](text)
        return await upgrade(url, dialer)
    except (NatsError, ValueError, TypeError):
        return b""


def names_of(request: bytes) -> list[bytes]:
    """The names of a request's headers; it must be one request, of lines that end in CR LF, and nothing behind it."""
    head, end, behind = request.partition(b"\r\n\r\n")
    assert (end, behind) == (b"\r\n\r\n", b"")
    first, *lines = head.split(b"\r\n")
    assert len(first.split(b" ")) == 3
    assert not {10, 13, 0} & set(first + b"".join(lines))
    return [line.partition(b":")[0] for line in lines]


async def judge(place: str, text: str) -> None:
    """Refused, or one request with as many headers as an ordinary one."""
    request = await tried(place, text)
    if request:
        names = names_of(request)
        assert len(names) == len(names_of(await tried(place, "ordinary"))), text
        assert MARK.encode() not in names


@pytest.mark.parametrize("place", PLACES)
async def test_each_piece_in_each_place(place: str) -> None:
    """Every frame and separator alone, in front, and inside."""
    assert await tried(place, "ordinary")
    for piece in (*FRAMES, *SEPARATORS):
        for text in (piece, f"{piece}a", f"a{piece}b"):
            await judge(place, text)


@hypothesis.settings(max_examples=max(1, hypothesis.settings().max_examples // 10))  # each example is many dials
@pytest.mark.parametrize("place", PLACES)
@given(st.lists(texts, min_size=5, max_size=10))
def test_no_text_is_a_line(place: str, hostile: list[str]) -> None:
    """Whatever is given, the upgrade is one request of the lines that it should have."""

    async def main() -> None:
        for text in hostile:
            await judge(place, text)

    trio.run(main, clock=MockClock(autojump_threshold=0))
