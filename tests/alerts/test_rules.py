"""The alert rules: of metrics and labels that there are, each with its words, its runbook and its unit tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamline_trio.metrics import MetricContract, alert_rules, load_contract, load_log_contract
from beamline_trio.metrics.__main__ import main
from tests._documents import DOCS, names_in, text_of
from tests.alerts._rules import Rule, grouping_labels, load_rules, selectors

HERE = Path(__file__).parent
RUNBOOKS = DOCS / "operation" / "runbooks.md"
# What Prometheus adds to each series (the label `instance` of our own becomes the third), and a series that is its own.
TARGET_LABELS = {"job", "instance", "exported_instance"}
OWN_SERIES = {"up"}
BEHIND_A_HISTOGRAM = re.compile(r"_(?:bucket|sum|count)$")
PARTS = ["Means.", "Look.", "Do.", "Over when."]
# Those that an operator of the source system knows, and what they ask for.
CRITICAL = {
    "RouterNatsConnectionDown",
    "RouterNatsReconnectionExhausted",
    "RouterInstanceDown",
    "RouterInstanceFailing",
    "RouterQuorumLost",
    "RouterRegionPartition",
}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not on PATH; it comes with Prometheus"
)
every_rule = pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule.name)


def listed() -> dict[str, MetricContract]:
    return {metric.name: metric for metric in load_contract()}


def contract_of(name: str) -> MetricContract | None:
    """The metric behind a name in an expression."""
    contract = listed()
    base = contract.get(BEHIND_A_HISTOGRAM.sub("", name))
    return base if base is not None and base.type == "histogram" else contract.get(name)


def unknown_in(expression: str) -> list[str]:
    """What an expression asks for that the contract does not list."""
    wanted = [selector for selector in selectors(expression) if selector.metric not in OWN_SERIES]
    unknown: list[str] = []
    labels = set(TARGET_LABELS)
    for selector in wanted:
        metric = contract_of(selector.metric)
        if metric is None:
            unknown.append(selector.metric)
            continue
        labels |= set(metric.labels) | ({"le"} if metric.type == "histogram" else set())
        for label, values in selector.matchers.items():
            bounded = metric.labels.get(label)
            unknown += [f"{selector.metric}.{label}={value}" for value in values if value not in (bounded or ())]
    return unknown + sorted(grouping_labels(expression) - labels)


# --------------------------------------------------------------------------------------------------- the contract


@every_rule
def test_an_alert_asks_for_what_is_listed(rule: Rule) -> None:
    """Every metric, label and value in a rule is in metrics/contract.toml."""
    assert selectors(rule.expression)
    assert unknown_in(rule.expression) == []


@pytest.mark.parametrize(
    "expression, unknown",
    [
        ("router_no_such_total > 0", ["router_no_such_total"]),
        ('router_dlq_total{reason="bad_luck"} > 0', ["router_dlq_total.reason=bad_luck"]),
        ('router_dlq_total{cause="rejected"} > 0', ["router_dlq_total.cause=rejected"]),
        ('router_requests_total{outcome=~"ok|fine"} > 0', ["router_requests_total.outcome=fine"]),
        ("sum by (reason, topic) (router_dlq_total) > 0", ["topic"]),
        ("rate(router_request_duration_seconds_bucket[5m])", []),
        ("rate(router_dlq_total_bucket[5m])", ["router_dlq_total_bucket"]),
    ],
)
def test_what_is_not_listed_is_found(expression: str, unknown: list[str]) -> None:
    """The check itself: a wrong name, label, value or grouping does not pass."""
    assert unknown_in(expression) == unknown


@every_rule
def test_an_alert_has_its_words(rule: Rule) -> None:
    """Severity, summary, description and the link to the runbook; whom it is about is in the summary."""
    assert rule.severity == ("critical" if rule.name in CRITICAL else "warning")
    assert set(rule.annotations) == {"summary", "description", "runbook_url"}
    assert "$labels.instance" in rule.annotations["summary"]
    assert not rule.annotations["summary"].endswith(".")
    assert rule.annotations["description"].endswith(".")
    assert rule.annotations["runbook_url"] == f"docs/operation/runbooks.md#{rule.name.lower()}"


def test_no_alert_has_the_name_of_another() -> None:
    """Names are the keys of runbooks, silences and tests."""
    names = [rule.name for rule in load_rules()]
    assert len(set(names)) == len(names) >= len(CRITICAL)
    assert set(names) >= CRITICAL


# --------------------------------------------------------------------------------------------------- the runbooks


def runbooks() -> dict[str, str]:
    """Section -> its text, in the page's order."""
    parts = re.split(r"^## (.+)$", text_of(RUNBOOKS), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """The sections of the page are the alerts, in their order."""
    assert list(runbooks()) == [rule.name for rule in load_rules()]


@pytest.mark.parametrize("name", [rule.name for rule in load_rules()])
def test_a_runbook_says_what_to_do(name: str) -> None:
    """What it means, where to look, what to do, and when it is over; and it names what there is."""
    text = runbooks()[name]
    assert re.findall(r"^\*\*([^*]+)\*\*", text, re.MULTILINE) == PARTS
    codes = {log.code for log in load_log_contract()}
    for named in names_in(text):
        if re.fullmatch(r"(?:NATS|ROUTER|CLUSTER|REGION)_[A-Z_]+", named):
            assert named in codes, named
        if re.fullmatch(r"router_\w+", named):
            assert named in listed(), named


# ------------------------------------------------------------------------------------------------------- promtool


def unit_tests() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load((HERE / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    return tests


@every_rule
def test_an_alert_is_tested_quiet_firing_and_over(rule: Rule) -> None:
    """The unit tests see each alert not fire, fire, and not fire again; and all of them be quiet when all is well."""
    stories = [
        [bool(case["exp_alerts"]) for case in test["alert_rule_test"] if case["alertname"] == rule.name]
        for test in unit_tests()
        if not test["name"].startswith("all of them")
    ]
    told = [story for story in stories if story]
    assert told
    assert all(not story[0] and any(story) and not story[-1] for story in told)
    healthy = [test for test in unit_tests() if test["name"].startswith("all of them")]
    assert [
        case["exp_alerts"] for test in healthy for case in test["alert_rule_test"] if case["alertname"] == rule.name
    ]


@needs_promtool
def test_the_rules_do_what_their_unit_tests_say(tmp_path: Path) -> None:
    """`promtool test rules` passes on the rules as they are shipped, labels and words included."""
    (tmp_path / "alerts.yml").write_text(alert_rules(), encoding="utf-8")
    shutil.copy(HERE / "rules_test.yml", tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@needs_promtool
@pytest.mark.parametrize("faster", [1, 20])
def test_prometheus_takes_the_rules(tmp_path: Path, faster: int) -> None:
    """`promtool check rules` accepts the shipped rules and a faster copy."""
    (tmp_path / "alerts.yml").write_text(alert_rules(faster=faster), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "check", "rules", "alerts.yml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


# ------------------------------------------------------------------------------------------------ printed rules


def durations(text: str) -> list[float]:
    """Every `for` and every window, in seconds and in order."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
    found = re.findall(r"(?: for: |\[)(\d+)(ms|s|m|h)\b", text)
    return [int(number) * units[unit] for number, unit in found]


def test_a_faster_copy_differs_in_its_durations_only() -> None:
    """Each `for` and each window is divided, and nothing else is changed."""
    original, faster = alert_rules(), alert_rules(faster=20)
    assert durations(faster) == pytest.approx([seconds / 20 for seconds in durations(original)])
    blank = re.compile(r"((?: for: |\[))\d+(?:ms|s|m|h)\b")
    assert blank.sub(r"\1", faster) == blank.sub(r"\1", original)
    assert len(durations(original)) > 20


@pytest.mark.parametrize("faster, limit", [(0.5, "at least 1"), (0, "at least 1"), (float("nan"), "at least 1"),
                                               (31, "at least 1 s"), (1e9, "at least 1 s")])  # fmt: skip
def test_a_copy_that_would_be_too_fast_is_refused(faster: float, limit: str) -> None:
    """A window below a second has no two samples in it."""
    with pytest.raises(ValueError, match=limit):
        alert_rules(faster=faster)


def test_the_runbooks_may_be_served_elsewhere() -> None:
    """Every link of the printed rules leads to where the page is served."""
    rules = load_rules(alert_rules(runbooks="https://wiki.example/nats"))
    assert [rule.annotations["runbook_url"] for rule in rules] == [
        f"https://wiki.example/nats#{rule.name.lower()}" for rule in rules
    ]


def test_the_command_prints_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m beamline_trio.metrics alerts`, as asked for; a wrong number is said to be one."""
    assert main(["alerts"]) == 0
    assert capsys.readouterr().out == alert_rules()
    assert main(["alerts", "--faster", "20", "--runbooks", "x"]) == 0
    assert capsys.readouterr().out == alert_rules(runbooks="x", faster=20)
    with pytest.raises(SystemExit):
        main(["alerts", "--faster", "0"])
    assert "faster is 0.0" in capsys.readouterr().err
