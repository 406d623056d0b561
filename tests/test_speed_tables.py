"""The tables of speed and failover: how they are made of what was measured, and that those of failover are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests._documents import DOCS, README, rows, text_of

HEADER = ("client", "version", "kills", "median", "p95", "longest")
CLIENTS = ("beamline_trio", "nats-py", "nats-core", "natsio", "natsrpy")


def figure(contender: str, samples: list[float]) -> dict[str, Any]:
    """The figures of a client in a row."""
    median = sorted(samples)[len(samples) // 2]
    known = {"style": "defaults", "metric": "latency_ms", "unit": "ms", "higher_is_better": False}
    return {"contender": contender, "median": median, "samples": samples, "cpu_us_per_message": None, **known}


def measured(row: str, *figures: dict[str, Any]) -> dict[str, Any]:
    """A file of the benchmarks."""
    return {
        "server": "nats-server: v2.15.1",
        "python": "3.13.0",
        "date": "2026-01-02T03:04:05+00:00",
        "versions": dict.fromkeys(CLIENTS, "1.2"),
        "rows": [{"row": row, "title": row, "rounds": 5, "figures": list(figures)}],
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The generator and the pages, where they may be changed."""
    (tmp_path / "docs" / "measurements").mkdir(parents=True)
    for page in (README, DOCS / "performance.md", DOCS / "speed_tables.py", DOCS / "_places.py"):
        shutil.copy(page, tmp_path / page.relative_to(README.parent))
    return tmp_path


def generate(tree: Path, *arguments: str) -> int:
    command = [sys.executable, str(tree / "docs" / "speed_tables.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_client_has_its_median_and_what_one_in_twenty_exceeds(tree: Path) -> None:
    """Of 20 kills, p95 is the 19th shortest, and the longest is told beside it; both pages have the same table."""
    samples = [float(number) for number in range(20, 0, -1)]
    write(tree / "docs" / "measurements" / "failover.json", measured("failover", figure("natsio", [*samples, 2000.4])))
    assert generate(tree, "--check") == 1
    assert generate(tree, "--failover") == 0
    for page in (tree / "README.md", tree / "docs" / "performance.md"):
        assert rows(page, *HEADER) == [("natsio", "1.2", "21", "11 ms", "20 ms", "2,000 ms")]
        assert "nats-server 2.15.1, Python 3.13.0, 2026-01-02; every client at its defaults." in text_of(page)
    assert generate(tree, "--check") == 0


def test_failovers_are_not_among_the_speeds(tree: Path) -> None:
    """A run of all rows fills the tables of speed; the failovers of the pages are those that are kept."""
    write(tree / "docs" / "measurements" / "failover.json", measured("failover", figure("natsio", [7.0])))
    speeds = measured("request", figure("beamline_trio", [40.0]), figure("nats-py", [80.0]))
    speeds["rows"] += measured("failover", figure("beamline_trio", [1.0]))["rows"]
    assert generate(tree, write(tree / "results.json", speeds)) == 0
    page = tree / "README.md"
    assert [line[0] for line in rows(page, *HEADER)] == ["natsio"]
    table = rows(page, "workload", "ours", "better is", "nats-py", "nats-core", "natsio", "natsrpy")
    assert table == [("request (ms)", "defaults", "less", "0.50", "-", "-", "-")]


def test_a_page_without_a_place_for_the_table_is_told(tree: Path) -> None:
    """Nothing is written, rather than a page that is half old."""
    write(tree / "docs" / "measurements" / "failover.json", measured("failover", figure("natsio", [7.0])))
    (tree / "README.md").write_text("no comments here")
    assert generate(tree, "--failover") == 1
    assert text_of(tree / "README.md") == "no comments here"


def test_the_failovers_of_the_pages_are_what_was_measured() -> None:
    """Of at least 20 kills each, beside nats-py and natsio in the same run, and faster than both."""
    assert generate(DOCS.parent, "--check") == 0
    found = json.loads(text_of(DOCS / "measurements" / "failover.json"))
    assert found["quick"] is False
    (row,) = found["rows"]
    medians = {one["contender"]: one["median"] for one in row["figures"]}
    assert tuple(medians) == CLIENTS
    assert all(len(one["samples"]) >= 20 for one in row["figures"])
    assert medians["beamline_trio"] < min(medians["nats-py"], medians["natsio"])
