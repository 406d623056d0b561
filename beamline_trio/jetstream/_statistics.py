"""Counters of JetStream, one set for each client: plain integers where the work happens, a frozen snapshot for readers.

They only grow, survive reconnects, and hold no per-message objects.
"""

from __future__ import annotations

from typing import Any, Final

from ..connection import Latencies
from ..protocol import frozen

PUBLISH_WITH_ACK_FAILURE_REASONS: Final[tuple[str, ...]] = (
    "timeout",
    "disconnected",
    "no_responders",
    "api_error",
    "permission",
    "pending_timeout",
    "pending_full",
    "too_large",
    "closed",
    "server_error",
)
ACK_FAILURE_REASONS: Final[tuple[str, ...]] = (
    "timeout",
    "disconnected",
    "no_responders",
    "permission",
    "pending_timeout",
    "pending_full",
    "too_large",
    "expired",
    "closed",
    "server_error",
)
NAK_FAILURE_REASONS: Final[tuple[str, ...]] = ("disconnected", "permission")
REDELIVERY_REASONS: Final[tuple[str, ...]] = (
    "handler_error",
    "backoff",
    "backpressure",
    "processing_timeout",
    "publish_error",
    "ack_error",
    "nak_error",
    "nats_disconnect",
)
# Of these a message is naked for, which may be on its last delivery, and not come again.
NAK_REASONS: Final[tuple[str, ...]] = (
    "handler_error",
    "backoff",
    "backpressure",
    "processing_timeout",
    "publish_error",
)


@frozen(kw_only=True)
class JetStreamStatistics:
    """A client's JetStream counters at one moment.

    Attributes:
        publishes: publishes that asked for a PubAck.
        publish_acks: PubAcks that came.
        publish_duplicates: of these, those that said the message was stored before.
        publish_failures: reason -> publishes that failed, or whose fate is unknown; each counted once.
        publish_expectations_unmet: publishes with `raise_unmet` that found somebody else to be first; they are not
            among the failures.
        publishes_skipped: publishes not sent because the client fails open and had no connection.
        publish_retries: further attempts made by a `PublishRetry`.
        publish_retry_successes: publishes that a further attempt saved; publish_retry_failures: those none saved.
        publish_retry_delay_counts: waits before further attempts, per bound of LATENCY_BOUNDS_SECONDS; and their sum.
        publish_latency_counts: round trips of publishes per bound of LATENCY_BOUNDS_SECONDS; beside it their sum.
        acks: acks taken in (terms and double acks included).
        ack_failures: reason -> acks that failed.
        acks_pending: acks kept for the next link now.
        acks_resent: acks sent again on a later link.
        naks: naks taken in.
        nak_failures: reason -> naks that failed; without a connection they are dropped.
        in_progress: extensions of the ack wait that were sent.
        messages: messages that came for pulls.
        redeliveries: why -> redeliveries that this client has asked for, or brought about.
        max_deliver_exhausted: why -> naks of messages on their last delivery: they will not come again.
        pulls: pull requests sent.
        heartbeats_missed: times a server was silent for two heartbeats.
        consumers_recreated: consumers made again after they were lost.
    """

    publishes: int
    publish_acks: int
    publish_duplicates: int
    publish_failures: dict[str, int]
    publish_expectations_unmet: int
    publishes_skipped: int
    publish_retries: int
    publish_retry_successes: int
    publish_retry_failures: int
    publish_retry_delay_counts: tuple[int, ...]
    publish_retry_delay_seconds: float
    publish_latency_counts: tuple[int, ...]
    publish_latency_seconds: float
    acks: int
    ack_failures: dict[str, int]
    acks_pending: int
    acks_resent: int
    naks: int
    nak_failures: dict[str, int]
    in_progress: int
    messages: int
    redeliveries: dict[str, int]
    max_deliver_exhausted: dict[str, int]
    pulls: int
    heartbeats_missed: int
    consumers_recreated: int


class JetStreamCounters:
    """The numbers themselves, changed in place."""

    def __init__(self) -> None:
        self.publishes = 0
        self.publish_acks = 0
        self.publish_duplicates = 0
        self.publish_failures: dict[str, int] = dict.fromkeys(PUBLISH_WITH_ACK_FAILURE_REASONS, 0)
        self.publish_expectations_unmet = 0
        self.publishes_skipped = 0
        self.publish_retries = 0
        self.publish_retry_successes = 0
        self.publish_retry_failures = 0
        self.publish_retry_delay = Latencies()
        self.publish_latency = Latencies()
        self.acks = 0
        self.ack_failures: dict[str, int] = dict.fromkeys(ACK_FAILURE_REASONS, 0)
        self.acks_resent = 0
        self.naks = 0
        self.nak_failures: dict[str, int] = dict.fromkeys(NAK_FAILURE_REASONS, 0)
        self.in_progress = 0
        self.messages = 0
        self.redeliveries: dict[str, int] = dict.fromkeys(REDELIVERY_REASONS, 0)
        self.max_deliver_exhausted: dict[str, int] = dict.fromkeys(NAK_REASONS, 0)
        self.pulls = 0
        self.heartbeats_missed = 0
        self.consumers_recreated = 0

    def snapshot(self, acks_pending: int, acks_expired: int) -> JetStreamStatistics:
        """The numbers at this moment; `acks_expired` have not been counted yet."""
        plain: dict[str, Any] = {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in vars(self).items()
            if isinstance(value, (int, dict))
        }
        plain["ack_failures"]["expired"] += acks_expired
        plain["redeliveries"]["ack_error"] += acks_expired
        return JetStreamStatistics(
            acks_pending=acks_pending,
            publish_retry_delay_counts=tuple(self.publish_retry_delay.counts),
            publish_retry_delay_seconds=self.publish_retry_delay.total_seconds,
            publish_latency_counts=tuple(self.publish_latency.counts),
            publish_latency_seconds=self.publish_latency.total_seconds,
            **plain,
        )
