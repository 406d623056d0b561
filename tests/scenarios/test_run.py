"""Whole runs in the simulation, short: what holds is found to hold, and what does not is found not to."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from beamline_trio.scenarios import SCENARIOS, Expectations, ScenarioError, Settings, find_scenario, run_scenario
from beamline_trio.scenarios._ledger import Ledger
from beamline_trio.scenarios._subjects import payload_of

SHORT = Settings(rate=10, duration_minutes=3)
ON_ONE_SERVER = [number for number, one in SCENARIOS.items() if one.topology.nodes == 1]


def failed(report: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in report["findings"] if finding["mark"] == "fail"]


@pytest.mark.parametrize("number", ON_ONE_SERVER)
def test_scenarios_hold(number: str) -> None:
    """Every scenario of a single server, in three simulated minutes: no criterion fails."""
    report = run_scenario(find_scenario(number), SHORT)
    assert failed(report) == []
    counts = report["counts"]
    assert counts["begun"] == counts["acked"] == counts["ended"] > 1_500
    assert len(report["faults"]) > 0 or number == "4.1"
    assert json.loads(json.dumps(report)) == report


def test_one_seed_is_one_run() -> None:
    """The same seed gives the same report but for the memory of the process, another seed another one."""

    def run(seed: int) -> dict[str, Any]:
        report = run_scenario(find_scenario("2.1"), attrs.evolve(SHORT, seed=seed, duration_minutes=2))
        del report["timeline"]["memory_bytes"], report["findings"], report["settings"], report["seed"]
        return report

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_message_that_is_lost_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink does not see one of the messages: it is lost, by its number, and the queue does not get empty."""
    note_done = Ledger.note_done
    monkeypatch.setattr(Ledger, "note_done", lambda self, number, place: number == 33 or note_done(self, number, place))
    report = run_scenario(find_scenario("4.1"), attrs.evolve(SHORT, duration_minutes=2))
    assert report["result"] == "failed"
    assert failed(report) == ["acked messages lost", "queue depth back to 0"]
    (lost,) = (finding for finding in report["findings"] if finding["name"] == "acked messages lost")
    assert lost["value"] == "1 (33)"


def test_a_message_that_is_published_again_under_another_id_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its effect is stored twice."""
    monkeypatch.setattr(
        "beamline_trio.scenarios._source.payload_of", lambda number: payload_of(number - (number == 90))
    )
    report = run_scenario(find_scenario("4.1"), attrs.evolve(SHORT, duration_minutes=2))
    assert "effects stored twice" in failed(report)


def test_what_a_scenario_expects_beside_the_laws_is_asked_for() -> None:
    """More dead letters than there can be, no gap while the server is away, and always an instance that is ready."""
    strict = attrs.evolve(
        find_scenario("2.1"),
        expectations=Expectations(dead_letters_min=10, never_idle_seconds=1.5, always_ready=True),
    )
    report = run_scenario(strict, attrs.evolve(SHORT, duration_minutes=2))
    assert {"messages given up", "longest gap in throughput", "moments without an instance that is ready"} <= set(
        failed(report)
    )


def test_the_run_is_told_as_it_goes() -> None:
    """Once a second, with the plan."""
    told: list[float] = []
    run_scenario(find_scenario("4.1"), attrs.evolve(SHORT, duration_minutes=2), lambda plan, one: told.append(one.at))
    assert told[:3] == pytest.approx([0, 1, 2])


def test_what_cannot_be_run_is_refused() -> None:
    """Before anything starts."""
    with pytest.raises(ScenarioError, match=r"scenario 2\.1 runs in the simulation only"):
        run_scenario(find_scenario("2.1"), Settings(on="real"))
