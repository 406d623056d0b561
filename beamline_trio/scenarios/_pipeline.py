"""A plain at-least-once pipeline: each message has one effect, and those of a key are worked on in their order.

Must not know clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..client import Client
from ..jetstream import JetStream, JetStreamMessage, StreamConfig
from ..router import Delivery, KVIdempotence, Publish, Retry, Router
from ._ledger import tell_handled
from ._sink import Sink, Taking
from ._streams import REMEMBERED_SECONDS, streams_of
from ._subjects import DEAD, DONE, ONCE, ROUTE, WORK, number_of, payload_of, stream_name, subject_prefix
from ._work import ACK_WAIT_SECONDS, DEADLINE_SECONDS, GRACE_SECONDS, Ground

CONCURRENCY: Final = 16
ONCE_ROUTE: Final = "once"
# Of the keys of a source, every fourth one's messages go to the next region.
_ABROAD_EVERY: Final = 4
# Of which delivery of which instance an effect is, and whether that came in its key's order.
_HANDLED: Final = "Scenario-Handled"
# Of all instances: what was done is remembered under it.
_ROUTER: Final = "scenario"
_BUCKET: Final = "scenario-keys"
# Longer than a route's deadline, and over when what an instance had in hand that died has come again twice.
_CLAIM_SECONDS: Final = 45.0
_ASK: Final = "ASK"


class Pipeline:
    """See `Work`.

    Args:
        ground: what it is made for.
        telling: effects tell what came to the handlers, for a sink in another process.
    """

    def __init__(self, ground: Ground, *, telling: bool = False) -> None:
        self._ground = ground
        self._telling = telling
        self._region = ground.region

    @property
    def home(self) -> str:
        """See `Work`."""
        return stream_name(WORK, self._region)

    def streams(self) -> list[StreamConfig]:
        """See `Work`."""
        return streams_of(self._ground.scenario, self._ground.topology, self._region)

    def subjects(self) -> list[str]:
        """See `Work`. A key is one source's own, so that its order is that of one publisher."""
        keys, region, regions = range(self._ground.scenario.keys), self._region, self._ground.regions
        if len(regions) < 2:
            return [f"{subject_prefix(WORK, region)}.{key}" for key in keys]
        abroad = regions[(regions.index(region) + 1) % len(regions)]
        homes = [abroad if key % _ABROAD_EVERY == 0 else region for key in keys]
        return [f"{subject_prefix(WORK, home)}.{region}-{key}" for key, home in enumerate(homes)]

    @property
    def requests(self) -> str:
        """See `Work`."""
        return f"{subject_prefix(_ASK, self._region)}" if self._ground.scenario.requests_per_second else ""

    @property
    def once(self) -> str:
        """See `Work`."""
        return f"{subject_prefix(ONCE, self._region)}.one" if self._ground.scenario.once_per_second else ""

    def payload(self, number: int) -> bytes:
        """See `Work`."""
        return payload_of(number)

    def make_router(self, instance: str) -> Router:
        """See `Work`."""
        router = Router(_ROUTER, grace_seconds=GRACE_SECONDS, idempotence=self._open_keys if self.once else None)
        effects = subject_prefix(DONE, self._region)
        ledger, behaviour, telling = self._ground.ledger, self._ground.behaviour, self._telling

        @router.route(
            f"{subject_prefix(WORK, self._region)}.>",
            stream=self.home,
            durable=ROUTE,
            name=ROUTE,
            concurrency=CONCURRENCY,
            deadline_seconds=DEADLINE_SECONDS,
            ordered_by=lambda message: message.subject,
            retry=self._retry,
            dead_letter=f"{subject_prefix(DEAD, self._region)}.{ROUTE}",
        )
        async def work(payload: bytes, delivery: Delivery) -> Publish:
            number = number_of(payload)
            in_order = ledger.note_handled(number, delivery.subject, delivery.number, instance)
            await behaviour.meet(number)
            headers = {_HANDLED: tell_handled(delivery.number, instance, in_order=in_order)} if telling else None
            return Publish(f"{effects}.{delivery.subject.rpartition('.')[2]}", payload, headers=headers)

        if self.once:
            self._add_once(router, instance)
        if self.requests:

            @router.route(self.requests, queue_group=_ROUTER, name="ask", concurrency=CONCURRENCY)
            async def answer(payload: bytes) -> bytes:
                return payload

        return router

    def _add_once(self, router: Router, instance: str) -> None:
        """The route of messages that come twice."""
        ledger, behaviour, effects = self._ground.ledger, self._ground.behaviour, subject_prefix(DONE, self._region)

        @router.route(
            self.once,
            stream=stream_name(ONCE, self._region),
            durable=ONCE_ROUTE,
            name=ONCE_ROUTE,
            concurrency=4,
            idempotent_by=lambda message: str(number_of(message.payload)),
            retry=self._retry,
            dead_letter=f"{subject_prefix(DEAD, self._region)}.{ONCE_ROUTE}",
        )
        async def once(payload: bytes, delivery: Delivery) -> Publish:
            number = number_of(payload)
            ledger.note_handled(number, None, delivery.number, instance)
            await behaviour.meet(number)
            headers = {_HANDLED: tell_handled(delivery.number, instance, in_order=True)} if self._telling else None
            return Publish(f"{effects}.{ONCE_ROUTE}", payload, headers=headers)

    @property
    def _retry(self) -> Retry:
        return Retry(max_deliver=self._ground.scenario.max_deliver, ack_wait_seconds=ACK_WAIT_SECONDS)

    async def _open_keys(self, client: Client) -> KVIdempotence:
        """What was done by all instances, in a bucket that outlives them."""
        return await KVIdempotence.open(
            JetStream(client),
            _BUCKET,
            ttl_seconds=REMEMBERED_SECONDS,
            claim_seconds=_CLAIM_SECONDS,
            num_replicas=self._ground.topology.replicas,
        )

    def make_sink(self) -> Sink:
        """See `Work`."""
        return Sink([self._taking(DONE, self._take_done), self._taking(DEAD, self._take_dead)])

    def _taking(self, kind: str, note: Callable[[JetStreamMessage], None]) -> Taking:
        subject = f"{subject_prefix(kind, self._region)}.>"
        return Taking(stream_name(kind, self._region), f"sink-{kind.lower()}", subject, note)

    def _take_done(self, message: JetStreamMessage) -> None:
        number, told = number_of(message.payload), message.headers.get(_HANDLED) if self._telling else None
        if told is not None:
            self._ground.ledger.note_told(number, told)
        self._ground.ledger.note_done(number, message.metadata.stream_sequence, self._region)

    def _take_dead(self, message: JetStreamMessage) -> None:
        self._ground.ledger.note_dead(number_of(message.payload), self._region)
