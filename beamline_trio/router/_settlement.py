"""How a message of a stream ends: its effects confirmed and then its ack; or a nak; or given up, with a dead letter.

Every message ends in exactly one outcome of the route's counters. Nothing is acked before what it stands for is
confirmed, and a dead letter that cannot be confirmed is a nak: the message comes again.

Must not run handlers. What the router does for core messages, which cannot come again, is in `_settlement_core`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

import trio

from ..client import Client
from ..connection import ClientClosedError, ClientLog
from ..jetstream import AcksPendingError, JetStream, JetStreamMessage, check_stored
from ..protocol import NatsError
from ._admission import AlreadyDoneError, GoneError, RefusedError
from ._claims import RouteClaims
from ._dead_letter import Cause, dead_letter_headers, dead_letter_id
from ._delivery import Delivery
from ._effects import EffectSender
from ._gate import Gate
from ._outcomes import DeadLetter, HandlerOutcome, Reject, Retry, one_line, read_error
from ._payload import BadPayloadError
from ._retry import refused_delay, retry_delay
from ._route_options import RouteOptions
from ._statistics import RouteCounters

Park: TypeAlias = Callable[[Delivery, float], str]

ACK_PAUSE_SECONDS: Final = 0.05


class StreamSettlement:
    """Settles the messages of one route from a stream.

    Args:
        client: by which they came.
        options: of the route.
        counters: of the route.
        gate: of the route.
        park: keeps a message here to be tried again, where its order demands that; None: it goes back to the server.
        claims: the keys of its deliveries; None: they have none.
    """

    def __init__(
        self,
        client: Client,
        options: RouteOptions,
        counters: RouteCounters,
        gate: Gate,
        park: Park | None = None,
        claims: RouteClaims | None = None,
    ) -> None:
        self._park = park
        self._claims = claims
        self._environment = client.connection.environment
        self._log = client.connection.log
        self._options = options
        self._counters = counters
        self._effects = EffectSender(client, gate, counters, from_stream=True)
        self._jetstream = JetStream(client)

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str:
        """What the handler said becomes true; returns the outcome to count.

        Cancelled before the message is settled, nothing of it is: its effects come again under the same ids.
        """
        if isinstance(outcome, tuple):
            if outcome:
                error = await self._effects.send(delivery, outcome)
                if error is not None:
                    return await self._fail(delivery, "publish_error", str(error))
            if self._claims is not None:
                error = await self._claims.confirm(delivery)
                if error is not None:
                    return await self._fail(delivery, "publish_error", str(error))
            return await self._ack(delivery, "ok")
        if isinstance(outcome, Retry):
            return await self._retry(delivery, outcome)
        return await self._reject(delivery, outcome, "requested")

    async def fail(self, delivery: Delivery, error: Exception) -> str:
        """The handler raised, or was not called; returns the outcome to count."""
        if isinstance(error, AlreadyDoneError):
            return await self._ack(delivery, "duplicate")
        if isinstance(error, RefusedError):
            return await self._refuse(delivery, error)
        if isinstance(error, GoneError):
            return await self._terminate(delivery, "gone", str(error))
        if isinstance(error, BadPayloadError):
            return await self._give_up(delivery, "bad_payload", error.reason)
        meant = read_error(error)
        if isinstance(meant, Retry):
            return await self._retry(delivery, meant)
        if isinstance(meant, DeadLetter):
            return await self._reject(delivery, meant, "rejected" if isinstance(error, Reject) else "requested")
        log_handler_error(self._log, delivery, error)
        return await self._fail(delivery, "handler_error", f"{type(error).__name__}: {error}")

    async def expire(self, delivery: Delivery) -> str:
        """Its deadline has passed; returns the outcome to count."""
        if delivery.acking:
            return "unknown"
        seconds = self._options.deadline_seconds
        if delivery.blocked:
            text = f"an effect or a key was not confirmed within {seconds:g} s"
            return await self._fail(delivery, "publish_error", text)
        return await self._fail(delivery, "processing_timeout", f"not done within {seconds:g} s (deadline_seconds)")

    async def abandon(self, delivery: Delivery) -> str:
        """The router ends under it: somebody else should have it. Returns the outcome to count."""
        message = _message_of(delivery)
        if delivery.acking:
            return "unknown"
        message.give_back()
        self._counters.retries["backpressure"] += 1
        return "returned"

    # The ways to end

    async def _retry(self, delivery: Delivery, outcome: Retry) -> str:
        delivery.history.append(outcome.reason or "a later try was asked for")
        if delivery.is_last:
            return await self._give_up(delivery, "handler_error", outcome.reason)
        return await self._nak(delivery, "backoff", outcome.delay_seconds)

    async def _refuse(self, delivery: Delivery, error: RefusedError) -> str:
        delivery.history.append(f"{error.reason}: {error}")
        if delivery.is_last:
            return await self._give_up(delivery, error.reason, str(error))
        delay = error.delay_seconds
        if delay is not None:
            delay = refused_delay(self._options.retry, delay, self._environment.random)
        return await self._nak(delivery, "backpressure", delay, "returned")

    async def _fail(self, delivery: Delivery, reason: str, text: str) -> str:
        self._counters.failures += 1
        delivery.history.append(f"{reason}: {text}")
        if delivery.is_last:
            return await self._give_up(delivery, reason, text)
        return await self._nak(delivery, reason, None)

    async def _reject(self, delivery: Delivery, outcome: DeadLetter, reason: str) -> str:
        if outcome.effects:
            error = await self._effects.send(delivery, outcome.effects)
            if error is not None:
                return await self._fail(delivery, "publish_error", str(error))
        return await self._give_up(delivery, reason, outcome.reason)

    async def _give_up(self, delivery: Delivery, reason: str, text: str) -> str:
        target = self._options.dead_letter
        if target is None:
            return await self._terminate(delivery, reason, text)
        try:
            await self._send_dead_letter(target, delivery, reason, text)
        except NatsError as error:
            self._counters.dead_letter_failures += 1
            self._log(
                logging.ERROR,
                "ROUTER_DEAD_LETTER_ERROR",
                route=self._options.name,
                subject=delivery.subject,
                target=target,
                reason=one_line(error),
            )
            return await self._nak(delivery, "publish_error", None)
        self._counters.dead_letters[reason] += 1
        self._log(
            logging.WARNING, "ROUTER_DEAD_LETTER", route=self._options.name, subject=delivery.subject, reason=reason
        )
        return await self._ack(delivery, "dead_lettered")

    async def _send_dead_letter(self, target: str, delivery: Delivery, reason: str, text: str) -> None:
        metadata = _message_of(delivery).metadata
        name = self._options.name
        cause = Cause(reason=reason, text=text, deliveries=delivery.number, history=tuple(delivery.history))
        headers = dead_letter_headers(
            name, delivery.subject, delivery.headers, metadata, cause, self._environment.wall_clock()
        )
        ack = await self._jetstream.publish(
            target, delivery.payload, headers=headers, message_id=dead_letter_id(metadata, name)
        )
        check_stored(target, ack.outcome)

    # What the server is told

    async def _ack(self, delivery: Delivery, outcome: str) -> str:
        message = _message_of(delivery)
        try:
            if self._options.double_ack:
                delivery.acking = True
                await message.ack_sync()
                return outcome
            while True:
                try:
                    await message.ack()
                except AcksPendingError:
                    await trio.sleep(ACK_PAUSE_SECONDS)
                else:
                    return outcome
        except NatsError:  # closed, or a double ack that was not answered: it is counted where it happened
            return "unknown"

    async def _nak(self, delivery: Delivery, reason: str, delay: float | None, outcome: str = "retried") -> str:
        if delay is None:
            delay = retry_delay(self._options.retry, delivery.number, self._environment.random)
        self._counters.retries[reason] += 1
        if self._park is not None:
            return self._park(delivery, delay)
        try:
            await _message_of(delivery).nak(delay, reason=reason)
        except (AcksPendingError, ClientClosedError):
            pass  # as if its nak were lost: it comes again after its ack wait
        return outcome

    async def _terminate(self, delivery: Delivery, reason: str, text: str) -> str:
        self._log(
            logging.WARNING, "ROUTER_TERMINATED", route=self._options.name, subject=delivery.subject, reason=reason
        )
        try:
            await _message_of(delivery).term(one_line(f"{reason}: {text}" if text else reason))
        except (AcksPendingError, ClientClosedError):
            return "unknown"
        return "terminated"


def _message_of(delivery: Delivery) -> JetStreamMessage:
    message = delivery.message
    assert isinstance(message, JetStreamMessage)
    return message


def log_handler_error(log: ClientLog, delivery: Delivery, error: BaseException) -> None:
    """What a handler raised, with its traceback."""
    words = "the handler raised; its route goes on"
    log(logging.ERROR, "NATS_HANDLER_ERROR", subject=delivery.subject, words=words, exc_info=error)
