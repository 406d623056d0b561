"""Write the tables of docs/clusters.md from what was measured on real clusters, and on simulated ones.

`python docs/cluster_tables.py`, after `python -m tests.integration.clusters.measure --write ...`. The tables stand
between two comments, and everything else of the page stays as it is. With `--check` nothing is written: exit code 1
says that the page is not what the files say.

Must not measure anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from _places import parted

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "clusters.md"
MEASUREMENTS: Final = ROOT / "docs" / "measurements"
BEGIN: Final = "<!-- cluster tables: filled by docs/cluster_tables.py from docs/measurements -->"
END: Final = "<!-- end of cluster tables -->"
COLUMNS: Final = (
    "fault",
    "seen from",
    "runs",
    "longest time without a PubAck",
    "the model",
    "without a delivery",
    "the model",
    "well again after",
    "the model",
    "errors of attempts (in how many runs)",
    "the model",
)
COUNTS: Final = ("published", "acked", "stored", "lost", "stored_twice", "missed", "delivered_again", "lost_acks")

Run = dict[str, Any]
Measured = dict[str, Any]


def spread(runs: list[Run], key: str) -> str:
    """The median, and from the least to the most."""
    values = [run[key] for run in runs]
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.1f} s" if high - low < 0.05 else f"{middle:.1f} s ({low:.1f} to {high:.1f})"


def errors(runs: list[Run]) -> str:
    """The errors in any run, the most frequent first."""
    seen = {name: sum(name in run["errors"] for run in runs) for run in runs for name in run["errors"]}
    order = sorted(seen, key=lambda name: (-seen[name], name))
    return ", ".join(f"`{name}` ({seen[name]})" for name in order) or "-"


def rows(real: Measured, model: Measured) -> list[list[str]]:
    """One for each fault and region."""
    lines: list[list[str]] = []
    for name, fault in real["faults"].items():
        simulated = model["faults"].get(name, {"runs": {}})["runs"]
        title = f"{fault['title']}, for {fault['seconds']:g} s"
        if not fault["runs"]:
            lines.append([title, "-", f"skipped: {fault['skipped']}", *["-"] * (len(COLUMNS) - 3)])
        for region, runs in fault["runs"].items():
            beside = simulated.get(region, [])
            both = [show(side) for show in SHOWN for side in (runs, beside)]
            seen_from = region if len(fault["runs"]) > 1 else "every server"
            lines.append([title, seen_from, str(len(runs)), *both])
    return lines


SHOWN: Final[tuple[Callable[[list[Run]], str], ...]] = (
    lambda runs: spread(runs, "gap_seconds"),
    lambda runs: spread(runs, "delivery_gap_seconds"),
    lambda runs: spread(runs, "well_seconds"),
    errors,
)


def table(head: tuple[str, ...], lines: list[list[str]]) -> list[str]:
    """In Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (list(head), ["---"] * len(head), *lines)]


def counts(real: Measured, model: Measured) -> list[str]:
    """What was counted over all runs of a side."""
    lines = [
        [side, *(str(measured["totals"].get(count, 0)) for count in COUNTS)]
        for side, measured in (("real", real), ("model", model))
        if measured["totals"]
    ]
    return table(("", *(count.replace("_", " ") for count in COUNTS)), lines)


def text(directory: Path) -> str:
    """What stands between the comments."""

    def read(name: str) -> Measured:
        path = directory / name
        empty: Measured = {"faults": {}, "totals": {}}
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty

    real, model = read("clusters.json"), read("clusters-model.json")
    parts = [BEGIN, "", "### Model beside reality", "", *table(COLUMNS, rows(real, model)), ""]
    parts += ["### Counts over all runs", "", *counts(real, model), ""]
    return "\n".join([*parts, END])


def main() -> int:
    """Fill the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before, place, behind = parted(PAGE, BEGIN, END)
    written = text(MEASUREMENTS)
    if options.check:
        same = place == written
        print(f"docs/clusters.md {'is' if same else 'is NOT'} what docs/measurements says")
        return 0 if same else 1
    PAGE.write_text(before + written + behind, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
