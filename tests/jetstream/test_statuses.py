"""What the status messages of pulls ask for, and what a pull request says."""

from __future__ import annotations

import json
import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio.jetstream import ConsumerDeletedError, PullRefusedError
from beamline_trio.jetstream._pull_requests import PullRequest, expires_from_deadline, heartbeat_of
from beamline_trio.jetstream._statuses import Verdict, read_status


@pytest.mark.parametrize(
    "line, verdict",
    [
        ("100 Idle Heartbeat", Verdict.ALIVE),
        ("100", Verdict.ALIVE),
        ("", Verdict.ALIVE),
        ("404 No Messages", Verdict.ENDED),
        ("408 Request Timeout", Verdict.ENDED),
        ("408 Interest Expired", Verdict.ENDED),
        ("408 Requests Pending", Verdict.ENDED),
        ("408", Verdict.ENDED),
        ("409 Message Size Exceeds MaxBytes", Verdict.ENDED),
        ("409 Batch Completed", Verdict.ENDED),
        ("409 Leadership Change", Verdict.AGAIN),
        ("409 Server Shutdown", Verdict.AGAIN),
        ("409 Exceeded MaxWaiting", Verdict.AGAIN),
        ("429 Too Many Requests", Verdict.AGAIN),
        ("500 something", Verdict.AGAIN),
        ("503", Verdict.DOUBT),
        ("503 No Responders", Verdict.DOUBT),
        ("400 Bad Request - heartbeat value too large", Verdict.FAILED),
        ("409 Exceeded MaxRequestBatch of 5", Verdict.FAILED),
        ("409 Exceeded MaxRequestExpires of 5s", Verdict.FAILED),
        ("409 Consumer Deleted", Verdict.FAILED),
        ("409 Consumer is push based", Verdict.FAILED),
        ("412 Required Api Level", Verdict.FAILED),
        ("423 Nats-Pin-Id mismatch", Verdict.FAILED),
    ],
)
def test_statuses(line: str, verdict: Verdict) -> None:
    """Each status of the server, in any case of its words, asks for one thing."""
    for text in (line, line.lower()):
        status = read_status(f"NATS/1.0 {text}".rstrip().encode() + b"\r\n\r\n")
        assert status.verdict is verdict
        assert (status.error is not None) is (verdict is Verdict.FAILED)
    if "Deleted" in line:
        assert isinstance(status.error, ConsumerDeletedError)
    elif verdict is Verdict.FAILED:
        assert isinstance(status.error, PullRefusedError)
        assert str(status.error.status) == line[:3]


@pytest.mark.parametrize("value, expected", [("7", 7), ("0", 0), ("-1", None), ("x", None), ("", None)])
def test_what_will_not_come(value: str, expected: int | None) -> None:
    """The count of messages that the pull did not give, where the server says one."""
    status = read_status(b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: %b\r\n\r\n" % value.encode())
    assert status.pending_messages == expected


@given(st.floats(0.001, 1e6))
def test_a_heartbeat_is_at_most_half_of_the_pull(expires: float) -> None:
    """To the nanosecond, or the server refuses the pull; between 0.5 and 5 s, or there is none."""
    body = json.loads(PullRequest(1, expires, heartbeat_of(expires)).body())
    heartbeat = body.get("idle_heartbeat", 0)
    assert 2 * heartbeat <= body["expires"]
    assert (heartbeat > 0) is (expires >= 1)
    assert heartbeat <= 5_000_000_000


def test_a_pull_that_waits_for_nothing() -> None:
    """No time is `no_wait`, without a heartbeat."""
    assert json.loads(PullRequest(5, 0.0, 0.0, 1000).body()) == {"batch": 5, "no_wait": True, "max_bytes": 1000}


@pytest.mark.parametrize(
    "deadline, expires", [(math.inf, 30), (100, 30), (30.25, 30), (10, 9.75), (1, 0.9), (0.01, 0.01), (-1, 0.01)]
)
async def test_the_time_that_the_caller_has(deadline: float, expires: float, autojump_clock: MockClock) -> None:
    """Less a tenth, at most a quarter of a second, so that the answer comes before the deadline; never above 30 s."""
    with trio.CancelScope(deadline=trio.current_time() + deadline):  # noqa: ASYNC100  # its deadline is what counts
        assert expires_from_deadline() == pytest.approx(expires)
