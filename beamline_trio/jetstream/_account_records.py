"""What the server tells of an account's use of JetStream.

Must not send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..protocol import frozen
from ._wire import EXTRA


@frozen(kw_only=True)
class AccountLimits:
    """What an account may use; -1 is unlimited."""

    max_memory: int = 0
    max_storage: int = 0
    max_streams: int = 0
    max_consumers: int = 0
    max_ack_pending: int = 0
    memory_max_stream_bytes: int = 0
    storage_max_stream_bytes: int = 0
    max_bytes_required: bool = False
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class APIStatistics:
    """The API's own figures; `level` is what the server's JetStream can do (1 = 2.11, 2 = 2.12, 4 = 2.14, 5 = 2.15)."""

    level: int = 0
    total: int = 0
    errors: int = 0
    inflight: int = 0
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)


@frozen(kw_only=True)
class AccountInfo:
    """An account's use of JetStream; sizes are bytes."""

    memory: int = 0
    storage: int = 0
    reserved_memory: int = 0
    reserved_storage: int = 0
    streams: int = 0
    consumers: int = 0
    domain: str = ""
    limits: AccountLimits = attrs.field(factory=AccountLimits, metadata={"record": AccountLimits})
    api: APIStatistics = attrs.field(factory=APIStatistics, metadata={"record": APIStatistics})
    tiers: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=EXTRA)
