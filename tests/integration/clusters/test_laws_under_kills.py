"""The laws of streams with three replicas while nodes are killed, and what the measuring of faults makes of its books.

For longer: BEAMLINE_CLUSTER_KILLS_SECONDS=120, or `python -m tests.integration.clusters.kills`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import attrs
import pytest

from ._faults import FAULTS
from ._load import Books, longest_gap
from .kills import Report, run_kills
from .measure import Found, evaluate, measure_real, measure_simulated, write

KILLS_SECONDS = float(os.environ.get("BEAMLINE_CLUSTER_KILLS_SECONDS", "14"))
HOLDS = Report(
    seconds=1.0,
    kills=1,
    published=5,
    acked=5,
    stored=5,
    consumed=5,
    acked_not_stored=0,
    stored_not_consumed=0,
    stored_twice=0,
    redelivered=0,
    unacked=0,
    duplicate_acks=0,
    longest_gap_seconds=1.0,
    errors={},
)


@pytest.mark.timeout(KILLS_SECONDS + 240)
async def test_what_is_acked_is_stored_and_what_is_stored_is_delivered() -> None:
    """A random node is killed every 4.5 s: no message with a PubAck is lost, none stored twice, all are delivered."""
    report = await run_kills(KILLS_SECONDS)
    assert report.kills >= KILLS_SECONDS // 4.5 - 1
    assert report.holds, str(report)


@pytest.mark.parametrize("count", ["acked_not_stored", "stored_not_consumed", "stored_twice", "unacked"])
def test_a_broken_law_is_told(count: str) -> None:
    """Each of the counts alone says that the laws do not hold; so does a run in which nobody was killed."""
    assert HOLDS.holds
    assert str(HOLDS).endswith("\nacked subset of stored subset of consumed, stored twice 0")
    broken = Report(**{**attrs.asdict(HOLDS), count: 1})
    assert not broken.holds
    assert f"{count.replace('_', ' ')} 1" in str(broken)
    assert "A LAW IS BROKEN" in str(broken)
    assert not attrs.evolve(HOLDS, kills=0).holds


@pytest.mark.slow
async def test_a_fault_is_measured() -> None:
    """A follower that is away does not stop the stream: the gap is short, the leader stays, nothing is lost."""
    (fault,) = [fault for fault in FAULTS if fault.name == "follower_killed"]
    lines: list[str] = []
    found = await measure_real([attrs.evolve(fault, seconds=2)], 1, lines.append)
    (run,) = found.faults["follower_killed"]["runs"]["east"]
    assert run["leader_changed"] is False
    assert run["gap_seconds"] < 2
    totals = found.totals
    assert totals["lost"] == totals["stored_twice"] == totals["missed"] == 0
    assert totals["published"] == totals["acked"] > 100
    assert len(lines) == 1


def test_the_model_is_measured_in_the_same_way() -> None:
    """The leader is killed in the simulation: the stream stops for an election, and loses nothing."""
    (fault,) = [fault for fault in FAULTS if fault.name == "leader_killed"]
    lines: list[str] = []
    found = measure_simulated([fault], 1, lines.append)
    (run,) = found.faults["leader_killed"]["runs"]["east"]
    assert run["leader_changed"] is True
    assert 1 < run["gap_seconds"] < 15
    totals = found.totals
    assert totals["lost"] == totals["stored_twice"] == totals["missed"] == 0
    assert totals["published"] == totals["acked"] > 100


def test_what_needs_namespaces_is_skipped_with_the_reason() -> None:
    """Without them the faults of links are not measured, and the file says why."""
    found = Found()
    chosen = found.choose(FAULTS, 1, "only root may make network namespaces")
    assert chosen
    assert not [fault for fault in chosen if fault.needs_links]
    assert found.faults["leader_link_down"]["skipped"] == "only root may make network namespaces"
    assert "skipped" not in found.faults["leader_killed"]
    assert not found.choose(FAULTS, 2, "only root may make network namespaces")


def test_what_a_run_says_of_its_books() -> None:
    """The gap is the longest time without a PubAck; it is well when nothing waits for a second or more any longer."""
    books = Books(published=8)
    books.begun = dict(enumerate([9, 10, 11, 12, 13, 14.5, 16]))
    books.acked = dict(enumerate([9.1, 10.1, 15, 15.1, 15.2, 15.3, 16.1]))
    books.errors += [(9.5, 0, "Early"), (12.0, 0, "A"), (13.0, 1, "B"), (13.5, -1, "OfTheConsumer"), (14.0, 0, "A")]
    books.deliveries += [9.2, 10.2, 15.1, 16.2]
    run = evaluate(books, began=10.0, ended=14.0, now=17.0, share=(0, 1))
    assert run.gap_seconds == pytest.approx(4.9)
    assert run.delivery_gap_seconds == pytest.approx(4.9)
    assert run.well_seconds == pytest.approx(5.2)
    assert run.well_after_end_seconds == pytest.approx(1.2)
    assert run.errors == {"A": 2, "B": 1}
    first = evaluate(books, began=10.0, ended=14.0, now=17.0, share=(0, 2))
    assert first.errors == {"A": 2}
    assert longest_gap([], 1.0, 3.0) == 2.0


def test_runs_are_added_to_those_of_a_file(tmp_path: Path) -> None:
    """Measuring goes on where it was: runs come behind those before, counts are added up, faults are in their order."""
    path = tmp_path / "deep" / "clusters.json"
    for gap in (1, 2):
        runs = {"east": [{"gap_seconds": gap}]}
        for name in (FAULTS[1].name, FAULTS[0].name):
            faults = {name: {"title": "t", "seconds": 1, "runs": runs}}
            write(path, Found(faults=faults, totals=Counter(lost=0, acked=1)))
    found = json.loads(path.read_text())
    assert list(found["faults"]) == [fault.name for fault in FAULTS[:2]]
    for fault in found["faults"].values():
        assert [run["gap_seconds"] for run in fault["runs"]["east"]] == [1, 2]
    assert found["totals"] == {"lost": 0, "acked": 4}
