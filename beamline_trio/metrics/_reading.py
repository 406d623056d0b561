"""What a client and a router say about themselves at one moment, in the words of the metrics contract.

A new number of `Statistics` gets its series here and its row in contract.toml. Readings can be added and subtracted,
which is all that folding a closed client into its label's total takes.

Must not import prometheus_client, and must not change what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from ..client import Client
from ..connection import LATENCY_BOUNDS_SECONDS, State
from ..router import DURATION_BOUNDS_SECONDS, Router

# The name of a metric, and the values of its labels but for `client`.
Key: TypeAlias = tuple[str, tuple[str, ...]]

STATUS = "router_nats_connection_status"
PENDING = "router_nats_pending_operations_count"
# What is about now and not about all the time: nothing of it outlives its client.
MOMENTARY = frozenset({STATUS, PENDING})


@attrs.frozen
class Distribution:
    """The observations of a histogram: counts per bound (and above the last one), and the sum in seconds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_seconds: float

    def plus(self, other: Distribution, sign: int = 1) -> Distribution:
        """Both together, or this less the other."""
        counts = tuple(mine + sign * theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.total_seconds + sign * other.total_seconds)


@attrs.define
class Reading:
    """Numbers and distributions by their series."""

    numbers: dict[Key, float] = attrs.field(factory=dict)
    distributions: dict[Key, Distribution] = attrs.field(factory=dict)

    def add(self, other: Reading) -> None:
        """Add another; of two connections under one label the worse status is shown."""
        for key, number in other.numbers.items():
            known = self.numbers.get(key)
            if known is None:
                self.numbers[key] = number
            else:
                self.numbers[key] = min(known, number) if key[0] == STATUS else known + number
        for key, distribution in other.distributions.items():
            before = self.distributions.get(key)
            self.distributions[key] = distribution if before is None else before.plus(distribution)

    def less(self, earlier: Reading) -> Reading:
        """What has come since an earlier reading of the same source."""
        numbers = {key: number - earlier.numbers.get(key, 0) for key, number in self.numbers.items()}
        distributions = {
            key: distribution.plus(earlier.distributions[key], -1) if key in earlier.distributions else distribution
            for key, distribution in self.distributions.items()
        }
        return Reading(numbers, distributions)

    def lasting(self) -> Reading:
        """What of it outlives the client."""
        numbers = {key: number for key, number in self.numbers.items() if key[0] not in MOMENTARY}
        return Reading(numbers, dict(self.distributions))


def read_client(client: Client) -> Reading:
    """A client's series at this moment."""
    statistics = client.stats()
    reading = Reading()
    plain: dict[str, float] = {
        STATUS: _status(client),
        PENDING: statistics.pending_operations,
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
        "router_nats_slow_consumer_total": statistics.slow_consumer,
    }
    for name, number in plain.items():
        reading.numbers[name, ()] = number
    labelled: dict[str, Mapping[str, int]] = {
        "router_nats_reconnect_failures_total": statistics.reconnect_failures,
        "router_nats_publish_failures_total": statistics.publish_failures,
        "router_nats_subscribe_failures_total": statistics.subscribe_failures,
        "router_nats_pending_operations_dropped_total": statistics.pending_dropped,
    }
    for name, by_value in labelled.items():
        for value, number in by_value.items():
            reading.numbers[name, (value,)] = number
    reading.distributions["router_nats_publish_latency_seconds", ()] = Distribution(
        LATENCY_BOUNDS_SECONDS, statistics.confirm_latency_counts, statistics.confirm_latency_seconds
    )
    return reading


def read_router(router: Router) -> Reading:
    """A router's series at this moment."""
    reading = Reading()
    for route in router.routes:
        for outcome, number in route.outcomes.items():
            reading.numbers["router_requests_total", (route.name, outcome)] = number
        reading.distributions["router_request_duration_seconds", (route.name,)] = Distribution(
            DURATION_BOUNDS_SECONDS, tuple(route.duration_counts), route.duration_seconds
        )
    return reading


def _status(client: Client) -> float:
    if client.state is State.CONNECTED:
        return 1.0
    return 0.5 if client.connection.attempting else 0.0
