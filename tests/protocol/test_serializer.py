"""What we send: each frame is one operation, read back by a small reading of the client's half of the protocol."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import (
    PING,
    PONG,
    PUBLISH_FRAME,
    control_line_size,
    encode_headers,
    encode_pattern,
    encode_publish,
    encode_queue_group,
    encode_subject,
    encode_subscribe,
    encode_unsubscribe,
    payload_size,
    publish_prefix,
)

_tokens = st.text(st.characters(exclude_characters=" \t\r\n\f.*>", exclude_categories=["Cs"]), min_size=1, max_size=5)
subjects = st.lists(_tokens, min_size=1, max_size=4).map(".".join).map(encode_subject)
patterns = st.lists(st.one_of(_tokens, st.just("*")), min_size=1, max_size=4).map(".".join).map(encode_pattern)
queue_groups = st.none() | _tokens.map(encode_queue_group)
payloads = st.one_of(st.binary(max_size=30), st.just(b"\r\nPING\r\n"), st.just(b""))
headers: st.SearchStrategy[dict[str, str | list[str]] | None] = (
    st.none() | st.just({}) | st.just({"Trace": ["a", "b"], "X": "größe"})
)
sids = st.integers(1, 10**9).map(lambda n: b"%d" % n)


def read(frame: bytes) -> tuple[bytes | None, ...]:
    """One operation of a client, as a server reads it: verb, fields, and for a publish its header block and payload."""
    line, _, rest = frame.partition(b"\r\n")
    verb, *fields = re.split(rb"[ \t]+", line)
    if verb not in (b"PUB", b"HPUB"):
        assert rest == b""
        return (verb, *fields)
    size = int(fields.pop())
    header_size = int(fields.pop()) if verb == b"HPUB" else 0
    subject, *reply = fields
    assert len(reply) <= 1
    assert rest[size:] == b"\r\n"
    header = rest[:header_size] if verb == b"HPUB" else None
    return verb, subject, reply[0] if reply else None, header, rest[header_size:size]


@given(subjects, payloads, st.none() | subjects, headers)
def test_a_publish(
    subject: bytes, payload: bytes, reply: bytes | None, source: dict[str, str | list[str]] | None
) -> None:
    """PUB, or HPUB when there are headers, even no single one; sizes are bytes, and #total counts both."""
    header = None if source is None else encode_headers(source)
    frame = encode_publish(subject, payload, reply, header)
    verb = b"PUB" if header is None else b"HPUB"
    assert read(frame) == (verb, subject, reply, header, payload)
    assert payload_size(frame) == len(header or b"") + len(payload)
    assert frame[control_line_size(frame) :].startswith(b"\r\n")
    assert b"\r\n" not in frame[: control_line_size(frame)]


@given(subjects, payloads)
def test_the_fast_form_is_the_same_frame(subject: bytes, payload: bytes) -> None:
    """A cached prefix with PUBLISH_FRAME gives the very bytes of encode_publish."""
    assert PUBLISH_FRAME % (publish_prefix(subject), len(payload), payload) == encode_publish(subject, payload)


@given(patterns, sids, queue_groups)
def test_a_subscribe(pattern: bytes, sid: bytes, queue_group: bytes | None) -> None:
    """SUB has the queue group between subject and sid, if there is one."""
    expected = (b"SUB", pattern, sid) if queue_group is None else (b"SUB", pattern, queue_group, sid)
    frame = encode_subscribe(pattern, sid, queue_group)
    assert read(frame) == expected


@given(sids, st.none() | st.integers(0, 10**9))
def test_an_unsubscribe(sid: bytes, after: int | None) -> None:
    """UNSUB has the count if there is one; zero is a count too."""
    frame = encode_unsubscribe(sid, after)
    assert read(frame) == ((b"UNSUB", sid) if after is None else (b"UNSUB", sid, b"%d" % after))


@pytest.mark.parametrize(
    "frame, wire",
    [
        (encode_publish(b"a", b""), b"PUB a 0\r\n\r\n"),
        (encode_publish(b"a", b"hello"), b"PUB a 5\r\nhello\r\n"),
        (encode_publish(b"a", b"hello", b"r"), b"PUB a r 5\r\nhello\r\n"),
        (encode_publish(b"a", b"hi", b"r", b"NATS/1.0\r\n\r\n"), b"HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        (encode_publish("ü".encode(), "ü".encode()), b"PUB \xc3\xbc 2\r\n\xc3\xbc\r\n"),
        (encode_subscribe(b"a.>", b"7"), b"SUB a.> 7\r\n"),
        (encode_subscribe(b"a.>", b"7", b"q"), b"SUB a.> q 7\r\n"),
        (encode_unsubscribe(b"7"), b"UNSUB 7\r\n"),
        (encode_unsubscribe(b"7", 3), b"UNSUB 7 3\r\n"),
        (PING, b"PING\r\n"),
        (PONG, b"PONG\r\n"),
    ],
)
def test_frames_byte_by_byte(frame: bytes, wire: bytes) -> None:
    """Each operation is these bytes."""
    assert frame == wire
