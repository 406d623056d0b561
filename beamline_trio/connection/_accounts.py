"""A connection's books for whoever reads them: the ledger of its publishes and the statistics, at one moment.

Must not change anything.
"""

from __future__ import annotations

from typing import Any

from ._connection import Connection
from ._ledger import Ledger
from ._statistics import Statistics


def ledger_of(connection: Connection) -> Ledger:
    """The account of all publishes."""
    outbox = connection.outbox
    return Ledger(
        accepted=connection.outbox.accepted + connection.queued + connection.losses.refused - connection.withdrawn,
        open=outbox.open_operations + connection.pending.operations,
        confirmed=outbox.coverage.confirmed,
        failed=outbox.coverage.failed,
        expired=connection.losses.expired,
        dropped=connection.losses.dropped,
        unknown=outbox.coverage.unknown,
        skipped=connection.counters.skipped,
    )


def statistics_of(connection: Connection) -> Statistics:
    """The counters."""
    counters = connection.counters
    plain: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value
        for name, value in vars(counters).items()
        if isinstance(value, (int, dict))
    }
    plain["messages_in"] += connection.parser.messages if connection.parser is not None else 0
    return Statistics(
        publishes=connection.outbox.accepted + connection.queued + connection.losses.refused,
        requests_inflight=len(connection.inbox),
        pending_operations=connection.pending.operations,
        pending_bytes=connection.pending.bytes,
        pending_expired=connection.losses.expired,
        subscriptions=len(connection.interests),
        events_dropped=connection.events.dropped,
        confirm_latency_counts=tuple(counters.confirm_latency.counts),
        confirm_latency_seconds=counters.confirm_latency.total_seconds,
        **plain,
    )
