"""What a report must have: whatever is accepted can be shown, and whatever is not is named with its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from beamline_trio.scenarios import ScenarioError, Settings, as_report, find_scenario, page_of, run_scenario

WRONG: tuple[Any, ...] = (None, "text", -1, 1e400, [], {}, [None])


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A report as it is read from its file, with something in every part that can be empty."""
    made = run_scenario(find_scenario("2.1"), Settings(rate=5, duration_minutes=2))
    made["wall_seconds"] = 2.0
    made["timeline"] = {name: column[:3] for name, column in made["timeline"].items()}
    made["alerts"][0]["raised"] = [{"target": "a", "labels": ["a"], "since": 1.0, "begins": 2.0, "ends": None}]
    made["availability"]["restart_seconds_by_instance"] = {"router-1": [1.5]}
    made["availability"]["requests"] = {"asked": 2, "again": 1, "failed": 0}
    made["availability"]["repeats"] = {"repeated": 2, "recognised": 2}
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of it, by what it is in and its name there; of a list the first."""
    names = list(data) if isinstance(data, dict) else range(min(len(data), 1)) if isinstance(data, list) else ()
    for name in names:
        yield data, name
        yield from places(data[name])


def is_shown_or_refused(report: dict[str, Any]) -> bool:
    """Whether it is refused."""
    try:
        as_report(report)
    except ScenarioError:
        return True
    page_of(report)
    return False


def test_a_whole_report_is_accepted(report: dict[str, Any]) -> None:
    """And is the same."""
    assert as_report(report) is report


def test_what_lacks_a_part_is_refused_or_can_do_without(report: dict[str, Any]) -> None:
    """Each part is taken away, one at a time."""
    refused = 0
    for whole, name in list(places(report)):
        if isinstance(whole, dict):
            part = dict(whole)
            del whole[name]
            refused += is_shown_or_refused(report)
            whole.clear()
            whole.update(part)
    assert refused > 80


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_has_something_else_for_a_part_is_refused_or_shown(report: dict[str, Any], wrong: Any) -> None:
    """Each part is put into another's place, one at a time."""
    refused = 0
    for whole, name in list(places(report)):
        before, whole[name] = whole[name], wrong
        refused += is_shown_or_refused(report)
        whole[name] = before
    assert refused > 50


def test_columns_of_a_timeline_are_of_one_length(report: dict[str, Any]) -> None:
    """One that ends sooner has no picture."""
    depth = report["timeline"]["depth"]
    with pytest.raises(ScenarioError, match=r"^timeline is .*; it must be lists of one length$"):
        as_report({**report, "timeline": {**report["timeline"], "depth": depth[:-1]}})


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"findings": [{"name": "a", "value": "b", "limit": "c"}]}, r"^findings\[0\]\.mark is missing$"),
        ({"rate": float("nan")}, r"^rate is nan; it must be a number from -1e\+15 to 1e\+15$"),
        ({"seconds": 1e12}, r"^seconds is 1000000000000\.0; it must be a number from 0 to 1e\+08$"),
        ({"result": "good"}, "^result is 'good'; it must be one of passed, passed with warnings, failed$"),
        ({"format": 1}, "^it is no report of this version$"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(report: dict[str, Any], changed: dict[str, Any], text: str) -> None:
    """And with what it must be."""
    with pytest.raises(ScenarioError, match=text):
        as_report({**report, **changed})
