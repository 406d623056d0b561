"""Counters of a client: plain integers where the work happens, a frozen snapshot for whoever reads them.

They only grow, survive reconnects, and hold no per-message objects.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from ..protocol import frozen

LATENCY_BOUNDS_SECONDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)

RECONNECT_FAILURE_REASONS: Final[tuple[str, ...]] = ("refused", "dns", "tls", "timeout", "auth", "protocol", "closed")
PUBLISH_FAILURE_REASONS: Final[tuple[str, ...]] = (
    "permission",
    "server_error",
    "timeout",
    "disconnected",
    "pending_timeout",
    "pending_full",
    "too_large",
    "closed",
)
PENDING_POLICIES: Final[tuple[str, ...]] = ("block", "error", "drop_oldest", "drop_new")
SUBSCRIBE_FAILURE_REASONS: Final[tuple[str, ...]] = ("permission", "server_error", "timeout", "disconnected", "closed")


class Latencies:
    """A histogram of seconds: counts per bound of LATENCY_BOUNDS_SECONDS (and above), and the sum."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one round trip."""
        self.counts[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.total_seconds += seconds


@frozen(kw_only=True)
class Statistics:
    """A client's counters at one moment. Bytes are of the socket's streams, messages of the subscriptions.

    Attributes:
        established: links established, the first and every later one.
        lost: links lost.
        restored: links established again after a loss.
        connect_failures: attempts that failed, the first connect included.
        reconnect_attempts: attempts to reconnect, each server of a pass counted.
        reconnect_failures: reason -> attempts that failed.
        exhausted: outages in which the attempts were spent.
        publishes: publishes accepted (sent or queued), requests and replies included, also those that a cancellation
            withdrew before they were written.
        publish_failures: reason -> publishes that failed.
        confirmed_publishes: publishes with `confirm=True` that were confirmed.
        confirmed_publish_failures: reason -> publishes with `confirm=True` that failed.
        subscribes: subscriptions made.
        subscribe_failures: reason -> subscriptions that failed.
        skipped: publishes skipped because the client fails open.
        requests_inflight: requests waiting for a reply now.
        requests: requests made.
        late_replies: replies that came after their request had ended.
        pending_operations: operations waiting for a connection now.
        pending_bytes: their bytes.
        pending_dropped: policy -> operations refused or dropped by it.
        pending_expired: operations that waited longer than `pending_timeout_seconds`.
        pending_retried: operations taken from the queue and handed to a new link; what it dies under unwritten goes
            back, and is counted again next time.
        pending_retry_success: of them those that the server has confirmed.
        pending_retry_failed: of them those that it refused, that are too large for it, or that are unknown.
        slow_consumer: messages dropped because a subscription was full.
        subscriptions: subscriptions now.
        unroutable: messages for subscriptions that had ended.
        malformed: messages skipped because their headers could not be decoded.
        callback_errors: exceptions of callbacks and hooks.
        server_errors: `-ERR` received.
        events_dropped: events lost by consumers that did not read.
        pings: keep-alive pings sent.
        pings_answered: those whose PONG came in time.
        pongs_missed: links given up because none came.
        confirm_latency: counts per bound of round trips of confirmed publishes; the sum in seconds beside it.
    """

    messages_in: int
    bytes_in: int
    bytes_out: int
    established: int
    lost: int
    restored: int
    connect_failures: int
    reconnect_attempts: int
    reconnect_failures: dict[str, int]
    exhausted: int
    publishes: int
    publish_failures: dict[str, int]
    confirmed_publishes: int
    confirmed_publish_failures: dict[str, int]
    subscribes: int
    subscribe_failures: dict[str, int]
    skipped: int
    requests: int
    requests_inflight: int
    late_replies: int
    pending_operations: int
    pending_bytes: int
    pending_dropped: dict[str, int]
    pending_expired: int
    pending_retried: int
    pending_retry_success: int
    pending_retry_failed: int
    slow_consumer: int
    subscriptions: int
    unroutable: int
    malformed: int
    callback_errors: int
    server_errors: int
    events_dropped: int
    pings: int
    pings_answered: int
    pongs_missed: int
    confirm_latency_counts: tuple[int, ...]
    confirm_latency_seconds: float


class Counters:
    """The numbers that nobody else owns, changed in place."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.established = 0
        self.lost = 0
        self.restored = 0
        self.connect_failures = 0
        self.reconnect_attempts = 0
        self.reconnect_failures: dict[str, int] = dict.fromkeys(RECONNECT_FAILURE_REASONS, 0)
        self.exhausted = 0
        self.publish_failures: dict[str, int] = dict.fromkeys(PUBLISH_FAILURE_REASONS, 0)
        self.confirmed_publishes = 0
        self.confirmed_publish_failures: dict[str, int] = dict.fromkeys(PUBLISH_FAILURE_REASONS, 0)
        self.subscribes = 0
        self.subscribe_failures: dict[str, int] = dict.fromkeys(SUBSCRIBE_FAILURE_REASONS, 0)
        self.skipped = 0
        self.requests = 0
        self.late_replies = 0
        self.pending_dropped: dict[str, int] = dict.fromkeys(PENDING_POLICIES, 0)
        self.pending_retried = 0
        self.pending_retry_success = 0
        self.pending_retry_failed = 0
        self.slow_consumer = 0
        self.unroutable = 0
        self.malformed = 0
        self.callback_errors = 0
        self.server_errors = 0
        self.pings = 0
        self.pings_answered = 0
        self.pongs_missed = 0
        self.confirm_latency = Latencies()
