"""How a delivery with a key ends: as any other of its route, and then the key is released, unless it was confirmed.

Must not settle anything itself.
"""

from __future__ import annotations

from ._claims import RouteClaims
from ._delivery import Delivery
from ._outcomes import HandlerOutcome
from ._worker import Settlement


class ClaimedSettlement:
    """A settlement behind which no key stays claimed."""

    def __init__(self, inner: Settlement, claims: RouteClaims) -> None:
        self._inner = inner
        self._claims = claims

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str:
        """See `Settlement`."""
        return await self._released(delivery, await self._inner.settle(delivery, outcome))

    async def fail(self, delivery: Delivery, error: Exception) -> str:
        """See `Settlement`."""
        return await self._released(delivery, await self._inner.fail(delivery, error))

    async def expire(self, delivery: Delivery) -> str:
        """See `Settlement`."""
        return await self._released(delivery, await self._inner.expire(delivery))

    async def abandon(self, delivery: Delivery) -> str:
        """See `Settlement`."""
        return await self._released(delivery, await self._inner.abandon(delivery))

    async def _released(self, delivery: Delivery, ended: str) -> str:
        await self._claims.release(delivery)
        return ended
