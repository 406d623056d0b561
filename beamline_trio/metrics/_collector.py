"""The collector: reads the statistics of clients and routers when it is scraped, and costs nothing in between.

prometheus_client is imported by the first scrape. There is no `_created` series, since nothing here is an
instrument that was created: the numbers live where the work happens.

Must not be imported by the stages whose numbers it reads.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..client import Client
from ..cluster import ClusterWatch, RegionPublisher
from ..router import Router
from ._accounts import Accounts
from ._contract import MetricContract, load_contract
from ._instance import Instance
from ._series import Distribution, Reading

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# The values of all labels, and what is shown for them.
_Row: TypeAlias = tuple[list[str], float | Distribution]

# The format that every version of Prometheus reads.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Collector:
    """The metrics of a program's clients and routers, for Prometheus.

    `render()` gives the text of /metrics. It is also a collector as prometheus_client means it, so
    `prometheus_client.REGISTRY.register(collector)` puts its series beside others. Scrapes may come from another
    thread.

    Every series has the label `client`, the client's name. While a client of that name lives, a second one is
    `name-2`, and so on; from the 65th on they share `name-other`, where the lowest status is shown. The totals of a
    closed client stay under its label, and are carried on by the next client that gets it.
    """

    def __init__(self) -> None:
        self._accounts = Accounts()
        self._lock = threading.Lock()

    def add(self, client: Client) -> None:
        """Show a client from now on, with all it has counted so far; a second time is without effect.

        A closed client is let go at the next scrape or `add`.
        """
        with self._lock:
            self._accounts.add(client)

    def add_router(self, router: Router, client: Client) -> None:
        """Show a router, and the client it runs on.

        A router that runs on one client after another is added for each; what it counted is shown under the client it
        ran on.
        """
        with self._lock:
            self._accounts.add_router(router, client)

    def add_watch(self, watch: ClusterWatch) -> None:
        """Show what a watch knows of its cluster, under the client that watches, until that is closed.

        While the watch does not look, before its first look and when its `run()` has ended, there is none of its
        gauges: only what it has counted is shown.
        """
        with self._lock:
            self._accounts.add_watch(watch)

    def add_region(self, publisher: RegionPublisher) -> None:
        """Show what is published to a region, under the publisher's client, until that is closed."""
        with self._lock:
            self._accounts.add_region(publisher)

    def add_instance(self, instance: Instance) -> None:
        """Show this instance of the program, under its client, until that is closed."""
        with self._lock:
            self._accounts.add_instance(instance)

    def describe(self) -> Iterator[Metric]:
        """The metrics without samples; prometheus_client asks for it to find double names."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        """The metrics with their samples; prometheus_client calls it for a scrape."""
        with self._lock:
            readings = self._accounts.read()
        return (family for family in _families(readings) if family.samples)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format, to be sent as `CONTENT_TYPE`."""
        from prometheus_client import generate_latest

        return generate_latest(self)


def _families(readings: dict[str, Reading]) -> Iterator[Metric]:
    rows: defaultdict[str, list[_Row]] = defaultdict(list)
    for client, reading in readings.items():
        for series in (reading.numbers, reading.distributions):
            for (name, labels), value in series.items():
                rows[name].append(([client, *labels], value))
    return (_family(metric, rows[metric.name]) for metric in load_contract())


def _family(metric: MetricContract, rows: list[_Row]) -> Metric:
    from prometheus_client import core

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
        "untyped": core.UnknownMetricFamily,
    }
    family: Any = kinds[metric.exposed_as](metric.name, metric.meaning, labels=list(metric.labels))
    for labels, value in rows:
        if isinstance(value, Distribution):
            family.add_metric(labels, _buckets(value), value.total_seconds)
        else:
            family.add_metric(labels, value)
    shown: Metric = family
    return shown


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    from prometheus_client.utils import floatToGoString

    bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
    return list(zip(bounds, accumulate(distribution.counts), strict=True))
