"""Records and their JSON: durations, times, nested records, and what this version does not know."""

from __future__ import annotations

import datetime
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.jetstream import (
    AccountInfo,
    ConsumerConfig,
    ConsumerInfo,
    StreamConfig,
    StreamInfo,
    StreamSource,
    SubjectTransform,
)
from beamline_trio.jetstream._wire import decode_json, decode_record, decode_time, encode_record, encode_time
from beamline_trio.protocol import ProtocolError

UTC = datetime.UTC

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_durations_are_nanoseconds() -> None:
    """Seconds here, whole nanoseconds there, also in lists."""
    config = ConsumerConfig(durable_name="c", ack_wait_seconds=1.5, backoff_seconds=[0.1, 2])
    assert encode_record(config) == {
        "durable_name": "c",
        "ack_policy": "explicit",
        "ack_wait": 1_500_000_000,
        "backoff": [100_000_000, 2_000_000_000],
    }
    assert decode_record(ConsumerConfig, encode_record(config)) == attrs.evolve(config, backoff_seconds=(0.1, 2.0))


@given(st.floats(min_value=0, max_value=10**6))
def test_a_duration_survives(seconds: float) -> None:
    """To the nanosecond."""
    wire = encode_record(StreamConfig(name="S", max_age_seconds=seconds))
    back = decode_record(StreamConfig, wire)
    assert back.max_age_seconds == pytest.approx(seconds, rel=1e-12, abs=1e-9)
    assert encode_record(back) == wire


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-11-29T02:02:18.516992331Z", datetime.datetime(2026, 11, 29, 2, 2, 18, 516992, UTC)),
        ("2026-11-29T02:02:18Z", datetime.datetime(2026, 11, 29, 2, 2, 18, 0, UTC)),
        ("2026-11-29T02:02:18.5+02:00", datetime.datetime(2026, 11, 29, 0, 2, 18, 500000, UTC)),
        ("2026-11-29 02:02:18.9 +0000 UTC", datetime.datetime(2026, 11, 29, 2, 2, 18, 900000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("2026-13-29T02:02:18Z", None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_times(text: object, expected: datetime.datetime | None) -> None:
    """RFC3339 with any fraction, Go's older form, and none where the server has none."""
    assert decode_time(text) == expected


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives(when: datetime.datetime) -> None:
    """To the microsecond; only Go's zero time is no time."""
    assert decode_time(encode_time(when)) == (None if encode_time(when) == "0001-01-01T00:00:00Z" else when)


def test_a_time_needs_a_zone() -> None:
    """One without would mean another moment on each machine."""
    with pytest.raises(ValueError, match="time zone"):
        encode_time(datetime.datetime(2026, 1, 1))


def test_records_in_records() -> None:
    """Sources and transforms go down to the server's names and come back."""
    source = StreamSource(name="A", subject_transforms=(SubjectTransform(src="a.>", dest="b.>"),))
    config = StreamConfig(name="S", sources=(source,), mirror=StreamSource(name="M"))
    wire = encode_record(config)
    assert wire["sources"] == [{"name": "A", "subject_transforms": [{"src": "a.>", "dest": "b.>"}]}]
    assert decode_record(StreamConfig, wire) == config


@given(st.dictionaries(st.sampled_from(["new_feature", "another", "x"]), json_values.filter(lambda v: v is not None)))
def test_what_is_not_known_is_kept(unknown: dict[str, Any]) -> None:
    """A newer server's keys stay beside the known ones, and an update sends them back."""
    wire = {"name": "S", "max_msgs": 3, **unknown}
    config = decode_record(StreamConfig, wire)
    assert dict(config.extra) == unknown
    assert encode_record(attrs.evolve(config, max_msgs=4)) == {**wire, "max_msgs": 4}


@given(st.sampled_from([StreamInfo, ConsumerInfo, AccountInfo, StreamConfig, ConsumerConfig]), st.data())
def test_no_answer_breaks_the_reading(kind: type[Any], data: st.DataObject) -> None:
    """Whatever a server writes under a known name: a value of the wrong kind is the default, and nothing is raised."""
    names = [field.name.removesuffix("_seconds") for field in attrs.fields(kind)]
    raw = data.draw(st.dictionaries(st.sampled_from(names), json_values))
    decode_record(kind, raw)
    decode_record(kind, json.loads(json.dumps(raw)))
    decode_record(kind, data.draw(json_values))


@pytest.mark.parametrize("body", [b"", b"+OK", b"[]", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_object(body: bytes) -> None:
    """It is a typed error with the first of its bytes."""
    with pytest.raises(ProtocolError, match="JetStream API"):
        decode_json(body)
