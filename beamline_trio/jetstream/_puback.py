"""What a stream answers to a publish, and what a publish asks of it in its headers.

Must not send.
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from ..connection import OperationTimeoutError, Outcome
from ..protocol import Headers, HeadersInput, ProtocolError, check_number, check_text, encode_headers, frozen
from ._errors import api_error
from ._wire import decode_json

MESSAGE_ID: Final = "Nats-Msg-Id"


@frozen
class PubAck:
    """A stream has stored a message, or (`outcome` is SKIPPED, the sequence 0) it was not sent because the client fails
    open.

    Attributes:
        stream: which stream.
        sequence: where in it.
        duplicate: it was there already, by its message id.
        domain: the domain of the stream.
        outcome: SENT or SKIPPED.
    """

    stream: str
    sequence: int
    duplicate: bool = False
    domain: str = ""
    outcome: Outcome = Outcome.SENT


SKIPPED: Final = PubAck("", 0, outcome=Outcome.SKIPPED)


def check_stored(subject: str, outcome: Outcome) -> None:
    """Where something hangs on a publish, SKIPPED is no success: a client that fails open says so of every failure.

    Raises:
        OperationTimeoutError: it is SKIPPED.
    """
    if outcome is Outcome.SKIPPED:
        raise OperationTimeoutError(
            f"the publish to {subject} was skipped, since the client has fail_open; it may or may not have been stored"
        )


@frozen
class Expectations:
    """What a publish asks of its stream; the arguments of `JetStream.publish` of these names."""

    message_id: str | None = None
    expected_stream: str | None = None
    expected_last_sequence: int | None = None
    expected_last_subject_sequence: int | None = None
    expected_last_message_id: str | None = None
    ttl_seconds: float | None = None

    def header(self, headers: HeadersInput | None) -> bytes | None:
        """The header block with the user's own headers; None when there is nothing to say.

        Raises:
            InvalidHeaderError: a header cannot be sent.
            TypeError: the message id is no str, or another value of another type.
            ValueError: the message id is empty, a sequence is negative, or the time to live below a second.
        """
        if self is _NOTHING_EXPECTED:
            return encode_headers(headers) if headers is not None else None
        check_text("expected_stream", self.expected_stream)
        check_text("expected_last_message_id", self.expected_last_message_id)
        wanted: dict[str, str] = {}
        if self.message_id is not None:
            wanted[MESSAGE_ID] = check_message_id(self.message_id)
        if self.expected_stream is not None:
            wanted["Nats-Expected-Stream"] = self.expected_stream
        if self.expected_last_sequence is not None:
            wanted["Nats-Expected-Last-Sequence"] = _sequence("expected_last_sequence", self.expected_last_sequence)
        if self.expected_last_subject_sequence is not None:
            sequence = _sequence("expected_last_subject_sequence", self.expected_last_subject_sequence)
            wanted["Nats-Expected-Last-Subject-Sequence"] = sequence
        if self.expected_last_message_id is not None:
            wanted["Nats-Expected-Last-Msg-Id"] = self.expected_last_message_id
        if self.ttl_seconds is not None:
            wanted["Nats-TTL"] = _time_to_live(self.ttl_seconds)
        if headers is None:
            return encode_headers(wanted)
        merged = Headers(headers)
        for name, value in wanted.items():
            merged[name] = value
        return encode_headers(merged)


_NOTHING_EXPECTED: Final = Expectations()
_NOT_GIVEN: Final = (None,) * len(attrs.fields(Expectations))


def expectations_of(
    message_id: str | None,
    expected_stream: str | None,
    expected_last_sequence: int | None,
    expected_last_subject_sequence: int | None,
    expected_last_message_id: str | None,
    ttl_seconds: float | None,
) -> Expectations:
    """The arguments of a publish as a record; most have none, and share one."""
    given = (
        message_id,
        expected_stream,
        expected_last_sequence,
        expected_last_subject_sequence,
        expected_last_message_id,
        ttl_seconds,
    )
    return _NOTHING_EXPECTED if given == _NOT_GIVEN else Expectations(*given)


def read_pub_ack(body: bytes) -> PubAck:
    """The PubAck in the body of a reply.

    Raises:
        APIError: the stream refuses; the class says how. Nothing was stored.
        ProtocolError: it is not an answer of a stream.
    """
    raw: dict[str, Any] = decode_json(body)
    if "error" in raw:  # such an answer has a sequence too, 0
        raise api_error(raw["error"])
    stream, sequence = raw.get("stream"), raw.get("seq")
    if not isinstance(stream, str) or not isinstance(sequence, int):
        raise ProtocolError(
            f"the reply to a publish is no PubAck: {body[:64]!r}; something else than a stream answers this subject"
        )
    domain = raw.get("domain")
    return PubAck(stream, sequence, raw.get("duplicate") is True, domain if isinstance(domain, str) else "")


def check_message_id(value: str) -> str:
    """An empty one would be none to the server, and its message stored as often as it is published.

    White space before a header's value is none of it to the server, nor behind it to who reads it: of two ids that
    differ by that alone the second message would be taken for the first one again, or not be found by its id.

    Raises:
        TypeError: it is no str.
        ValueError: it is empty, or begins or ends with white space.
    """
    if not isinstance(value, str):
        raise TypeError(f"message_id must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError("message_id is empty, and the server would take no notice of it; give one, or None")
    if value != value.strip(" \t"):
        raise ValueError(f"message_id is {value!r:.100}; it must not begin or end with white space")
    return value


def _sequence(name: str, value: int) -> str:
    check_number(name, value, least=0, whole=True)
    return str(value)


def _time_to_live(seconds: float) -> str:
    """The server counts whole seconds: the message lives at least as long as asked."""
    check_number("ttl_seconds", seconds)
    if not seconds >= 1:
        raise ValueError(f"ttl_seconds is {seconds!r}; the server takes at least 1, or math.inf for never")
    return "never" if seconds == math.inf else str(math.ceil(seconds))
