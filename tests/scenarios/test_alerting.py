"""The shipped alerts over the metrics of a run: raised and over when Prometheus would have said so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import yaml

from beamline_trio.metrics import alert_rules
from beamline_trio.scenarios._alerting import Alert, AlertBook, alerts_of

QUORUM = Alert("RouterQuorumLost", "router_cluster_quorum", "==", 0.0, 30.0)
KEY = ("watch", "router_cluster_quorum", ("watch",))
SCRAPE_SECONDS = 15


def raised_over(values: list[float | None], alert: Alert = QUORUM) -> list[tuple[float, float | None]]:
    """When the alert began and ended, over a scrape every 15 s; None = the series is not there."""
    book = AlertBook([alert])
    for number, value in enumerate(values):
        book.take(number * SCRAPE_SECONDS, {} if value is None else {KEY: value})
    return [(one.begins, one.ends) for one in book.raised]


def test_the_rules_that_compare_a_metric_with_a_number_are_taken_as_they_are_shipped() -> None:
    """Those of nodes, quorum, regions and instances are among them, with what they wait for."""
    alerts = {alert.name: alert for alert in alerts_of(alert_rules())}
    assert alerts["RouterQuorumLost"] == QUORUM
    assert (alerts["RouterRegionPartition"].for_seconds, alerts["RouterClusterNodeDown"].for_seconds) == (300, 120)
    assert set(alerts) == {
        "RouterNatsConnectionDown",
        "RouterQuorumLost",
        "RouterRegionPartition",
        "RouterClusterNodeDown",
        "RouterInstanceNotReady",
    }


def test_a_compressed_run_waits_for_so_much_less_but_for_a_second_at_least() -> None:
    """5 min in a run of a twentieth of its length are 15 s."""
    scaled = {alert.name: alert.for_seconds for alert in alerts_of(alert_rules(), 1 / 20)}
    assert scaled["RouterRegionPartition"] == 15
    assert scaled["RouterQuorumLost"] == 1.5
    assert all(seconds == 1 for seconds in (alert.for_seconds for alert in alerts_of(alert_rules(), 1e-6)))
    assert alerts_of(alert_rules(), 3.0) == alerts_of(alert_rules())


def test_an_alert_is_raised_when_it_has_held_for_its_time_and_is_over_when_it_does_not() -> None:
    """What holds for less is not told; what comes again waits anew."""
    assert raised_over([1, 0, 0, 1, 0, 1]) == []
    assert raised_over([1, 0, 0, 0, 0, 1, 0, 0, 0]) == [(45, 75), (120, None)]


def test_a_series_that_has_ended_holds_nothing() -> None:
    """A process that is gone raises no alert by its own metrics, and ends what it had raised."""
    assert raised_over([0, 0, 0, None, 0, 0]) == [(30, 45)]


def test_each_series_is_looked_at_for_itself() -> None:
    """Two regions, of which one is cut off and comes back, and the other never."""
    book = AlertBook([Alert("Cut", "up", "<", 1.0, 0.0)])
    one, other = ("watch", "up", ("east",)), ("watch", "up", ("west",))
    book.take(0, {one: 0, other: 1})
    assert book.firing == 1
    book.take(15, {one: 1, other: 0})
    assert [(raised.labels, raised.begins, raised.ends) for raised in book.raised] == [
        (("east",), 0, 15),
        (("west",), 15, None),
    ]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH; it comes with Prometheus")
@hypothesis.settings(max_examples=5, deadline=None)
@hypothesis.given(st.lists(st.sampled_from([0, 1]), min_size=4, max_size=16))
def test_prometheus_says_the_same(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    """At every scrape the shipped rule fires for promtool exactly when it is raised here."""
    directory: Path = tmp_path_factory.mktemp("rules")
    raised = raised_over([float(value) for value in values])
    cases = [
        {
            "eval_time": f"{at}s",
            "alertname": QUORUM.name,
            "exp_alerts": [{"exp_labels": {"severity": "critical", "client": "watch", "instance": "one"}}]
            if any(begins <= at and (ends is None or at < ends) for begins, ends in raised)
            else [],
        }
        for at in range(0, len(values) * SCRAPE_SECONDS, SCRAPE_SECONDS)
    ]
    series = 'router_cluster_quorum{client="watch",instance="one"}'
    tests = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": f"{SCRAPE_SECONDS}s",
        "tests": [
            {
                "interval": f"{SCRAPE_SECONDS}s",
                "input_series": [{"series": series, "values": " ".join(str(value) for value in values)}],
                "alert_rule_test": cases,
            }
        ],
    }
    # What an alert says in words is its own test's; here only when it says it.
    rules = yaml.safe_load(alert_rules())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["annotations"] = {}
    (directory / "alerts.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (directory / "tests.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yml"], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
