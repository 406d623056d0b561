"""Write the tables of docs/failures.md from what the suites have noted.

`python docs/failure_tables.py [build/failures.json]`, after `nox -s suites`. The tables lie between two comments, and
everything else of the page stays as it is. With `--check` nothing is written: exit code 1 says that the page and the
run differ in anything but times.

Must not measure anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from _places import parted

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "failures.md"
BEGIN: Final = "<!-- failure tables: filled by docs/failure_tables.py from build/failures.json -->"
END: Final = "<!-- end of failure tables -->"
COLUMNS: Final = ("fault", "calls raise", "log codes", "what moves", "noticed after")
PREFIXES: Final = ("router_nats_", "router_")

Report = dict[str, Any]


def grouped(reports: list[Report]) -> dict[str, dict[tuple[str, str], list[Report]]]:
    """Suite (by name) -> (case, fault) -> its reports: of the simulated server first."""
    suites: dict[str, dict[tuple[str, str], list[Report]]] = {}
    for report in sorted(reports, key=lambda report: (report["suite"], not report["simulated"])):
        faults = suites.setdefault(report["suite"], {})
        faults.setdefault((report["case"], report["fault"]), []).append(report)
    return suites


def in_code_font(texts: list[str]) -> str:
    """Texts as a cell has them; a dash where there are none."""
    return ", ".join(f"`{text}`" for text in texts) or "-"


def moved(metrics: dict[str, float]) -> list[str]:
    """The series that moved, with the number."""
    shown: list[str] = []
    for name, value in metrics.items():
        short = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
        shown.append(f"{short} {value:+g}")
    return shown


def seconds(side: Report) -> str:
    """When it was noticed."""
    noticed = side["noticed_seconds"]
    if noticed is None:
        return "not at all"
    return "< 0.1 s" if noticed < 0.05 else f"{noticed:.1f} s"


def row(fault: str, sides: list[Report]) -> list[str]:
    """The line of a fault: as the simulated server shows it, which is the same in every run; and when, on both."""
    first = sides[0]
    times = list(dict.fromkeys(seconds(side) for side in sides))
    noticed = times[0] if len(times) == 1 else f"{times[0]} (real: {times[1]})"
    cells = (first["exceptions"], first["logs"], moved(first["metrics"]))
    return [fault, *map(in_code_font, cells), noticed]


def table(faults: dict[tuple[str, str], list[Report]]) -> list[list[str]]:
    """The rows of a suite, without its head."""
    return [row(fault, sides) for (_, fault), sides in faults.items()]


def text(reports: list[Report]) -> str:
    """What stands between the comments."""
    lines = [BEGIN, ""]
    for suite, faults in grouped(reports).items():
        sides = {report["simulated"] for reports in faults.values() for report in reports}
        where = "both servers" if len(sides) == 2 else "the simulated server"
        lines += [f"## `{suite}`", "", f"On {where}.", ""]
        rows = [list(COLUMNS), ["---"] * len(COLUMNS), *table(faults)]
        lines += [f"| {' | '.join(cells)} |" for cells in rows]
        lines.append("")
    return "\n".join([*lines, END])


def without_times(content: str) -> list[str]:
    """The lines, tables without their last column."""
    return [line.rsplit("|", 2)[0] if line.startswith("|") else line for line in content.splitlines()]


def main() -> int:
    """Fill the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=ROOT / "build" / "failures.json")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before, place, behind = parted(PAGE, BEGIN, END)
    written = text(json.loads(options.source.read_text(encoding="utf-8")))
    if options.check:
        same = without_times(place) == without_times(written)
        print(f"docs/failures.md {'is' if same else 'is NOT'} what the suites have just shown")
        return 0 if same else 1
    PAGE.write_text(before + written + behind, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
