"""Ack subjects: both layouts, and nothing else."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import ProtocolError
from beamline_trio.jetstream import Metadata
from beamline_trio.jetstream._metadata import read_metadata, read_position

names = st.text(st.characters(exclude_characters=".*> \t\r\n\f/\\", exclude_categories=["Cs", "Cc"]), min_size=1)
numbers = st.integers(0, 2**63)


@given(names, names, st.tuples(numbers, numbers, numbers, numbers, numbers), st.booleans(), names, st.lists(names))
def test_both_layouts(
    stream: str, consumer: str, five: tuple[int, int, int, int, int], new: bool, domain: str, more: list[str]
) -> None:
    """Nine tokens, or eleven and more with domain and account: the same facts."""
    rest = ".".join([stream, consumer, *map(str, five)])
    reply = f"$JS.ACK.{domain}.HASH.{'.'.join([rest, *more])}" if new else f"$JS.ACK.{rest}"
    metadata = read_metadata(reply.encode())
    assert read_position(reply.encode()) == (stream, five[1])
    assert metadata == Metadata(
        stream=stream,
        consumer=consumer,
        delivered=five[0],
        stream_sequence=five[1],
        consumer_sequence=five[2],
        timestamp_ns=five[3],
        pending=five[4],
        domain="" if not new or domain == "_" else domain,
    )


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"_INBOX.a.1",
        b"$JS.ACK.S.c.1.1.1.1",
        b"$JS.ACK.S.c.1.1.1.1.0.0",
        b"$JS.ACK.S.c.1.x.1.1.0",
        b"$JS.ACK.S.c.1.-1.1.1.0",
        b"$JS.ACK.S.c.1." + b"1" * 21 + b".1.1.0",
        b"$JS.NAK.S.c.1.1.1.1.0",
        b"$JS.ACK.d.h.S.c.1..1.1.0",
    ],
)
def test_what_is_no_ack_subject_has_no_position(reply: bytes) -> None:
    """Another count of tokens, another beginning, or no number where the sequence is."""
    with pytest.raises(ProtocolError):
        read_position(reply)


def test_the_time_of_a_message() -> None:
    """To the microsecond as a time, to the nanosecond as a number."""
    metadata = read_metadata(b"$JS.ACK.hub.NUmM6cRx.T.c.1.1.1.1795316062024991907.0")
    assert metadata.timestamp_ns == 1795316062024991907
    assert metadata.timestamp == datetime.datetime(2026, 11, 22, 2, 54, 22, 24991, datetime.UTC)
    assert metadata.domain == "hub"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"_INBOX.a.1",
        b"$JS.ACK.S.c.1.1.1.1",
        b"$JS.ACK.S.c.1.1.1.1.0.0",
        b"$JS.ACK.S.c.x.1.1.1.0",
        b"$JS.ACK.S.c.-1.1.1.1.0",
        b"$JS.NAK.S.c.1.1.1.1.0",
        b"$JS.ACK.d.h.S.c.1.1.1.1.x",
    ],
)
def test_anything_else_is_no_jetstream(reply: bytes) -> None:
    """A subject of neither layout is an error, not a guess."""
    with pytest.raises(ProtocolError, match="no ack subject"):
        read_metadata(reply)
