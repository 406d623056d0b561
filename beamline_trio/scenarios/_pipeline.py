"""A plain at-least-once pipeline: each message has one effect, and those of a key are worked on in their order.

Must not know clients.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ..jetstream import StreamConfig
from ..router import Delivery, Publish, Retry, Router
from ._ledger import tell_handled
from ._streams import streams_of
from ._subjects import DEAD, DONE, ROUTE, WORK, number_of, payload_of, stream_name, subject_prefix
from ._work import ACK_WAIT_SECONDS, GRACE_SECONDS, Ground

CONCURRENCY: Final = 16
# Of the keys of a source, every fourth one's messages go to the next region.
_ABROAD_EVERY: Final = 4
# Of which delivery of which instance an effect is, and whether that came in its key's order.
_HANDLED: Final = "Scenario-Handled"


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
        return streams_of(self._ground.topology, self._region)

    def subjects(self) -> list[str]:
        """See `Work`. A key is one source's own, so that its order is that of one publisher."""
        keys, region, regions = range(self._ground.scenario.keys), self._region, self._ground.regions
        if len(regions) < 2:
            return [f"{subject_prefix(WORK, region)}.{key}" for key in keys]
        abroad = regions[(regions.index(region) + 1) % len(regions)]
        homes = [abroad if key % _ABROAD_EVERY == 0 else region for key in keys]
        return [f"{subject_prefix(WORK, home)}.{region}-{key}" for key, home in enumerate(homes)]

    def payload(self, number: int) -> bytes:
        """See `Work`."""
        return payload_of(number)

    def make_router(self, instance: str) -> Router:
        """See `Work`."""
        router = Router(instance, grace_seconds=GRACE_SECONDS)
        effects = subject_prefix(DONE, self._region)
        ledger, behaviour, telling = self._ground.ledger, self._ground.behaviour, self._telling

        @router.route(
            f"{subject_prefix(WORK, self._region)}.>",
            stream=self.home,
            durable=ROUTE,
            name=ROUTE,
            concurrency=CONCURRENCY,
            ordered_by=lambda message: message.subject,
            retry=Retry(max_deliver=self._ground.scenario.max_deliver, ack_wait_seconds=ACK_WAIT_SECONDS),
            dead_letter=f"{subject_prefix(DEAD, self._region)}.{ROUTE}",
        )
        async def work(payload: bytes, delivery: Delivery) -> Publish:
            number = number_of(payload)
            in_order = ledger.note_handled(number, delivery.subject, delivery.number, instance)
            await behaviour.meet(number)
            headers = {_HANDLED: tell_handled(delivery.number, instance, in_order=in_order)} if telling else None
            return Publish(f"{effects}.{delivery.subject.rpartition('.')[2]}", payload, headers=headers)

        return router

    def make_sink(self, name: str) -> Router:
        """See `Work`."""
        router = Router(name)
        ledger, region, telling = self._ground.ledger, self._region, self._telling
        done, dead = (
            partial(
                router.route,
                f"{subject_prefix(kind, region)}.>",
                stream=stream_name(kind, region),
                durable=f"sink-{kind.lower()}",
                name=kind.lower(),
                concurrency=4,
            )
            for kind in (DONE, DEAD)
        )

        @done()
        async def take_done(payload: bytes, delivery: Delivery) -> None:
            assert delivery.metadata is not None
            number, told = number_of(payload), delivery.headers.get(_HANDLED) if telling else None
            if told is not None:
                ledger.note_told(number, told)
            ledger.note_done(number, delivery.metadata.stream_sequence, region)

        @dead()
        async def take_dead(payload: bytes) -> None:
            ledger.note_dead(number_of(payload), region)

        return router
