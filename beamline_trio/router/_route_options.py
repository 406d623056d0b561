"""What a route was declared with: checked once, where it is declared, and never changed.

What may change while a route runs (its concurrency, rate and holds) begins with these values and lives in `_route`.

Must not know clients or messages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..connection import OptionsError
from ..jetstream import ConsumerConfig
from ..protocol import check_name, encode_pattern, encode_queue_group, encode_subject, frozen
from ._batches import Batch, Batches
from ._breaker import Breaker
from ._lanes import Lanes
from ._middleware import Middleware
from ._outcomes import Retry
from ._rate import Rate

KeyFunction: TypeAlias = Callable[[Any], Hashable]

QUEUE_MESSAGES_MAX: Final = 1_000
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
# Ten minutes of a tenant that sends 30 messages a second and whose handlers hang; about 1 KiB of memory each.
HELD_MESSAGES_MAX: Final = 20_000
DEADLINE_SECONDS: Final = 20.0
# Asked for ahead by a route from a stream: enough for a quick handler, and four messages for each worker of a slow one.
PREFETCH_MIN: Final = 100
PREFETCH_PER_WORKER: Final = 4
# A message is heard of so often within its ack wait, so that one lost heartbeat does no harm.
HEARTBEATS_PER_ACK_WAIT: Final = 3
_STREAM_ONLY: Final = ("durable", "consumer", "dead_letter", "double_ack", "recreate")
_CONSUMER_OWN: Final = {
    "backoff_seconds": "the server would replace the ack wait by its first value; use retry=Retry(delays_seconds=...)",
    "max_deliver": "use retry=Retry(max_deliver=...)",
    "ack_wait_seconds": "use retry=Retry(ack_wait_seconds=...)",
    "filter_subject": "it is the subject of the route",
    "filter_subjects": "it is the subject of the route",
    "durable_name": "use durable=",
    "name": "use durable=",
}


@frozen(kw_only=True)
class RouteOptions:
    """See `Router.route`.

    Raises:
        InvalidSubjectError: a subject, name or queue group cannot go on the wire.
        OptionsError, ValueError: a number is out of its bounds, or two options contradict each other.
    """

    subject: str
    name: str
    queue_group: str | None = None
    stream: str | None = None
    durable: str | None = None
    consumer: ConsumerConfig | None = None
    concurrency: int = 1
    ordered_by: KeyFunction | None = None
    tenant_by: KeyFunction | None = None
    quota: int | None = None
    weights: Mapping[Any, int] | None = None
    batch: Batch | None = None
    queue_messages_max: int | None = None
    queue_bytes_max: int | None = None
    held_messages_max: int | None = None
    retry: Retry = attrs.field(factory=Retry)
    dead_letter: str | None = None
    deadline_seconds: float = DEADLINE_SECONDS
    rate: float | None = None
    double_ack: bool = False
    recreate: bool = False
    idempotent_by: Callable[[Any], str] | None = None
    breaker: Breaker | None = None
    weight: float = 1.0
    middleware: tuple[Middleware, ...] = ()

    def __attrs_post_init__(self) -> None:
        encode_pattern(self.subject)
        check_concurrency(self.concurrency)
        for name in ("queue_messages_max", "queue_bytes_max", "held_messages_max"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionsError(f"{name} is {value}; it must be at least 1")
        if self.rate is not None:
            Rate(self.rate)
        if not self.weight > 0:
            raise OptionsError(f"weight is {self.weight!r}; it must be above 0")
        Lanes(quota=self.quota, weights=self.weights)
        if self.batch is not None:
            self._check_batch(self.batch)
        if not self.deadline_seconds > 0:
            raise OptionsError(f"deadline_seconds is {self.deadline_seconds!r}; it must be above 0")
        if self.dead_letter is not None:
            encode_subject(self.dead_letter)
        if self.held_messages_max is not None and (self.stream is None or self.tenant_by is None):
            raise OptionsError(
                f"route {self.name!r} has held_messages_max, which is about the tenants of a stream that have more "
                "than their part of the queue; give stream= and tenant_by=, or leave it out"
            )
        if self.stream is None:
            self._check_core()
        else:
            self._check_stream(self.stream)

    def _check_batch(self, batch: Batch) -> None:
        if self.stream is None:
            raise OptionsError(
                f"route {self.name!r} has a batch and no stream: its messages come once and each wants its own answer, "
                "so a batch that fails would lose them all; give stream=, or leave batch out"
            )
        Batches(Lanes[Any](messages_max=self.queue_messages_max or QUEUE_MESSAGES_MAX), batch)
        if self.idempotent_by is not None:
            raise OptionsError(
                f"route {self.name!r} has a batch and idempotent_by: a key is claimed and confirmed with one message, "
                "and the messages of a batch have their effects in common; leave one of the two out"
            )
        if self.breaker is not None and self.breaker.by is not None:
            raise OptionsError(
                f"route {self.name!r} has a batch and a breaker for each key (Breaker(by=...)), and the messages of a "
                "batch may have several keys; give the breaker no by, or leave batch out"
            )

    def _check_core(self) -> None:
        if self.queue_group is not None:
            encode_queue_group(self.queue_group)
        for name in _STREAM_ONLY:
            if getattr(self, name):
                raise OptionsError(
                    f"route {self.name!r} has {name} and no stream: its messages come once and cannot be acked; "
                    f"give stream=, or leave {name} out"
                )

    def _check_stream(self, stream: str) -> None:
        check_name(stream, "stream")
        check_name(self.durable if self.durable is not None else self.name, "durable")
        if self.queue_group is not None:
            raise OptionsError(
                f"route {self.name!r} has a stream and a queue_group; the instances of a durable share its messages "
                "already: leave queue_group out"
            )
        for name, instead in _CONSUMER_OWN.items():
            if self.consumer is not None and getattr(self.consumer, name) is not None:
                raise OptionsError(f"route {self.name!r}: consumer has {name}; {instead}")

    @property
    def is_laned(self) -> bool:
        """Whether messages wait in a queue of the route's, since more than their coming decides who is next."""
        return any(one is not None for one in (self.ordered_by, self.tenant_by, self.rate, self.batch))

    @property
    def held_max(self) -> int:
        """Messages of tenants beyond their part of the queue that are held by reference, at the most."""
        if self.stream is None or self.tenant_by is None:
            return 0
        return self.held_messages_max or HELD_MESSAGES_MAX

    @property
    def prefetch(self) -> int:
        """Messages of a stream that are here and not yet worked on, at the most."""
        ahead = max(PREFETCH_MIN, PREFETCH_PER_WORKER * self.concurrency)
        return min(self.queue_messages_max or QUEUE_MESSAGES_MAX, ahead)

    @property
    def waiting_least(self) -> int:
        """Messages of a stream that may wait in the route's queue however slow its handler is: two rounds of work."""
        return max(self.prefetch, 2 * self._in_hand_max)

    @property
    def heartbeat_seconds(self) -> float:
        """How old a message's last sign of life may be."""
        return self.retry.ack_wait_seconds / HEARTBEATS_PER_ACK_WAIT

    def consumer_config(self) -> ConsumerConfig:
        """The durable consumer of a route from a stream."""
        base = self.consumer if self.consumer is not None else ConsumerConfig()
        name = self.durable if self.durable is not None else self.name
        return attrs.evolve(
            base,
            durable_name=name,
            filter_subject=self.subject,
            ack_wait_seconds=self.retry.ack_wait_seconds,
            max_deliver=self.retry.max_deliver,
            max_ack_pending=base.max_ack_pending or self._outstanding_max(),
        )

    def _outstanding_max(self) -> int:
        """What may be unacked at once: here, on its way, and in hand."""
        queued = (self.queue_messages_max or QUEUE_MESSAGES_MAX) if self.is_laned else 0
        return queued + self.held_max + 2 * self.prefetch + self._in_hand_max

    @property
    def _in_hand_max(self) -> int:
        return self.concurrency * (1 if self.batch is None else self.batch.size)


def check_concurrency(value: int) -> None:
    """Refuse what cannot be a number of workers.

    Raises:
        ValueError: it is less than 1.
    """
    if value < 1:
        raise ValueError(f"concurrency is {value}; it must be at least 1")
