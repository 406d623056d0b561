"""What a stream is and how it stands: its configuration and what the server tells of it.

Field names are the server's, durations are seconds. Must not send.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from ..protocol import frozen
from ._wire import EXTRA, MOMENT

Retention: TypeAlias = Literal["limits", "interest", "workqueue"]
Discard: TypeAlias = Literal["old", "new"]
Storage: TypeAlias = Literal["file", "memory"]


@frozen(kw_only=True)
class Placement:
    """Where a stream may live."""

    cluster: str | None = None
    tags: Sequence[str] | None = None
    preferred: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class SubjectTransform:
    """Subjects of `src` are stored as `dest`."""

    src: str = ""
    dest: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class Republish:
    """What is stored is published again, from `src` to `dest`."""

    src: str | None = None
    dest: str = ""
    headers_only: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class ConsumerLimits:
    """Defaults and bounds of a stream's consumers."""

    inactive_threshold_seconds: float | None = None
    max_ack_pending: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class StreamSource:
    """Another stream that a stream mirrors or takes from; `external` is what the server writes of its API."""

    name: str = ""
    opt_start_seq: int | None = None
    opt_start_time: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    filter_subject: str | None = None
    subject_transforms: Sequence[SubjectTransform] | None = attrs.field(
        default=None, metadata={"records": SubjectTransform}
    )
    external: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class StreamConfig:
    """The configuration of a stream. What is None is the server's default.

    Attributes:
        name: 1 to 255 characters; no white space, dots, wildcards or slashes.
        subjects: what it stores; may have wildcards. Without any the server takes the stream's name as its subject.
        retention: `limits` (the server's default), `interest` or `workqueue`.
        max_age_seconds: messages go when they are so old.
        max_msgs_per_subject: of each subject at most so many.
        discard: which go when it is full: `old` ones (the server's default), or the `new` one is refused.
        duplicate_window_seconds: how long a message id is remembered; the server's default is 120.
        allow_msg_ttl: publishes may have a time to live (API level 1).
        extra: keys that this version does not know, kept for an update.
    """

    name: str = ""
    description: str | None = None
    subjects: Sequence[str] | None = None
    retention: Retention | None = None
    max_consumers: int | None = None
    max_msgs: int | None = None
    max_bytes: int | None = None
    max_age_seconds: float | None = None
    max_msgs_per_subject: int | None = None
    max_msg_size: int | None = None
    discard: Discard | None = None
    discard_new_per_subject: bool | None = None
    storage: Storage | None = None
    num_replicas: int | None = None
    no_ack: bool | None = None
    duplicate_window_seconds: float | None = None
    placement: Placement | None = attrs.field(default=None, metadata={"record": Placement})
    mirror: StreamSource | None = attrs.field(default=None, metadata={"record": StreamSource})
    sources: Sequence[StreamSource] | None = attrs.field(default=None, metadata={"records": StreamSource})
    compression: Literal["none", "s2"] | None = None
    first_seq: int | None = None
    subject_transform: SubjectTransform | None = attrs.field(default=None, metadata={"record": SubjectTransform})
    republish: Republish | None = attrs.field(default=None, metadata={"record": Republish})
    allow_direct: bool | None = None
    mirror_direct: bool | None = None
    sealed: bool | None = None
    deny_delete: bool | None = None
    deny_purge: bool | None = None
    allow_rollup_hdrs: bool | None = None
    consumer_limits: ConsumerLimits | None = attrs.field(default=None, metadata={"record": ConsumerLimits})
    metadata: Mapping[str, str] | None = None
    allow_msg_ttl: bool | None = attrs.field(default=None, metadata={"level": 1})
    subject_delete_marker_ttl_seconds: float | None = attrs.field(default=None, metadata={"level": 1})
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class StreamState:
    """How much a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    first_ts: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    last_seq: int = 0
    last_ts: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    num_deleted: int = 0
    num_subjects: int = 0
    consumer_count: int = 0
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class StreamInfo:
    """A stream as the server tells of it; `extra` has what else it says (cluster, mirror, sources, alternates)."""

    config: StreamConfig = attrs.field(factory=StreamConfig, metadata={"record": StreamConfig})
    state: StreamState = attrs.field(factory=StreamState, metadata={"record": StreamState})
    created: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    ts: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)
