"""Who watches a program for what the contract promises: log records, events and moved metrics, each counted when seen.

Whatever is seen and not listed, or seen otherwise than listed, is kept in `complaints`.

Must not know how anything is provoked.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

from beamline_trio import Client, Router, open_client
from beamline_trio.faults import FaultDialer
from beamline_trio.metrics import (
    Collector,
    JSONLogFormatter,
    MetricContract,
    TextLogFormatter,
    load_contract,
    load_event_contract,
    load_log_contract,
)
from beamline_trio.transport import Dialer
from tests.metrics._clients import scrape

# A metric, and the values of its bounded labels.
Series: TypeAlias = tuple[str, tuple[str, ...]]

QUICK: Final[dict[str, Any]] = {
    "name": "contract",
    "reconnect_delay_seconds": 0.05,
    "reconnect_delay_max_seconds": 0.2,
    "connect_timeout_seconds": 1.0,
    "operation_timeout_seconds": 1.0,
    "pending_timeout_seconds": 2.0,
}
_LINES_OWN: Final = frozenset({"time", "level", "logger", "event", "message", "exception", "stack"})


class Watch(logging.Handler):
    """Sees a program through its log, its clients' events, and scrapes.

    Attributes:
        collector: of all clients that were opened through it.
        logs: code -> records.
        events: name -> events.
        complaints: what was seen and should not have been.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.collector = Collector()
        self.logs: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._gauges: Counter[Series] = Counter()
        self._known_logs = {log.code: log for log in load_log_contract()}
        self._known_events = {event.name: event for event in load_event_contract()}
        self._formatter = JSONLogFormatter()
        self._text_formatter = TextLogFormatter()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the records of the library for as long as the block lasts."""
        logger = logging.getLogger("beamline_trio")
        level, propagate = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = propagate

    @asynccontextmanager
    async def open(self, url: str, dialer: Dialer, **options: Any) -> AsyncGenerator[tuple[Client, FaultDialer]]:
        """A client that is watched, and its faults."""
        faults = FaultDialer(dialer)
        async with open_client(url, dialer=faults, **QUICK | options) as nc:
            self.collector.add(nc)
            events = nc.events()
            yield nc, faults
        async for event in events:  # those that it has kept; Closed was the last
            self._take_event(type(event).__name__)
        self.sample()

    def add_router(self, router: Router, nc: Client) -> None:
        """Watch a router too."""
        self.collector.add_router(router, nc)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record: as an operator has it, from its JSON line and from its line of text."""
        self.take_line(self._formatter.format(record))
        code, client = getattr(record, "event", None), getattr(record, "client", None)
        said = self._text_formatter.format(record).partition("\n")[0]
        if f" {code} " not in said or (client is not None and f" client={client}" not in said):
            self.complaints.append(f"as text {code} lacks its code or its client: {said}")
        self.sample()

    def take_line(self, line: str) -> None:
        """Take a record that another process has logged as JSON."""
        fields: dict[str, Any] = json.loads(line)
        code = str(fields["event"])
        self.logs[code] += 1
        known = self._known_logs.get(code)
        if known is None:
            self.complaints.append(f"the code {code} is not listed")
            return
        if fields["level"] != known.level:
            self.complaints.append(f"{code} has the level {fields['level']}, listed is {known.level}")
        for name in fields.keys() - _LINES_OWN - set(known.fields):
            self.complaints.append(f"{code} has the field {name}, which is not listed")

    def sample(self) -> None:
        """Note which gauges are not 0 at this moment."""
        gauges = {metric.name for metric in load_contract() if metric.type == "gauge"}
        for series, value in self._scrape().items():
            if series[0] in gauges and value:
                self._gauges[series] += 1

    def seen(self) -> dict[Series, int]:
        """Series -> what a counter or histogram has counted, or how often a gauge was seen at something else than 0."""
        counted = self._scrape()
        return {
            (metric.name, values): int(self._gauges[metric.name, values])
            if metric.type == "gauge"
            else int(counted.get((metric.name, values), 0))
            for metric in load_contract()
            for values in _bounded(metric)
        }

    def _take_event(self, name: str) -> None:
        self.events[name] += 1
        if name not in self._known_events:
            self.complaints.append(f"the event {name} is not listed")

    def _scrape(self) -> dict[Series, float]:
        """The values of all series, those of clients and routes added up."""
        bounded = {one.name: [label for label, values in one.labels.items() if values] for one in load_contract()}
        histograms = {f"{one.name}_count": one.name for one in load_contract() if one.type == "histogram"}
        found: defaultdict[Series, float] = defaultdict(float)
        for (sample, labels), value in scrape(self.collector).items():
            name = histograms.get(sample, sample)
            if name in bounded:
                found[name, tuple(dict(labels)[label] for label in bounded[name])] += value
        return found


def _bounded(metric: MetricContract) -> list[tuple[str, ...]]:
    """All combinations of the values of its bounded labels."""
    found: list[tuple[str, ...]] = [()]
    for values in metric.labels.values():
        if values:
            found = [(*before, value) for before in found for value in values]
    return found
