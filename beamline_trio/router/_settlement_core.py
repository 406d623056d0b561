"""How a core message ends: its effects sent and its reply given, or an error as the answer. It comes only once.

Must not run handlers, and must not hold a message back.
"""

from __future__ import annotations

from typing import Final

from ..client import ERROR_HEADERS, Client
from ._admission import AlreadyDoneError, RefusedError
from ._answers import UNAVAILABLE_CODE, answer_error, error_headers
from ._claims import RouteClaims
from ._delivery import Delivery
from ._effects import EffectSender
from ._gate import Gate
from ._outcomes import DeadLetter, HandlerOutcome, Retry, read_error
from ._payload import BadPayloadError
from ._settlement import log_handler_error
from ._statistics import RouteCounters

_BAD_PAYLOAD: Final = "400"
_DUPLICATE: Final = "409"
_REJECTED: Final = "422"
_DEADLINE: Final = "504"


class CoreSettlement:
    """Settles the messages of one core route. Arguments are those of `StreamSettlement`."""

    def __init__(self, client: Client, counters: RouteCounters, gate: Gate, claims: RouteClaims | None = None) -> None:
        self._claims = claims
        self._counters = counters
        self._log = client.connection.log
        self._effects = EffectSender(client, gate, counters, from_stream=False)

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str:
        """What the handler said becomes true; returns the outcome to count."""
        if isinstance(outcome, tuple):
            if outcome:
                error = await self._effects.send(delivery, outcome)
                if error is not None:
                    return await self._raise(delivery, error)
            if self._claims is not None:  # told where it happened; the work is done, and cannot be given back
                await self._claims.confirm(delivery)
            return "ok"
        if isinstance(outcome, Retry):
            self._counters.failures += 1
            return await self._answer(delivery, "unavailable", UNAVAILABLE_CODE, outcome.reason)
        if outcome.effects:
            error = await self._effects.send(delivery, outcome.effects)
            return "rejected" if error is None else await self._raise(delivery, error)
        return await self._answer(delivery, "rejected", _REJECTED, outcome.reason)

    async def fail(self, delivery: Delivery, error: Exception) -> str:
        """The handler raised, or was not called; returns the outcome to count."""
        if isinstance(error, AlreadyDoneError):
            return await self._answer(delivery, "duplicate", _DUPLICATE, str(error))
        if isinstance(error, RefusedError):
            return await self._answer(delivery, "unavailable", UNAVAILABLE_CODE, str(error))
        if isinstance(error, BadPayloadError):
            return await self._answer(delivery, "bad_payload", _BAD_PAYLOAD, error.reason)
        meant = read_error(error)
        if isinstance(meant, (Retry, DeadLetter)):
            return await self.settle(delivery, meant)
        return await self._raise(delivery, error)

    async def expire(self, delivery: Delivery) -> str:
        """Its deadline has passed; returns the outcome to count."""
        self._counters.failures += 1
        return await self._answer(delivery, "deadline", _DEADLINE, "not done in time")

    async def abandon(self, delivery: Delivery) -> str:
        """The router ends under it. Returns the outcome to count."""
        return "discarded"

    async def _raise(self, delivery: Delivery, error: Exception) -> str:
        self._counters.failures += 1
        log_handler_error(self._log, delivery, error)
        return await self._answer_with(delivery, "error", ERROR_HEADERS)

    async def _answer(self, delivery: Delivery, outcome: str, code: str, text: str) -> str:
        return await self._answer_with(delivery, outcome, error_headers(code, text or outcome))

    async def _answer_with(self, delivery: Delivery, outcome: str, headers: dict[str, str]) -> str:
        await answer_error(delivery, headers, self._log)
        return outcome
