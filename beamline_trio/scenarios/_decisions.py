"""The decision router of the examples as a load: requests come in, and each is to lead to one assignment.

The examples are no part of the package: they are imported when this load is asked for, and are found in a checkout.

Must not decide.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Final

import attrs

from ..jetstream import JetStreamMessage, StreamConfig
from ..router import CallNext, Delivery, HandlerOutcome, Router
from ._errors import ScenarioError
from ._sink import Sink, Taking
from ._streams import REMEMBERED_SECONDS
from ._work import Ground

EXAMPLE: Final = "examples.decision_router"
_TENANT: Final = "acme"
_STREAM: Final = "DECIDE"
_ASSIGNMENTS: Final = "ASSIGNMENTS"
_DEAD: Final = "DEAD_LETTERS"
_ROUTE: Final = "decide"
# Whose messages nobody takes in this load.
_KEPT_SECONDS: Final = 600.0


class Decisions:
    """See `Work`.

    Args:
        ground: what it is made for.

    Raises:
        ScenarioError: the example is not there, or there are regions.
    """

    def __init__(self, ground: Ground) -> None:
        if ground.region:
            raise ScenarioError("the decision router has no regions; leave --load decisions out for this scenario")
        self._ground = ground
        self._example = _import(EXAMPLE)
        self._names = _import(f"{EXAMPLE}.streams")
        self._tenants = _import(f"{EXAMPLE}.tenants").TENANTS

    @property
    def home(self) -> str:
        """See `Work`."""
        return _STREAM

    def streams(self) -> list[StreamConfig]:
        """See `Work`. Those of the example, but what was taken goes, as in every load."""
        taken = (_STREAM, _ASSIGNMENTS, _DEAD)
        return [
            attrs.evolve(
                config,
                num_replicas=self._ground.topology.replicas,
                retention="workqueue" if config.name in taken else None,
                max_age_seconds=None if config.name in taken else _KEPT_SECONDS,
                duplicate_window_seconds=REMEMBERED_SECONDS,
            )
            for config in self._names.STREAMS
        ]

    def subjects(self) -> list[str]:
        """See `Work`. Requests have one subject, and no order."""
        return [self._names.DECIDE_SUBJECT] * self._ground.scenario.keys

    @property
    def requests(self) -> str:
        """See `Work`."""
        return ""

    @property
    def once(self) -> str:
        """See `Work`."""
        return ""

    def payload(self, number: int) -> bytes:
        """See `Work`."""
        request = {
            "version": "1",
            "request_id": f"{number >> 32:08x}-5c3a-4a10-8000-{number:012x}",
            "tenant_id": _TENANT,
            "task": {"type": "chat", "payload": number},
            "push_assignment": True,
        }
        return json.dumps(request).encode()

    def make_router(self, instance: str) -> Router:
        """See `Work`."""
        example, ledger, behaviour = self._example, self._ground.ledger, self._ground.behaviour

        async def watch(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
            if delivery.route == _ROUTE:
                number = _number_of(delivery.payload)
                ledger.note_handled(number, None, delivery.number, instance)
                await behaviour.meet(number)
            return await call_next(delivery)

        desk = example.Desk(example.Tenancy(tenants=self._tenants))
        router: Router = example.make_router(desk, middleware=[watch])
        return router

    def make_sink(self) -> Sink:
        """See `Work`."""
        ledger, names = self._ground.ledger, self._names
        dead = names.dead_letter_subject_of(names.DECIDE_SUBJECT)

        def take_assignment(message: JetStreamMessage) -> None:
            ledger.note_done(_number_of(message.payload), message.metadata.stream_sequence)

        def take_dead(message: JetStreamMessage) -> None:
            ledger.note_dead(_number_of(message.payload))

        return Sink(
            [
                Taking(_ASSIGNMENTS, "sink-done", names.ASSIGNMENT_SUBJECT, take_assignment),
                Taking(_DEAD, "sink-dead", dead, take_dead),
            ]
        )


def _number_of(payload: bytes) -> int:
    return int(json.loads(payload)["request_id"].rpartition("-")[2], 16)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise ScenarioError(
            f"there is no {name}, which this load needs; run it in a checkout of beamline_trio, from its root"
        ) from error
