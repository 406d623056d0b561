"""Draw what the dashboard's panels showed of a run: `python docs/dashboard_picture.py build/alerts/panels.json`.

`nox -s alerts` records it. The places, titles, units and thresholds of the panels are those of the dashboard, so the
picture is what Grafana would lay out; it is drawn here as SVG, since no Grafana is needed to look at a page.

Must not change a value: a line goes through the points that Prometheus gave.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from beamline_trio.metrics import dashboard

FILE: Final = Path(__file__).parent / "operation" / "dashboard.svg"
WIDTH: Final = 1_440
COLUMN: Final = WIDTH / 24
LINE: Final = 30
GAP: Final = 6
COLOURS: Final = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#ffa6b0", "#96d98d")
NAMED: Final = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c"}
LEGEND_MAX: Final = 6


def shown(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit == "percentunit":
        return f"{value * 100:.0f}%"
    if unit == "s":
        return f"{value * 1_000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}/s" if unit == "cps" else f"{value:.4g}"


def colour_of(value: float, steps: list[dict[str, Any]]) -> str:
    """The colour of the last threshold that a value has reached."""
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]]


def runs(points: list[list[float]]) -> Iterator[list[list[float]]]:
    """Points without a gap between them: a line is not drawn over what was not scraped."""
    run: list[list[float]] = []
    for point in points:
        if run and point[0] - run[-1][0] > 1.5:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


class Panel:
    """One panel, at its place."""

    def __init__(self, panel: dict[str, Any], series: list[dict[str, Any]], seconds: float) -> None:
        place = panel["gridPos"]
        self.x, self.y = place["x"] * COLUMN + GAP / 2, place["y"] * LINE + GAP / 2
        self.width, self.height = place["w"] * COLUMN - GAP, place["h"] * LINE - GAP
        self.title, self.kind = panel["title"], panel["type"]
        self.defaults = panel.get("fieldConfig", {}).get("defaults", {})
        self.series = series
        self.seconds = seconds

    def draw(self) -> Iterator[str]:
        """Its elements."""
        if self.kind == "row":
            yield text(self.x + 4, self.y + 18, self.title, 14, weight="bold")
            return
        yield rectangle(self.x, self.y, self.width, self.height, "#181b1f")
        yield text(self.x + 8, self.y + 18, self.title, 13, weight="bold")
        yield from self._stat() if self.kind == "stat" else self._lines()

    def _stat(self) -> Iterator[str]:
        """The last value of each series, on the colour of its threshold."""
        columns = 3
        width = (self.width - 16) / columns
        rows = -(-len(self.series) // columns)
        height = (self.height - 36) / max(rows, 1)
        for number, one in enumerate(self.series):
            x, y = self.x + 8 + number % columns * width, self.y + 28 + number // columns * height
            value = one["points"][-1][1]
            yield rectangle(x, y, width - 4, height - 4, colour_of(value, self.defaults["thresholds"]["steps"]))
            yield text(x + 6, y + 16, one["legend"].split()[-1], 11, fill="#111217")
            yield text(x + 6, y + height - 14, shown(value, self.defaults["unit"]), 20, fill="#111217", weight="bold")

    def _lines(self) -> Iterator[str]:
        """A line for each series, over the time."""
        left, top = self.x + 62, self.y + 30
        width, height = self.width - 76, self.height - 30 - 62
        values = [value for one in self.series for _, value in one["points"] if value == value]
        top_value = self.defaults.get("max") or max(values, default=0) * 1.05 or 1.0
        for part in (0, 0.5, 1):
            y = top + height * (1 - part)
            yield f'<path d="M{left:.1f} {y:.1f}h{width:.1f}" stroke="#2c3235"/>'
            yield text(left - 6, y + 4, shown(top_value * part, self.defaults["unit"]), 10, anchor="end")
        for part in range(4):
            x = left + width * part / 3
            yield text(x, top + height + 14, f"{self.seconds * part / 3:.0f} s", 10, anchor="middle")
        for number, one in enumerate(self.series):
            colour = COLOURS[number % len(COLOURS)]
            for run in runs([point for point in one["points"] if point[1] == point[1]]):
                path = " ".join(
                    f"{left + width * at / self.seconds:.1f},{top + height * (1 - min(1, value / top_value)):.1f}"
                    for at, value in run
                )
                yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        yield from self._legend(top + height + 30)

    def _legend(self, y: float) -> Iterator[str]:
        names = [one["legend"] for one in self.series][:LEGEND_MAX]
        columns, width = 3, (self.width - 16) / 3
        for number, name in enumerate(names):
            x = self.x + 10 + number % columns * width
            line = y + number // columns * 16
            yield rectangle(x, line - 6, 10, 3, COLOURS[number % len(COLOURS)])
            yield text(x + 14, line, name if len(name) <= 26 else f"…{name[-25:]}", 10)
        if len(self.series) > LEGEND_MAX:
            yield text(self.x + self.width - 8, self.y + 18, f"{len(self.series)} series", 10, anchor="end")
        if not self.series:
            yield text(self.x + self.width / 2, self.y + self.height / 2, "no data", 12, anchor="middle")


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled one."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>'


def text(
    x: float, y: float, words: str, size: int, *, anchor: str = "start", weight: str = "normal", fill: str = "#ccccdc"
) -> str:
    """A line of words."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-family="sans-serif" fill="{fill}">{escape(words)}</text>'
    )


def picture(recording: dict[str, Any]) -> str:
    """The whole dashboard."""
    by_title = {panel["title"]: panel["series"] for panel in recording["panels"]}
    panels = [
        Panel(panel, by_title.get(panel["title"], []), recording["seconds"])
        for panel in json.loads(dashboard())["panels"]
    ]
    height = max(panel.y + panel.height for panel in panels) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}">',
        rectangle(0, 0, WIDTH, height, "#111217"),
        *(line for panel in panels for line in panel.draw()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Draw the recording that is named."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} panels.json", file=sys.stderr)
        return 2
    recording = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    FILE.write_text(picture(recording), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
