"""What a route has counted: plain integers where the work happens, a frozen snapshot for whoever reads them.

Every message that a route takes ends in exactly one outcome, so at every moment

    taken == pending + in_flight + the sum of the outcomes

Reasons say why, beside the outcomes: of redeliveries that the route asked for, and of dead letters. Numbers but for
`pending`, `pending_bytes`, `in_flight` and `held` only grow, and no object is kept for a message.

Must not decide anything, and must not know messages or clients.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from ..protocol import frozen

# Of all routes: ok = handled, its effects confirmed, and acked or replied to; duplicate = acked or left out without
# handling, since its key was handled before; discarded = a core message that the end of the router cut short;
# unknown = settled, but whether the server heard of it is not known.
# Of core routes, where nothing is delivered again: error, rejected, bad_payload, deadline, unavailable (an open
# breaker).
# Of stream routes: retried = naked, to come again; dead_lettered; terminated = given up without a dead letter;
# returned = given back unhandled, at drain or by an open breaker.
OUTCOMES: Final = (
    "ok",
    "error",
    "duplicate",
    "rejected",
    "bad_payload",
    "deadline",
    "unavailable",
    "retried",
    "dead_lettered",
    "terminated",
    "returned",
    "discarded",
    "unknown",
)
# Why a route naks: the handler raised; it asked for a later try; its deadline passed; an effect or a dead letter could
# not be confirmed; there was no room, or no time left at drain, or its breaker was open.
RETRY_REASONS: Final = ("handler_error", "backoff", "processing_timeout", "publish_error", "backpressure")
# Why a route dead-letters: retries used up by one of the first three; never to be tried (rejected, bad_payload,
# requested by the handler's own outcome); its breaker was open on the last delivery; or the server gave up on a message
# whose deliveries all ended in silence.
DEAD_LETTER_REASONS: Final = (
    "handler_error",
    "processing_timeout",
    "publish_error",
    "rejected",
    "bad_payload",
    "requested",
    "breaker_open",
    "maxdeliver_exhausted",
)
DURATION_BOUNDS_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@frozen(kw_only=True)
class RouteStatistics:
    """A route's counters at one moment.

    Attributes:
        taken: messages taken from the source.
        taken_bytes: their payloads.
        pending: messages that wait for a worker now; pending_bytes: their payloads.
        in_flight: messages that a worker has now.
        held: of these, messages without their payloads, since their tenants have more than their part of the queue.
        overflows: messages that found their tenant's part of the queue full: held, or (of a core route) turned away.
        outcomes: outcome -> messages, of OUTCOMES.
        failures: tries that failed: the handler raised, its deadline passed, or an effect could not be confirmed.
        retries: reason -> redeliveries asked for, of RETRY_REASONS.
        dead_letters: reason -> dead letters that a stream has confirmed, of DEAD_LETTER_REASONS.
        dead_letter_failures: dead letters that could not be confirmed; their messages were naked and come again.
        effects: publishes of handlers that were confirmed as asked for; effect_failures: those that were not.
        left_out: messages that the filter of a route from a file has left out, and that had no effect.
        replies_dropped: answers of the handler of a route from a stream, whose messages have nobody to answer to.
        idempotency_hits: keys that were handled before, or are being handled elsewhere; idempotency_misses: new ones.
        breaker_refusals: messages that an open circuit breaker kept from the handler.
        duration_counts: seconds from a worker's taking a message to its outcome, per bound of
            DURATION_BOUNDS_SECONDS, and above; duration_seconds: their sum.
    """

    taken: int
    taken_bytes: int
    pending: int
    pending_bytes: int
    in_flight: int
    held: int
    overflows: int
    outcomes: dict[str, int]
    failures: int
    retries: dict[str, int]
    dead_letters: dict[str, int]
    dead_letter_failures: int
    effects: int
    effect_failures: int
    left_out: int
    replies_dropped: int
    idempotency_hits: int
    idempotency_misses: int
    breaker_refusals: int
    duration_counts: tuple[int, ...]
    duration_seconds: float


class RouteCounters:
    """The numbers themselves, changed in place by the route's parts; see `RouteStatistics`."""

    __slots__ = (
        "breaker_refusals",
        "dead_letter_failures",
        "dead_letters",
        "duration_counts",
        "duration_seconds",
        "effect_failures",
        "effects",
        "failures",
        "held",
        "idempotency_hits",
        "idempotency_misses",
        "in_flight",
        "left_out",
        "outcomes",
        "overflows",
        "pending",
        "pending_bytes",
        "replies_dropped",
        "retries",
        "taken",
        "taken_bytes",
    )

    def __init__(self) -> None:
        self.taken = 0
        self.taken_bytes = 0
        self.pending = 0
        self.pending_bytes = 0
        self.in_flight = 0
        self.held = 0
        self.overflows = 0
        self.outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.failures = 0
        self.retries: dict[str, int] = dict.fromkeys(RETRY_REASONS, 0)
        self.dead_letters: dict[str, int] = dict.fromkeys(DEAD_LETTER_REASONS, 0)
        self.dead_letter_failures = 0
        self.effects = 0
        self.effect_failures = 0
        self.left_out = 0
        self.replies_dropped = 0
        self.idempotency_hits = 0
        self.idempotency_misses = 0
        self.breaker_refusals = 0
        self.duration_counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self.duration_seconds = 0.0

    def queue(self, size: int) -> None:
        """A message of `size` bytes was taken from the source, and waits for a worker."""
        self.taken += 1
        self.taken_bytes += size
        self.pending += 1
        self.pending_bytes += size

    def unqueue(self, size: int) -> None:
        """A worker has a message that waited."""
        self.pending -= 1
        self.pending_bytes -= size
        self.in_flight += 1

    def requeue(self, size: int) -> None:
        """A worker has put a message back, to be tried again."""
        self.pending += 1
        self.pending_bytes += size
        self.in_flight -= 1

    def hold(self, size: int) -> None:
        """A message that waits has let its `size` bytes go."""
        self.overflows += 1
        self.held += 1
        self.pending_bytes -= size

    def take(self, size: int) -> None:
        """A worker has taken a message straight from the source."""
        self.taken += 1
        self.taken_bytes += size
        self.in_flight += 1

    def end(self, outcome: str, seconds: float) -> None:
        """A message that a worker had is done with, after so many seconds.

        Raises:
            KeyError: the outcome is none of OUTCOMES.
        """
        self.outcomes[outcome] += 1
        self.in_flight -= 1
        self.duration_counts[bisect_left(DURATION_BOUNDS_SECONDS, seconds)] += 1
        self.duration_seconds += seconds

    def end_pending(self, outcome: str, size: int) -> None:
        """A message that waited is done with, and no worker had it.

        Raises:
            KeyError: the outcome is none of OUTCOMES.
        """
        self.outcomes[outcome] += 1
        self.pending -= 1
        self.pending_bytes -= size

    @property
    def ended(self) -> int:
        """Messages that have an outcome."""
        return sum(self.outcomes.values())

    def snapshot(self) -> RouteStatistics:
        """The numbers at this moment."""
        numbers: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        for name in ("outcomes", "retries", "dead_letters"):
            numbers[name] = dict(numbers[name])
        numbers["duration_counts"] = tuple(self.duration_counts)
        return RouteStatistics(**numbers)
