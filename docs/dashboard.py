"""Write the dashboard for Grafana from the metrics contract: `python docs/dashboard.py`, `--check` only compares.

A panel is a title and the metrics that it shows; type, help and the labels that it can be told apart by come from the
contract, so a metric that is renamed there is a panel that fails here. The result is
`beamline_trio/metrics/dashboard.json`, which is shipped.

Must not ask for a metric, a label or a value by any other name than the contract's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import attrs

import beamline_trio
from beamline_trio.metrics import MetricContract, load_contract

FILE: Final = Path(beamline_trio.__file__).parent / "metrics" / "dashboard.json"
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
CHOSEN: Final = 'job=~"$job", instance=~"$instance", client=~"$client"'
WHO: Final = "instance, client"
COLUMNS: Final = 24
HEIGHT: Final = 8
GREEN, YELLOW, RED = "green", "yellow", "red"


@attrs.frozen
class Panel:
    """One panel.

    Attributes:
        title: above it.
        expressions: legend -> PromQL.
        unit: of Grafana's names.
        description: behind its question mark.
        kind: `timeseries` or `stat`.
        width: of 24 columns.
        thresholds: from which value on which colour.
    """

    title: str
    expressions: dict[str, str]
    unit: str
    description: str
    kind: str = "timeseries"
    width: int = 8
    thresholds: tuple[tuple[float | None, str], ...] = ((None, GREEN),)


def metric(name: str) -> MetricContract:
    """A metric of the contract, without its prefix.

    Raises:
        SystemExit: it has none of that name.
    """
    for one in load_contract():
        if one.name == f"router_{name}":
            return one
    raise SystemExit(f"the contract has no metric router_{name}; which panel is it in?")


def series(name: str, **values: str) -> str:
    """The selector of a metric, of what is chosen above the panels; values are regular expressions.

    Raises:
        SystemExit: the contract has no such label or value.
    """
    labels = metric(name).labels
    for label, wanted in values.items():
        unknown = set(wanted.split("|")) - set(labels.get(label, ()))
        if unknown:
            raise SystemExit(f"the contract has no {label} {', '.join(sorted(unknown))} of router_{name}")
    matchers = "".join(f', {label}=~"{wanted}"' for label, wanted in values.items())
    return f"router_{name}{{{CHOSEN}{matchers}}}"


def gauge(name: str, by: str = WHO, **values: str) -> str:
    """A gauge as it is, a value for each of `by`."""
    assert metric(name).type == "gauge", name
    return f"sum by ({by}) ({series(name, **values)})"


def rate(name: str, by: str = WHO, **values: str) -> str:
    """A counter's rate per second, a value for each of `by`."""
    assert metric(name).type == "counter", name
    return f"sum by ({by}) (rate({series(name, **values)}[$__rate_interval]))"


def quantile(part: float, name: str, by: str = WHO) -> str:
    """A histogram's quantile, a value for each of `by`."""
    assert metric(name).type == "histogram", name
    bucket = series(name).replace("{", "_bucket{", 1)
    return f"histogram_quantile({part}, sum by ({by}, le) (rate({bucket}[$__rate_interval])))"


def share(good: str, all_of_it: str) -> str:
    """A part of a whole, 1 where there is nothing to be a part of."""
    return f"({good}) / ({all_of_it} > 0) or ({all_of_it}) * 0 + 1"


EACH: Final = "{{instance}} {{client}}"
_ENDS: Final = rate("nats_publish_attempts_total", status="success|failure")
_RETRIED: Final = rate("nats_pending_operations_retry_total")

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Connection": (
        Panel(
            "Connection status", {EACH: gauge("nats_connection_status")}, "none",
            metric("nats_connection_status").meaning, "stat", 8, ((None, RED), (0.5, YELLOW), (1, GREEN)),
        ),
        Panel(
            "Connection events",
            {
                "established {{job}}": rate("nats_connection_established_total", "job"),
                "lost {{job}}": rate("nats_connection_lost_total", "job"),
                "restored {{job}}": rate("nats_connection_restored_total", "job"),
                "exhausted {{job}}": rate("nats_reconnection_exhausted_total", "job"),
            },
            "cps", "Per second, of all instances that are chosen.",
        ),
        Panel(
            "Failed attempts to reconnect", {"{{reason}}": rate("nats_reconnect_failures_total", "reason")}, "cps",
            metric("nats_reconnect_failures_total").meaning,
        ),
    ),
    "Publishing": (
        Panel(
            "Publish success", {EACH: share(rate("nats_publish_attempts_total", status="success"), _ENDS)},
            "percentunit", "Of the publishes whose end was waited for; 1 while there are none.",
            thresholds=((None, RED), (0.95, GREEN)),
        ),
        Panel(
            "Publish failures",
            {
                "{{reason}}": rate("nats_publish_failures_total", "reason"),
                "{{reason}} (PubAck)": rate("nats_publish_with_ack_failures_total", "reason"),
            },
            "cps", metric("nats_publish_failures_total").meaning,
        ),
        Panel(
            "Publish latency",
            {f"p{round(part * 100)} {EACH}": quantile(part, "nats_publish_latency_seconds") for part in (0.5, 0.99)},
            "s", metric("nats_publish_latency_seconds").meaning,
        ),
    ),
    "Queue": (
        Panel(
            "Pending operations", {EACH: gauge("nats_pending_operations_count")}, "none",
            metric("nats_pending_operations_count").meaning,
        ),
        Panel(
            "Queue fullness", {EACH: gauge("nats_pending_operations_ratio")}, "percentunit",
            metric("nats_pending_operations_ratio").meaning, thresholds=((None, GREEN), (0.8, RED)),
        ),
        Panel(
            "Retry success",
            {EACH: share(rate("nats_pending_operations_retry_success_total"), _RETRIED)}, "percentunit",
            "Of what was pending and sent after a reconnect, the part that the server has confirmed.",
            thresholds=((None, RED), (0.95, GREEN)),
        ),
    ),
    "Throughput": (
        Panel(
            "Published by instance", {"{{instance}}": rate("nats_publish_total", "instance")}, "cps",
            metric("nats_publish_total").meaning,
        ),
        Panel(
            "Handled by instance", {"{{instance}}": rate("requests_total", "instance", outcome="ok")}, "cps",
            metric("requests_total").meaning,
        ),
        Panel(
            "In flight by route", {"{{instance}} {{route}}": gauge("intake_inflight", "instance, route")}, "none",
            metric("intake_inflight").meaning,
        ),
    ),
    "Routes": (
        Panel(
            "Outcomes", {"{{route}} {{outcome}}": rate("requests_total", "route, outcome") + " > 0"}, "cps",
            metric("requests_total").meaning,
        ),
        Panel(
            "Handler time",
            {
                f"p{round(part * 100)} {{{{route}}}}": quantile(part, "request_duration_seconds", "route")
                for part in (0.5, 0.95)
            },
            "s", metric("request_duration_seconds").meaning,
        ),
        Panel(
            "Redeliveries, dead letters, breakers",
            {
                "redelivered: {{reason}}": rate("jetstream_redelivery_total", "reason") + " > 0",
                "dead letters: {{route}}": rate("dlq_total", "route") + " > 0",
                "open breakers: {{route}}": gauge("circuit_breaker_state", "route", state="open|half_open") + " > 0",
            },
            "none", "Per second, and how many circuit breakers are open or half open.",
        ),
    ),
    "Clusters and regions": (
        Panel(
            "Servers seen", {"{{node}}": "min by (node) (" + series("cluster_node_up") + ")"}, "none",
            metric("cluster_node_up").meaning, thresholds=((None, RED), (1, GREEN)),
        ),
        Panel(
            "Quorum and leaders",
            {
                f"quorum {EACH}": gauge("cluster_quorum"),
                f"changes of leaders {EACH}": rate("cluster_leader_changes_total"),
            },
            "none", metric("cluster_quorum").meaning,
        ),
        Panel(
            "Partitions", {"{{region}} from {{instance}}": gauge("region_partition_seconds", "region, instance")}, "s",
            metric("region_partition_seconds").meaning,
        ),
        Panel(
            "Messages by region", {"{{region}}": rate("messages_total", "region")}, "cps",
            metric("messages_total").meaning,
        ),
        Panel(
            "Instances ready", {"{{exported_instance}}": gauge("instance_ready", "exported_instance")}, "none",
            metric("instance_ready").meaning, thresholds=((None, RED), (1, GREEN)),
        ),
        Panel(
            "Tasks and memory of instances",
            {
                "tasks {{exported_instance}}": gauge("instance_tasks", "exported_instance"),
                "MB {{exported_instance}}": gauge("instance_memory_bytes", "exported_instance") + " / 1e6",
            },
            "none", metric("instance_memory_bytes").meaning,
        ),
    ),
}  # fmt: skip


def rendered(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """A panel as Grafana has it."""
    steps = [{"value": value, "color": colour} for value, colour in panel.thresholds]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "lineWidth": 1}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
            for place, (legend, expression) in enumerate(panel.expressions.items())
        ],
    }


def panels() -> list[dict[str, Any]]:
    """All rows with their panels, from top to bottom."""
    made: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        position = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": title, "gridPos": position, "collapsed": False, "panels": []}
        )
        x = 0
        for panel in row:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            made.append(rendered(panel, len(made) + 1, x, y + 1))
            x += panel.width
        y += HEIGHT + 1
    return made


def variable(label: str) -> dict[str, Any]:
    """What is chosen above the panels: the values that a label of the status has."""
    name = metric("nats_connection_status").name
    return {
        "name": label, "type": "query", "datasource": SOURCE, "query": f"label_values({name}, {label})",
        "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2, "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def text() -> str:
    """The dashboard."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    tree = {
        "uid": "beamline-trio",
        "title": "beamline_trio",
        "tags": ["nats", "beamline"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *(variable(label) for label in ("job", "instance", "client"))]},
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "enable": True,
                    "iconColor": RED,
                    "datasource": SOURCE,
                    "expr": 'ALERTS{alertname=~"Router.+", alertstate="firing"}',
                    "titleFormat": "{{alertname}}",
                }
            ]
        },
        "panels": panels(),
    }
    return json.dumps(tree, indent=2) + "\n"


def main() -> int:
    """Write it, or compare it."""
    if "--check" in sys.argv[1:]:
        return int(FILE.read_text(encoding="utf-8") != text())
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
