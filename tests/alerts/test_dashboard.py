"""The dashboard: made of the metrics contract, with the panels that operators look for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beamline_trio.metrics import dashboard
from beamline_trio.metrics.__main__ import main
from tests._documents import ROOT
from tests.alerts._recording import CHOSEN, asked, legend_of
from tests.alerts._rules import grouping_labels
from tests.alerts.test_rules import needs_promtool, unknown_in

WANTED = {
    "Connection status": "router_nats_connection_status",
    "Connection events": "router_nats_connection_lost_total",
    "Publish success": "router_nats_publish_attempts_total",
    "Pending operations": "router_nats_pending_operations_count",
    "Retry success": "router_nats_pending_operations_retry_success_total",
    "Published by instance": "router_nats_publish_total",
    "Handled by instance": "router_requests_total",
}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(dashboard())["panels"] if panel["type"] != "row"]


def expressions() -> list[tuple[str, str, str]]:
    """(panel, legend, expression) of each."""
    return [
        (panel["title"], target["legendFormat"], target["expr"]) for panel in panels() for target in panel["targets"]
    ]


def test_the_dashboard_is_what_its_generator_writes() -> None:
    """A metric, label or meaning that changes in the contract changes the dashboard: `python docs/dashboard.py`."""
    command = [sys.executable, str(ROOT / "docs" / "dashboard.py"), "--check"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_a_panel_asks_for_what_is_listed() -> None:
    """Every metric, label and value in a panel is in the contract; what is chosen above the panels applies to all."""
    for title, legend, expression in expressions():
        matchers = 'job=~"$job", instance=~"$instance", client=~"$client"'
        assert expression.count(matchers) == len(re.findall(r"router_\w+\{", expression)) > 0, title
        bare = expression.replace(f"{matchers}, ", "").replace(matchers, "").replace("{}", "")
        assert unknown_in(bare) == [], title
        # A legend can only show what the sum has left.
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= grouping_labels(expression), title


def test_the_panels_that_operators_look_for_are_there() -> None:
    """Status, events, success, queue, retries and throughput by instance, each of its metric."""
    shown = {title: " ".join(one for panel, _, one in expressions() if panel == title) for title, _, _ in expressions()}
    assert {title: name for title, name in WANTED.items() if name not in shown.get(title, "")} == {}
    assert len({panel["title"] for panel in panels()}) == len(panels())


def test_no_panel_covers_another() -> None:
    """Places on the grid of 24 columns are free of overlaps."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(dashboard())["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


@needs_promtool
def test_every_expression_is_one(tmp_path: Path) -> None:
    """Prometheus parses each as it is asked when something is chosen."""
    rules = [{"record": f"panel:{number}", "expr": asked(one)} for number, (_, _, one) in enumerate(expressions())]
    # JSON is YAML too.
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    command = ["promtool", "check", "rules", "panels.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_a_recording_asks_for_what_was_chosen() -> None:
    """No variable of Grafana's is left in a question to Prometheus, and legends are made as Grafana makes them."""
    assert all("$" not in asked(expression) for _, _, expression in expressions())
    assert set(re.findall(r"\$\w+", " ".join(one for _, _, one in expressions()))) == set(CHOSEN)
    assert legend_of("p99 {{instance}} {{client}}", {"instance": "a:1", "client": "b"}) == "p99 a:1 b"


def test_the_command_prints_the_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m beamline_trio.metrics dashboard`."""
    assert main(["dashboard"]) == 0
    assert capsys.readouterr().out == dashboard()
