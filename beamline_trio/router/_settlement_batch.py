"""How a batch of messages of a stream ends: its effects are confirmed once, then each message ends for itself.

What the handler said, or raised, holds for all messages that it was given; each by its own count of deliveries, so of
one batch some may come again and others be dead letters. What could not be handed to the handler (a bad payload, a key
that cannot be told) ends for itself, by what was wrong with it.

Must not run handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from ._admission import RefusedError
from ._delivery import Delivery
from ._delivery_batch import DeliveryBatch, batch_of
from ._outcomes import DeadLetter, HandlerOutcome, Reject, Retry, read_error
from ._settlement import StreamSettlement, log_handler_error

End: TypeAlias = Callable[[Delivery], Awaitable[str]]

# What is said of the batch itself: its messages have the outcomes to count.
EACH: Final = "each"


class BatchSettlement(StreamSettlement):
    """Settles the batches of one route; how each message has ended is in `DeliveryBatch.ended`."""

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str:
        """What the handler said becomes true of all that it was given.

        Cancelled, messages that have not ended yet come again, in another batch perhaps.
        """
        batch = batch_of(delivery)
        if isinstance(outcome, Retry):
            return await self._each(batch, lambda one: self._retry(one, outcome))
        return await self._accept(batch, outcome, "requested")

    async def fail(self, delivery: Delivery, error: Exception) -> str:
        """The handler raised, or was not called."""
        batch = batch_of(delivery)
        if isinstance(error, RefusedError):
            return await self._each(batch, lambda one: self._refuse(one, error))
        meant = read_error(error)
        if isinstance(meant, Retry):
            return await self._each(batch, lambda one: self._retry(one, meant))
        if isinstance(meant, DeadLetter):
            return await self._accept(batch, meant, "rejected" if isinstance(error, Reject) else "requested")
        log_handler_error(self._log, batch, error)
        text = f"{type(error).__name__}: {error}"
        return await self._each(batch, lambda one: self._fail(one, "handler_error", text))

    async def expire(self, delivery: Delivery) -> str:
        """Its deadline has passed; what has ended by then has ended."""
        batch = batch_of(delivery)
        for one in batch.deliveries:
            one.blocked = batch.blocked
        return await self._each(batch, super().expire)

    async def abandon(self, delivery: Delivery) -> str:
        """The router ends under it: what has not ended goes back."""
        batch = batch_of(delivery)
        for one in batch.deliveries:
            if one not in batch.ended:
                batch.ended[one] = await super().abandon(one)
        return EACH

    async def _accept(self, batch: DeliveryBatch, outcome: HandlerOutcome, reason: str) -> str:
        """The effects first; then the end of each."""
        assert not isinstance(outcome, Retry)
        effects = outcome if isinstance(outcome, tuple) else outcome.effects
        error = await self._effects.send(batch, effects) if effects else None
        if error is not None:
            return await self._each(batch, lambda one: self._fail(one, "publish_error", str(error)))
        if isinstance(outcome, DeadLetter):
            return await self._each(batch, lambda one: self._give_up(one, reason, outcome.reason))
        return await self._each(batch, lambda one: self._ack(one, "ok"))

    async def _each(self, batch: DeliveryBatch, end: End) -> str:
        for one in batch.deliveries:
            if one not in batch.ended:
                batch.ended[one] = await (end(one) if one.failure is None else super().fail(one, one.failure))
        return EACH
