"""How a core message ends: its effects sent and its reply given, or an error as the answer. It comes only once.

Must not run handlers, and must not hold a message back.
"""

from __future__ import annotations

import logging
from typing import Final

from ..client import ERROR_CODE_HEADER, ERROR_HEADER, ERROR_HEADERS, Client
from ..protocol import NatsError
from ._delivery import Delivery
from ._effects import EffectSender
from ._gate import Gate
from ._outcomes import DeadLetter, Effects, HandlerOutcome, Retry, one_line, read_error
from ._payload import BadPayloadError
from ._settlement import log_handler_error
from ._statistics import RouteCounters

_BAD_PAYLOAD: Final = "400"
_REJECTED: Final = "422"
_UNAVAILABLE: Final = "503"
_DEADLINE: Final = "504"


class CoreSettlement:
    """Settles the messages of one core route. Arguments are those of `StreamSettlement`."""

    def __init__(self, client: Client, counters: RouteCounters, gate: Gate) -> None:
        self._counters = counters
        self._log = client.connection.log
        self._effects = EffectSender(client, gate, counters, from_stream=False)

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str:
        """What the handler said becomes true; returns the outcome to count."""
        if isinstance(outcome, tuple):
            if not outcome and delivery.before_ack is None:
                return "ok"
            error = await self._accept(delivery, outcome)
            return "ok" if error is None else await self._raise(delivery, error)
        if isinstance(outcome, Retry):
            self._counters.failures += 1
            return await self._answer(delivery, "unavailable", _UNAVAILABLE, outcome.reason)
        if outcome.effects:
            error = await self._effects.send(delivery, outcome.effects)
            return "rejected" if error is None else await self._raise(delivery, error)
        return await self._answer(delivery, "rejected", _REJECTED, outcome.reason)

    async def fail(self, delivery: Delivery, error: Exception) -> str:
        """The handler raised, or its payload could not be read; returns the outcome to count."""
        if isinstance(error, BadPayloadError):
            return await self._answer(delivery, "bad_payload", _BAD_PAYLOAD, error.reason)
        meant = read_error(error)
        if isinstance(meant, (Retry, DeadLetter)):
            return await self.settle(delivery, meant)
        return await self._raise(delivery, error)

    async def refuse(self, delivery: Delivery, seconds: float) -> str:
        """An open breaker keeps it from the handler; returns the outcome to count."""
        return await self._answer(delivery, "unavailable", _UNAVAILABLE, f"not available for {seconds:.0f} s")

    async def skip(self, delivery: Delivery) -> str:
        """It was done before; returns the outcome to count."""
        return "duplicate"

    async def expire(self, delivery: Delivery) -> str:
        """Its deadline has passed; returns the outcome to count."""
        self._counters.failures += 1
        return await self._answer(delivery, "deadline", _DEADLINE, "not done in time")

    def abandon(self, delivery: Delivery) -> str:
        """The router ends under it. Returns the outcome to count."""
        return "discarded"

    async def _accept(self, delivery: Delivery, effects: Effects) -> Exception | None:
        error = await self._effects.send(delivery, effects) if effects else None
        if error is None and delivery.before_ack is not None:
            try:
                await delivery.before_ack()
            except NatsError as failure:
                return failure
        return error

    async def _raise(self, delivery: Delivery, error: Exception) -> str:
        self._counters.failures += 1
        log_handler_error(self._log, delivery, error)
        return await self._answer_with(delivery, "error", ERROR_HEADERS)

    async def _answer(self, delivery: Delivery, outcome: str, code: str, text: str) -> str:
        headers = {ERROR_CODE_HEADER: code, ERROR_HEADER: one_line(text) or outcome}
        return await self._answer_with(delivery, outcome, headers)

    async def _answer_with(self, delivery: Delivery, outcome: str, headers: dict[str, str]) -> str:
        """An empty answer with what went wrong, where one is wanted (ADR-32)."""
        if delivery.message.reply_bytes is not None:
            try:
                await delivery.message.respond(b"", headers=headers)
            except NatsError as error:
                self._log(logging.WARNING, "NATS_PUBLISH_ERROR", subject=delivery.message.reply, reason=str(error))
        return outcome
