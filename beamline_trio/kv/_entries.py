"""What lies under a key: an entry, read from a message with the headers of ADR-8 and of markers (ADR-43, ADR-48).

    KV-Operation: DEL | PURGE               deleted, or deleted with its history
    Nats-Marker-Reason: MaxAge | Purge      the server deleted it: its time was over, or it was purged
    Nats-Marker-Reason: Remove              the server deleted it

Must not send.
"""

from __future__ import annotations

import datetime
from enum import Enum
from typing import Final

from ..protocol import Headers, frozen
from ._errors import InvalidEntryError
from ._names import is_key, key_of

KV_OPERATION: Final = "KV-Operation"
MARKER_REASON: Final = "Nats-Marker-Reason"
_NAME_SHOWN: Final = 64


class Operation(Enum):
    """What an entry says: a value was put, the key was deleted, or deleted with its history."""

    PUT = "PUT"
    DELETE = "DEL"
    PURGE = "PURGE"


_BY_MARKER: Final = {"MaxAge": Operation.PURGE, "Purge": Operation.PURGE, "Remove": Operation.DELETE}


@frozen(kw_only=True)
class Entry:
    """One revision of a key.

    Attributes:
        bucket: which bucket.
        key: which key.
        value: the bytes; empty of a deletion.
        revision: its number, which grows over the whole bucket.
        operation: PUT, or how it was deleted.
        created: when it was stored, to the microsecond; None when the server does not say.
        delta: how many newer ones there were in the same reading; 0 from `get`.
    """

    bucket: str
    key: str
    value: bytes
    revision: int
    operation: Operation = Operation.PUT
    created: datetime.datetime | None = None
    delta: int = 0

    @property
    def is_deleted(self) -> bool:
        """Whether it is a deletion."""
        return self.operation is not Operation.PUT


def read_entry(
    bucket: str,
    subject: str,
    headers: Headers,
    value: bytes,
    revision: int,
    created: datetime.datetime | None,
    delta: int = 0,
) -> Entry:
    """The entry in a message of a bucket's stream.

    Raises:
        InvalidEntryError: it is none: its key breaks the rule, or its operation is unknown.
    """
    key = key_of(bucket, subject)
    if not is_key(key):
        raise InvalidEntryError(bucket, ascii(key[:_NAME_SHOWN]), revision, "its key breaks the rule of ADR-8")
    operation = _operation(headers)
    if operation is None:
        said = headers.get(KV_OPERATION) or headers.get(MARKER_REASON) or ""
        raise InvalidEntryError(bucket, key, revision, f"it says {said[:_NAME_SHOWN]!a}, which is no operation")
    return Entry(
        bucket=bucket,
        key=key,
        value=value if operation is Operation.PUT else b"",
        revision=revision,
        operation=operation,
        created=created,
        delta=delta,
    )


def _operation(headers: Headers) -> Operation | None:
    """What a message does to its key; None = nobody knows."""
    said = headers.get(KV_OPERATION)
    if said is not None:
        return Operation._value2member_map_.get(said)  # type: ignore[return-value]
    reason = headers.get(MARKER_REASON)
    return Operation.PUT if reason is None else _BY_MARKER.get(reason)
