"""Whole runs in the simulation, short: what holds is found to hold, and what does not is found not to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from beamline_trio import Client
from beamline_trio.router import MemoryIdempotence
from beamline_trio.scenarios import Expectations, ScenarioError, Settings, as_report, find_scenario, run_scenario
from beamline_trio.scenarios._balancer import Balancer
from beamline_trio.scenarios._instance import Instance
from beamline_trio.scenarios._ledger import Ledger
from beamline_trio.scenarios._load import Load
from beamline_trio.scenarios._pipeline import Pipeline
from beamline_trio.scenarios._requests import Requester
from beamline_trio.scenarios._subjects import payload_of

SHORT = Settings(rate=5, duration_minutes=2)
# The others put the same faults together in other ways; `nox -s scenarios` runs all of them.
QUICK = ("1.1", "1.3", "2.2", "2.3", "4.2", "5.3")
LONGER = ("5.1", "5.2")


def failed(report: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in report["findings"] if finding["mark"] == "fail"]


@pytest.mark.parametrize("number", [*QUICK, *(pytest.param(number, marks=pytest.mark.slow) for number in LONGER)])
def test_scenarios_hold(number: str) -> None:
    """Scenarios with faults of every kind, in two simulated minutes: no criterion fails.

    5.1 and 5.2 in four, as on real servers: in less there is no room for faults that last for as long as they must, and
    the alert of a long cut waits no longer than it takes to see that a short one is over.
    """
    minutes = 4 if number in LONGER else 2
    report = run_scenario(find_scenario(number), attrs.evolve(SHORT, duration_minutes=minutes))
    assert failed(report) == []
    counts = report["counts"]
    assert counts["begun"] == counts["acked"] == counts["ended"] > 500
    assert len(report["faults"]) > 0 or number == "4.1"
    assert json.loads(json.dumps(report)) == report
    as_report({**report, "wall_seconds": 1.0, "cpu_seconds": 1.0})  # it can be shown


@pytest.mark.slow
def test_one_seed_is_one_run() -> None:
    """The same seed gives the same report but for the memory of the process, another seed another one."""

    def run(seed: int) -> dict[str, Any]:
        report = run_scenario(find_scenario("2.1"), attrs.evolve(SHORT, seed=seed))
        del report["timeline"]["memory_bytes"], report["findings"], report["settings"], report["seed"]
        return report

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_message_that_is_lost_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink does not see one of the messages: it is lost, by its number, and the queue does not get empty."""
    note_done = Ledger.note_done
    monkeypatch.setattr(Ledger, "note_done", lambda self, number, *args: number == 33 or note_done(self, number, *args))
    report = run_scenario(find_scenario("4.1"), SHORT)
    assert report["result"] == "failed"
    assert failed(report) == ["acked messages lost", "queue depth back to 0"]
    (lost,) = (finding for finding in report["findings"] if finding["name"] == "acked messages lost")
    assert lost["value"] == "1 (33)"


def test_a_message_that_is_published_again_under_another_id_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its effect is stored twice."""
    monkeypatch.setattr(
        "beamline_trio.scenarios._pipeline.payload_of", lambda number: payload_of(number - (number == 90))
    )
    report = run_scenario(find_scenario("4.1"), SHORT)
    assert "effects stored twice" in failed(report)


def test_what_a_scenario_expects_beside_the_laws_is_asked_for() -> None:
    """More dead letters than there can be, no gap while the server is away, and always an instance that is ready."""
    strict = attrs.evolve(
        find_scenario("2.1"),
        expectations=Expectations(dead_letters_min=10, never_idle_seconds=1.5, always_ready=True),
    )
    report = run_scenario(strict, SHORT)
    assert {"messages given up", "longest gap in throughput", "moments without an instance that is ready"} <= set(
        failed(report)
    )


@pytest.mark.slow
def test_what_was_done_is_forgotten_by_an_instance_that_keeps_it_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys in each instance's memory, messages that come again are done again: the run fails."""
    monkeypatch.setattr(Pipeline, "_open_keys", in_memory)
    report = run_scenario(find_scenario("5.3"), SHORT)
    assert "what was done is remembered over restarts" in failed(report)


async def in_memory(self: Pipeline, client: Client) -> MemoryIdempotence:
    return MemoryIdempotence()


@pytest.mark.slow
def test_requests_that_nobody_answers_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go elsewhere than where the instances listen."""
    monkeypatch.setattr(Requester, "_answered", never)
    report = run_scenario(find_scenario("5.3"), SHORT)
    assert failed(report) == ["requests that were answered"]
    assert report["availability"]["requests"]["failed"] > 100


async def never(self: Requester, client: Client, question: bytes) -> bool:
    await trio.lowlevel.checkpoint()
    return False


def test_a_report_has_what_alerts_look_at_and_what_each_server_and_instance_used() -> None:
    """5.1: the quorum's metric falls and comes back, its alert is raised and over, and nobody is ready meanwhile."""
    report = run_scenario(find_scenario("5.1"), attrs.evolve(SHORT, duration_minutes=4))
    assert failed(report) == []
    (quorum,) = (one for one in report["metrics"]["series"] if one["name"] == "router_cluster_quorum")
    assert [value for _, value in quorum["changes"]] == [1, 0, 1]
    (alert,) = (one for one in report["alerts"] if one["name"] == "RouterQuorumLost")
    (raised,) = alert["raised"]
    (lost,) = (fault for fault in report["faults"] if fault["kind"] == "quorum_loss")
    assert lost["begins"] < raised["since"] < raised["begins"] < lost["healed"] < raised["ends"]
    assert min(report["timeline"]["ready"]) == 0
    assert set(report["resources"]["nodes"]) == {"east-1", "east-2", "east-3"}
    for used in report["resources"]["instances"].values():
        assert used["connections"] == {"base": 1, "most": 1, "end": 1}
        assert used["tasks"]["end"] <= used["tasks"]["base"] + 5


@pytest.mark.slow
def test_an_instance_that_never_comes_back_fails_the_run_and_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next restart waits for it, but not for ever."""
    monkeypatch.setattr(Instance, "come_back", lambda self: None)
    report = run_scenario(find_scenario("5.3"), attrs.evolve(SHORT, rate=1))
    assert "reconnect after a fault" in failed(report)


def test_without_haproxy_a_load_balancer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is made: where tasks run already, the error would come in a group, which is no answer for a user."""
    monkeypatch.setattr("beamline_trio.scenarios._balancer.find_haproxy", lambda: None)
    with pytest.raises(ScenarioError, match="there is no haproxy on this machine"):
        Balancer()


def test_the_run_is_told_as_it_goes() -> None:
    """Once a second, with the plan."""
    told: list[float] = []
    run_scenario(find_scenario("4.1"), SHORT, lambda plan, one: told.append(one.at))
    assert told[:3] == pytest.approx([0.1, 1.1, 2.1])


def test_nothing_is_begun_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a load balancer, or another region, takes its time: no message is older than the run's clock."""
    begun: list[int] = []
    balanced = Load._balanced

    @asynccontextmanager
    async def slowly(load: Load) -> AsyncGenerator[None]:
        async with balanced(load):
            await trio.sleep(3)
            yield

    monkeypatch.setattr(Load, "_balanced", slowly)
    run_scenario(find_scenario("4.1"), SHORT, lambda plan, one: begun.append(one.begun))
    assert 0 < begun[0] <= SHORT.rate  # those of the first second, at 0.1 s


@pytest.mark.slow
def test_the_decision_router_of_the_examples_is_a_load() -> None:
    """Each request leads to one assignment, over restarts of the server, and of the router's instances."""
    for number in ("2.1", "5.3"):
        report = run_scenario(find_scenario(number), attrs.evolve(SHORT, load="decisions"))
        assert failed(report) == []
        assert report["counts"]["done"] == report["counts"]["begun"] > 500


def test_what_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says why: no such load, no regions, no example."""
    with pytest.raises(ScenarioError, match="load is 'orders'; it must be one of pipeline, decisions"):
        Settings(load="orders")
    decisions = attrs.evolve(SHORT, load="decisions")
    with pytest.raises(ScenarioError, match="the decision router has no regions"):
        run_scenario(find_scenario("5.2"), decisions)
    monkeypatch.setattr("beamline_trio.scenarios._decisions.EXAMPLE", "examples.no_such_router")
    with pytest.raises(ScenarioError, match=r"there is no examples\.no_such_router, which this load needs"):
        run_scenario(find_scenario("2.1"), decisions)
