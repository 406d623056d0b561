"""What a tenant has beyond its part of a route's queue: held by reference (of a stream), or turned away (of none).

A held message has let its payload go. It is unacked all the while, and kept by heartbeats, so its waiting counts as no
delivery, and whatever its tenant does it costs the others neither room nor memory. Its payload is read from its stream
when it is a worker's turn. What cannot be read now waits on; what its stream does not have any more is given up.

Must not decide who has room.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Final

import trio

from ..client import Client
from ..jetstream import JetStream, JetStreamMessage, MessageNotFoundError
from ..protocol import NatsError
from ._admission import GoneError
from ._answers import UNAVAILABLE_CODE, answer_error, error_headers
from ._delivery import Delivery
from ._events import TenantOverflow
from ._outcomes import one_line
from ._statistics import RouteCounters

TENANT_CHARACTERS_MAX: Final = 128
_NO_ROOM: Final = error_headers(UNAVAILABLE_CODE, "its tenant has more than its part of the queue")


class Overflow:
    """The overflow of one route.

    Args:
        client: that the route runs on.
        route: its name.
        counters: of the route.
    """

    def __init__(self, client: Client, route: str, counters: RouteCounters) -> None:
        self._client = client
        self._connection = client.connection
        self._jetstream = JetStream(client)
        self._route = route
        self._counters = counters

    def tell(self, tenant: Hashable | None) -> None:
        """A tenant begins to have more than its part."""
        name = one_line(tenant, TENANT_CHARACTERS_MAX)
        self._connection.log(logging.WARNING, "ROUTER_TENANT_OVERFLOW", route=self._route, tenant=name)
        self._connection.emit(TenantOverflow(self._route, name))

    def hold(self, delivery: Delivery) -> bool:
        """Keep it here without its payload; False: it is of no stream, and cannot be had again."""
        message = delivery.message
        if not isinstance(message, JetStreamMessage):
            return False
        self._counters.hold(len(message.payload))
        message.payload = b""
        delivery.held = True
        return True

    async def turn_away(self, delivery: Delivery, size: int) -> None:
        """Its sender is told, where it wants an answer."""
        self._counters.overflows += 1
        self._counters.end_pending("unavailable", size)
        await answer_error(delivery, _NO_ROOM, self._connection.log)

    async def restore(self, deliveries: Sequence[Delivery]) -> None:
        """Read their payloads. Cancelled or failed, some may still be references.

        Raises:
            NatsError: one could not be read now.
        """
        if len(deliveries) == 1:
            await self._read(deliveries[0])
            return
        errors: list[NatsError] = []

        async def read(delivery: Delivery) -> None:
            try:
                await self._read(delivery)
            except NatsError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for delivery in deliveries:
                nursery.start_soon(read, delivery)
        if errors:
            raise errors[0]

    def forget(self, delivery: Delivery) -> None:
        """It is a reference no longer, whatever became of it."""
        if delivery.held:
            delivery.held = False
            self._counters.held -= 1

    async def _read(self, delivery: Delivery) -> None:
        message = delivery.message
        assert isinstance(message, JetStreamMessage)
        stream, sequence = message.position
        try:
            stored = await self._jetstream.get_message(stream, sequence=sequence)
        except MessageNotFoundError:
            delivery.failure = GoneError(f"message {sequence} is in the stream {stream} no longer")
        else:
            message.payload = stored.payload
        self.forget(delivery)
