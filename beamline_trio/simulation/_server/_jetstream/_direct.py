"""Direct gets: messages read past the API, answered as messages with their place in the headers (ADR-31).

    DIRECT.GET.<stream>             with {"seq": 1}, {"last_by_subj": "a"}, {"next_by_subj": "a", "seq": 1}, ...
    DIRECT.GET.<stream>.<subject>   the last message of the subject

Only a stream that allows it listens; nobody else answers, so who asks is told that there is no responder. Not among the
API's requests: neither counted nor audited. Must not change a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from . import _headers as headers
from ._errors import NOT_MODELLED, not_modelled
from ._golang import GoError, decode, parse_time, timestamp

if TYPE_CHECKING:
    from ._messages import StoredMessage
    from ._service import JetStream
    from ._stream import Stream

_SHAPE: Final = {
    "seq": "uint64",
    "last_by_subj": "string",
    "next_by_subj": "string",
    "start_time": "string",
    "no_hdr": "bool",
    "batch": "int",
    "max_bytes": "int",
    "multi_last": "[]string",
    "up_to_seq": "uint64",
    "up_to_time": "string",
}
_BAD: Final = (408, "Bad Request")
_EMPTY: Final = (408, "Empty Request")
_MALFORMED: Final = (408, "Malformed Request")
_NOT_FOUND: Final = (404, "Message Not Found")
_LEVEL: Final = (412, "Required Api Level")


class _RefusedError(Exception):
    """What is answered with a status."""


def find_direct(jetstream: JetStream, names: bytes) -> tuple[Stream, bytes] | None:
    """The stream that a direct get is for, and the subject in it; None when nobody listens to it."""
    name, _, subject = names.partition(b".")
    stream = jetstream.streams.get(name.decode("utf-8", "replace"))
    return (stream, subject) if stream is not None and stream.config.allow_direct else None


def answer_direct(
    jetstream: JetStream, stream: Stream, subject: bytes, reply: bytes, header: bytes, body: bytes, level: int
) -> None:
    """Answer a direct get.

    Args:
        jetstream: sends.
        stream: whose messages are asked for.
        subject: in the request's subject; empty = there is none.
        reply: where the answer goes.
        header: of the request.
        body: of the request.
        level: the API level of the server.
    """
    try:
        needed = headers.number(header, headers.REQUIRED_API_LEVEL) if header else None
        if needed is not None and not 0 <= needed <= level:
            raise _RefusedError(*_LEVEL)
        message, without_headers = _find(stream, subject, body)
    except _RefusedError as refusal:
        if refusal.args[0] == NOT_MODELLED:
            jetstream.note("js_not_modelled", what=refusal.args[1])
        jetstream.send(reply, b"", header=headers.block(*refusal.args))
        return
    own = b"" if without_headers else _with_place(stream, message)
    jetstream.send(reply, message.payload, header=own)


def _find(stream: Stream, subject: bytes, body: bytes) -> tuple[StoredMessage, bool]:
    given = _read(subject, body)
    if given.get("batch") or given.get("multi_last"):
        refusal = not_modelled("a direct get of several messages")
        raise _RefusedError(refusal.code, refusal.description)
    last, following = given.get("last_by_subj", ""), given.get("next_by_subj", "")
    sequence, start = given.get("seq", 0), given.get("start_time", "")
    if subject:
        if last or following or sequence or start:
            raise _RefusedError(*_BAD)
        message = stream.messages.last_of(subject)
    elif not (last or following or sequence or start):
        raise _RefusedError(*_EMPTY)
    elif (last and (following or sequence or start)) or (sequence and start):
        raise _RefusedError(*_BAD)
    elif last:
        message = stream.messages.last_of(last.encode())
    elif following or start:
        first = stream.messages.sequence_at(_moment(start)) if start else max(sequence, 1)
        message = stream.messages.next(first, (following.encode(),) if following else ())
    else:
        message = stream.messages.get(sequence)
    if message is None:
        raise _RefusedError(*_NOT_FOUND)
    return message, bool(given.get("no_hdr"))


def _read(subject: bytes, body: bytes) -> dict[str, Any]:
    if not body:
        if subject:
            return {}
        raise _RefusedError(*_EMPTY)
    try:
        return decode(body, _SHAPE, "JSApiMsgGetRequest")
    except GoError:
        raise _RefusedError(*_MALFORMED) from None


def _moment(text: str) -> int:
    try:
        return parse_time(text)
    except GoError:
        raise _RefusedError(*_MALFORMED) from None


def _with_place(stream: Stream, message: StoredMessage) -> bytes:
    """The message's own headers, and behind them where it is stored."""
    start = message.header[:-2] if message.header else b"NATS/1.0\r\n"
    place = {
        b"Nats-Stream": stream.name.encode(),
        b"Nats-Subject": message.subject,
        b"Nats-Sequence": b"%d" % message.sequence,
        b"Nats-Time-Stamp": timestamp(message.time).encode(),
    }
    return start + b"".join(b"%b: %b\r\n" % item for item in place.items()) + b"\r\n"
