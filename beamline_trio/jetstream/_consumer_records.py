"""What a consumer is and how it stands: its configuration and what the server tells of it.

Field names are the server's, durations are seconds. Must not send.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from ..protocol import frozen
from ._wire import EXTRA, MOMENT

DeliverPolicy: TypeAlias = Literal["all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"]
AckPolicy: TypeAlias = Literal["none", "all", "explicit"]

# One type checker widens a literal that is given to attrs.field() to str.
_EXPLICIT: Any = "explicit"


@frozen(kw_only=True)
class ConsumerConfig:
    """The configuration of a consumer. What is None is the server's default.

    Attributes:
        name: of an ephemeral consumer, or the same as `durable_name`; one of them is needed.
        durable_name: a durable consumer outlives its clients.
        deliver_policy: where it begins; the server's default is `all`.
        ack_policy: `explicit` unless given.
        ack_wait_seconds: unacknowledged for so long, a message is delivered again; the server's default is 30.
        max_deliver: a message is delivered so often; the server's default is -1, for ever.
        backoff_seconds: waits before each redelivery; the first replaces `ack_wait_seconds`.
        max_ack_pending: unacknowledged messages at which delivery stops; the server's default is 1000.
        inactive_threshold_seconds: an unused consumer is deleted after it.
        extra: keys that this version does not know, kept for an update.
    """

    name: str | None = None
    durable_name: str | None = None
    description: str | None = None
    deliver_policy: DeliverPolicy | None = None
    opt_start_seq: int | None = None
    opt_start_time: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    ack_policy: AckPolicy = _EXPLICIT
    ack_wait_seconds: float | None = None
    max_deliver: int | None = None
    backoff_seconds: Sequence[float] | None = None
    filter_subject: str | None = None
    filter_subjects: Sequence[str] | None = None
    replay_policy: Literal["instant", "original"] | None = None
    rate_limit_bps: int | None = None
    sample_freq: str | None = None
    max_waiting: int | None = None
    max_ack_pending: int | None = None
    headers_only: bool | None = None
    max_batch: int | None = None
    max_expires_seconds: float | None = None
    max_bytes: int | None = None
    inactive_threshold_seconds: float | None = None
    num_replicas: int | None = None
    mem_storage: bool | None = None
    metadata: Mapping[str, str] | None = None
    pause_until: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class SequenceInfo:
    """A position: of the consumer's deliveries, and of the stream."""

    consumer_seq: int = 0
    stream_seq: int = 0
    last_active: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class ConsumerInfo:
    """A consumer as the server tells of it; `extra` has what else it says (cluster, priority groups)."""

    stream_name: str = ""
    name: str = ""
    created: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    config: ConsumerConfig = attrs.field(factory=ConsumerConfig, metadata={"record": ConsumerConfig})
    delivered: SequenceInfo = attrs.field(factory=SequenceInfo, metadata={"record": SequenceInfo})
    ack_floor: SequenceInfo = attrs.field(factory=SequenceInfo, metadata={"record": SequenceInfo})
    num_ack_pending: int = 0
    num_redelivered: int = 0
    num_waiting: int = 0
    num_pending: int = 0
    paused: bool = False
    ts: datetime.datetime | None = attrs.field(default=None, metadata=MOMENT)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)
