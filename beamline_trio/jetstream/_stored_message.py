"""A message as a stream holds it, read by its sequence or subject, and taken out of the stream by its sequence.

Through the API (STREAM.MSG.GET, STREAM.MSG.DELETE; nats-server 2.15), so no consumer is needed, whatever the stream's
retention.

Must not consume, and must not settle what a consumer has delivered.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..protocol import Headers, ProtocolError, check_name, decode_headers, encode_pattern, frozen
from ._api import API
from ._errors import APIError, MessageNotFoundError
from ._management import checkpoints
from ._wire import decode_time

# The server has one number for all that may fail; of a message that is not there it says so.
_NOTHING_TO_DELETE: Final = (10057, "no message found")


@frozen(kw_only=True)
class StoredMessage:
    """A message in a stream.

    Attributes:
        stream: the stream that holds it.
        sequence: its place there.
        subject: the subject it was published to.
        payload: its bytes.
        headers: its headers, empty if there are none.
        time: when the stream stored it, to the microsecond; None when the server does not say.
    """

    stream: str
    sequence: int
    subject: str
    payload: bytes = b""
    headers: Headers = attrs.field(factory=Headers)
    time: datetime.datetime | None = None


async def stored_message(api: API, stream: str, wanted: Mapping[str, Any]) -> StoredMessage:
    """STREAM.MSG.GET, asked for what `wanted_message` has checked."""
    answer = await api.request(f"STREAM.MSG.GET.{stream}", wanted)
    return _read(stream, answer.get("message"))


@checkpoints
async def delete_message(api: API, stream: str, sequence: int, erase: bool) -> None:
    """STREAM.MSG.DELETE."""
    operation = f"STREAM.MSG.DELETE.{check_name(stream, 'stream name')}"
    check_sequence(sequence)
    try:
        answer = await api.request(operation, {"seq": sequence} if erase else {"seq": sequence, "no_erase": True})
    except APIError as error:
        if (error.err_code, error.description) != _NOTHING_TO_DELETE:
            raise
        raise MessageNotFoundError(error.code, error.err_code, error.description, operation) from None
    if answer.get("success") is not True:
        raise MessageNotFoundError(404, 0, f"the message {sequence} of {stream!r} was not deleted", operation)


def check_sequence(sequence: int) -> None:
    """Raise ValueError for what is no place in a stream."""
    if isinstance(sequence, bool) or not isinstance(sequence, int) or not 1 <= sequence < 2**64:
        raise ValueError(f"sequence is {sequence!r}; it must be a whole number from 1 on")


def wanted_message(stream: str, sequence: int | None, subject: str | None) -> Mapping[str, Any]:
    """The request for a message: of a sequence, the last of a subject, or the first of a subject from a sequence on.

    Raises:
        ValueError, InvalidSubjectError: it cannot be asked for.
    """
    check_name(stream, "stream name")
    if sequence is not None:
        check_sequence(sequence)
    if subject is not None:
        encode_pattern(subject)
    if subject is None:
        if sequence is None:
            raise ValueError("neither sequence nor subject is given; one of them says which message")
        return {"seq": sequence}
    return {"last_by_subj": subject} if sequence is None else {"next_by_subj": subject, "seq": sequence}


def _read(stream: str, raw: object) -> StoredMessage:
    fields: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    subject, sequence = fields.get("subject"), fields.get("seq")
    payload, block = _bytes(fields.get("data")), _bytes(fields.get("hdrs"))
    if not isinstance(subject, str) or not isinstance(sequence, int) or payload is None or block is None:
        raise ProtocolError(f"the stream {stream!r} answered with what is no message: {str(raw)[:64]}")
    return StoredMessage(
        stream=stream,
        sequence=sequence,
        subject=subject,
        payload=payload,
        headers=decode_headers(block) if block else Headers(),
        time=decode_time(fields.get("time")),
    )


def _bytes(text: object) -> bytes | None:
    """What base64 says; None when it is none. What the server leaves out is empty."""
    if text is None:
        return b""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None
