"""Clients that were never connected: their books can be written by a test, and read as those of any other."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from beamline_trio import Client, ClientOptions, TCPDialer
from beamline_trio.connection import Connection
from beamline_trio.metrics import Collector


def make_client(name: str = "orders") -> Client:
    return Client(Connection(ClientOptions(name=name), TCPDialer()))


def scrape(collector: Collector) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, sorted labels) -> value, from the text as Prometheus would read it."""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(collector.render().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} appears twice"
            samples[key] = sample.value
    return samples


def value(collector: Collector, name: str, client: str = "orders", **labels: str) -> float:
    return scrape(collector)[f"router_{name}", tuple(sorted({"client": client, **labels}.items()))]


def labels_shown(collector: Collector) -> set[str]:
    """The values of the label `client`."""
    return {dict(labels)["client"] for _, labels in scrape(collector)}
