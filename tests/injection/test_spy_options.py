"""No option of a client, however it is made, becomes an operation: CONNECT stays one line of JSON.

The options are found by looking, and given every kind of value that their annotation speaks of.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import hypothesis
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import ClientOptions, NatsError, NkeySigner, Secret, UserJWT, open_client
from tests._memory import MemoryDialer, ToyServer

from ._hostile import FRAMES, MARK, SEPARATORS, texts

Maker = Callable[[str], Any]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sign(nonce: bytes) -> bytes:
    return b"s" * 64


# What each type that an option may have is made of; None = it holds no text that is sent.
MAKERS: Final[dict[str, Maker | None]] = {
    "str": lambda text: text,
    "Secret": Secret,
    "bytes": _bytes,
    "bytearray": lambda text: bytearray(_bytes(text)),
    "TextCallback": lambda text: lambda: text,
    "CredsCallback": lambda text: lambda: _bytes(text),
    "NkeySigner": lambda text: NkeySigner(text, _sign),
    "UserJWT": lambda text: UserJWT(text, _sign),
    "os.PathLike[str]": None,
    "Sequence[str | Secret]": None,
    "TLSFiles": None,
    "WebSocketHeaders": None,  # the test of the upgrade gives them
    "HeadersCallback": None,
    "ssl.SSLContext": None,
    "ServerChooser": None,
    "Callable[[int], float]": None,
    "Jitter": None,
    "PendingPolicy": None,
    "OverflowPolicy": None,
    "bool": None,
    "int": None,
    "float": None,
    "None": None,
}
URLS: Final[dict[str, Maker]] = {
    "user": lambda text: f"nats://{text}:p@toy:4222",
    "password": lambda text: f"nats://u:{text}@toy:4222",
    "token": lambda text: f"nats://{text}@toy:4222",
    "quoted": lambda text: f"nats://{quote(text, safe='', errors='surrogatepass')}:{MARK}@toy:4222",
    "host": lambda text: f"nats://{text}:4222",
    "path": lambda text: f"nats://toy:4222/{text}",
    "all": lambda text: text,
}


def kinds_of(annotation: str) -> Iterator[str]:
    """The types that an annotation is a union of."""
    depth, start = 0, 0
    for index, char in enumerate(annotation + "|"):
        depth += (char == "[") - (char == "]")
        if char == "|" and depth == 0:
            yield annotation[start:index].strip()
            start = index + 1


def option_cases() -> list[tuple[str, str]]:
    """Every option with every kind of value that may hold text which is sent."""
    cases = [("servers", f"url: {name}") for name in URLS]
    for parameter in inspect.signature(ClientOptions).parameters.values():
        if parameter.name != "servers":
            kinds = kinds_of(str(parameter.annotation))
            cases.extend((parameter.name, kind) for kind in kinds if MAKERS.get(kind, str) is not None)
    return cases


CASES: Final = option_cases()


def test_every_kind_of_option_is_known() -> None:
    """A new option is tried by itself; one of a new type must be told here how it is made."""
    known = {
        kind
        for parameter in inspect.signature(ClientOptions).parameters.values()
        for kind in kinds_of(str(parameter.annotation))
    }
    assert known <= set(MAKERS), f"say in MAKERS how one is made of text: {sorted(known - set(MAKERS))}"
    assert {("name", "str"), ("inbox_prefix", "str"), ("token", "TextCallback"), ("creds", "UserJWT")} <= set(CASES)


def value_of(case: tuple[str, str], text: str) -> Any:
    """What an option is given."""
    option, kind = case
    if option == "servers":
        return URLS[kind.removeprefix("url: ")](text)
    maker = MAKERS[kind]
    assert maker is not None
    return maker(text)


async def connect_with(case: tuple[str, str], text: str) -> ToyServer:
    """Connect with one hostile option, make a request, and leave; the server has read what it was sent."""
    server = ToyServer(nonce="nonce")
    server.services[b"service"] = lambda payload: payload
    options = {case[0]: value_of(case, text)}
    options.setdefault("servers", server.url)
    with trio.move_on_after(60):
        try:
            async with open_client(dialer=MemoryDialer(server), connect_timeout_seconds=1, **options) as nc:
                await nc.request("service", b"x")
        except* (NatsError, OSError, ValueError, TypeError):  # what is refused is refused; the bytes are looked at
            pass
    return server


def judge(server: ToyServer, text: str) -> None:
    """Only what a client says by itself was said, and CONNECT is one line of JSON."""
    seen = [(one.verb, len(one.args)) for one in server.record if one.verb not in ("CONNECT", "PING", "PONG")]
    assert seen in ([], [("SUB", 2), ("PUB", 3)]), text
    connects = re.findall(rb"CONNECT ([^\n]*)\r\n", bytes(server.received))
    assert len(connects) == len(server.links) or not server.received
    assert all(isinstance(json.loads(line), dict) for line in connects)
    assert MARK.encode() not in [arg for one in server.record if one.verb != "CONNECT" for arg in one.args]


@hypothesis.settings(max_examples=max(1, hypothesis.settings().max_examples // 10))
@pytest.mark.parametrize("case", CASES, ids=" ".join)
@given(st.lists(texts, min_size=5, max_size=10))
def test_no_option_is_an_operation(case: tuple[str, str], hostile: list[str]) -> None:
    """Whatever an option holds is refused, or is sent inside CONNECT and in no other operation."""

    async def main() -> None:
        for text in hostile:
            judge(await connect_with(case, text), text)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("case", CASES, ids=" ".join)
async def test_each_piece_in_each_option(case: tuple[str, str], autojump_clock: MockClock) -> None:
    """Every frame and separator alone, in front, and inside."""
    for piece in (*FRAMES, *SEPARATORS):
        for text in (piece, f"{piece}a", f"a{piece}b"):
            judge(await connect_with(case, text), text)


@pytest.mark.parametrize(
    "option, key", [("name", "name"), ("user", "user"), ("password", "pass"), ("token", "auth_token")]
)
async def test_what_is_taken_arrives_as_it_was(option: str, key: str, autojump_clock: MockClock) -> None:
    """Text that is legal JSON arrives in CONNECT letter by letter, line breaks and frames in it too."""
    taken = 0
    for piece in (*FRAMES, *(one for one in SEPARATORS if one.isprintable() or ord(one[0]) < 0xD800)):
        server = await connect_with((option, "str"), f"a{piece}b")
        if server.links and server.links[0].about:
            taken += 1
            assert server.links[0].about.get(key) == f"a{piece}b"
    assert taken


async def test_a_creds_file_of_frames(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A credentials file that holds operations is refused, and nothing of it is sent."""
    file = tmp_path / "user.creds"
    for piece in FRAMES:
        content = f"-----BEGIN NATS USER JWT-----\n{piece}\n------END NATS USER JWT------\n"
        file.write_text(content, encoding="utf-8")
        server = ToyServer(nonce="nonce")
        with pytest.raises(Exception):  # noqa: B017  # of whatever kind
            async with open_client(server.url, dialer=MemoryDialer(server), creds=file, connect_timeout_seconds=1):
                raise AssertionError
        assert server.operations("SUB", "PUB", "HPUB") == []
        assert MARK.encode() not in server.received
