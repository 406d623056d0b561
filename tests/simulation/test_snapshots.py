"""A stream's state as bytes: what is unpacked is what was packed, whatever is in it."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.simulation._server._jetstream._clustered._snapshots import pack_stream, unpack_stream
from beamline_trio.simulation._server._jetstream._duplicates import Duplicates
from beamline_trio.simulation._server._jetstream._messages import Messages, StoredMessage
from beamline_trio.simulation._server._jetstream._stream_config import StreamConfig

# Above what a double keeps exactly, as today's nanoseconds are.
NOW = 1_795_000_000_123_456_789
BYTES = st.binary(max_size=12)
STORES = st.tuples(st.sampled_from((b"s.a", b"s.b", b"s")), BYTES, BYTES, st.integers(-1, 9))
IDS = st.lists(st.binary(min_size=1, max_size=40), unique=True, max_size=6)


def fields_of(message: StoredMessage) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in StoredMessage.__slots__)


def packed(messages: Messages, duplicates: Duplicates) -> tuple[StreamConfig, Messages, Duplicates]:
    return unpack_stream(pack_stream(messages.config, messages, duplicates))


@given(st.lists(STORES, max_size=8), st.sets(st.integers(1, 8)), st.integers(0, 3))
def test_messages_and_their_place(stores: list[tuple[bytes, bytes, bytes, int]], removed: set[int], first: int) -> None:
    config = StreamConfig(name="S", subjects=("s.>",), first_seq=first, max_msgs_per_subject=5)
    messages = Messages(config)
    for number, (subject, header, payload, ttl) in enumerate(stores):
        messages.store(subject, header, payload, NOW + number, ttl)
    for sequence in removed:
        messages.remove(sequence)
    found_config, found, _ = packed(messages, Duplicates())
    assert found_config == config
    assert [fields_of(one) for one in found] == [fields_of(one) for one in messages]
    assert (found.place(), found.state(), found.bytes) == (messages.place(), messages.state(), messages.bytes)
    assert found.next_expiry() == messages.next_expiry()
    assert found.subjects == messages.subjects


@given(IDS, BYTES)
def test_ids_beside_messages(ids: list[bytes], payload: bytes) -> None:
    messages, duplicates = Messages(StreamConfig(name="S", subjects=("s.>",))), Duplicates()
    for number, identity in enumerate(ids):
        messages.store(b"s.a", b"", payload, NOW, 0)
        duplicates.remember(identity, number + 1, NOW + number, 0)
    _, found, known = packed(messages, duplicates)
    assert list(known) == list(duplicates)
    assert known.last_id == duplicates.last_id
    assert [one.payload for one in found] == [payload] * len(ids)
    known.cut((0, b""))
    assert list(known) == []


def test_every_field_of_the_configuration() -> None:
    config = attrs.evolve(StreamConfig(), name="S", subjects=("s.*", "t.>"), max_msgs=7, retention="workqueue")
    assert packed(Messages(config), Duplicates())[0] == config
