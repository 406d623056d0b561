"""Requests about streams and the account.

Must not know subjects or bytes of a request (`_api`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from .._subjects import collide
from ._advisories import stream_action
from ._api import API, Operation, Request
from ._errors import APIError, api_error
from ._golang import parse_time, timestamp
from ._messages import StoredMessage
from ._stream import Stream
from ._stream_config import SHAPE, StreamConfig, check_update, read_config

T = TypeVar("T")

_LISTED_MAX: Final = 256
_NAMED_MAX: Final = 1024
_SUBJECTS_MAX: Final = 100_000
_PAGE: Final = {"total": 0, "offset": 0, "limit": 0}
_INFO_SHAPE: Final = {"deleted_details": "bool", "subjects_filter": "string", "offset": "int"}
_LIST_SHAPE: Final = {"offset": "int", "subject": "string"}
_PURGE_SHAPE: Final = {"filter": "string", "seq": "uint64", "keep": "uint64"}
_GET_SHAPE: Final = {
    "seq": "uint64",
    "last_by_subj": "string",
    "next_by_subj": "string",
    "start_time": "string",
    "no_hdr": "bool",
}
_DELETE_SHAPE: Final = {"seq": "uint64", "no_erase": "bool"}
_LIMITS: Final = {
    "max_memory": -1,
    "max_storage": -1,
    "max_streams": -1,
    "max_consumers": -1,
    "max_ack_pending": -1,
    "memory_max_stream_bytes": -1,
    "storage_max_stream_bytes": -1,
    "max_bytes_required": False,
}


def operations(api: Callable[[], API]) -> dict[str, Operation]:
    """By the name in the subject."""
    return {
        "INFO": Operation("account_info", (0, 0), lambda request: account_info(request, api().counts())),
        "STREAM.CREATE": Operation("stream_create", (1, 1), _create),
        "STREAM.UPDATE": Operation("stream_update", (1, 1), _update),
        "STREAM.INFO": Operation("stream_info", (1, 1), _info, _PAGE),
        "STREAM.NAMES": Operation("stream_names", (0, 0), _names, {**_PAGE, "streams": None}),
        "STREAM.LIST": Operation("stream_list", (0, 0), _list, {**_PAGE, "streams": None}),
        "STREAM.DELETE": Operation("stream_delete", (1, 1), _delete),
        "STREAM.PURGE": Operation("stream_purge", (1, 1), _purge, {"purged": 0}),
        "STREAM.MSG.GET": Operation("stream_msg_get", (1, 1), _get_message, counted=False),
        "STREAM.MSG.DELETE": Operation("stream_msg_delete", (1, 1), _delete_message),
    }


def find_stream(request: Request) -> Stream:
    """The stream that a request names.

    Raises:
        APIError: there is none.
    """
    stream = request.jetstream.streams.get(request.names[0])
    if stream is None:
        raise api_error(10059)
    return stream


def account_info(request: Request, counts: dict[str, int]) -> dict[str, Any]:
    """What the account uses, here, and what it may; `counts` = of requests."""
    streams = request.jetstream.streams.values()
    used, reserved = {"memory": 0, "file": 0}, {"memory": 0, "file": 0}
    for stream in streams:
        used[stream.config.storage] += stream.messages.bytes
        reserved[stream.config.storage] += max(stream.config.max_bytes, 0)
    fields: dict[str, Any] = {
        "memory": used["memory"],
        "storage": used["file"],
        "reserved_memory": reserved["memory"],
        "reserved_storage": reserved["file"],
        "streams": len(streams),
        "consumers": sum(len(stream.consumers) for stream in streams),
        "limits": _LIMITS,
    }
    if request.jetstream.domain:
        fields["domain"] = request.jetstream.domain
    return {**fields, "api": counts}


def read_create(request: Request, *, clustered: bool = False) -> StreamConfig:
    """The configuration that a stream is to be made with.

    Raises:
        APIError: there can be none like that.
    """
    given = request.read(SHAPE, "StreamConfigRequest")
    if given.get("name", "") != request.names[0]:
        raise api_error(10056)
    if "/" in request.names[0] or "\\" in request.names[0]:
        raise api_error(10128)
    return read_config(given, clustered=clustered)


def _create(request: Request) -> dict[str, Any]:
    jetstream = request.jetstream
    config = read_create(request)
    stream = jetstream.streams.get(config.name)
    if stream is not None and stream.config != config:
        raise api_error(10058)
    if stream is None:
        check_overlap(config, _configs(request))
        stream = jetstream.add_stream(config)
        stream_action(jetstream, config.name, "create")
    fields = stream.info()
    fields.pop("domain", None)  # the server leaves it out here, and only here
    return {**fields, "did_create": True}


def read_update(request: Request, *, clustered: bool = False) -> StreamConfig:
    """The configuration that a stream is to have.

    Raises:
        APIError: there can be none like that.
    """
    config = read_config(request.read(SHAPE, "StreamConfigRequest"), clustered=clustered)
    if config.name != request.names[0]:
        raise api_error(10056)
    return config


def _update(request: Request) -> dict[str, Any]:
    config = read_update(request)
    stream = find_stream(request)
    check_update(stream.config, config)
    check_overlap(config, _configs(request))
    stream.update(config)
    stream_action(request.jetstream, config.name, "modify")
    return stream.info()


def _configs(request: Request) -> list[StreamConfig]:
    return [stream.config for stream in request.jetstream.streams.values()]


def check_overlap(config: StreamConfig, others: Iterable[StreamConfig]) -> None:
    """Refuse subjects that another stream has.

    Raises:
        APIError: one does.
    """
    for stream in others:
        if stream.name != config.name and any(
            collide(one, other) for one in config.patterns for other in stream.patterns
        ):
            raise api_error(10065)


def _info(request: Request) -> dict[str, Any]:
    given = request.read(_INFO_SHAPE, "JSApiStreamInfoRequest", optional=True)
    stream = find_stream(request)
    page, subjects = dict(_PAGE), None
    pattern = given.get("subjects_filter", "")
    if pattern and len(stream.messages):
        found = sorted(stream.messages.matching(pattern.encode()))
        offset = min(max(given.get("offset", 0), 0), len(found))
        counts = stream.messages.subjects
        subjects = {one.decode("utf-8", "replace"): counts[one] for one in found[offset : offset + _SUBJECTS_MAX]}
        page = {"total": len(found), "offset": offset, "limit": _SUBJECTS_MAX}
    state = stream.state(subjects, deleted=given.get("deleted_details", False))
    return {**page, **stream.info(state, leader=request.jetstream.server_name)}


def _chosen(request: Request, given: dict[str, Any]) -> list[Stream]:
    streams = sorted(request.jetstream.streams.values(), key=lambda stream: stream.name)
    return matching(streams, given.get("subject", "").encode(), lambda stream: stream.config)


def matching(streams: list[T], subject: bytes, config: Callable[[T], StreamConfig]) -> list[T]:
    """Those that a subject may be stored in; all without one."""
    if not subject:
        return streams
    return [one for one in streams if any(collide(subject, pattern) for pattern in config(one).patterns)]


def _names(request: Request) -> dict[str, Any]:
    given = request.read(_LIST_SHAPE, "JSApiStreamNamesRequest", optional=True)
    return page([stream.name for stream in _chosen(request, given)], given, _NAMED_MAX, "streams")


def _list(request: Request) -> dict[str, Any]:
    given = request.read(_LIST_SHAPE, "JSApiStreamListRequest", optional=True)
    fields = page(_chosen(request, given), given, _LISTED_MAX, "streams")
    fields["streams"] = [stream.info(served=False) for stream in fields["streams"] or ()]
    return fields


def page(found: list[Any], given: dict[str, Any], limit: int, name: str) -> dict[str, Any]:
    """A page of a list, as it stands in a reply; one behind the end is null."""
    offset = min(max(given.get("offset", 0), 0), len(found))
    chosen = found[offset : offset + limit]
    return {"total": len(found), "offset": offset, "limit": limit, name: chosen or None}


def _delete(request: Request) -> dict[str, Any]:
    request.expect_empty()
    stream = find_stream(request)
    request.jetstream.delete_stream(stream)
    stream_action(request.jetstream, stream.name, "delete")
    return {"success": True}


def read_purge(request: Request) -> tuple[bytes, int, int]:
    """Which messages are to go: of a pattern, before a sequence, except for so many.

    Raises:
        APIError: none may.
    """
    given = request.read(_PURGE_SHAPE, "JSApiStreamPurgeRequest", optional=True)
    sequence, keep = given.get("seq", 0), given.get("keep", 0)
    if sequence and keep:
        raise api_error(10003)
    stream = find_stream(request)
    if stream.config.sealed:
        raise api_error(10109)
    if stream.config.deny_purge:
        raise api_error(10110, "stream purge not permitted")
    return given.get("filter", "").encode(), sequence, keep


def _purge(request: Request) -> dict[str, Any]:
    chosen = read_purge(request)
    return {"success": True, "purged": find_stream(request).purge(*chosen)}


def _get_message(request: Request) -> dict[str, Any]:
    given = request.read(_GET_SHAPE, "JSApiMsgGetRequest")
    last, following = given.get("last_by_subj", ""), given.get("next_by_subj", "")
    sequence, start = given.get("seq", 0), given.get("start_time", "")
    if not (last or following or sequence or start) or (last and (following or sequence)) or (sequence and start):
        raise api_error(10003)
    stream = find_stream(request)
    if last:
        message = stream.messages.last_of(last.encode())
    elif following or start:
        first = stream.messages.sequence_at(parse_time(start)) if start else max(sequence, 1)
        message = stream.messages.next(first, (following.encode(),) if following else ())
    else:
        message = stream.messages.get(sequence)
    if message is None:
        raise api_error(10037)
    return {"message": dict(_message_fields(message, without_headers=given.get("no_hdr", False)))}


def _message_fields(message: StoredMessage, *, without_headers: bool) -> Iterator[tuple[str, Any]]:
    yield "subject", message.subject.decode("utf-8", "replace")
    yield "seq", message.sequence
    if message.header and not without_headers:
        yield "hdrs", b64encode(message.header).decode()
    if message.payload:
        yield "data", b64encode(message.payload).decode()
    yield "time", timestamp(message.time)


def read_delete(request: Request) -> int:
    """Which message is to go.

    Raises:
        APIError: none may.
    """
    given = request.read(_DELETE_SHAPE, "JSApiMsgDeleteRequest")
    sequence: int = given.get("seq", 0)
    if not sequence:
        raise api_error(10003)
    stream = find_stream(request)
    if stream.config.sealed:
        raise api_error(10109)
    if stream.config.deny_delete:
        raise api_error(10057, "message delete not permitted")
    return sequence


def _delete_message(request: Request) -> dict[str, Any]:
    sequence, stream = read_delete(request), find_stream(request)
    if stream.delete_message(sequence):
        return {"success": True}
    # Not raised, since the server does not count it among the errors.
    return {"error": not_deleted(stream, sequence).fields()}


def not_deleted(stream: Stream, sequence: int) -> APIError:
    """Why a message could not be deleted."""
    if stream.config.storage == "file":
        if sequence > stream.messages.last_sequence:
            return api_error(10057, "stream store EOF")
        if sequence < stream.messages.first_sequence:
            return api_error(10057, "no message found")
    return api_error(10043, sequence)
