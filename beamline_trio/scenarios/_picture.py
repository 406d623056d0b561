"""A report's timeline -> a picture: panels above each other over one time axis, with bands where faults were.

SVG, and pure. No scripts, no fonts and no images from elsewhere; colours come from the page's style, so that a dark
page has a dark picture. What a band is shows when the pointer rests on it, and in the table of the page.

Must not judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

import attrs

WIDTH: Final = 1160
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 66, 26
_ALERTS_TOP: Final = 16
_ALERTS_STEP: Final = 12
_HEIGHT: Final = 104
_GAP: Final = 26
_MEGABYTE: Final = 1_000_000
_RATES_SHOWN: Final = 2
_TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200)
_TICKS_MAX: Final = 13


@attrs.frozen(kw_only=True)
class _Panel:
    """One panel.

    Attributes:
        title: with the unit.
        lines: name, colour and values of each line.
        most: the axis ends there at the latest, so that what is caught up with does not flatten all the rest.
        steps: whether values stay until the next one, instead of going there.
    """

    title: str
    lines: Sequence[tuple[str, str, Sequence[float]]]
    most: float = math.inf
    steps: bool = False

    @property
    def top(self) -> float:
        """The axis ends here: a round number above all values."""
        highest = min(max((value for _, _, values in self.lines for value in values), default=0), self.most)
        if highest <= 0:
            return 1.0
        unit = 10.0 ** math.floor(math.log10(highest))
        return next(step * unit for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * unit >= highest)


def draw_timeline(report: Mapping[str, Any]) -> str:
    """The timeline of a report as an `<svg>` element."""
    timeline = report["timeline"]
    ends = max(report["seconds"], timeline["at"][-1] if timeline["at"] else 0.0, 1.0)
    panels = _panels(report)
    height = _TOP + len(panels) * (_HEIGHT + _GAP) + _BOTTOM - _GAP
    label = escape(f"Timeline of scenario {report['scenario']}", quote=True)
    parts = [f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
    parts += _phases(report, ends, height)
    parts += _bands(report, ends, height)
    parts += _alerts(report, ends)
    for number, panel in enumerate(panels):
        parts += _draw_panel(panel, timeline["at"], ends, _TOP + number * (_HEIGHT + _GAP))
    parts += _time_axis(ends, height)
    return "\n".join([*parts, "</svg>"])


def _panels(report: Mapping[str, Any]) -> list[_Panel]:
    timeline, topology = report["timeline"], report["topology"]
    available = [("servers", "a", timeline["up"]), ("router instances", "b", timeline["ready"])]
    if topology["nodes"] > 1:
        available.append(("quorum", "c", [float(one) for one in timeline["quorum"]]))
    if topology["regions"]:
        available.append(("regions joined", "d", timeline["regions"]))
    memory = [value / _MEGABYTE for value in timeline["memory_bytes"]]
    return [
        _Panel(
            title="throughput (messages/s)",
            lines=[("published", "b", timeline["acked_per_second"]), ("ended", "a", timeline["ended_per_second"])],
            most=_RATES_SHOWN * report["rate"],
        ),
        _Panel(title="queue depth (messages)", lines=[("waiting", "a", timeline["depth"])]),
        _Panel(title="longest latency (s)", lines=[("begun to ended", "a", timeline["latency_seconds"])]),
        _Panel(title="available", lines=available, steps=True),
        _Panel(title="memory (MB) and tasks", lines=[("memory", "a", memory), ("tasks", "b", timeline["tasks"])]),
    ]


def _draw_panel(panel: _Panel, at: Sequence[float], ends: float, y: float) -> Iterator[str]:
    top = panel.top
    yield f'<text class="panel" x="{_LEFT}" y="{y - 7}">{escape(panel.title)}</text>'
    for part in (0, 0.5, 1):
        level = y + _HEIGHT * (1 - part)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{level:g}" y2="{level:g}"/>'
        yield f'<text class="axis" x="{_LEFT - 8}" y="{level + 4:g}" text-anchor="end">{top * part:g}</text>'
    x = float(WIDTH - _RIGHT)
    for name, colour, values in reversed(panel.lines):
        yield f'<text class="legend line-{colour}" x="{x:g}" y="{y - 7}" text-anchor="end">{escape(name)}</text>'
        x -= 8 * len(name) + 16
        yield f'<path class="line line-{colour}" d="{_path(panel, values, at, ends, y)}"/>'


def _path(panel: _Panel, values: Sequence[float], at: Sequence[float], ends: float, y: float) -> str:
    top, parts = panel.top, []
    for index, (moment, value) in enumerate(zip(at, values, strict=True)):
        px, py = _x(moment, ends), y + _HEIGHT * (1 - min(value, top) / top)
        if index and panel.steps:
            parts.append(f"H{px:.1f}")
            parts.append(f"V{py:.1f}")
        else:
            parts.append(f"{'L' if index else 'M'}{px:.1f} {py:.1f}")
    return "".join(parts)


def _bands(report: Mapping[str, Any], ends: float, height: float) -> Iterator[str]:
    for fault in report["faults"]:
        x = _x(fault["begins"], ends)
        width = max(_x(fault["healed"], ends) - x, 1.5)
        what = f"{fault['kind']} {fault['target']}".replace("_", " ").strip()
        title = f"{what}, {fault['begins']:.0f} to {fault['healed']:.0f} s"
        yield (
            f'<rect class="band {escape(fault["kind"], quote=True)}" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" '
            f'height="{height - _TOP - _BOTTOM:g}"><title>{escape(title)}</title></rect>'
        )


def _alerts(report: Mapping[str, Any], ends: float) -> Iterator[str]:
    """A row above the panels for each alert that was raised, with a bar while it was; what several tell is one bar."""
    for row, alert in enumerate(alert for alert in report["alerts"] if alert["raised"]):
        y, name, over = _ALERTS_TOP + row * _ALERTS_STEP, escape(alert["name"]), 0.0
        yield f'<text class="alert" x="{WIDTH - _RIGHT}" y="{y + 7}" text-anchor="end">{name}</text>'
        for one in sorted(alert["raised"], key=lambda one: one["begins"]):
            until = ends if one["ends"] is None else one["ends"]
            if until <= over:
                continue
            begins, over = max(one["begins"], over), until
            x = _x(begins, ends)
            width = max(_x(until, ends) - x, 3.0)
            yield f'<rect class="alert" x="{x:.1f}" y="{y}" width="{width:.1f}" height="6">'
            yield f"<title>{name}, {begins:.0f} to {until:.0f} s</title></rect>"


def _phases(report: Mapping[str, Any], ends: float, height: float) -> Iterator[str]:
    for number, phase in enumerate(report["phases"]):
        x, until = _x(phase["begins"], ends), _x(phase["ends"], ends)
        if number % 2:
            yield (
                f'<rect class="phase" x="{x:.1f}" y="{_TOP}" width="{until - x:.1f}" '
                f'height="{height - _TOP - _BOTTOM:g}"/>'
            )
        name = escape(str(phase["name"]))
        if until - x > 7 * len(name):
            yield f'<text class="phase-name" x="{(x + until) / 2:.1f}" y="10" text-anchor="middle">{name}</text>'


def _time_axis(ends: float, height: float) -> Iterator[str]:
    step = next((tick for tick in _TICKS if ends / tick <= _TICKS_MAX), _TICKS[-1])
    unit, suffix = (60, "min") if step >= 60 else (1, "s")
    moment = 0
    while moment <= ends:
        x = _x(moment, ends)
        text = f"{moment / unit:g} {suffix}"
        yield f'<text class="axis" x="{x:.1f}" y="{height - 6:g}" text-anchor="middle">{text}</text>'
        moment += step


def _x(moment: float, ends: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(moment / ends, 0.0), 1.0)
