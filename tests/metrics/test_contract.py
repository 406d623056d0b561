"""The metrics contract against the live output, the documentation and Prometheus' own linter."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from beamline_trio import Client, ClusterWatch, JetStream, Message, RegionPublisher, Router
from beamline_trio.cluster import Home
from beamline_trio.cluster._records import NodeSeen, Sighting
from beamline_trio.metrics import Collector, Instance, MetricContract, load_contract
from beamline_trio.metrics._reading import read_client
from beamline_trio.metrics._reading_cluster import read_instance, read_region, read_watch
from beamline_trio.metrics._reading_router import read_router
from tests.metrics._clients import make_client

_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_LABEL_NAME = re.compile(r"[a-z_]+")


@pytest.fixture
def router() -> Router:
    """With a route named `price`."""
    router = Router("prices")

    @router.route("price.get", name="price")
    async def price(message: Message) -> bytes | None:
        return None

    return router


@pytest.fixture
async def client() -> Client:
    """To which nothing has happened yet."""
    return make_client("prices")


@pytest.fixture
async def watch(client: Client) -> ClusterWatch:
    """That has seen a server."""
    watch = ClusterWatch(client, instances_of="prices")
    node = NodeSeen(name="east-1", region="east", age_seconds=0.0, memory_bytes=1, connections=1)
    watch.state.take([Sighting(nodes=(node,))], "east", trio.current_time())
    return watch


@pytest.fixture
async def instance(router: Router, client: Client) -> Instance:
    """Of a program in the region east."""
    return Instance("prices-1", client, lambda: True, region="east", routers=[router])


@pytest.fixture
async def publisher(client: Client) -> RegionPublisher:
    """Of messages that are at home in the region east."""
    return RegionPublisher(JetStream(client), Home(region="east", stream="EAST"))


@pytest.fixture
def collector(
    router: Router, client: Client, watch: ClusterWatch, publisher: RegionPublisher, instance: Instance
) -> Collector:
    """Of a program with a client, a router, and a watch over its cluster."""
    collector = Collector()
    collector.add_router(router, client)
    collector.add_watch(watch)
    collector.add_region(publisher)
    collector.add_instance(instance)
    return collector


def shown(collector: Collector) -> dict[str, tuple[str, dict[str, set[str]]]]:
    """Metric -> (its TYPE, label -> values) of the live output; `le` belongs to the format."""
    found: dict[str, tuple[str, dict[str, set[str]]]] = {}
    for family in text_string_to_metric_families(collector.render().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, label_value in sample.labels.items():
                if label != "le":
                    labels.setdefault(label, set()).add(label_value)
        found[name] = ("untyped" if family.type == "unknown" else family.type, labels)
    return found


async def test_the_output_has_the_metrics_of_the_contract_and_no_other(collector: Collector) -> None:
    """A name that is not listed fails, and so does a listed one that is never emitted."""
    assert list(shown(collector)) == [metric.name for metric in load_contract()]


async def test_what_is_read_is_listed(
    client: Client, router: Router, watch: ClusterWatch, publisher: RegionPublisher, instance: Instance
) -> None:
    """A number under a name or a label's value that is not listed would be lost on its way out."""
    listed = {metric.name: list(metric.labels.values())[1:] for metric in load_contract()}
    readings = read_client(client), read_router(router), read_watch(watch), read_region(publisher)
    for reading in (*readings, read_instance(instance)):
        for name, values in (*reading.numbers, *reading.distributions):
            assert all(value in bounded or not bounded for value, bounded in zip(values, listed[name], strict=True))


async def test_every_metric_has_its_type_its_labels_and_their_values(collector: Collector) -> None:
    """Every bounded value is there from the start, and none that is not listed."""
    output = shown(collector)
    own = {"client": {"prices"}, "router": {"prices"}, "route": {"price"}, "node": {"east-1"}, "region": {"east"}}
    own["instance"] = {"prices-1"}
    for metric in load_contract():
        kind, labels = output[metric.name]
        assert kind == metric.exposed_as, metric.name
        assert labels == {label: set(values) or own[label] for label, values in metric.labels.items()}, metric.name


def test_the_contract_keeps_prometheus_rules() -> None:
    """Prefix, suffixes by type, the label `client` everywhere, and a meaning that is a sentence."""
    for metric in load_contract():
        assert metric.name.startswith("router_")
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert metric.name.endswith("_seconds") or metric.type != "histogram"
        assert next(iter(metric.labels)) == "client"
        assert all(_LABEL_NAME.fullmatch(label) for label in metric.labels)
        assert metric.meaning.endswith(".")
        assert (metric.exposed_as == metric.type) != metric.name.endswith("_count")
    names = [metric.name for metric in load_contract()]
    assert len(set(names)) == len(names)


def row(metric: MetricContract) -> tuple[str, ...]:
    """A metric's row in the documentation."""
    labels = [f"{name}: {', '.join(values)}" if values else name for name, values in metric.labels.items()]
    return (f"`{metric.name}`", metric.type, "; ".join(labels), metric.meaning)


def test_the_documentation_has_the_contract() -> None:
    """docs/metrics.md has one row per metric, with its type, labels, values and meaning, in the contract's order."""
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in _PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `router_")
    ]
    assert rows == [row(metric) for metric in load_contract()]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH; it comes with Prometheus")
async def test_prometheus_linter_has_no_complaint(collector: Collector) -> None:
    """`promtool check metrics` accepts the live output."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=collector.render(), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "pattern",
    ["router_nats_connection_status", "router_nats.*failures_total", "router_nats_pending_operations_count"],
)
async def test_the_greps_of_the_runbooks_print_samples(collector: Collector, pattern: str) -> None:
    """What operators grep for has samples, not only comments, before anything went wrong."""
    lines = collector.render().decode().splitlines()
    assert [line for line in lines if re.search(pattern, line) and not line.startswith("#")]
