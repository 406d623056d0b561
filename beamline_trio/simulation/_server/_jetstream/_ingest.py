"""Whether a stream takes a message: its headers, its size, and whether it has come before.

The order of the checks is nats-server's, since it decides which error a message gets that deserves several.

Must not store, nor answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import _headers as headers
from ._errors import api_error, not_modelled
from ._golang import GoError

if TYPE_CHECKING:
    from ._stream import Stream

_HEADER_BYTES_MAX: Final = 65_535


def check_message(stream: Stream, subject: bytes, header: bytes, payload: bytes) -> int:
    """Check a message that was published to a stream.

    Returns:
        The sequence of the message that it is a duplicate of, or 0.

    Raises:
        APIError: why the stream does not take it.
    """
    config = stream.config
    if config.sealed:
        raise api_error(10109)
    if 0 <= config.max_msg_size < len(header) + len(payload):
        raise api_error(10054)
    duplicate = _check_headers(stream, subject, header) if header else 0
    if duplicate:
        return duplicate
    if len(header) > _HEADER_BYTES_MAX:
        raise api_error(10097)
    return 0


def _check_headers(stream: Stream, subject: bytes, header: bytes) -> int:
    if headers.has_only_an_identity(header):
        return _same_identity(stream, header)
    for name in headers.NOT_MODELLED:
        if headers.find(header, name) is not None:
            raise not_modelled(f"the header {name.decode()}")
    if headers.find(header, headers.STREAM_SOURCE) is not None:
        raise api_error(10227)
    expected = headers.find(header, headers.EXPECTED_STREAM)
    if expected and expected != stream.name.encode():
        raise api_error(10060)
    if not stream.config.allow_msg_ttl and _has_ttl(header):
        raise api_error(10166)
    _check_sequences(stream, subject, header)
    duplicate = _same_identity(stream, header)
    if duplicate:
        return duplicate
    expected = headers.find(header, headers.EXPECTED_LAST_MESSAGE_ID)
    if expected and expected != stream.last_id:
        raise api_error(10070, stream.last_id.decode("utf-8", "replace"))
    _check_rollup(stream, header)
    return 0


def _same_identity(stream: Stream, header: bytes) -> int:
    identity = headers.find(header, headers.MESSAGE_ID)
    return stream.seen(identity) if identity else 0


def _has_ttl(header: bytes) -> bool:
    try:
        return headers.time_to_live(header) != 0
    except GoError:
        return False


def _check_sequences(stream: Stream, subject: bytes, header: bytes) -> None:
    other = headers.find(header, headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT)
    expected = headers.number(header, headers.EXPECTED_LAST_SUBJECT_SEQUENCE)
    if expected is not None:
        last = stream.messages.last_of(other or subject)
        found = 0 if last is None else last.sequence
        if found != expected:
            raise api_error(10071, found)
    elif other:
        raise api_error(10193)
    expected = headers.number(header, headers.EXPECTED_LAST_SEQUENCE)
    if expected is not None and expected != stream.messages.last_sequence:
        raise api_error(10071, stream.messages.last_sequence)


def _check_rollup(stream: Stream, header: bytes) -> None:
    how = headers.find(header, headers.ROLLUP)
    if not how:
        return
    if not stream.config.allow_rollup_hdrs or stream.config.deny_purge:
        raise api_error(10111, "rollup not permitted")
    if how not in (b"sub", b"all"):
        raise api_error(10111, f'rollup value invalid: "{how.decode("utf-8", "replace")}"')
