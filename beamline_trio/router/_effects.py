"""The effects of a handler, on their way: confirmed as each asks for, and tried again while that may help.

What goes to no stream leaves first, in order; then what goes to streams, together.

The message of a stream has nobody to answer to: its reply subject is where its ack goes, and that of its publisher was
for the stream's PubAck. So an answer to it is dropped, counted, and logged once.

All tries of an effect carry the same message id, which comes from its input, so a stream stores it once however often
its input is delivered. While the target does not answer, the route's gate is told. What is at home in a region goes by
its publisher, where there is one; if that would wait for the region, it is the gate that waits instead.

Must not settle the input.
"""

from __future__ import annotations

import logging
from typing import Final, TypeAlias

import trio

from ..client import Client
from ..cluster import publisher_for
from ..jetstream import JetStream, check_stored, is_retryable
from ..protocol import HeadersInput
from ._delivery import Delivery
from ._gate import PAUSE_SECONDS, Gate
from ._outcomes import Confirm, Effect, Effects, Publish, Reply
from ._statistics import RouteCounters

# What the gate is told of.
_TARGET: Final = "effects"
# The place of an effect among those of its delivery, the effect, and why it is not confirmed.
Failure: TypeAlias = tuple[int, Effect, Exception]

_MESSAGE_ID: Final = "Nats-Msg-Id"
# For a region that is away, before the gate is told.
_REGION_PATIENCE_SECONDS: Final = 5.0


class EffectSender:
    """Sends the effects of one route.

    Args:
        client: by which they go.
        gate: of the route.
        counters: of the route.
        from_stream: whether the inputs come again, so that their effects are confirmed and tried again.
    """

    def __init__(self, client: Client, gate: Gate, counters: RouteCounters, *, from_stream: bool) -> None:
        self._client = client
        self._jetstream = JetStream(client)
        self._connection = client.connection
        self._gate = gate
        self._counters = counters
        self._from_stream = from_stream
        self._told_of_reply = False

    async def send(self, delivery: Delivery, effects: Effects) -> Exception | None:
        """Send all of them; None, or why one of them is not confirmed.

        On a route from a stream it tries again what may end better, for as long as its caller lets it: cancelled, what
        was not confirmed may have been stored.
        """
        if self._from_stream and not self._connection.link_is_up:
            self._gate.doubt(_TARGET)
        delivery.blocked = True
        left = list(enumerate(effects))
        pause = PAUSE_SECONDS
        while True:
            if len(left) == 1:
                failures = await self._attempt_one(delivery, *left[0])
            else:
                failures = await self._attempt(delivery, left)
            if not failures:
                delivery.blocked = False
                self._counters.effects += len(effects)
                self._gate.trust(_TARGET)
                return None
            self._counters.effect_failures += len(failures)
            errors = [error for _, _, error in failures]
            fatal = next((error for error in errors if not is_retryable(error)), None)
            if fatal is not None or not self._from_stream:
                return fatal or errors[0]
            left = [(index, effect) for index, effect, _ in failures]
            pause = await self._gate.wait_in_doubt(_TARGET, pause)

    async def _attempt_one(self, delivery: Delivery, index: int, effect: Effect) -> list[Failure]:
        try:
            await self._send(delivery, index, effect)
        except Exception as error:  # noqa: BLE001  # sorted by who asked for it
            return [(index, effect, error)]
        return []

    async def _attempt(self, delivery: Delivery, effects: list[tuple[int, Effect]]) -> list[Failure]:
        """Each once; those that failed, and why.

        What goes to no stream leaves first, one after the other, so that an answer is out before what it announces;
        where one of them fails, nothing behind it leaves. What goes to streams is sent at the same time.
        """
        failures: list[Failure] = []

        async def one(index: int, effect: Effect) -> None:
            failures.extend(await self._attempt_one(delivery, index, effect))

        plain = [(index, effect) for index, effect in effects if self._confirm(effect) != "stream"]
        stored = [(index, effect) for index, effect in effects if self._confirm(effect) == "stream"]
        for place, (index, effect) in enumerate(plain, start=1):
            await one(index, effect)
            if failures:
                return [*failures, *((*unsent, failures[0][2]) for unsent in (*plain[place:], *stored))]
        async with trio.open_nursery() as nursery:
            for index, effect in stored:
                nursery.start_soon(one, index, effect)
        return sorted(failures, key=lambda failure: failure[0])

    async def _send(self, delivery: Delivery, index: int, effect: Effect) -> None:
        headers = effect.headers if delivery.trace is None else delivery.trace.inject(effect.headers)
        payload = effect.payload
        assert isinstance(payload, bytes)  # read_outcome has encoded it
        if isinstance(effect, Reply):
            if self._from_stream:
                self._drop_reply(delivery)
            elif delivery.message.reply_bytes is not None:
                await delivery.message.respond(payload, headers=headers)
            return
        confirm = self._confirm(effect)
        if confirm == "stream":
            await self._store(delivery, index, effect, payload, headers)
        else:
            outcome = await self._client.publish(effect.subject, payload, headers=headers, confirm=confirm == "server")
            if confirm == "server":
                check_stored(effect.subject, outcome)

    def _drop_reply(self, delivery: Delivery) -> None:
        self._counters.replies_dropped += 1
        if not self._told_of_reply:
            self._told_of_reply = True
            words = "the message of a stream has no reply subject: publish the answer to a subject of its own"
            self._connection.log(
                logging.WARNING, "ROUTER_REPLY_DROPPED", words=words, route=delivery.route, subject=delivery.subject
            )

    def _confirm(self, effect: Effect) -> Confirm | None:
        """What has to be known of it: of an answer, nothing."""
        if isinstance(effect, Reply):
            return None
        return ("stream" if self._from_stream else None) if effect.confirm == "route" else effect.confirm

    async def _store(
        self, delivery: Delivery, index: int, effect: Publish, payload: bytes, headers: HeadersInput | None
    ) -> None:
        identity = delivery.identity
        own = effect.headers is not None and _MESSAGE_ID in effect.headers
        message_id = f"{identity}:{index}" if identity and not own else None
        publisher = publisher_for(self._client, effect.subject)
        if publisher is None:
            ack = await self._jetstream.publish(effect.subject, payload, headers=headers, message_id=message_id)
            check_stored(effect.subject, ack.outcome)
        else:
            patience = _REGION_PATIENCE_SECONDS if publisher.home.local is None else None
            await publisher.publish(
                effect.subject, payload, headers=headers, message_id=message_id, patience_seconds=patience
            )
