"""How many decisions a tenant gets in a minute, by its tier.

A request above the rate is given the next free place and told how long to wait for it; when it comes again it has that
place. So a burst is spread, and nothing is refused for being early. Must not read a clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias

import attrs

from .remembered import Remembered

Tier: TypeAlias = Literal["free", "standard", "premium"]
PER_MINUTE: Final[dict[Tier, int]] = {"free": 100, "standard": 1000, "premium": 10_000}
MINUTE_SECONDS: Final = 60.0


@attrs.define
class Rates:
    """Places in time, given out by tenant.

    Attributes:
        backlog_seconds: places are given out so far ahead; who comes later is told to ask again.
    """

    backlog_seconds: float = 120.0
    # A tenant's last places, in order: never more of them than its rate.
    _places: Remembered[str, deque[float]] = attrs.field(
        factory=lambda: Remembered(ttl_seconds=2 * MINUTE_SECONDS, entries_max=10_000), init=False
    )
    _held: Remembered[str, float] = attrs.field(factory=lambda: Remembered(ttl_seconds=3600.0), init=False)

    def wait(self, tenant: str, tier: Tier, request_id: str, now: float) -> float:
        """Seconds until this request may be decided; 0 = now."""
        held = self._held.get(request_id, now)
        if held is not None:
            return max(0.0, held - now)
        places = self._places.get(tenant, now) or deque[float](maxlen=PER_MINUTE[tier])
        # The place of so many before is a minute ago: no minute has more than the rate.
        place = max(now, places[0] + MINUTE_SECONDS) if len(places) == places.maxlen else now
        if place - now > self.backlog_seconds:
            return place - now
        places.append(place)
        self._places.put(tenant, places, now, ttl_seconds=place - now + MINUTE_SECONDS)
        # Kept also by who may go at once: a request that is tried again is no second one.
        self._held.put(request_id, place, now)
        return place - now
