"""Examples of the parser's laws: what each operation means, what is refused, what is only skipped."""

from __future__ import annotations

import pytest

from beamline_trio.protocol import Parser
from tests.protocol._recorder import (
    Event,
    Recorder,
    fed,
    parse,
    parse_or_refuse,
    refusal,
    single_bytes,
    split,
)
from tests.protocol._reference import reference_events
from tests.protocol._streams import OPERATIONS

HELLO = ("message", b"1", b"a", None, None, b"hello")


CASES: list[tuple[bytes, list[Event]]] = [
    (b"PING\r\n", [("ping",)]),
    (b"ping \t\r\n", [("ping",)]),
    (b"PONG\r\n", [("pong",)]),
    (b"+OK\r\n", []),
    (b"+ok\r\n", []),
    (b'INFO {"max_payload":1}\r\n', [("info", {"max_payload": 1})]),
    (b"info\t{} \r\n", [("info", {})]),
    (b"-ERR 'Stale Connection'\r\n", [("error", "'Stale Connection'")]),
    (b"-err \t 'x'\r\n", [("error", "'x'")]),
    (b"-ERR\r\n", [("error", "")]),
    (b"-ERR too many: 99999999999\r\n", [("error", "too many: 99999999999")]),
    (b"-ERR 'caf\xe9'\r\n", [("error", "'caf�'")]),
    (b"MSG a 1 5\r\nhello\r\n", [HELLO]),
    (b"msg a 1 5\r\nhello\r\n", [HELLO]),
    (b"MSG  a  1  5\r\nhello\r\n", [HELLO]),
    (b"MSG a 1  5\r\nhello\r\n", [HELLO]),
    (b"MSG a 1 5 \r\nhello\r\n", [HELLO]),
    (b"MSG\ta\t1\t5\r\nhello\r\n", [HELLO]),
    (b"MSG a\t1 5\r\nhello\r\n", [HELLO]),
    (b"MSG a\t1 r 5\r\nhello\r\n", [("message", b"1", b"a", b"r", None, b"hello")]),
    (b"MSG a 1\tr 5\r\nhello\r\n", [("message", b"1", b"a", b"r", None, b"hello")]),
    (b"MSG a 1 r.1 5\r\nhello\r\n", [("message", b"1", b"a", b"r.1", None, b"hello")]),
    (b"MSG a 1  r.1 \t5\t\r\nhello\r\n", [("message", b"1", b"a", b"r.1", None, b"hello")]),
    (b"MSG a 1 0\r\n\r\n", [("message", b"1", b"a", None, None, b"")]),
    (b"MSG a 1 0005\r\nhello\r\n", [HELLO]),
    (b"MSG a 1 8\r\n\r\n\r\n\r\n\r\n\r\n", [("message", b"1", b"a", None, None, b"\r\n" * 4)]),
    (b"MSG a 1 6\r\nPING\r\n\r\n", [("message", b"1", b"a", None, None, b"PING\r\n")]),
    (b"MSG \xff\xfe 1 5\r\nhello\r\n", [("message", b"1", b"\xff\xfe", None, None, b"hello")]),
    (b"MSG a 99 5\r\nhello\r\n", [("unroutable", b"99")]),
    (b"HMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", [("message", b"1", b"a", None, b"NATS/1.0\r\n\r\n", b"hello")]),
    (b"hmsg\ta  1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", [("message", b"1", b"a", b"r", b"NATS/1.0\r\n\r\n", b"")]),
    (b"HMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", [("message", b"1", b"a", None, b"NATS/1.0 503\r\n\r\n", b"")]),
    (b"HMSG a 99 12 12\r\nNATS/1.0\r\n\r\n\r\n", [("unroutable", b"99")]),
    (b"HMSG a 1 0 5\r\nhello\r\n", [("malformed", b"1", b"a")]),
]


@pytest.mark.parametrize("stream, events", CASES, ids=[repr(case[0])[2:40] for case in CASES])
def test_each_operation_at_every_split(stream: bytes, events: list[Event]) -> None:
    """An operation means the same whole, byte by byte, at every split, and with another one behind it."""
    assert reference_events(stream) == events
    assert parse([stream]) == events
    assert parse(single_bytes(stream)) == events
    assert parse([stream + b"PING\r\n"]) == [*events, ("ping",)]
    for point in range(len(stream) + 1):
        assert parse(split(stream, [point])) == events


def test_the_fixed_operations_are_legal() -> None:
    """What the mutated streams are made of is legal before it is mutated."""
    stream = b"".join(OPERATIONS)
    assert parse([stream]) == reference_events(stream)


def test_equal_lines_are_handed_over_as_one_run() -> None:
    """From the second message on, messages with equal lines come as a run; others between two runs do not end it."""
    one = b"MSG a 1 2\r\n%b\r\n"
    _, recorder = fed(b"".join(one % (b"%02d" % n) for n in range(50)))
    assert recorder.runs == [49]
    assert [event[-1] for event in recorder.events] == [b"%02d" % n for n in range(50)]
    _, recorder = fed(one % b"aa" + one % b"bb" + b"PING\r\n" + one % b"cc" + one % b"dd")
    assert recorder.runs == [1, 2]
    assert [event[-1] for event in recorder.events] == [b"aa", b"bb", "ping", b"cc", b"dd"]


@pytest.mark.parametrize("line", [b"MSG a 1 3", b"MSG  a 1\t3", b"msg a 1 3", b"MSG a 1 003", b"MSG a 99 3"])
def test_a_run_broken_anywhere_goes_on(line: bytes) -> None:
    """A run that a chunk's end breaks, wherever, goes on with the next chunk: the same messages in the same order."""
    stream = b"".join(line + b"\r\n" + payload + b"\r\n" for payload in (b"abc", b"\r\n\r", b"MSG", b"   ", b"xyz"))
    expected = reference_events(stream)
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert parse(split(stream, [first, second])) == expected


def test_a_run_is_no_run_when_the_lines_only_begin_alike() -> None:
    """Lines with a common beginning, another size or a reply are told apart."""
    stream = (
        b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\nMSG a 1 11\r\nhello world\r\nMSG a 1 1\r\nz\r\n"
        b"MSG a 1 1 1\r\nw\r\nMSG a 1 1\r\nv\r\nMSG a.b 1 1\r\nu\r\nMSG a 2 1\r\nt\r\n"
    )
    assert parse([stream]) == reference_events(stream)


def test_a_run_that_loses_framing_delivers_what_came_before() -> None:
    """The messages of a run before the one without CRLF are delivered, whole as well as byte by byte."""
    line = b"MSG a 1 1\r\n"
    stream = line + b"1\r\n" + line + b"2\r\n" + line + b"3\r\n" + line + b"4XX" + line + b"5\r\n"
    events = [("message", b"1", b"a", None, None, b"%d" % n) for n in (1, 2, 3)]
    assert parse_or_refuse(single_bytes(stream)) == (events, None)
    assert parse_or_refuse([stream]) == (events, None)


# What is refused


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n",
        b" PING\r\n",
        b"PINGS\r\n",
        b"PIN\r\n",
        b"MSGS a 1 0\r\n\r\n",
        b"SUB a 1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n",
        b"MSG\r\n",
        b"MSG a\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 r x 1\r\n",
        b"HMSG\r\n",
        b"HMSG a\r\n",
        b"HMSG a 1 12\r\n",
        b"HMSG a 1 r x 12 12\r\n",
        b"HMSG a 1 13 12\r\n",
        b"MSG a 1 0\r\nxx",
        b"MSG a 1 0\r\n\n\r",
        b"MSG a 1 5\r\nhelloo\r\n",
        b"MSG a 1  5\r\nhell\r\n\r\n",
        b"HMSG a 1 12 12\r\nNATS/1.0\r\n\r\nxx",
        b"INFO\r\n",
        b"INFO []\r\n",
        b"INFO {\r\n",
        b"INFO \xff\xfe\r\n",
        b"INFO " + b"[" * 100_000 + b"\r\n",
        b'INFO {"port":' + b"1" * 10_000 + b"}\r\n",
    ],
    ids=lambda stream: repr(stream[:24])[2:-1],
)
def test_what_breaks_the_protocol_is_refused(stream: bytes) -> None:
    """Unknown operations, malformed lines, a payload without its CRLF, an INFO without an object: ProtocolError."""
    assert len(refusal(stream)) < 300


def test_everything_before_an_error_is_delivered() -> None:
    """What came complete before the bytes that break the protocol is delivered, in one chunk as in many."""
    stream = b"PING\r\nMSG a 1 5\r\nhello\r\nMSG a 1 5\r\nhello\r\nPONG\r\nMSG a 1 5\r\nhello??PING\r\n"
    events = [("ping",), HELLO, HELLO, ("pong",)]
    assert parse_or_refuse([stream]) == (events, None)
    assert parse_or_refuse(single_bytes(stream)) == (events, None)


# What is only skipped


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\r\n",
        b"NATS/1.0",
        b"NATS/1.0\r\n",
        b"NATS/1.1\r\n\r\n",
        b"nats/1.0\r\n\r\n",
        b"NATS/1.0\r\nNo colon\r\n\r\n",
        b"NATS/1.0\r\n: x\r\n\r\n",
        b"NATS/1.0\r\n\r\nA: b\r\n\r\n",
        b"NATS/1.0\r\nA: b\nC: d\r\n\r\n",
        b"NATS/1.0 5\r\n\r\n",
        b"NATS/1.0 five\r\n\r\n",
        b"\x00" * 30,
    ],
)
def test_a_malformed_header_block_costs_its_message_only(block: bytes) -> None:
    """It is reported with sid and subject and skipped; the message behind it is delivered, also in the same run."""
    broken = b"HMSG a.b 1 %d %d\r\n%bhello\r\n" % (len(block), len(block) + 5, block)
    good = b"MSG a 1 5\r\nhello\r\n"
    for chunks in ([good + broken + good + good], single_bytes(good + broken + good + good)):
        assert parse(chunks) == [HELLO, ("malformed", b"1", b"a.b"), HELLO, HELLO]


def test_routes_may_change_between_messages() -> None:
    """The route is looked up for each message, so that a chunk may hold messages from before and after a change."""
    recorder = Recorder()
    route = recorder.routes.pop(b"1")
    parser = Parser(recorder.routes, recorder)
    parser.feed(b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\nMSG a 1 1\r\nz\r\n")
    recorder.routes[b"1"] = route
    parser.feed(b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n")
    assert [event[0] for event in recorder.events] == ["unroutable"] * 3 + ["message"] * 2


def test_take_rest_gives_back_what_was_not_parsed() -> None:
    """A TLS upgrade takes what is left and throws it away: the parser starts anew with what comes next."""
    parser, recorder = fed(b"PING\r\nMSG a 1 5\r\nhe", b"ll")
    assert parser.take_rest() == b"MSG a 1 5\r\nhell"
    assert parser.waiting_bytes == 0
    assert parser.take_rest() == b""
    parser.feed(b"PONG\r\n")
    assert recorder.events == [("ping",), ("pong",)]
