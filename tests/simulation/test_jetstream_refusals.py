"""What the simulated JetStream does not model is refused by name and noted, never passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ._jetstream_rig import JetStreamRig


@pytest.fixture
def rig() -> JetStreamRig:
    rig = JetStreamRig()
    rig.stream("S")
    return rig


def check_not_modelled(rig: JetStreamRig, reply: dict[str, Any], what: str) -> None:
    assert reply["error"]["code"] == 501
    assert what in reply["error"]["description"]
    assert "not modelled by the simulation" in reply["error"]["description"]
    assert rig.trace.entries[-1][1] in ("js_not_modelled", "js_unknown_request")


@pytest.mark.parametrize(
    "field, value",
    [
        ("mirror", {"name": "S", "external": {"api": "$JS.d.API"}}),
        ("sources", [{"name": "S", "subject_transforms": [{"src": "a", "dest": "b"}]}]),
        ("placement", {"cluster": "c"}),
        ("subject_transform", {"src": "a", "dest": "b"}),
        ("republish", {"src": "a", "dest": "b"}),
        ("allow_msg_counter", True),
        ("allow_atomic", True),
        ("allow_msg_schedules", True),
        ("allow_batched", True),
        ("persist_mode", "async"),
    ],
)
def test_features_of_streams(rig: JetStreamRig, field: str, value: object) -> None:
    """A stream with a feature that is not there is not made."""
    reply = rig.ask("STREAM.CREATE.T", {"name": "T", field: value})
    check_not_modelled(rig, reply, field)
    assert rig.ask("STREAM.NAMES")["streams"] == ["S"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("deliver_subject", "d"),
        ("deliver_group", "g"),
        ("sample_freq", "100"),
        ("direct", True),
        ("pause_until", "2030-01-01T00:00:00Z"),
        ("priority_groups", ["a"]),
        ("priority_policy", "overflow"),
        ("priority_timeout", 5),
        ("replay_policy", "original"),
    ],
)
def test_features_of_consumers(rig: JetStreamRig, field: str, value: object) -> None:
    """A consumer with a feature that is not there is not made."""
    reply = rig.ask("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {"name": "C", field: value}})
    check_not_modelled(rig, reply, field)
    assert rig.ask("CONSUMER.NAMES.S")["consumers"] == []


@pytest.mark.parametrize("request_", ["STREAM.SNAPSHOT.S", "CONSUMER.PAUSE.S.C", "META.LEADER.STEPDOWN"])
def test_requests(rig: JetStreamRig, request_: str) -> None:
    """A request that the server knows and the model does not gets an answer that says so."""
    check_not_modelled(rig, rig.ask(request_), request_)
    assert rig.ask("INFO")["api"]["errors"] == 1


@pytest.mark.parametrize("body", [{"batch": 2, "seq": 1}, {"multi_last": ["S.>"]}])
def test_direct_gets_of_several_messages(rig: JetStreamRig, body: dict[str, Any]) -> None:
    """A direct get that would have several answers has one, which says so, and it is noted."""
    rig.stream("D", allow_direct=True)
    (frame,) = rig.frames("$JS.API.DIRECT.GET.D", json.dumps(body).encode())
    assert b"NATS/1.0 501 a direct get of several messages is not modelled by the simulation" in frame
    assert rig.trace.entries[-1][1] == "js_not_modelled"


def test_a_request_that_nobody_knows_is_noted(rig: JetStreamRig) -> None:
    """The real server does not answer it either."""
    assert rig.ask("STREAM.WHAT.S") == {}
    assert rig.trace.entries[-1][2]["what"] == "STREAM.WHAT.S"


@pytest.mark.parametrize("header", ["Nats-Incr", "Nats-Batch-Id", "Nats-Schedule"])
def test_headers(rig: JetStreamRig, header: str) -> None:
    """A message with a header that means something to the server is not stored as if it did not."""
    reply = rig.request("S.a", b"", f"NATS/1.0\r\n{header}: 1\r\n\r\n".encode())
    assert reply["error"]["code"] == 501
    assert header in reply["error"]["description"]
    assert rig.view("S").messages == ()


def test_an_api_level_that_is_not_there(rig: JetStreamRig) -> None:
    """A request that needs a newer server is refused."""
    reply = rig.request("$JS.API.STREAM.INFO.S", b"", b"NATS/1.0\r\nNats-Required-Api-Level: 6\r\n\r\n")
    assert reply["error"]["err_code"] == 10185
    reply = rig.request("$JS.API.STREAM.INFO.S", b"", b"NATS/1.0\r\nNats-Required-Api-Level: 5\r\n\r\n")
    assert "error" not in reply
