"""How a bucket is configured, and the stream that it is (ADR-8, ADR-48).

Must not send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..jetstream import Placement, Republish, StreamConfig, StreamInfo
from ..protocol import check_given, check_number, frozen
from ._errors import NotABucketError
from ._names import STREAM_PREFIX, check_bucket, stream_of, subject_of

HISTORY_MAX: Final = 64
_DUPLICATE_WINDOW_SECONDS: Final = 120.0
_COMPRESSED: Final = "s2"


def _bucket(_: object, field: attrs.Attribute[Any], value: str) -> None:
    check_bucket(value)


def _history(_: object, field: attrs.Attribute[Any], value: int) -> None:
    check_given(history=value)
    check_number(field.name, value, least=1, most=HISTORY_MAX, whole=True)


def _seconds(least: float) -> Any:
    def check(_: object, field: attrs.Attribute[Any], value: float | None) -> None:
        check_number(field.name, value, least=least)

    return check


@frozen(kw_only=True)
class BucketConfig:
    """The configuration of a bucket. What is None is the server's default, mostly no limit.

    Attributes:
        bucket: its name, of the characters A-Z a-z 0-9 _ -.
        description: for people.
        history: revisions that are kept of each key, 1 to 64.
        ttl_seconds: every entry goes when it is so old, deletions too; at least 0.1.
        limit_marker_seconds: keys may have a time to live of their own, and what expires leaves a deletion behind that
            lives so long, so that watchers see it (ADR-48); at least 1, counted in whole seconds. The server needs API
            level 1 (2.11).
        max_value_bytes: of one value with its headers.
        max_bytes: of the bucket; beyond it writes are refused.
        storage: `file` (the server's default) or `memory`.
        num_replicas: servers that have it.
        compressed: on disk.
        placement: where it may live.
        republish: what is stored is published again.
        metadata: names and values for people.

    Raises:
        InvalidKeyError, TypeError, ValueError: a value is out of its bounds.
    """

    bucket: str = attrs.field(validator=_bucket)
    description: str | None = None
    history: int = attrs.field(default=1, validator=_history)
    ttl_seconds: float | None = attrs.field(default=None, validator=_seconds(0.1))
    limit_marker_seconds: float | None = attrs.field(default=None, validator=_seconds(1))
    max_value_bytes: int | None = None
    max_bytes: int | None = None
    storage: Any = None
    num_replicas: int | None = None
    compressed: bool = False
    placement: Placement | None = None
    republish: Republish | None = None
    metadata: Mapping[str, str] | None = None


@frozen(kw_only=True)
class BucketStatus:
    """How a bucket stands.

    Attributes:
        bucket: its name.
        entries: revisions that it has, deletions included.
        bytes: that they take.
        history: revisions kept of each key.
        ttl_seconds: after which entries go, or None.
        limit_marker_seconds: how long what expires leaves a deletion behind, or None.
        compressed: whether it is, on disk.
        stream: all that the server says of its stream.
    """

    bucket: str
    entries: int
    bytes: int
    history: int
    ttl_seconds: float | None
    limit_marker_seconds: float | None
    compressed: bool
    stream: StreamInfo


def stream_config(config: BucketConfig) -> StreamConfig:
    """The stream of a bucket."""
    ttl = config.ttl_seconds
    markers = config.limit_marker_seconds
    return StreamConfig(
        name=stream_of(config.bucket),
        subjects=(subject_of(config.bucket, ">"),),
        description=config.description,
        max_msgs_per_subject=config.history,
        max_age_seconds=ttl,
        duplicate_window_seconds=_DUPLICATE_WINDOW_SECONDS if ttl is None else min(ttl, _DUPLICATE_WINDOW_SECONDS),
        max_msg_size=config.max_value_bytes,
        max_bytes=config.max_bytes,
        discard="new",
        storage=config.storage,
        num_replicas=config.num_replicas,
        compression=_COMPRESSED if config.compressed else None,
        placement=config.placement,
        republish=config.republish,
        metadata=config.metadata,
        allow_direct=True,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_msg_ttl=True if markers is not None else None,
        subject_delete_marker_ttl_seconds=markers,
    )


def bucket_status(info: StreamInfo) -> BucketStatus:
    """How a bucket stands, by what the server tells of its stream.

    Raises:
        NotABucketError: the stream is none.
    """
    config = info.config
    bucket = config.name.removeprefix(STREAM_PREFIX)
    history = config.max_msgs_per_subject or 0
    if history < 1 or list(config.subjects or ()) != [subject_of(bucket, ">")]:
        raise NotABucketError(
            f"the stream {config.name!r} is no bucket: it keeps {history} messages of a subject and takes "
            f"{list(config.subjects or ())}, a bucket keeps 1 to {HISTORY_MAX} and takes {subject_of(bucket, '>')!r}"
        )
    return BucketStatus(
        bucket=bucket,
        entries=info.state.messages,
        bytes=info.state.bytes,
        history=history,
        ttl_seconds=config.max_age_seconds or None,
        limit_marker_seconds=config.subject_delete_marker_ttl_seconds or None,
        compressed=config.compression == _COMPRESSED,
        stream=info,
    )
