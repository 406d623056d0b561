"""Write the speed tables of README.md and docs/performance.md from what the benchmarks measured.

`python docs/speed_tables.py [build/benchmarks/results.json]`, after `python -m benchmarks`. Each table lies between two
comments, and everything else of the pages stays as it is. Ratios are our median over the peer's, in the same run.

Must not measure anything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OURS = "beamline_trio"
PEERS = ("nats-py", "nats-core", "natsio", "natsrpy")
ROUTER = "router_"
BEGIN = "<!-- speed table: filled by docs/speed_tables.py from build/benchmarks/results.json -->"
END = "<!-- end of speed table -->"

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
        if row["row"].startswith(ROUTER):
            continue  # the router has other peers, and a section of its own
        for figure in figures_of(row, OURS) if every_style else headlines(row):
            style = figure["style"]
            if every_style:
                style += f", {figure['median']:.4g} {figure['unit']}"
                if figure["cpu_us_per_message"] is not None:
                    style += f" ({figure['cpu_us_per_message']:.2g} us)"
            workload = row["title"] + ("" if figure["metric"] == "rate_k" or every_style else f" ({figure['unit']})")
            better = "more" if figure["higher_is_better"] else "less"
            lines.append([workload, style, better, *(ratio_to(row, figure, peer) for peer in PEERS)])
    return [f"| {' | '.join(cells)} |" for cells in lines]


def text(results: dict[str, Any], *, every_style: bool) -> str:
    """What stands between the comments."""
    rounds = max(row["rounds"] for row in results["rows"])
    versions = ", ".join(f"{peer} {results['versions'].get(peer, 'missing')}" for peer in PEERS)
    about = (
        f"{results['server'].replace('nats-server: v', 'nats-server ')}, Python {results['python']}, {versions}; "
        f"{rounds} rounds on {results['date'][:10]}, server and contender on a core each."
    )
    return "\n".join([BEGIN, "", *table(results, every_style=every_style), "", about, "", END])


def fill(page: Path, content: str) -> None:
    """Replace the table of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the table: the lines {BEGIN} and {END}")
    page.write_text(before + content + behind, encoding="utf-8")


def main() -> None:
    """Fill both pages."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "benchmarks" / "results.json"
    results = json.loads(source.read_text(encoding="utf-8"))
    fill(ROOT / "README.md", text(results, every_style=False))
    fill(ROOT / "docs" / "performance.md", text(results, every_style=True))


if __name__ == "__main__":
    main()
