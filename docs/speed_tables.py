"""Write the speed and failover tables of README.md and docs/performance.md from what the benchmarks measured.

`python docs/speed_tables.py [build/benchmarks/results.json]`, after `python -m benchmarks`. Each table lies between two
comments, and everything else of the pages stays as it is. Ratios are our median over the peer's, in the same run.

The failovers of all tables are those of docs/measurements/failover.json, which is kept, as a median says too little of
them: `python -m benchmarks --row failover --json docs/measurements/failover.json`. With
`--failover` only their tables are written, with `--check` none is: exit code 1 says that they are not as measured.

Must not measure anything.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _places import parted

ROOT = Path(__file__).parents[1]
OURS = "beamline_trio"
PEERS = ("nats-py", "nats-core", "natsio", "natsrpy")
ROUTER = "router_"
BEGIN = "<!-- speed table: filled by docs/speed_tables.py from build/benchmarks/results.json -->"
END = "<!-- end of speed table -->"
FAILOVER = "failover"
FAILOVER_FILE = ROOT / "docs" / "measurements" / "failover.json"
FAILOVER_BEGIN = "<!-- failover table: filled by docs/speed_tables.py from docs/measurements/failover.json -->"
FAILOVER_END = "<!-- end of failover table -->"
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")

Figure = dict[str, Any]


def figures_of(row: dict[str, Any], contender: str) -> list[Figure]:
    """A contender's figures in a row, in its order of styles and metrics."""
    return [figure for figure in row["figures"] if figure["contender"] == contender]


def ratio_to(row: dict[str, Any], ours: Figure, peer: str) -> str:
    """Our median over that of a peer's first style; a dash where there is none to compare with."""
    theirs = [figure for figure in figures_of(row, peer) if figure["metric"] == ours["metric"]]
    if not theirs or ours["median"] <= 0 or theirs[0]["median"] <= 0:
        return "-"
    ratio = ours["median"] / theirs[0]["median"]
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def headlines(row: dict[str, Any]) -> list[Figure]:
    """Our first style for each metric of a row."""
    first: dict[str, Figure] = {}
    for figure in figures_of(row, OURS):
        first.setdefault(figure["metric"], figure)
    return list(first.values())


def table(results: dict[str, Any], *, every_style: bool) -> list[str]:
    """The lines of a table: a line per metric of each row, or one per style with its processor time."""
    columns = ["workload", "ours", "better is", *PEERS]
    lines = [columns, ["---"] * len(columns)]
    for row in results["rows"]:
        if row["row"].startswith(ROUTER) or row["row"] == FAILOVER:
            continue  # the router has other peers and a section of its own, failovers a table of their own
        for figure in figures_of(row, OURS) if every_style else headlines(row):
            style = figure["style"]
            if every_style:
                style += f", {figure['median']:.4g} {figure['unit']}"
                if figure["cpu_us_per_message"] is not None:
                    style += f" ({figure['cpu_us_per_message']:.2g} us)"
            workload = row["title"] + ("" if figure["metric"] == "rate_k" or every_style else f" ({figure['unit']})")
            better = "more" if figure["higher_is_better"] else "less"
            lines.append([workload, style, better, *(ratio_to(row, figure, peer) for peer in PEERS)])
    return _markdown(lines)


def text(results: dict[str, Any], *, every_style: bool) -> str:
    """What stands between the comments."""
    rounds = max(row["rounds"] for row in results["rows"])
    versions = ", ".join(f"{peer} {results['versions'].get(peer, 'missing')}" for peer in PEERS)
    about = (
        f"{_server(results)}, Python {results['python']}, {versions}; "
        f"{rounds} rounds on {results['date'][:10]}, server and contender on a core each."
    )
    return "\n".join([BEGIN, "", *table(results, every_style=every_style), "", about, "", END])


def percentile(samples: Sequence[float], part: float) -> float:
    """The least sample that so many parts of all do not exceed (nearest rank)."""
    return sorted(samples)[max(0, math.ceil(part * len(samples)) - 1)]


def failover_text(results: dict[str, Any]) -> str:
    """What stands between the comments of the failover table."""
    (row,) = (row for row in results["rows"] if row["row"] == FAILOVER)
    lines = [["client", "version", "kills", "median", "p95", "longest"], ["---"] * 6]
    for figure in row["figures"]:
        samples = figure["samples"]
        values = (statistics.median(samples), percentile(samples, 0.95), max(samples))
        client = figure["contender"]
        version = results["versions"][client]
        lines.append([client, version, str(len(samples)), *(f"{value:,.0f} ms" for value in values)])
    about = f"{_server(results)}, Python {results['python']}, {results['date'][:10]}; every client at its defaults."
    return "\n".join([FAILOVER_BEGIN, "", *_markdown(lines), "", about, "", FAILOVER_END])


def _server(results: dict[str, Any]) -> str:
    return str(results["server"]).replace("nats-server: v", "nats-server ")


def _markdown(lines: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in lines]


def filled(page: Path, content: str) -> str:
    """A page with this instead of what it has between the same comments."""
    begin, end = content.partition("\n")[0], content.rpartition("\n")[2]
    before, _, behind = parted(page, begin, end)
    return before + content + behind


def main() -> int:
    """Fill both pages, or compare their failover tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=ROOT / "build" / "benchmarks" / "results.json")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--failover", action="store_true")
    only.add_argument("--check", action="store_true")
    options = parser.parse_args()
    failover = failover_text(json.loads(FAILOVER_FILE.read_text(encoding="utf-8")))
    if options.check:
        stale = [page.name for page in PAGES if page.read_text(encoding="utf-8") != filled(page, failover)]
        print(f"the failover tables are NOT what was measured: {', '.join(stale)}" if stale else "as measured")
        return 1 if stale else 0
    for page in PAGES:
        page.write_text(filled(page, failover), encoding="utf-8")
    if not options.failover:
        results = json.loads(options.results.read_text(encoding="utf-8"))
        for page, every_style in zip(PAGES, (False, True), strict=True):
            page.write_text(filled(page, text(results, every_style=every_style)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
