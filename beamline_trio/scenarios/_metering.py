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
# Changes that are kept of a series; those that follow are counted, and alerts see them.
CHANGES_MAX: Final = 1_000


class Series:
    """The values of a series.

    Attributes:
        changes: the first of them, each from when it was seen; None = the series has ended.
        dropped: changes that followed, and were not kept.
    """

    def __init__(self) -> None:
        self.changes: list[tuple[float, float | None]] = []
        self.dropped = 0
        self._last: float | None = None

    def take(self, now: float, value: float | None) -> None:
        """A scrape."""
        if self.changes and self._last == value:
            return
        self._last = value
        if len(self.changes) < CHANGES_MAX:
            self.changes.append((now, value))
        else:
            self.dropped += 1


class Metering:
    """The scrapes of a run.

    Args:
        now: seconds since the start of the run.
        scale: its length as a part of the full one: a compressed run is scraped more often.

    Attributes:
        scrape_seconds: from one scrape to the next.
        book: what became of the alerts.
        series: of each series the values.
    """

    def __init__(self, now: Callable[[], float], scale: float) -> None:
        self._now = now
        self._targets: dict[str, Collector] = {}
        self.scrape_seconds = max(SCRAPE_SECONDS * min(1.0, scale), SCRAPE_SECONDS_MIN)
        self.book = AlertBook(alerts_of(alert_rules(), scale))
        self.series: dict[Key, Series] = {}

    @property
    def raised(self) -> Sequence[Raised]:
        """The alerts that were raised."""
        return self.book.raised

    @contextmanager
    def target(self, name: str) -> Generator[Collector]:
        """A collector that is scraped under this name, which nobody else has, while this is entered."""
        collector = self._targets[name] = Collector()
        try:
            yield collector
        finally:
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
            self.series.setdefault(key, Series()).take(now, values.get(key))

    def _read(self) -> dict[Key, float]:
        wanted = {alert.metric for alert in self.book.alerts}
        return {
            (target, sample.name, tuple(sample.labels.values())): float(sample.value)
            for target, collector in self._targets.items()
            for family in collector.collect()
            if family.name in wanted
            for sample in family.samples
        }
