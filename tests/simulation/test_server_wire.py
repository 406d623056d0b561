"""How the simulated server reads: any cut of a stream gives the same operations, and its parser's habits are kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio.simulation._server._wire import OperationReader, ProtocolViolation, parse_size, split_publish

STREAMS = {
    "whole operations": (
        b"CONNECT {}\r\nPING\r\nSUB a q 1\r\nPUB a 3\r\na\r\n\r\nHPUB a r 2 4\r\nabcd\r\nUNSUB 1\r\nPONG\r\n"
    ),
    "verbs in any case, tabs and runs of blanks": b"pInG\r\nsub\ta \t 1 \r\npub  a  0\r\n\r\nunSUB\t1\r\n",
    "letters behind a ping": b"PINGxyz\r\n+OK whatever\r\nPONG\t\r\n",
    "no space behind connect": b"CONNECT{}\r\nINFO{}\r\n",
    "lines that end in LF": b"SUB a 1\nPING\nPUB a 1\nx\r\n",
    "a payload that looks like operations": b"PUB a 14\r\nPING\r\nPUB b 9\r\nPING\r\n",
    "an empty payload": b"PUB a 0\r\n\r\nPING\r\n",
    "an error behind operations": b"PING\r\nPUB a 1\r\nx\r\nNOPE\r\nPING\r\n",
    "a wrong byte behind a payload": b"PING\r\nPUB a 1\r\nxy\r\nPING\r\n",
    "a wrong second byte behind a payload": b"PUB a 1\r\nx\rx",
}


class Recorder:
    """`Operations` that note what they were asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bytes]] = []
        self.size = 0

    def begin(self) -> None:
        self.done.append(("begin", b""))

    def connect(self, argument: bytes) -> None:
        self.done.append(("connect", argument))

    def info(self, argument: bytes) -> None:
        self.done.append(("info", argument))

    def error(self) -> None:
        self.done.append(("error", b""))

    def ping(self) -> None:
        self.done.append(("ping", b""))

    def pong(self) -> None:
        self.done.append(("pong", b""))

    def subscribe(self, argument: bytes) -> None:
        self.done.append(("subscribe", argument))

    def unsubscribe(self, argument: bytes) -> None:
        self.done.append(("unsubscribe", argument))

    def publish(self, argument: bytes) -> int:
        self.done.append(("publish", argument))
        return parse_size(split_publish(argument)[-1])

    def publish_with_headers(self, argument: bytes) -> int:
        return self.publish(argument)

    def message_line(self) -> int:
        return 0

    def interrupted(self) -> None:
        pass

    def message(self, data: bytes) -> None:
        self.done.append(("message", data))


def read(*pieces: bytes, control_line_max: int = 4096) -> tuple[list[tuple[str, bytes]], bytes | None]:
    """What was done, and the text of the violation if there was one (b"" = without a text)."""
    recorder = Recorder()
    reader = OperationReader(recorder, control_line_max)
    try:
        for piece in pieces:
            reader.read(piece)
    except ProtocolViolation as violation:
        return recorder.done, violation.text or b""
    return recorder.done, None


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_the_quick_way_and_the_byte_by_byte_way_are_one(stream: bytes) -> None:
    """A stream means the same in one piece and in single bytes, also where it is wrong."""
    assert read(stream) == read(*bytewise(stream))


@given(stream=st.sampled_from(list(STREAMS.values())), cuts=st.lists(st.integers(0, 70), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_cut_means_the_same(stream: bytes, cuts: list[int]) -> None:
    """Wherever the stream is cut, the operations and the error are the same."""
    edges = sorted({0, len(stream), *[cut for cut in cuts if cut < len(stream)]})
    assert read(*[stream[a:b] for a, b in itertools.pairwise(edges)]) == read(stream)


def test_operations_and_arguments() -> None:
    """Arguments come without the line's end, messages with theirs."""
    done, violation = read(STREAMS["whole operations"])
    assert violation is None
    assert done == [
        ("connect", b"{}"),
        ("ping", b""),
        ("subscribe", b"a q 1"),
        ("publish", b"a 3"),
        ("message", b"a\r\n\r\n"),
        ("publish", b"a r 2 4"),
        ("message", b"abcd\r\n"),
        ("unsubscribe", b"1"),
        ("pong", b""),
    ]


@pytest.mark.parametrize(
    "beginning",
    [*b"X PX PUX PUBX SUB\r SUBS UNSUBX HX HMX M R L A CX +K -ERRX CONNECX".split(b" "), b"P ", b" ", b"\r", b"\x00"],
)
def test_an_error_is_found_at_its_first_byte(beginning: bytes) -> None:
    """The first byte that no operation can go on with is an error, without the rest of the line; one less is none."""
    assert read(beginning) == ([], b"Unknown Protocol Operation")
    assert read(beginning[:-1]) == ([], None)


def test_the_first_byte_of_an_argument_is_not_looked_at() -> None:
    """A line break right behind the blanks is part of the argument and ends nothing."""
    assert read(b"CONNECT\n{}\r\n") == ([("connect", b"\n{}")], None)
    assert read(b"SUB \r\n") == ([("subscribe", b"\r")], None)


def test_a_carriage_return_within_a_line() -> None:
    """In one piece it stays and costs the byte before a bare LF; behind a cut in the line it is left out."""
    assert read(b"SUB a\rb 12\r\n") == ([("subscribe", b"a\rb 12")], None)
    assert read(b"SUB a\rb 12\n") == ([("subscribe", b"a\rb 1")], None)
    assert read(b"SUB a", b"\rb 12\n") == ([("subscribe", b"ab 12")], None)
    assert read(b"SUB a\rb 1", b"2\r\n") == ([("subscribe", b"a\rb 2")], None)


@pytest.mark.parametrize("verb", [b"SUB ", b"PUB ", b"HPUB ", b"UNSUB ", b"CONNECT "])
def test_the_limit_of_a_line_counts_its_argument(verb: bytes) -> None:
    """An argument as long as the limit passes; one byte more is an error, at the line's end or before it comes."""
    fits, long = b"x" * 31 + b" 12345678", b"x" * 32 + b" 12345678"
    assert read(verb + fits + b"\r\n", control_line_max=40)[0][0][1] == fits
    for pieces in ([verb + long + b"\r\n"], [verb + long], bytewise(verb + long)):
        assert read(*pieces, control_line_max=40) == ([], b"maximum control line exceeded")
    assert read(verb + fits, control_line_max=40) == ([], None)


def test_a_ping_has_no_limit() -> None:
    """PING, PONG and +OK end at their LF however long they are."""
    assert read(b"PING" + b"x" * 9000, b"y" * 9000, b"\r\nPING\r\n", control_line_max=40) == ([("ping", b"")] * 2, None)


def test_a_guarded_reader_asks_before_each_operation_but_connect() -> None:
    """`begin` comes at the first byte of an operation, and not for what begins with C."""
    recorder = Recorder()
    reader = OperationReader(recorder, 4096)
    reader.guarded = True
    for piece in (b"CONNECT {}\r\nP", b"ING\r\nSUB a 1\r\n"):
        reader.read(piece)
    assert [what for what, _ in recorder.done] == ["connect", "begin", "ping", "begin", "subscribe"]


@pytest.mark.parametrize(
    "text, size",
    [(b"0", 0), (b"007", 7), (b"999999999", 999_999_999), (b"1000000000", -1), (b"-1", -1), (b"", -1), (b"1x", -1)],
)
def test_sizes_are_up_to_nine_digits(text: bytes, size: int) -> None:
    """What is no number of at most nine digits is -1."""
    assert parse_size(text) == size
