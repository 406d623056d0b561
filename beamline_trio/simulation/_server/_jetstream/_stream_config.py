"""The configuration of a stream: read from a request, completed with nats-server's defaults, checked, written again.

The order of the checks and of the fields is the server's. What it knows and the simulation does not model
(transforms, counters, schedules, batches) is refused by name.

Must not know the streams that there are; `_streams_api` compares with them.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from .._subjects import collide, is_subset, is_valid
from ._errors import APIError, api_error, not_modelled
from ._golang import MILLISECOND, SECOND
from ._source_config import SHAPE as ORIGIN_SHAPE
from ._source_config import check_origins

DUPLICATE_WINDOW: Final = 120 * SECOND
API_LEVEL: Final = "5"
VERSION: Final = "2.15.1"
_NAME_MAX: Final = 255
_DESCRIPTION_MAX: Final = 4096
_METADATA_MAX: Final = 128 * 1024
_AGE_MIN: Final = 100 * MILLISECOND
_MARKS: Final = "_nats."
_RESERVED: Final = (b"$JS.>", b"$JSC.>", b"$NRG.>")
_UNLIMITED: Final = (
    "max_msgs",
    "max_msgs_per_subject",
    "max_bytes",
    "max_msg_size",
    "max_consumers",
)

SHAPE: Final[dict[str, Any]] = {
    "name": "string",
    "description": "string",
    "subjects": "[]string",
    "retention": "string",
    "max_consumers": "int",
    "max_msgs": "int64",
    "max_bytes": "int64",
    "max_age": "duration",
    "max_msgs_per_subject": "int64",
    "max_msg_size": "int32",
    "discard": "string",
    "storage": "string",
    "num_replicas": "int",
    "no_ack": "bool",
    "duplicate_window": "duration",
    "placement": {"cluster": "string", "tags": "[]string", "preferred": "string"},
    "mirror": ORIGIN_SHAPE,
    "sources": [ORIGIN_SHAPE],
    "compression": "string",
    "first_seq": "uint64",
    "subject_transform": "any",
    "republish": "any",
    "allow_direct": "bool",
    "mirror_direct": "bool",
    "discard_new_per_subject": "bool",
    "sealed": "bool",
    "deny_delete": "bool",
    "deny_purge": "bool",
    "allow_rollup_hdrs": "bool",
    "consumer_limits": {"inactive_threshold": "duration", "max_ack_pending": "int"},
    "allow_msg_ttl": "bool",
    "subject_delete_marker_ttl": "duration",
    "allow_msg_counter": "bool",
    "allow_atomic": "bool",
    "allow_msg_schedules": "bool",
    "persist_mode": "string",
    "allow_batched": "bool",
    "metadata": "map",
    "pedantic": "bool",
}
_NOT_MODELLED: Final = (
    "subject_transform",
    "republish",
    "allow_msg_counter",
    "allow_atomic",
    "allow_msg_schedules",
    "persist_mode",
    "allow_batched",
)
_CHOICES: Final = {
    "retention": ("limits", "interest", "workqueue"),
    "discard": ("old", "new"),
    "storage": ("file", "memory"),
    "compression": ("none", "s2"),
}


@attrs.frozen(kw_only=True)
class StreamConfig:
    """How a stream is configured, in the fields of the wire; durations in nanoseconds, -1 = no limit."""

    name: str = ""
    description: str = ""
    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    max_consumers: int = -1
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    max_msgs_per_subject: int = -1
    max_msg_size: int = -1
    discard: str = "old"
    storage: str = "file"
    num_replicas: int = 1
    no_ack: bool = False
    duplicate_window: int = 0
    placement: dict[str, Any] = attrs.field(factory=dict)
    mirror: dict[str, Any] = attrs.field(factory=dict)
    sources: tuple[dict[str, Any], ...] = ()
    compression: str = "none"
    first_seq: int = 0
    allow_direct: bool = False
    mirror_direct: bool = False
    discard_new_per_subject: bool = False
    sealed: bool = False
    deny_delete: bool = False
    deny_purge: bool = False
    allow_rollup_hdrs: bool = False
    consumer_limits: dict[str, int] = attrs.field(factory=dict)
    allow_msg_ttl: bool = False
    subject_delete_marker_ttl: int = 0
    metadata: dict[str, str] = attrs.field(factory=dict)

    @property
    def patterns(self) -> tuple[bytes, ...]:
        """Its subjects as bytes."""
        return tuple(subject.encode("utf-8", "surrogateescape") for subject in self.subjects)

    def fields(self, *, served: bool = True) -> dict[str, Any]:
        """As it stands in a reply.

        Args:
            served: with what the server adds of itself, which lists leave out.
        """
        fields: dict[str, Any] = {"name": self.name}
        for name in _ORDER:
            value = getattr(self, name)
            if value or name not in _OMITTED_WHEN_EMPTY:
                fields[name] = list(value) if isinstance(value, tuple) else value
        fields["metadata"] = served_metadata(self.metadata) if served else self.metadata
        return fields


_ORDER: Final = tuple(field.name for field in attrs.fields(StreamConfig) if field.name not in ("name", "metadata"))
_OMITTED_WHEN_EMPTY: Final = frozenset(
    {
        "description",
        "subjects",
        "max_msg_size",
        "no_ack",
        "duplicate_window",
        "placement",
        "mirror",
        "sources",
        "first_seq",
        "discard_new_per_subject",
        "subject_delete_marker_ttl",
    }
)


def served_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """With the server's version and API level, by name, as Go writes maps."""
    return dict(sorted({**metadata, "_nats.level": API_LEVEL, "_nats.ver": VERSION}.items()))


def stored_metadata(given: dict[str, str], level: int) -> dict[str, str]:
    """What is kept of a request's: not what the server says of itself, but which API level is needed."""
    kept = {key: value for key, value in given.items() if not key.startswith(_MARKS)}
    return dict(sorted({**kept, "_nats.req.level": str(level)}.items()))


def read_config(given: dict[str, Any], *, clustered: bool = False) -> StreamConfig:
    """A complete configuration from the fields of a request; `clustered` = to a cluster, which has replicas.

    Raises:
        APIError: as nats-server refuses it, or because the simulation does not model it.
    """
    _check_name(given)
    for name in _NOT_MODELLED:
        if given.get(name) and not (name == "persist_mode" and given[name] == "default"):
            raise not_modelled(f"{name} of a stream")
    for name, choices in _CHOICES.items():
        if given.get(name, choices[0]) not in choices:
            raise unknown_value(given[name])
    fields = {name: given[name] for name in (*_ORDER, "name") if name in given}
    fields["placement"] = _check_placement(given, clustered=clustered)
    _complete(fields, pedantic=bool(given.get("pedantic")), clustered=clustered)
    fields["mirror"], fields["sources"] = check_origins(given)
    _check_times(fields, copies=bool(fields["mirror"] or fields["sources"]))
    if fields.get("deny_purge") and fields.get("allow_rollup_hdrs"):
        raise _invalid("roll-ups require the purge permission")
    if fields.get("discard_new_per_subject"):
        if fields.get("discard") != "new":
            raise _invalid("discard new per subject requires discard new policy to be set")
        if fields["max_msgs_per_subject"] <= 0:
            raise _invalid("discard new per subject requires max msgs per subject > 0")
    _check_markers(fields, pedantic=bool(given.get("pedantic")))
    own = () if fields["mirror"] or fields["sources"] else (given["name"],)
    fields["subjects"] = tuple(fields.get("subjects") or own)
    limits = fields.get("consumer_limits", {})
    fields["consumer_limits"] = {name: limits[name] for name in sorted(limits) if limits[name]}
    level = 1 if fields.get("allow_msg_ttl") else 0
    fields["metadata"] = stored_metadata(given.get("metadata", {}), level)
    config = StreamConfig(**fields)
    _check_subjects(config)
    return config


def is_asset_name(name: str) -> bool:
    """Whether a stream or consumer may have this name."""
    return bool(name) and not any(char in " \t\r\n\f.*>\\/" for char in name)


def unknown_value(value: str) -> APIError:
    """A word that is none of those that may stand there."""
    return api_error(10025, f'can not unmarshal "\\"{value}\\""')


def _invalid(text: str) -> APIError:
    return api_error(10052, text)


def _check_name(given: dict[str, Any]) -> None:
    name = given.get("name", "")
    if not is_asset_name(name):
        raise _invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'")
    if len(name) > _NAME_MAX:
        raise _invalid(f"stream name is too long, maximum allowed is {_NAME_MAX}")
    if len(given.get("description", "")) > _DESCRIPTION_MAX:
        raise _invalid(f"stream description is too long, maximum allowed is {_DESCRIPTION_MAX}")
    if sum(len(key) + len(value) for key, value in given.get("metadata", {}).items()) > _METADATA_MAX:
        raise _invalid(f"stream metadata exceeds maximum size of {_METADATA_MAX} bytes")


def _check_placement(given: dict[str, Any], *, clustered: bool) -> dict[str, Any]:
    placement = {name: value for name, value in (given.get("placement") or {}).items() if value}
    if placement and not clustered:
        raise not_modelled("placement of a stream of a server on its own")
    if placement.get("preferred"):
        raise _invalid("preferred server not permitted in placement")
    if placement.get("tags"):
        raise not_modelled("placement of a stream by tags")
    return placement


def _complete(fields: dict[str, Any], *, pedantic: bool, clustered: bool) -> None:
    replicas = fields.get("num_replicas") or 1
    if replicas < 0:
        raise api_error(10133)
    if replicas > 5:
        raise _invalid("maximum replicas is 5")
    if replicas > 1 and not clustered:
        raise api_error(10074)
    fields["num_replicas"] = replicas
    for name in _UNLIMITED:
        if pedantic and fields.get(name, 0) < -1:
            raise api_error(10157, f"{name} must be set to -1")
        if fields.get(name, 0) < 1:
            fields[name] = -1


def _check_times(fields: dict[str, Any], *, copies: bool) -> None:
    age = fields.get("max_age", 0)
    if age < 0:
        raise _invalid("max age can not be negative")
    if 0 < age < _AGE_MIN:
        raise _invalid("max age needs to be >= 100ms")
    usual = 0 if copies else min(age or DUPLICATE_WINDOW, DUPLICATE_WINDOW)
    window = fields.get("duplicate_window") or usual
    fields["duplicate_window"] = window
    if window < 0:
        raise _invalid("duplicates window can not be negative")
    if age and window > age:
        raise _invalid("duplicates window can not be larger then max age")
    if window < _AGE_MIN and not (copies and not window):
        raise _invalid("duplicates window needs to be >= 100ms")


def _check_markers(fields: dict[str, Any], *, pedantic: bool) -> None:
    """Markers of deleted subjects have a time to live, and roll up what they replace."""
    seconds = fields.get("subject_delete_marker_ttl", 0)
    if seconds < 0:
        raise _invalid("subject delete marker TTL must not be negative")
    if not seconds:
        return
    if seconds < SECOND:
        raise _invalid("subject delete marker TTL must be at least 1 second")
    if pedantic and not fields.get("allow_msg_ttl"):
        raise _invalid("subject delete marker cannot be set if message TTLs are disabled")
    if pedantic and not fields.get("allow_rollup_hdrs"):
        raise _invalid("subject delete marker cannot be set if roll-ups are disabled")
    fields.update(allow_msg_ttl=True, allow_rollup_hdrs=True, deny_purge=False)


def _check_subjects(config: StreamConfig) -> None:
    patterns = config.patterns
    for index, pattern in enumerate(patterns):
        if not is_valid(pattern) or any(char in pattern for char in b" \t\r\n"):
            raise _invalid("invalid subject")
        if pattern == b">" and not config.no_ack:
            raise _invalid("capturing all subjects requires no-ack to be true")
        if not config.no_ack:
            _check_reserved(pattern)
        for other in patterns[index + 1 :]:
            if collide(other, pattern):
                raise _invalid(f'subject "{pattern.decode()}" overlaps with "{other.decode()}"')


def _check_reserved(pattern: bytes) -> None:
    if any(collide(pattern, reserved) for reserved in _RESERVED) and not is_subset(pattern, b"$JS.EVENT.>"):
        raise _invalid("subjects that overlap with jetstream api require no-ack to be true")
    if collide(pattern, b"$SYS.>") and not is_subset(pattern, b"$SYS.ACCOUNT.>"):
        raise _invalid("subjects that overlap with system api require no-ack to be true")


def check_update(old: StreamConfig, new: StreamConfig) -> None:
    """Refuse what cannot change.

    Raises:
        APIError: as nats-server refuses it.
    """
    if new.mirror and new.mirror != old.mirror:
        raise api_error(10055)
    if new.storage != old.storage:
        raise _invalid("stream configuration update can not change storage type")
    if new.retention != old.retention and "workqueue" in (new.retention, old.retention):
        raise _invalid("stream configuration update can not change retention policy to/from workqueue")
    if old.sealed and not new.sealed:
        raise _invalid("stream configuration update can not unseal a sealed stream")
    for name, text in (("deny_delete", "message deletes"), ("deny_purge", "purge")):
        if getattr(old, name) and not getattr(new, name):
            raise _invalid(f"stream configuration update can not cancel deny {text}")
    if old.allow_msg_ttl and not new.allow_msg_ttl:
        raise _invalid("message TTL status can not be disabled")
