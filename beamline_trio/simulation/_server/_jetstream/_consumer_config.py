"""The configuration of a consumer: read from a request, completed with nats-server's defaults, checked, written again.

Pull consumers only. What else the server knows (push, priority groups, pausing, sampling, replay at the original speed)
is refused by name.

Must not know the consumers that there are; `_consumers_api` compares with them.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from .._subjects import is_subset, is_valid
from ._errors import APIError, api_error, not_modelled
from ._golang import MILLISECOND, SECOND, timestamp
from ._stream_config import StreamConfig, is_asset_name, served_metadata, stored_metadata, unknown_value

_ACK_WAIT: Final = 30 * SECOND
_MAX_WAITING: Final = 512
_MAX_ACK_PENDING: Final = 1000
_DESCRIPTION_MAX: Final = 4096
_METADATA_MAX: Final = 128 * 1024
# How long a consumer without a durable name may be without interest, unless it says so.
EPHEMERAL_THRESHOLD: Final = 5 * SECOND

SHAPE: Final[dict[str, Any]] = {
    "stream_name": "string",
    "action": "string",
    "pedantic": "bool",
    "config": {
        "durable_name": "string",
        "name": "string",
        "description": "string",
        "deliver_policy": "string",
        "opt_start_seq": "uint64",
        "opt_start_time": "time",
        "ack_policy": "string",
        "ack_wait": "duration",
        "max_deliver": "int",
        "backoff": "[]duration",
        "filter_subject": "string",
        "filter_subjects": "[]string",
        "replay_policy": "string",
        "rate_limit_bps": "uint64",
        "sample_freq": "string",
        "max_waiting": "int",
        "max_ack_pending": "int",
        "flow_control": "bool",
        "headers_only": "bool",
        "max_batch": "int",
        "max_expires": "duration",
        "max_bytes": "int",
        "deliver_subject": "string",
        "deliver_group": "string",
        "idle_heartbeat": "duration",
        "inactive_threshold": "duration",
        "num_replicas": "int",
        "mem_storage": "bool",
        "direct": "bool",
        "metadata": "map",
        "pause_until": "time",
        "priority_groups": "[]string",
        "priority_policy": "string",
        "priority_timeout": "duration",
    },
}
_NOT_MODELLED: Final = (
    "deliver_subject",
    "deliver_group",
    "sample_freq",
    "direct",
    "pause_until",
    "priority_groups",
    "priority_policy",
    "priority_timeout",
)
_CHOICES: Final = {
    "deliver_policy": ("all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"),
    "ack_policy": ("none", "all", "explicit"),
    "replay_policy": ("instant", "original"),
}


@attrs.frozen(kw_only=True)
class ConsumerConfig:
    """How a consumer is configured, in the fields of the wire; durations in nanoseconds."""

    durable_name: str = ""
    name: str = ""
    description: str = ""
    deliver_policy: str = "all"
    opt_start_seq: int = 0
    opt_start_time: int = 0
    ack_policy: str = "none"
    ack_wait: int = 0
    max_deliver: int = -1
    backoff: tuple[int, ...] = ()
    filter_subject: str = ""
    filter_subjects: tuple[str, ...] = ()
    replay_policy: str = "instant"
    max_waiting: int = _MAX_WAITING
    max_ack_pending: int = 0
    headers_only: bool = False
    max_batch: int = 0
    max_expires: int = 0
    max_bytes: int = 0
    inactive_threshold: int = 0
    num_replicas: int = 0
    mem_storage: bool = False
    metadata: dict[str, str] = attrs.field(factory=dict)

    @property
    def filters(self) -> tuple[bytes, ...]:
        """Its filter subjects as bytes; none = everything."""
        subjects = self.filter_subjects or ((self.filter_subject,) if self.filter_subject else ())
        return tuple(subject.encode("utf-8", "surrogateescape") for subject in subjects)

    def fields(self, *, served: bool = True) -> dict[str, Any]:
        """As it stands in a reply; `served` = with what the server adds of itself, which lists leave out."""
        fields: dict[str, Any] = {}
        for name in _ORDER:
            value = getattr(self, name)
            if name == "opt_start_time" and value:
                fields[name] = timestamp(value)
            elif value or name in _NEVER_OMITTED:
                fields[name] = list(value) if isinstance(value, tuple) else value
        fields["metadata"] = served_metadata(self.metadata) if served else self.metadata
        return fields


_ORDER: Final = tuple(field.name for field in attrs.fields(ConsumerConfig) if field.name != "metadata")
_NEVER_OMITTED: Final = frozenset({"deliver_policy", "ack_policy", "replay_policy", "num_replicas"})


def read_config(given: dict[str, Any], stream: StreamConfig, *, pedantic: bool) -> ConsumerConfig:
    """A complete configuration from the fields of a request.

    Raises:
        APIError: as nats-server refuses it, or because the simulation does not model it.
    """
    for name in _NOT_MODELLED:
        if given.get(name):
            raise not_modelled(f"{name} of a consumer")
    fields = {name: given[name] for name in _ORDER if name in given}
    for name, choices in _CHOICES.items():
        if fields.get(name, choices[0]) not in choices:
            raise unknown_value(fields[name])
    if fields.get("replay_policy") == "original":
        raise not_modelled("replay_policy original of a consumer")
    _complete(fields, stream, pedantic=pedantic)
    config = ConsumerConfig(**fields, metadata=stored_metadata(given.get("metadata", {}), 0))
    _check(config, stream)
    _check_pull(config, given, stream)
    _check_limits(config, stream)
    _check_filters(config)
    _check_start(config)
    if config.durable_name and config.name and config.durable_name != config.name:
        raise api_error(10132)
    if sum(len(key) + len(value) for key, value in config.metadata.items()) > _METADATA_MAX:
        raise api_error(10135, "128KB")
    return config


def check_update(old: ConsumerConfig, new: ConsumerConfig) -> None:
    """Refuse what cannot change.

    Raises:
        APIError: as nats-server refuses it.
    """
    for name, text in (
        ("deliver_policy", "deliver policy"),
        ("mem_storage", "storage type"),
        ("opt_start_seq", "start sequence"),
        ("opt_start_time", "start time"),
        ("ack_policy", "ack policy"),
        ("replay_policy", "replay policy"),
        ("max_waiting", "max waiting"),
    ):
        if getattr(old, name) != getattr(new, name):
            raise api_error(10012, f"{text} can not be updated")
    if new.backoff and new.max_deliver != -1 and len(new.backoff) > new.max_deliver:
        raise api_error(10116)


def _complete(fields: dict[str, Any], stream: StreamConfig, *, pedantic: bool) -> None:
    if pedantic and fields.get("max_deliver", 0) < -1:
        raise api_error(10157, "max_deliver must be set to -1")
    if fields.get("max_deliver", 0) < 1:
        fields["max_deliver"] = -1
    for name in ("max_waiting", "max_batch", "max_expires", "max_bytes", "inactive_threshold"):
        if fields.get(name, 0) < 0:
            if pedantic:
                raise api_error(10157, f"{name} must not be negative")
            fields[name] = 0
    fields["max_waiting"] = fields.get("max_waiting") or _MAX_WAITING
    acknowledges = fields.get("ack_policy", "none") != "none"
    if acknowledges and not fields.get("ack_wait"):
        fields["ack_wait"] = _ACK_WAIT
    if fields.get("backoff"):
        if pedantic and fields.get("ack_wait") != fields["backoff"][0]:
            raise api_error(10157, "first backoff value has to equal batch AckWait")
        fields["ack_wait"] = fields["backoff"][0]
    pending = max(fields.get("max_ack_pending", 0), -1) or stream.consumer_limits.get("max_ack_pending", 0)
    fields["max_ack_pending"] = pending or (_MAX_ACK_PENDING if acknowledges else 0)
    fields["inactive_threshold"] = fields.get("inactive_threshold") or stream.consumer_limits.get(
        "inactive_threshold", 0
    )


def _check(config: ConsumerConfig, stream: StreamConfig) -> None:
    for name, what in ((config.name, "consumer name"), (config.durable_name, "consumer durable name")):
        if name and not is_asset_name(name):
            raise api_error(10052, f"{what} can not contain '.', '*', '>', '\\', '/'")
    if config.num_replicas > stream.num_replicas:
        raise api_error(10126)
    if config.num_replicas < 0:
        raise api_error(10133)
    if any(delay < 0 for delay in config.backoff):
        raise api_error(10184)
    if config.ack_wait < 0:
        raise api_error(10183)
    if config.backoff and config.max_deliver != -1 and len(config.backoff) > config.max_deliver:
        raise api_error(10116)
    if len(config.description) > _DESCRIPTION_MAX:
        raise api_error(10107, _DESCRIPTION_MAX)


def _check_pull(config: ConsumerConfig, given: dict[str, Any], stream: StreamConfig) -> None:
    if config.ack_policy == "none" and stream.retention == "workqueue":
        raise api_error(10084)
    for name, code in (("rate_limit_bps", 10086), ("idle_heartbeat", 10088), ("flow_control", 10089)):
        if given.get(name, 0) > 0:
            raise api_error(code)
    if 0 < config.max_expires < MILLISECOND:
        raise api_error(10115)


def _check_limits(config: ConsumerConfig, stream: StreamConfig) -> None:
    for name, code in (("max_ack_pending", 10121), ("inactive_threshold", 10153)):
        limit = stream.consumer_limits.get(name, 0)
        if 0 < limit < getattr(config, name):
            raise api_error(code, limit)


def _check_filters(config: ConsumerConfig) -> None:
    if config.filter_subject and config.filter_subjects:
        raise api_error(10136)
    if config.filter_subject and not is_valid(config.filter_subject.encode("utf-8", "surrogateescape")):
        raise _bad_subject()
    if "" in config.filter_subjects:
        raise api_error(10139)
    for index, one in enumerate(config.filters):
        if not is_valid(one):
            raise _bad_subject()
        for other_index, other in enumerate(config.filters):
            if index != other_index and is_subset(one, other):
                raise api_error(10138)


def _bad_subject() -> APIError:
    return api_error(10052, "invalid subject")


def _check_start(config: ConsumerConfig) -> None:
    policy, sequence, time = config.deliver_policy, config.opt_start_seq, config.opt_start_time
    name = policy.replace("_", " ")
    if sequence and policy != "by_start_sequence":
        what = "start sequence" if policy == "by_start_time" else "sequence"
        raise _bad_start(f"deliver {name}, but optional start {what} is also set")
    if time and policy != "by_start_time":
        raise _bad_start(f"deliver {name}, but optional start time is also set")
    if policy == "by_start_sequence" and not sequence:
        raise _bad_start(f"deliver {name}, but optional start sequence is not set")
    if policy == "by_start_time" and not time:
        raise _bad_start(f"deliver {name}, but optional start time is not set")
    if policy == "last_per_subject" and not config.filters:
        raise _bad_start(f"deliver {name}, but optional filter subject is not set")


def _bad_start(text: str) -> APIError:
    return api_error(10094, f"consumer delivery policy is {text}")
