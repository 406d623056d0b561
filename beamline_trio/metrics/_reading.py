"""What a client says about itself at one moment, in the words of the metrics contract.

A new number of `Statistics` gets its series here and its row in contract.toml; what JetStream counts is in
`_reading_jetstream`, what routers count in `_reading_router`.

Must not import prometheus_client, and must not change what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..client import Client
from ..connection import LATENCY_BOUNDS_SECONDS, State
from ._reading_jetstream import read_jetstream
from ._series import PENDING, PENDING_RATIO, STATUS, Distribution, Reading


def read_client(client: Client) -> Reading:
    """A client's series at this moment."""
    statistics = client.stats()
    reading = Reading()
    plain: dict[str, float] = {
        STATUS: _status(client),
        PENDING: statistics.pending_operations,
        PENDING_RATIO: client.connection.pending.ratio,
        "router_nats_unknown_operations_count": client.ledger().unknown,
        "router_nats_connection_established_total": statistics.established,
        "router_nats_connection_lost_total": statistics.lost,
        "router_nats_connection_restored_total": statistics.restored,
        "router_nats_connection_failures_total": statistics.connect_failures,
        "router_nats_reconnect_attempts_total": statistics.reconnect_attempts,
        "router_nats_reconnection_exhausted_total": statistics.exhausted,
        "router_nats_publish_total": statistics.publishes,
        "router_nats_subscribe_total": statistics.subscribes,
        "router_nats_pending_operations_expired_total": statistics.pending_expired,
        "router_nats_pending_operations_retry_total": statistics.pending_retried,
        "router_nats_pending_operations_retry_success_total": statistics.pending_retry_success,
        "router_nats_pending_operations_retry_failed_total": statistics.pending_retry_failed,
        "router_nats_slow_consumer_total": statistics.slow_consumer,
    }
    for name, number in plain.items():
        reading.numbers[name, ()] = number
    labelled: dict[str, Mapping[str, int]] = {
        "router_nats_reconnect_failures_total": statistics.reconnect_failures,
        "router_nats_publish_failures_total": statistics.publish_failures,
        "router_nats_subscribe_failures_total": statistics.subscribe_failures,
        "router_nats_pending_operations_dropped_total": statistics.pending_dropped,
        "router_nats_health_check_total": {"success": statistics.pings_answered, "failure": statistics.pongs_missed},
    }
    for name, by_value in labelled.items():
        for value, number in by_value.items():
            reading.numbers[name, (value,)] = number
    reading.distributions["router_nats_publish_latency_seconds", ()] = Distribution(
        LATENCY_BOUNDS_SECONDS, statistics.confirm_latency_counts, statistics.confirm_latency_seconds
    )
    reading.add(read_jetstream(client, statistics))
    return reading


def _status(client: Client) -> float:
    if client.state is State.CONNECTED:
        return 1.0
    return 0.5 if client.connection.attempting else 0.0
