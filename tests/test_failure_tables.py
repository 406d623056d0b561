"""The page of failures: how its tables are made of what the suites note, and when it is said to be another's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests._documents import DOCS, ROOT, text_of


def report(**changes: Any) -> dict[str, Any]:
    """What a suite has noted."""
    plain = {
        "suite": "test_x", "case": "a", "simulated": True, "fault": "server killed", "exceptions": [],
        "logs": ["NATS_CONNECTION_LOST"], "metrics": {"router_nats_connection_lost_total": 1.0},
        "noticed_seconds": 0.001, "over_seconds": 1.0,
    }  # fmt: skip
    return plain | changes


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The generator and the page, where they may be changed."""
    (tmp_path / "docs").mkdir()
    for name in ("failures.md", "failure_tables.py", "_places.py"):
        (tmp_path / "docs" / name).write_text(text_of(DOCS / name), encoding="utf-8")
    return tmp_path / "docs" / "failures.md"


def generate(page: Path, reports: list[dict[str, Any]], *arguments: str) -> int:
    source = page.parent / "failures.json"
    source.write_text(json.dumps(reports), encoding="utf-8")
    command = [sys.executable, str(page.parent / "failure_tables.py"), str(source), *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def test_a_row_is_the_simulated_servers(page: Path) -> None:
    """What every run shows alike is shown, whichever came first; of the real server there is the time."""
    other = report(simulated=False, logs=["NATS_SERVER_ERROR"], metrics={}, noticed_seconds=0.26)
    assert generate(page, [other, report(exceptions=["publish: ConnectionLostError"])]) == 0
    (row,) = (line for line in text_of(page).splitlines() if line.startswith("| server killed |"))
    assert row == (
        "| server killed | `publish: ConnectionLostError` | `NATS_CONNECTION_LOST` | `connection_lost_total +1` "
        "| < 0.1 s (real: 0.3 s) |"
    )


def test_a_page_is_compared_but_for_its_times(page: Path) -> None:
    """Another time is no difference, another exception is one, and comparing writes nothing."""
    assert generate(page, [report()]) == 0
    before = text_of(page)
    assert generate(page, [report(noticed_seconds=5.0)], "--check") == 0
    assert generate(page, [report(exceptions=["publish: NatsError"])], "--check") == 1
    assert text_of(page) == before


def test_the_page_names_faults_of_the_suites() -> None:
    """Every suite that has a table is there."""
    suites = ROOT / "tests" / "integration" / "suites"
    named = [line.split("`")[1] for line in text_of(DOCS / "failures.md").splitlines() if line.startswith("## `")]
    assert named
    assert all((suites / f"{name}.py").exists() for name in named)
