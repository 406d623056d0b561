"""What JetStream and the confirmed publishes of a client have counted, in the words of the metrics contract.

`router_nats_publish_attempts_total` and `router_nats_publish_errors_total` are about every publish whose end was waited
for: `publish(confirm=True)` and `js.publish`.

Must not import prometheus_client, and must not change what it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from ..client import Client
from ..connection import LATENCY_BOUNDS_SECONDS, Statistics
from ..jetstream import JetStreamStatistics, statistics_of
from ._series import Distribution, Reading

# Reason of a failed publish -> what kind of error it was; a reason that is not here is `unknown`.
_ERROR_TYPES: Final[Mapping[str, str]] = {
    "timeout": "timeout",
    "pending_timeout": "timeout",
    "disconnected": "connection",
    "pending_full": "connection",
    "closed": "connection",
    "permission": "nack",
    "api_error": "nack",
    "too_large": "nack",
    "no_responders": "broker_error",
    "server_error": "broker_error",
}
_UNKNOWN: Final = "unknown"
# Who brought a redelivery about.
_CONSUMER: Final = "consumer"


def read_jetstream(client: Client, confirmed: Statistics) -> Reading:
    """The series of JetStream at this moment, zeros where it was not used; with the client's own statistics."""
    statistics = statistics_of(client)
    reading = Reading()
    plain: dict[str, float] = {
        "router_nats_publish_with_ack_total": statistics.publishes,
        "router_nats_publish_expectations_unmet_total": statistics.publish_expectations_unmet,
        "router_nats_ack_total": statistics.acks,
        "router_nats_nak_total": statistics.naks,
    }
    for name, number in plain.items():
        reading.numbers[name, ()] = number
    labelled: dict[str, Mapping[str, int]] = {
        "router_nats_publish_with_ack_failures_total": statistics.publish_failures,
        "router_nats_ack_failures_total": statistics.ack_failures,
        "router_nats_nak_failures_total": statistics.nak_failures,
        "router_jetstream_maxdeliver_exhausted_total": statistics.max_deliver_exhausted,
        "router_nats_publish_attempts_total": _attempts(confirmed, statistics),
        "router_nats_publish_errors_total": _errors(confirmed, statistics),
    }
    for name, by_value in labelled.items():
        for value, number in by_value.items():
            reading.numbers[name, (value,)] = number
    for reason, number in statistics.redeliveries.items():
        reading.numbers["router_jetstream_redelivery_total", (reason, _CONSUMER)] = number
    reading.distributions["router_nats_publish_latency_seconds", ()] = Distribution(
        LATENCY_BOUNDS_SECONDS, statistics.publish_latency_counts, statistics.publish_latency_seconds
    )
    reading.distributions["router_nats_publish_retry_delay_seconds", ()] = Distribution(
        LATENCY_BOUNDS_SECONDS, statistics.publish_retry_delay_counts, statistics.publish_retry_delay_seconds
    )
    return reading


def _attempts(confirmed: Statistics, statistics: JetStreamStatistics) -> dict[str, int]:
    """How attempts ended: well, for good, or with another one behind them."""
    failed = sum(confirmed.confirmed_publish_failures.values()) + sum(statistics.publish_failures.values())
    succeeded = confirmed.confirmed_publishes + statistics.publish_acks
    return {"success": succeeded, "failure": failed, "retry": statistics.publish_retries}


def _errors(confirmed: Statistics, statistics: JetStreamStatistics) -> dict[str, int]:
    """Failed publishes by the type of their error."""
    found = Counter(dict.fromkeys((*_ERROR_TYPES.values(), _UNKNOWN), 0))
    for reasons in (confirmed.confirmed_publish_failures, statistics.publish_failures):
        for reason, count in reasons.items():
            found[_ERROR_TYPES.get(reason, _UNKNOWN)] += count
    return found
