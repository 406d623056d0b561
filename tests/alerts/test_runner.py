"""The runner of the alerts: what it calls a success, and what it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.alerts import __main__ as runner
from tests.alerts._rules import load_rules
from tests.alerts._scenarios import CALM, SCENARIOS


def all_seen() -> list[runner.Seen]:
    return [runner.Seen(scenario, fired=3.0, cleared=15.0) for scenario in SCENARIOS]


def test_each_alert_has_one_scenario() -> None:
    """An alert that is added is not shipped before it was seen to fire."""
    assert [scenario.alert for scenario in SCENARIOS] == [rule.name for rule in load_rules()]


def test_all_fired_and_cleared_is_a_success() -> None:
    """Every alert, and none about the client to which nothing was done."""
    good, words = runner.verdict(all_seen(), set())
    count = len(SCENARIOS)
    assert good
    assert words == [
        f"{count} of {count} alerts fired and cleared (durations divided by 20)",
        "about the client to which nothing was done: none",
    ]


@pytest.mark.parametrize("what", ["fired", "cleared"])
def test_one_that_did_not_is_a_failure(what: str) -> None:
    """It is told in the table with NO, and the run fails."""
    seen = all_seen()
    setattr(seen[3], what, None)
    good, _ = runner.verdict(seen, set())
    assert not good
    assert " NO" in runner.table(seen)[4]
    assert sum(" NO" in line for line in runner.table(seen)) == 1


def test_an_alert_that_was_not_tried_is_a_failure() -> None:
    """A rule without a scenario is named."""
    good, words = runner.verdict(all_seen()[1:], set())
    assert not good
    assert f"not tried: {SCENARIOS[0].alert}" in words


def test_an_alert_without_a_reason_is_a_failure() -> None:
    """The client to which nothing was done has none; if it has, it is named."""
    good, words = runner.verdict(all_seen(), {"RouterDeadLetters"})
    assert not good
    assert words[-1].endswith(": RouterDeadLetters")
    assert CALM not in {scenario.alert for scenario in SCENARIOS}


def test_without_prometheus_it_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It says what is missing and how to get it, and ends with a code of its own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tests.alerts"])
    assert runner.main() == 77
    assert "apt-get install prometheus" in capsys.readouterr().out
