"""What `python -m tests.scenarios` says of its runs: counts, what is left out, and which run was too long."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from beamline_trio.scenarios import SCENARIOS
from tests.scenarios.__main__ import REAL, by_cost, counted, late, skipped, tell, took

COUNTS = {
    "begun": 24040,
    "acked": 24039,
    "ended": 24038,
    "stored_twice": 1,
    "lost": 2,
    "unknown": 3,
    "out_of_order": 4,
    "handled_again": 5,
    "dead_letters": 6,
    "publish_errors": {"NoStreamResponseError": 1233},
}


def report(**changed: Any) -> dict[str, Any]:
    """A report of a real run, as far as it is told."""
    finding = {"name": "load balancer finds a ready instance", "mark": "ok", "value": "0 of 9 times it had none"}
    rates = {"longest_gap_seconds": 10.5, "longest_ack_gap_seconds": 6.25, "longest_recovery_seconds": 13.3}
    return {
        "scenario": "5.1",
        "on": "real",
        "result": "passed",
        "planned_seconds": 240.00001,
        "seconds": 240.1,
        "wall_seconds": 253.0,
        "cpu_seconds": 41.5,
        "findings": [finding, {"name": "memory not grown", "mark": "ok", "value": "1 -> 2 MB"}],
        "counts": COUNTS,
        "throughput": rates,
        "faults": [{"kind": "server_kill"}, {"kind": "quorum_loss"}, {"kind": "server_kill"}],
        **changed,
    }


def test_a_real_run_tells_its_counts_its_silence_and_its_recovery() -> None:
    """Each count under its own name; what stood still is told of what ended, and of PubAcks."""
    lines = [line.strip() for line in counted(report())]
    assert lines == [
        "published 24,040, acked 24,039, consumed 24,038, twice 1, lost 2, unknown 3, out of order 4, handled again 5, "
        "dead letters 6",
        "longest gap 10.5 s, between PubAcks 6.2 s; longest recovery 13.3 s",
        "2 x server kill, 1 x quorum loss",
        "attempts that failed and were made again: NoStreamResponseError 1,233",
        "load balancer finds a ready instance: 0 of 9 times it had none",
    ]


def test_the_table_has_a_line_of_each_run_and_each_finding_that_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that wrote no report has how it ended."""
    failed = {"name": "acked messages lost", "mark": "fail", "value": "1 (7)", "limit": "0"}
    tell({"5.1": report(result="failed", findings=[failed]), "5.2": {"result": "ended with 1"}}, real=True)
    told = capsys.readouterr().out
    assert "fail: acked messages lost: 1 (7), must be 0" in told
    assert "5.2   ended with 1" in told
    assert "253.0 s" in told
    assert "41.5 s" in told


def test_what_costs_most_is_begun_first() -> None:
    """Every scenario once; that of two regions with three servers each before all others, and its variant behind."""
    numbers = by_cost()
    assert sorted(numbers) == sorted(SCENARIOS)
    assert (numbers[0], numbers[-1]) == ("5.2", "5.2d")


def test_the_time_of_the_scenarios_is_told_without_their_variants() -> None:
    """A variant may end after all others, or before one; a run without a report has a time too."""
    results = {"5.1": report(), "5.2": {"result": "ended with 1"}, "5.2d": report(cpu_seconds=10.0)}
    ended = {"5.1": 60.4, "5.2": 70.0, "5.2d": 100.0}
    assert list(took(results, ended)) == [
        "2 scenarios in 70 s of wall time, 42 s of CPU",
        "3 with variants in 100 s of wall time, 52 s of CPU",
    ]
    assert list(took({"5.1": report()}, {"5.1": 60.4})) == ["1 scenarios in 60 s of wall time, 42 s of CPU"]
    assert list(took({"5.2d": report()}, {"5.2d": 60.4})) == ["1 with variants in 60 s of wall time, 42 s of CPU"]


def test_a_compressed_real_run_is_over_within_five_minutes() -> None:
    """Longer ones are as long as they were asked to be, and simulated ones wait for nobody."""
    (finding,) = late(report(wall_seconds=301.0))
    assert (finding["mark"], finding["value"], finding["limit"]) == ("fail", "301 s", "<= 300 s")
    assert late(report(wall_seconds=299.0)) == []
    assert late(report(wall_seconds=4600.0, planned_seconds=4500.0)) == []
    assert late(report(wall_seconds=400.0, on="simulation")) == []


def test_what_a_machine_lacks_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without haproxy there is no load balancer, and the run says so; nothing is told of runs that are not made."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    first, *others = skipped(REAL)
    assert first.startswith("the load balancer of 5.1 and 5.3: there is no haproxy on this machine")
    assert others == ["a load balancer in 5.2: each region has one instance of the router"]
    assert list(skipped(["5.2"])) == others
    assert list(skipped(["2.1"])) == []
