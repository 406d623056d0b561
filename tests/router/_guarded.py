"""A route as the guards see it, without anything behind it: numbers that a test sets, and holds that it reads."""

from __future__ import annotations

import attrs

from beamline_trio.router._statistics import RouteCounters


@attrs.define
class StandInRoute:
    """Counters, what waits, and the reasons that hold its intake."""

    counters: RouteCounters = attrs.field(factory=RouteCounters)
    waiting: int = 0
    holds: set[str] = attrs.field(factory=set)

    def hold(self, reason: str) -> None:
        """Take nothing more, for this reason; a second time it is the same."""
        self.holds.add(reason)

    def release(self, reason: str) -> None:
        """This reason is over."""
        self.holds.discard(reason)

    def handle(self, count: int, *, failed: bool = False, seconds: float = 0.1) -> None:
        """So many messages were handled."""
        for _ in range(count):
            self.counters.take(1)
            self.counters.failures += failed
            self.counters.end("retried" if failed else "ok", seconds)
