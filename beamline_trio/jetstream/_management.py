"""Streams, consumers and the account, through the API: create, update, look at, delete, list.

Names are checked before a byte leaves. Must not publish or consume.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

import attrs
import trio

from ..protocol import InvalidSubjectError, check_name, check_number, encode_pattern
from ._account_records import AccountInfo
from ._api import API
from ._consumer_records import ConsumerConfig, ConsumerInfo
from ._fields import INTEGER_MAX, check_fields
from ._stream_records import StreamConfig, StreamInfo
from ._wire import decode_record, encode_record

P = ParamSpec("P")
R = TypeVar("R")


def checkpoints(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """What is refused before anything is sent is a checkpoint too."""

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except (TypeError, ValueError, InvalidSubjectError):
            await trio.lowlevel.checkpoint()
            raise

    return call


async def account_info(api: API) -> AccountInfo:
    """INFO."""
    return decode_record(AccountInfo, await api.request("INFO"))


@checkpoints
async def change_stream(api: API, verb: str, config: StreamConfig) -> StreamInfo:
    """STREAM.CREATE or STREAM.UPDATE."""
    check_record(config, StreamConfig)
    name = check_name(config.name, "stream name")
    for subject in several("subjects", config.subjects):
        encode_pattern(subject)
    answer = await api.request(f"STREAM.{verb}.{name}", encode_record(config), level=required_level(config))
    return decode_record(StreamInfo, answer)


@checkpoints
async def stream_info(api: API, name: str) -> StreamInfo:
    """STREAM.INFO."""
    return decode_record(StreamInfo, await api.request(f"STREAM.INFO.{check_name(name, 'stream name')}"))


@checkpoints
async def delete_stream(api: API, name: str) -> None:
    """STREAM.DELETE."""
    await api.request(f"STREAM.DELETE.{check_name(name, 'stream name')}")


@checkpoints
async def purge_stream(
    api: API, name: str, subject: str | None = None, before_sequence: int | None = None, keep: int | None = None
) -> int:
    """STREAM.PURGE (ADR-10)."""
    if before_sequence is not None and keep is not None:
        raise ValueError("before_sequence and keep are both given; one of them says what stays")
    if subject is not None:
        encode_pattern(subject)
    check_number("before_sequence", before_sequence, least=0, most=INTEGER_MAX, whole=True)
    check_number("keep", keep, least=0, most=INTEGER_MAX, whole=True)
    wanted = {"filter": subject, "seq": before_sequence, "keep": keep}
    body = {key: value for key, value in wanted.items() if value is not None}
    answer = await api.request(f"STREAM.PURGE.{check_name(name, 'stream name')}", body or None)
    purged = answer.get("purged", 0)
    return purged if isinstance(purged, int) else 0


@checkpoints
async def stream_names(api: API, subject: str | None = None) -> list[str]:
    """STREAM.NAMES."""
    if subject is not None:
        encode_pattern(subject)
    return await api.names("STREAM.NAMES", "streams", {"subject": subject} if subject is not None else {})


@checkpoints
async def change_consumer(api: API, stream: str, config: ConsumerConfig, action: str) -> ConsumerInfo:
    """CONSUMER.CREATE, with the filter in the subject where there is one that can be published to.

    Permissions may ask for it there; a wildcard in a subject to publish to is an error on a pedantic connection.
    """
    check_record(config, ConsumerConfig)
    check_name(stream, "stream name")
    name = consumer_name_of(config)
    operation = f"CONSUMER.CREATE.{stream}.{name}"
    for subject in (config.filter_subject, *several("filter_subjects", config.filter_subjects)):
        if subject is not None:
            encode_pattern(subject)
    if config.filter_subject is not None and not {"*", ">"} & set(config.filter_subject.split(".")):
        operation += f".{config.filter_subject}"
    body = {"stream_name": stream, "config": encode_record(attrs.evolve(config, name=name)), "action": action}
    return decode_record(ConsumerInfo, await api.request(operation, body))


@checkpoints
async def consumer_info(api: API, stream: str, name: str) -> ConsumerInfo:
    """CONSUMER.INFO."""
    operation = f"CONSUMER.INFO.{check_name(stream, 'stream name')}.{check_name(name, 'consumer name')}"
    return decode_record(ConsumerInfo, await api.request(operation))


@checkpoints
async def delete_consumer(api: API, stream: str, name: str) -> None:
    """CONSUMER.DELETE."""
    await api.request(f"CONSUMER.DELETE.{check_name(stream, 'stream name')}.{check_name(name, 'consumer name')}")


@checkpoints
async def consumer_names(api: API, stream: str) -> list[str]:
    """CONSUMER.NAMES."""
    return await api.names(f"CONSUMER.NAMES.{check_name(stream, 'stream name')}", "consumers", {})


def consumer_name_of(config: ConsumerConfig) -> str:
    """The name of a consumer to be made.

    Raises:
        InvalidSubjectError: it has none, two that differ, or one that breaks the rule.
    """
    name = config.name if config.name is not None else config.durable_name
    if name is None:
        raise InvalidSubjectError("the consumer has neither name nor durable_name; give durable_name for a durable one")
    if config.durable_name not in (None, name):
        raise InvalidSubjectError(
            f"the consumer has the name {name!r} and the durable_name {config.durable_name!r}; they must be the same"
        )
    return check_name(name, "consumer name")


def check_record(config: object, kind: type, name: str = "the configuration") -> None:
    """Raise TypeError for what is no record of a kind, and what `check_fields` does for one with bad fields."""
    if not isinstance(config, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(config).__name__}")
    check_fields(config)


def several(name: str, subjects: Sequence[str] | None) -> Sequence[str]:
    """The subjects of a field; TypeError for a text, which is a sequence too, of its letters."""
    if isinstance(subjects, str):
        raise TypeError(f"{name} is {subjects!r}; it must be a list of subjects, as [{subjects!r}]")
    return subjects or ()


def required_level(config: StreamConfig) -> int:
    """The API level that a configuration needs (ADR-44): an older server would silently leave out what it cannot do."""
    return max(
        (field.metadata["level"] for field in attrs.fields(StreamConfig)
         if "level" in field.metadata and getattr(config, field.name)),
        default=0,
    )  # fmt: skip
