"""A message of a stream read past the API (ADR-31): any replica of a stream with `allow_direct` answers.

The message comes as a message, with its place in headers that the server wrote behind its own. Where nobody answers,
the API is asked, which says what is wrong.

Must not interpret what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..protocol import Headers, ProtocolError, decode_headers, decode_subject, encode_subject
from ._api import API, is_no_responders, send_request
from ._attachment import Attachment
from ._errors import APIError, MessageNotFoundError
from ._management import checkpoints
from ._stored_message import StoredMessage, stored_message, wanted_message
from ._wire import decode_time, encode_json

# Behind the message's own headers, in this order.
_PLACE: Final = (b"Nats-Stream", b"Nats-Subject", b"Nats-Sequence", b"Nats-Time-Stamp")
_DIGITS_MAX: Final = 20
_NOT_FOUND: Final = 404


@checkpoints
async def read_message(
    attachment: Attachment, api: API, stream: str, sequence: int | None, subject: str | None, direct: bool
) -> StoredMessage:
    """See `JetStream.get_message`."""
    wanted = wanted_message(stream, sequence, subject)
    found = await _ask_directly(attachment, api, stream, wanted) if direct else None
    return found if found is not None else await stored_message(api, stream, wanted)


async def _ask_directly(
    attachment: Attachment, api: API, stream: str, wanted: Mapping[str, Any]
) -> StoredMessage | None:
    """None when nobody answers."""
    target, body = api.prefix + b"DIRECT.GET." + stream.encode(), encode_json(wanted)
    last = wanted.get("last_by_subj")
    if last is not None and not {"*", ">"} & set(last.split(".")):
        target, body = target + b"." + encode_subject(last), b""
    reply = await send_request(attachment, target, body)
    if is_no_responders(reply):
        return None
    _, _, header, payload = reply
    return _read(target.decode("utf-8", "replace"), header or b"", payload)


def _read(asked: str, header: bytes, payload: bytes) -> StoredMessage:
    own, place = _split(header)
    if place is None:
        raise _refusal(header, asked)
    stream, subject, number, time = place
    if not number.isdigit() or len(number) > _DIGITS_MAX:
        raise ProtocolError(f"{asked} was answered with the sequence {number[:64]!r}")
    return StoredMessage(
        stream=decode_subject(stream),
        sequence=int(number),
        subject=decode_subject(subject),
        payload=payload,
        headers=decode_headers(own),
        time=decode_time(time.decode("utf-8", "replace")),
    )


def _split(header: bytes) -> tuple[bytes, tuple[bytes, bytes, bytes, bytes] | None]:
    """A message's own headers, and the place that the server wrote behind them: what is before may say anything."""
    lines = header.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [line.partition(b": ") for line in lines[-len(_PLACE) :]]
    if len(lines) <= len(_PLACE) or tuple(name for name, _, _ in pairs) != _PLACE:
        return header, None
    first, second, third, fourth = (value for _, _, value in pairs)
    return b"\r\n".join([*lines[: -len(_PLACE)], b"", b""]), (first, second, third, fourth)


def _refusal(header: bytes, asked: str) -> Exception:
    """What an answer without a place says."""
    status = decode_headers(header) if header else Headers()
    if status.status is None:
        return ProtocolError(f"{asked} was answered with what is no message of a stream: {header[:64]!r}")
    kind = MessageNotFoundError if status.status == _NOT_FOUND else APIError
    return kind(status.status, 0, status.description or "a status without words", asked)
