"""The page of clusters under faults: how its tables are made of what was measured, and that they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests._documents import DOCS, text_of
from tests.integration.clusters._faults import FAULTS


def run_of(gap: float, **errors: int) -> dict[str, Any]:
    """What was seen once."""
    return {"gap_seconds": gap, "delivery_gap_seconds": gap + 2, "well_seconds": gap + 1, "errors": errors}


def measured(**faults: dict[str, Any]) -> dict[str, Any]:
    """A file of measurements."""
    return {"faults": faults, "totals": {"published": 10, "acked": 10, "stored": 10, "lost": 0}}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The generator and the page, where they may be changed."""
    (tmp_path / "docs" / "measurements").mkdir(parents=True)
    for name in ("clusters.md", "cluster_tables.py", "_places.py"):
        (tmp_path / "docs" / name).write_text(text_of(DOCS / name), encoding="utf-8")
    return tmp_path / "docs" / "clusters.md"


def generate(page: Path, *arguments: str, **files: dict[str, Any]) -> int:
    for name, content in files.items():
        (page.parent / "measurements" / f"{name.replace('_', '-')}.json").write_text(json.dumps(content))
    command = [sys.executable, str(page.parent / "cluster_tables.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def test_a_row_has_both_sides(page: Path) -> None:
    """The median, from the least to the most, and in how many runs an error was seen; the model beside it."""
    runs = [
        run_of(5.0, NoStreamResponseError=9),
        run_of(4.0, NoStreamResponseError=7, ConnectionLostError=1),
        run_of(9.0),
    ]
    real = measured(
        killed={"title": "killed", "seconds": 15, "runs": {"east": runs}},
        cut={"title": "cut", "seconds": 12, "runs": {}, "skipped": "only root may"},
    )
    model = measured(killed={"title": "killed", "seconds": 15, "runs": {"east": [run_of(5.5)]}})
    assert generate(page, clusters=real, clusters_model=model) == 0
    rows = text_of(page).splitlines()
    assert (
        "| killed, for 15 s | every server | 3 | 5.0 s (4.0 to 9.0) | 5.5 s "
        "| 7.0 s (6.0 to 11.0) | 7.5 s | 6.0 s (5.0 to 10.0) | 6.5 s "
        "| `NoStreamResponseError` (2), `ConnectionLostError` (1) | - |" in rows
    )
    assert "| cut, for 12 s | - | skipped: only root may | - | - | - | - | - | - | - | - |" in rows
    assert "| real | 10 | 10 | 10 | 0 | 0 | 0 | 0 | 0 |" in rows
    assert generate(page, "--check") == 0
    assert generate(page, "--check", clusters=measured()) == 1


def test_the_page_is_what_was_measured() -> None:
    """The tables of the page come from the files beside it, which have at least five runs of every fault."""
    command = [sys.executable, str(DOCS / "cluster_tables.py"), "--check"]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
    found = json.loads(text_of(DOCS / "measurements" / "clusters.json"))["faults"]
    assert list(found) == [fault.name for fault in FAULTS]
    for fault in FAULTS:
        runs = found[fault.name]["runs"]
        assert len(runs) == fault.regions
        assert all(len(seen) >= 5 for seen in runs.values())
