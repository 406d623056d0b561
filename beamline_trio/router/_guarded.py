"""A handler behind its guards: a circuit breaker that may refuse a message, and keys that were done before.

A key is claimed before the handler, confirmed behind the effects and before the ack, and released by whatever else
becomes of the message, so that its next delivery is not taken for one that was done.

Must not settle by itself, and stands only before routes that have such guards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from ..client import Message
from ._delivery import Delivery
from ._guards import Admitted, RouteBreaker
from ._idempotence import Claim, Idempotence
from ._middleware import CallNext
from ._outcomes import HandlerOutcome, Reject, Retry
from ._payload import BadPayloadError
from ._statistics import RouteCounters

# How often it is looked whether who has claimed a key is done with it; and how long a release may take.
BUSY_PAUSE_SECONDS: Final = 1.0
RELEASE_SECONDS: Final = 1.0
# What says more of the message than of what the handler depends on.
_INNOCENT: Final = (Reject, BadPayloadError)


class GuardedSettlement(Protocol):
    """What the guards need of a settlement."""

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str: ...

    async def fail(self, delivery: Delivery, error: Exception) -> str: ...

    async def refuse(self, delivery: Delivery, seconds: float) -> str: ...

    async def skip(self, delivery: Delivery) -> str: ...


class GuardedHandling:
    """Handles the messages of one route that has guards.

    Args:
        call: the handler with its middleware.
        settlement: of the route.
        counters: of the route.
        breaker: its circuit breakers, if it has some.
        idempotence: where it is kept which keys are done.
        key_of: message -> key; None: there are no keys.
    """

    def __init__(
        self,
        call: CallNext,
        settlement: GuardedSettlement,
        counters: RouteCounters,
        breaker: RouteBreaker | None,
        idempotence: Idempotence | None,
        key_of: Callable[[Message], str] | None,
    ) -> None:
        self._call = call
        self._settlement = settlement
        self._counters = counters
        self._breaker = breaker
        self._idempotence = idempotence
        self._key_of = key_of

    async def handle(self, delivery: Delivery) -> str:
        """Handle and settle one; returns the outcome to count. Cancelled, its key is released."""
        if self._breaker is None:
            return await self._handle_once(delivery, None)
        now = trio.current_time()
        try:
            admitted = self._breaker.admit(delivery.message, now)
        except Exception as error:  # noqa: BLE001  # of the user's key function
            return await self._settlement.fail(delivery, error)
        if admitted is None:
            self._counters.breaker_refusals += 1
            return await self._settlement.refuse(delivery, self._breaker.retry_after(delivery.message, now))
        return await self._handle_once(delivery, admitted)

    async def _handle_once(self, delivery: Delivery, admitted: Admitted | None) -> str:
        if self._key_of is None or self._idempotence is None:
            return await self._handle(delivery, admitted)
        try:
            key = self._key_of(delivery.message)
            done = await self._claim(self._idempotence, key)
        except Exception as error:  # noqa: BLE001  # of the user's key function, or of the store
            self._withdraw(admitted)
            return await self._settlement.fail(delivery, error)
        except trio.Cancelled:
            self._withdraw(admitted)
            raise
        if done:
            self._withdraw(admitted)
            return await self._settlement.skip(delivery)
        delivery.before_ack = partial(self._confirm, self._idempotence, delivery, key)
        try:
            return await self._handle(delivery, admitted)
        finally:
            if delivery.before_ack is not None:
                delivery.before_ack = None
                with trio.move_on_after(RELEASE_SECONDS, shield=True):
                    await self._idempotence.release(key)

    async def _handle(self, delivery: Delivery, admitted: Admitted | None) -> str:
        try:
            outcome = await self._call(delivery)
        except Exception as error:  # noqa: BLE001  # of the handler: what it means is the settlement's to say
            self._tell(delivery, admitted, failed=not isinstance(error, _INNOCENT))
            return await self._settlement.fail(delivery, error)
        except BaseException:
            if trio.current_time() >= delivery.deadline:
                self._tell(delivery, admitted, failed=True)
            else:
                self._withdraw(admitted)
            raise
        self._tell(delivery, admitted, failed=isinstance(outcome, Retry))
        return await self._settlement.settle(delivery, outcome)

    async def _claim(self, idempotence: Idempotence, key: str) -> bool:
        """Claim the key; whether it was done before. Who has claimed it is waited for, until the deadline."""
        while True:
            claim = await idempotence.claim(key)
            if claim is Claim.NEW:
                self._counters.idempotency_misses += 1
                return False
            if claim is Claim.DONE:
                self._counters.idempotency_hits += 1
                return True
            await trio.sleep(BUSY_PAUSE_SECONDS)

    async def _confirm(self, idempotence: Idempotence, delivery: Delivery, key: str) -> None:
        await idempotence.confirm(key)
        delivery.before_ack = None

    def _tell(self, delivery: Delivery, admitted: Admitted | None, *, failed: bool) -> None:
        if admitted is not None and self._breaker is not None:
            now = trio.current_time()
            self._breaker.settle(admitted, failed=failed, seconds=now - delivery.began, now=now)

    def _withdraw(self, admitted: Admitted | None) -> None:
        if admitted is not None and self._breaker is not None:
            self._breaker.withdraw(admitted)
