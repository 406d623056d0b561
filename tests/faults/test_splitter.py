"""Laws of the frame splitter: at whatever points a stream is cut, the same frames come out, and no byte is lost."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.faults._splitter import (
    HEAD_BYTES_MAX,
    Frame,
    Piece,
    Splitter,
    split_to_client,
    split_to_server,
)

MakeSplitter = Callable[[], Splitter]

_WORD = rb"[^ \t\r\n]+"
_GAP = rb"[ \t]+"
_LINE = rb"[ \t]*\r?\n"
# How many words, with the sizes at their end, a line of the reference has.
_SHAPES = {
    "server": {"SUB": ((2, 3), 0), "UNSUB": ((1, 2), 0), "PUB": ((2, 3), 1), "HPUB": ((3, 4), 2)},
    "client": {"MSG": ((3, 4), 1), "HMSG": ((4, 5), 2)},
}
_PLAIN = {"server": ("CONNECT", "PING", "PONG"), "client": ("INFO", "PING", "PONG", r"\+OK", "-ERR")}


def reference(data: bytes, side: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Whole frames from the front of a whole buffer as (verb, bytes), and the rest, by regular expressions."""
    frames: list[tuple[bytes, bytes]] = []
    while True:
        found = _whole_frame(data, side)
        if found is None:
            return frames, data
        verb, size = found
        frames.append((verb, data[:size]))
        data = data[size:]


def _whole_frame(data: bytes, side: str) -> tuple[bytes, int] | None:
    for plain in _PLAIN[side]:
        match = re.match(rb"(?i)(%b)(?=[ \t\r\n])[^\n]*\n" % plain.encode(), data)
        if match:
            return match[1].upper(), match.end()
    for verb, (counts, sizes) in _SHAPES[side].items():
        for count in counts:
            words = _GAP.join([_WORD] * (count - sizes) + [rb"([0-9]{1,9})"] * sizes)
            match = re.match(rb"(?i)%b%b%b%b" % (verb.encode(), _GAP, words, _LINE), data)
            if not match:
                continue
            numbers = [int(number) for number in match.groups()]
            total = numbers[-1] + 2 if numbers else 0
            body = data[match.end() : match.end() + total]
            if len(body) == total and body[-2:] in (b"", b"\r\n") and numbers == sorted(numbers):
                return verb.encode(), match.end() + total
    return None


words = st.binary(min_size=1, max_size=6).filter(lambda word: not re.search(rb"[ \t\r\n]", word))
words |= st.sampled_from([b"$JS.ACK.S.c.1", b"$JS.ACK."])
gaps = st.sampled_from([b" ", b"  ", b"\t", b" \t "])
ends = st.sampled_from([b"\r\n", b" \r\n", b"\n"])


@st.composite
def cases(draw: st.DrawFn, verb: str) -> bytes:
    """The verb in any case."""
    return bytes(draw(st.sampled_from([ord(char.lower()), ord(char)])) for char in verb)


@st.composite
def frames(draw: st.DrawFn, side: str) -> bytes:
    shapes, plain = _SHAPES[side], [verb.lstrip("\\") for verb in _PLAIN[side]]
    verb = draw(st.sampled_from([*shapes, *shapes, *plain]))
    if verb in plain:
        text = draw(st.sampled_from([b"", b" ", b"\t{}", b" 'what a text'", b" 7 8", b' {"a":"PUB x 0"}']))
        return draw(cases(verb)) + text + draw(st.sampled_from([b"\r\n", b"\n"]))
    counts, sizes = shapes[verb]
    line = draw(cases(verb))
    for _ in range(draw(st.sampled_from(counts)) - sizes):
        line += draw(gaps) + draw(words)
    payload = draw(st.one_of(st.binary(max_size=20), st.sampled_from([b"PING\r\n", b"\r\n", b"PUB a 1\r\nx", b"-NAK"])))
    if not sizes:
        return line + draw(ends)
    if sizes == 2:
        line += draw(gaps) + str(draw(st.integers(0, len(payload)))).encode()
    line += draw(gaps) + draw(st.sampled_from([b"", b"00"])) + str(len(payload)).encode()
    return line + draw(ends) + payload + b"\r\n"


@st.composite
def streams(draw: st.DrawFn, side: str, hostile: bool) -> bytes:
    data = b"".join(draw(st.lists(frames(side), max_size=6)))
    if hostile and data:
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(data)))
            until = draw(st.integers(at, min(len(data), at + 3)))
            data = data[:at] + draw(st.binary(max_size=4)) + data[until:]
    return data


def cut(data: bytes, points: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(points), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def run(splitter: Splitter, chunks: Iterable[bytes], *, release: bool = False) -> tuple[list[Piece], bytes]:
    """Every piece, and all bytes that came out, in order."""
    pieces: list[Piece] = []
    out = b""
    for chunk in chunks:
        new = splitter.feed(chunk)
        pieces += new
        out += b"".join(piece.data for piece in new)
        if release:
            out += splitter.release()
    return pieces, out + splitter.release()


def whole(pieces: list[Piece]) -> list[tuple[bytes, bytes]]:
    """The frames that have come to their end."""
    done: list[tuple[bytes, bytes]] = []
    data = b""
    for piece in pieces:
        if piece.frame is None:
            break
        data = piece.data if piece.first else data + piece.data
        if piece.last:
            done.append((piece.frame.verb, data))
    return done


@pytest.mark.parametrize("side,make", [("server", split_to_server), ("client", split_to_client)])
@given(data=st.data())
def test_at_every_point_the_same_frames(side: str, make: MakeSplitter, data: st.DataObject) -> None:
    """Frames that are cut in two anywhere come out as those of the whole, which are those of the reference."""
    stream = data.draw(streams(side, hostile=False))
    expected, rest = reference(stream, side)
    assert rest == b""
    for point in range(len(stream) + 1):
        splitter = make()
        pieces, out = run(splitter, cut(stream, [point]))
        assert out == stream
        assert whole(pieces) == expected
        assert not splitter.lost
        assert not splitter.inside


@pytest.mark.parametrize("side,make", [("server", split_to_server), ("client", split_to_client)])
@given(data=st.data())
def test_hostile_bytes_pass_unchanged(side: str, make: MakeSplitter, data: st.DataObject) -> None:
    """Damaged, in any chunks, heads released or not: all bytes come out in order, and the frames of the reference."""
    stream = data.draw(streams(side, hostile=True))
    points = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    expected, rest = reference(stream, side)
    for release in (False, True):
        for chunks in ([stream], cut(stream, points), [bytes([byte]) for byte in stream]):
            splitter = make()
            pieces, out = run(splitter, chunks, release=release)
            assert out == stream
            if not release:
                assert whole(pieces) == expected
            assert splitter.lost or len(expected) == sum(piece.last for piece in pieces)
    if not rest:
        assert not splitter.lost


@given(data=st.data(), text=st.binary(max_size=60))
def test_any_bytes_at_all_come_out(data: st.DataObject, text: bytes) -> None:
    """Whatever comes, in whatever chunks, comes out."""
    for make in (split_to_server, split_to_client):
        points = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
        assert run(make(), cut(text, points), release=data.draw(st.booleans()))[1] == text


@given(data=st.data())
def test_a_released_head_is_told(data: st.DataObject) -> None:
    """Who passes on what has come of a head gets the rest of it as a piece that is `begun`, and only then."""
    stream = data.draw(frames("server"))
    point = data.draw(st.integers(0, len(stream)))
    splitter = split_to_server()
    before = splitter.feed(stream[:point])
    released = splitter.release()
    assert splitter.inside is (0 < point < len(stream))
    pieces = before + splitter.feed(stream[point:])
    assert [piece.begun for piece in pieces if piece.first] == [bool(released)]
    assert (
        b"".join(piece.data for piece in before) + released + b"".join(piece.data for piece in pieces[len(before) :])
        == stream
    )


@pytest.mark.parametrize(
    "frame,body",
    [
        (b"PUB $JS.ACK.S.c.1 0\r\n\r\n", b""),
        (b"PUB $JS.ACK.S.c.1 _INBOX.1 2\r\n+A\r\n", b"+A"),
        (b'PUB $JS.ACK.S.c.1 16\r\n-NAK {"delay":9}\r\n', b"-NAK"),
        (b"HPUB $JS.ACK.S.c.1 12 12\r\nNATS/1.0\r\n\r\n\r\n", b""),
        (b"HPUB $JS.ACK.S.c.1 _INBOX.1 12 17\r\nNATS/1.0\r\n\r\n+TERM\r\n", b"+TER"),
        (b"PUB $JS.ACKS.S.c.1 4\r\n-NAK\r\n", None),
        (b"PUB orders 4\r\n-NAK\r\n", None),
        (b"HPUB $JS.ACK.S.c.1 65530 65534\r\n%b-NAK\r\n" % bytes(65_530), None),
    ],
)
def test_a_body_that_tells_belongs_to_the_head(frame: bytes, body: bytes | None) -> None:
    """At every point that it may be cut at: the first bytes of an ack's payload are known with its subject.

    Unless headers of 64 KiB are in front of them, which are not kept.
    """
    points = range(len(frame)) if len(frame) < 100 else [10, 30, 32, 40_000, len(frame) - 3]
    for point in points:
        splitter = split_to_server()
        pieces, out = run(splitter, cut(frame, [point]))
        assert out == frame
        assert not splitter.lost
        assert [piece.frame.body for piece in pieces if piece.frame is not None and piece.first] == [body]


def test_fields_are_those_of_the_line() -> None:
    """Runs of spaces and tabs part them, in any case of the verb."""
    [piece] = split_to_server().feed(b"sub \t orders.* workers   7 \r\n")
    assert piece.frame == Frame(b"SUB", (b"orders.*", b"workers", b"7"))
    pieces = split_to_client().feed(b"HMSG  a 1 inbox.7 12  13\r\nNATS/1.0\r\n\r\nx\r\n")
    assert pieces[0].frame == Frame(b"HMSG", (b"a", b"1", b"inbox.7", b"12", b"13"))


@pytest.mark.parametrize(
    "text",
    [
        b"HELLO\r\n",
        b"PUBLISH a 1\r\n",
        b"PUB\r\n",
        b"PUB a\r\n",
        b"PUB a b c 1\r\n",
        b"PUB a -1\r\n",
        b"PUB a 1_0\r\n",
        b"PUB a \xb2\r\n",
        b"PUB a 1000000000\r\n",
        b"PUB a 1\r\nxyz",
        b"PUB a 1\r\nx\rz",
        b"HPUB a 5 4\r\n",
        b"SUB a\r\n",
        b"UNSUB\r\n",
        b"UNSUB 1 2 3\r\n",
        b"PUB $JS.ACK.S.c.1 4\r\n-NAKx\r\n",
        b"SUB a b c d\r\n",
        b"INFO {}\r\n",
        b"\r\n",
        b" PING\r\n",
    ],
)
def test_what_is_no_frame_ends_the_splitting(text: bytes) -> None:
    """A wrong verb, count of fields, size, or end of a payload: the rest is handed on as it is, frames or not."""
    splitter = split_to_server()
    splitter.feed(b"PING\r\n")
    pieces = splitter.feed(text + b"PING\r\n")
    assert splitter.lost
    assert pieces[-1].frame is None
    assert splitter.feed(b"PING\r\n") == [Piece(None, b"PING\r\n", first=True, last=False)]


@pytest.mark.parametrize("chunk", [1_000, HEAD_BYTES_MAX * 3])
def test_no_line_is_kept_beyond_the_bound(chunk: int) -> None:
    """A line that must be known whole and does not end is handed on, at the latest when it reaches the bound."""
    splitter = split_to_server()
    line = b"PUB " + b"a" * HEAD_BYTES_MAX * 2
    given = out = 0
    for start in range(0, len(line), chunk):
        part = line[start : start + chunk]
        given += len(part)
        out += sum(len(piece.data) for piece in splitter.feed(part))
        assert given - out < HEAD_BYTES_MAX
    assert splitter.lost


def test_payloads_and_long_lines_are_not_kept() -> None:
    """A payload, an INFO of any length: handed on as they come, though their end is far."""
    splitter = split_to_client()
    assert splitter.feed(b"MSG a 1 900000000\r\n")[0].data == b"MSG a 1 900000000\r\n"
    assert [piece.data for piece in splitter.feed(b"x" * 1_000_000)] == [b"x" * 1_000_000]
    splitter = split_to_client()
    assert b"".join(piece.data for piece in splitter.feed(b"INFO {")) == b"INFO {"
    assert [piece.data for piece in splitter.feed(b" " * 1_000_000)] == [b" " * 1_000_000]
    assert not splitter.lost
