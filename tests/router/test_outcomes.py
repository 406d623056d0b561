"""What a handler returns or raises, in the form that the router acts on."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import Headers, InvalidHeaderError, InvalidSubjectError
from beamline_trio.router._outcomes import (
    REASON_CHARACTERS_MAX,
    DeadLetter,
    InvalidOutcomeError,
    Publish,
    Reject,
    Reply,
    Retry,
    RetryLater,
    one_line,
    read_error,
    read_outcome,
)


def upper(value: object) -> bytes:
    return str(value).upper().encode()


@pytest.mark.parametrize(
    "returned, outcome",
    [
        (None, ()),
        ([], ()),
        ((), ()),
        (b"", (Reply(b""),)),
        (b"42", (Reply(b"42"),)),
        (Reply("a"), (Reply(b"A"),)),
        (Publish("x.y", "a"), (Publish("x.y", b"A"),)),
        ([Publish("x", b"a"), Reply("b"), Publish("y")], (Publish("x", b"a"), Reply(b"B"), Publish("y"))),
        ((Publish("x"),), (Publish("x"),)),
        (Retry(), Retry()),
        (Retry(5.0, "busy"), Retry(5.0, "busy")),
        (DeadLetter("no"), DeadLetter("no")),
        (DeadLetter("no", effects=[Reply("a")]), DeadLetter("no", effects=[Reply(b"A")])),
    ],
)
def test_an_outcome_is_effects_or_retry_or_dead_letter(returned: object, outcome: object) -> None:
    """Whatever a handler may return comes out as effects in order with bytes, or as what stands alone."""
    assert read_outcome(returned, upper) == outcome


@pytest.mark.parametrize("returned", [1, "text", {"a": 1}, bytearray(b"x"), [b"x"], [Retry()], [DeadLetter()], [None]])
def test_what_is_no_outcome_is_refused_by_name_of_its_type(returned: Any) -> None:
    """The error names the type that was returned and what may be, and has none of the value."""
    wrong = returned[0] if isinstance(returned, list) else returned
    with pytest.raises(InvalidOutcomeError, match=rf"a value of {type(wrong).__name__}\b.*Reply"):
        read_outcome(returned, upper)


def test_a_retry_that_is_a_policy_is_no_outcome() -> None:
    """What only a route can say is refused in an outcome, not ignored."""
    for policy in (Retry(max_deliver=2), Retry(delays_seconds=(1,)), Retry(jitter=0), Retry(ack_wait_seconds=1)):
        assert policy.is_policy
        with pytest.raises(InvalidOutcomeError, match="retry="):
            read_outcome(policy, upper)
    assert not Retry(1, "x").is_policy


def test_what_goes_with_a_dead_letter_is_an_effect() -> None:
    """Something else among its effects is refused as it is in a list."""
    wrong: Any = [Reply(b"a"), DeadLetter()]
    with pytest.raises(InvalidOutcomeError, match="a value of DeadLetter"):
        read_outcome(DeadLetter("no", effects=wrong), upper)


def test_an_effect_keeps_its_headers_and_what_confirms_it() -> None:
    """Encoding the payload changes nothing else; what is bytes already is the same object."""
    publish = Publish("x", "a", headers={"K": ["1", "2"]}, confirm="server")
    assert read_outcome(publish, upper) == (attrs.evolve(publish, payload=b"A"),)
    assert publish.headers == Headers({"K": ["1", "2"]})
    ready = Publish("x", b"a", confirm=None)
    outcome = read_outcome([ready], upper)
    assert isinstance(outcome, tuple)
    assert outcome[0] is ready


def test_the_exceptions_mean_their_outcomes() -> None:
    """Reject is a dead letter, RetryLater a retry, and any other exception is for the route to judge."""
    assert read_error(Reject("no such tenant")) == DeadLetter("no such tenant")
    assert read_error(RetryLater(2.5, "busy")) == Retry(2.5, "busy")
    assert read_error(RetryLater()) == Retry()
    assert read_error(ValueError("x")) is None


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: Publish("a b"), InvalidSubjectError, "cannot publish"),
        (lambda: Publish("a.*"), InvalidSubjectError, "wildcard"),
        (lambda: Publish("a", headers={"K": "a\r\nb"}), InvalidHeaderError, "line break"),
        (lambda: Reply(headers={"a:b": "c"}), InvalidHeaderError, "header name"),
        (lambda: Publish("a", confirm="maybe"), ValueError, "confirm is 'maybe'"),  # type: ignore[arg-type]
        (lambda: Retry(-1), ValueError, "delay_seconds is -1"),
        (lambda: Retry(float("nan")), ValueError, "delay_seconds is nan"),
        (lambda: Retry("1"), TypeError, "delay_seconds is '1'"),  # type: ignore[arg-type]
        (lambda: Retry(True), TypeError, "delay_seconds is True"),
        (lambda: RetryLater(1e9), ValueError, "a year"),
        (lambda: Retry(delays_seconds=()), ValueError, "delays_seconds is empty"),
        (lambda: Retry(delays_seconds=(1, -1)), ValueError, "delays_seconds is -1"),
        (lambda: Retry(jitter=1), ValueError, "jitter is 1"),
        (lambda: Retry(max_deliver=0), ValueError, "max_deliver is 0"),
        (lambda: Retry(max_deliver=True), ValueError, "max_deliver is True"),
        (lambda: Retry(ack_wait_seconds=-1), ValueError, "ack_wait_seconds is -1"),
    ],
)
def test_a_record_that_cannot_work_is_refused_where_it_is_made(make: Any, error: type[Exception], text: str) -> None:
    """The handler's line raises, with the value and the bound; nothing goes out."""
    with pytest.raises(error, match=text):
        make()


@given(st.text(st.characters()) | st.text(st.sampled_from("\r\n\t\x00\x85\u2028\ud800ab "), min_size=1))
def test_a_reason_is_always_fit_for_a_header(text: str) -> None:
    """One line of valid UTF-8 within the bound, whatever a handler says."""
    for reason in (Reject(text).reason, RetryLater(None, text).reason, DeadLetter(text).reason, Retry(0, text).reason):
        assert Headers({"Reason": reason}).get("Reason") == reason
        assert reason.encode().decode() == reason
        assert len(reason) <= REASON_CHARACTERS_MAX
        assert reason.isprintable()


def test_a_long_reason_is_cut_and_shows_it() -> None:
    """The beginning stays; the last character says that something is gone."""
    assert one_line("x" * 600) == "x" * 499 + "…"
    assert one_line("x" * 500) == "x" * 500
    assert one_line("a\n b", 3) == "a b"
