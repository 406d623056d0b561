"""What a run leaves behind: the table on the terminal, the JSON file and the plot.

Must not compute a figure: everything printed comes from `_summary`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._rows import CEILING, OURS, Metric, Row
from ._summary import Figure, RowSummary, Verdict, as_json

COLUMNS = "  {name:<30} {median:>10} {spread:>21} {cpu:>8}  {ratio:<24} {goal:<30} {verdict}"


def list_rows(rows: Sequence[Row]) -> str:
    """Return the text of `--list`: each row with its contenders, goals, and who is left out."""
    lines = []
    for row in rows:
        lines.append(f"{row.name:<21} {row.title}")
        lines.append(f"{'':<21} contenders: {', '.join(entrant.label for entrant in row.entrants)}")
        if row.goals:
            goals = "; ".join(f"{goal.style} {goal.metric.label} {goal.text()}" for goal in row.goals)
            lines.append(f"{'':<21} first light: {goals}")
        lines += [f"{'':<21} without {peer}: {reason}" for peer, reason in row.left_out.items()]
    return "\n".join(lines)


def heading(versions: Mapping[str, str], missing: Mapping[str, str], environment: Mapping[str, Any]) -> str:
    """Return the lines above the table: where, with what, and who is missing."""
    pins = "not pinned (fewer than two cores, or not Linux)"
    if environment["contender_core"] is not None:
        beside = f"server, feeder, responder on core {environment['server_core']}"
        pins = f"{beside}, contender on core {environment['contender_core']}"
    lines = [
        f"{environment['server']}, Python {environment['python']}, {environment['cores']} cores",
        pins,
        "contenders: " + ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    lines += [f"MISSING {name}: {reason}; its rows fail" for name, reason in missing.items()]
    lines += [
        "us = processor microseconds of the contender's process per message; uvloop is not used",
        "ratio = beamline_trio over this peer; on our own lines, this style over the best peer",
        "",
        COLUMNS.format(
            name="row / contender",
            median="median",
            spread="spread",
            cpu="us",
            ratio="ratio",
            goal="first light",
            verdict="reached",
        ).rstrip(),
    ]
    return "\n".join(lines)


def table_of(summary: RowSummary) -> str:
    """Return a row's block of the table."""
    lines = []
    for metric in summary.row.metrics:
        better = "more" if metric.higher_is_better else "less"
        lines.append(
            f"{summary.row.name}: {summary.row.title} [{metric.label}, {better} is better, rounds: {summary.rounds}]"
        )
        lines += [_line(figure, summary) for figure in summary.of(metric)]
    lines += [f"  without {peer}: {reason}" for peer, reason in summary.row.left_out.items()]
    lines += [f"  note: {remark}" for remark in summary.remarks]
    lines += [f"  FAILED: {failure}" for failure in summary.failures]
    return "\n".join(lines)


def _line(figure: Figure, summary: RowSummary) -> str:
    number = _number(figure.metric)
    verdict = _verdict_of(figure, summary)
    return COLUMNS.format(
        name=figure.entrant.label,
        median=number(figure.median),
        spread=f"{number(min(figure.samples))}..{number(max(figure.samples))}",
        cpu="" if figure.cpu_us is None else f"{figure.cpu_us:.2f}",
        ratio=_ratio_text(figure, summary),
        goal=verdict.goal.text() if verdict else "",
        verdict=_verdict_text(verdict) if verdict else "",
    ).rstrip()


def _number(metric: Metric) -> Any:
    return lambda value: f"{value:,.{metric.digits}f}"


def _ratio_text(figure: Figure, summary: RowSummary) -> str:
    if figure.ratio is None or figure.entrant.contender == CEILING:
        return ""
    if figure.entrant.contender == OURS:
        return f"{figure.ratio:.2f}x best ({summary.best_peers[figure.metric.key]})"
    return f"{figure.ratio:.2f}x"


def _verdict_of(figure: Figure, summary: RowSummary) -> Verdict | None:
    """Return the verdict that belongs on this line: the goal of our style for this metric."""
    if figure.entrant.contender != OURS:
        return None
    for verdict in summary.verdicts:
        if verdict.goal.metric is figure.metric and verdict.goal.style == figure.entrant.style:
            return verdict
    return None


def _verdict_text(verdict: Verdict) -> str:
    unit = "x" if verdict.goal.against and not verdict.goal.added else ""
    value = "" if verdict.value is None else f" ({verdict.value:.2f}{unit})"
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{verdict.verdict}{value}{reason}"


def write_json(path: Path, summaries: Sequence[RowSummary], meta: Mapping[str, Any]) -> None:
    """Write everything, samples included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**meta, "rows": [as_json(summary) for summary in summaries]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def can_plot() -> bool:
    """Return whether matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def write_plot(path: Path, summaries: Sequence[RowSummary], title: str) -> None:
    """Draw a panel per row and metric: a bar per contender at its median, a whisker over its samples."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(summary, metric) for summary in summaries for metric in summary.row.metrics if summary.of(metric)]
    if not panels:
        print("no figures, no plot", file=sys.stderr)
        return
    columns = min(3, len(panels))
    height = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(height, columns, figsize=(6.5 * columns, 2.6 * height), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (summary, metric) in zip(axes.flat, panels, strict=False):
        _draw(axis, summary, metric)
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(axis: Any, summary: RowSummary, metric: Metric) -> None:
    figures = summary.of(metric)[::-1]
    medians = [f.median for f in figures]
    below = [f.median - min(f.samples) for f in figures]
    above = [max(f.samples) - f.median for f in figures]
    colours = ["#c2410c" if f.entrant.contender == OURS else "#94a3b8" for f in figures]
    axis.barh([f.entrant.label for f in figures], medians, xerr=[below, above], color=colours, ecolor="#475569")
    better = "more" if metric.higher_is_better else "less"
    axis.set_title(f"{summary.row.name} [{metric.label}, {better} is better]", fontsize=10)
    axis.tick_params(labelsize=8)
