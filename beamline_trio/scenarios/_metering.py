"""The metrics of a run, as Prometheus would scrape them: what the watches and the instances show, and what it raises.

A target is what a process of its own would be: a client with its watch, or an instance of the router for one of its
lives. What it shows comes from the library's own collector. Of its series those are kept that a shipped alert looks at.

Must not judge.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from ..metrics import Collector, alert_rules
from ._alerting import AlertBook, Key, Raised, alerts_of

# What the shipped alerts are written for.
SCRAPE_SECONDS: Final = 15.0
SCRAPE_SECONDS_MIN: Final = 1.0
# Changes that are kept of a series; those that follow are counted by nobody, but alerts see them.
_CHANGES_MAX: Final = 1_000


class Metering:
    """The scrapes of a run.

    Args:
        now: seconds since the start of the run.
        scale: its length as a part of the full one: a compressed run is scraped more often.

    Attributes:
        scrape_seconds: from one scrape to the next.
        book: what became of the alerts.
        series: of each series the values, from when they were seen; None = it has ended.
    """

    def __init__(self, now: Callable[[], float], scale: float) -> None:
        self._now = now
        self._targets: dict[str, Collector] = {}
        self.scrape_seconds = max(SCRAPE_SECONDS * min(1.0, scale), SCRAPE_SECONDS_MIN)
        self.book = AlertBook(alerts_of(alert_rules(), scale))
        self.series: dict[Key, list[tuple[float, float | None]]] = {}

    @property
    def raised(self) -> Sequence[Raised]:
        """The alerts that were raised."""
        return self.book.raised

    @contextmanager
    def target(self, name: str) -> Generator[Collector]:
        """A collector that is scraped under this name while this is entered."""
        collector = self._targets[name] = Collector()
        try:
            yield collector
        finally:
            if self._targets.get(name) is collector:
                del self._targets[name]

    async def run(self) -> None:
        """Scrape all targets again and again."""
        while True:
            await trio.sleep(self.scrape_seconds)
            self._scrape()

    def _scrape(self) -> None:
        now, values = self._now(), self._read()
        self.book.take(now, values)
        for key in sorted({*self.series, *values}):
            changes = self.series.setdefault(key, [])
            value = values.get(key)
            if (not changes or changes[-1][1] != value) and len(changes) < _CHANGES_MAX:
                changes.append((now, value))

    def _read(self) -> dict[Key, float]:
        wanted = {alert.metric for alert in self.book.alerts}
        return {
            (target, sample.name, tuple(sample.labels.values())): sample.value
            for target, collector in self._targets.items()
            for family in collector.collect()
            if family.name in wanted
            for sample in family.samples
        }
