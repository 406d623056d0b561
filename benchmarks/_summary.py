"""From measurements to judgements: medians, spreads, ratios, goal verdicts, and why a row fails.

Pure functions of the rows and the samples. A row fails when a contender that belongs to it is missing or one
of its measurements failed; what was measured is still shown, but no goal of a failed row is called reached.
"""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from ._rows import BEST_PYTHON, CEILING, OURS, PYTHON_PEERS, Entrant, Goal, Metric, Row

REACHED, NOT_REACHED, NOT_JUDGED = "reached", "NOT REACHED", "not judged"


@attrs.frozen
class Measurement:
    """What one contender process reported, or why it did not."""

    entrant: Entrant
    round: int
    metrics: Mapping[str, Sequence[float]] = attrs.field(factory=dict)
    cpu_us: float | None = None
    error: str | None = None
    remark: str | None = None
    """An oddity that is printed and fails nothing."""


@attrs.frozen
class Figure:
    """An entrant's samples of one metric."""

    entrant: Entrant
    metric: Metric
    samples: tuple[float, ...]
    cpu_us: float | None
    ratio: float | None = None
    """Our headline figure over this one; for our own figures, this one over the best peer's."""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@attrs.frozen
class Verdict:
    """Whether a goal is reached; `value` is the ratio or the figure that was compared."""

    goal: Goal
    value: float | None
    verdict: str
    reason: str = ""


@attrs.frozen
class RowSummary:
    """Everything the report prints about a row."""

    row: Row
    rounds: int
    figures: tuple[Figure, ...]
    verdicts: tuple[Verdict, ...]
    failures: tuple[str, ...]
    best_peers: Mapping[str, str]
    """Metric key -> the peer with the best median."""
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.failures)

    def of(self, metric: Metric) -> list[Figure]:
        return [f for f in self.figures if f.metric is metric]


def ratio(ours: float, theirs: float) -> float | None:
    """Return ours over theirs, or None where a ratio says nothing (memory that did not grow)."""
    return ours / theirs if ours > 0 and theirs > 0 else None


def summarise(row: Row, rounds: int, measurements: Sequence[Measurement], missing: Mapping[str, str]) -> RowSummary:
    """Judge one row.

    Args:
        row: with the entrants that were asked for.
        rounds: how many rounds were run.
        measurements: of all rounds, in any order.
        missing: contender -> why it could not be started at all.
    """
    figures = _figures(row, measurements)
    best_peers = {m.key: best for m in row.metrics if (best := _best(figures, m)) is not None}
    failures = _failures(row, measurements, missing)
    return RowSummary(
        row=row,
        rounds=rounds,
        figures=tuple(_with_ratio(f, figures, best_peers.get(f.metric.key)) for f in figures),
        verdicts=tuple(_judge(goal, row, figures, failures) for goal in row.goals),
        failures=tuple(failures),
        best_peers=best_peers,
        remarks=(
            *(f"{m.entrant.label}, round {m.round + 1}: {m.remark}" for m in measurements if m.remark),
            *_knee_remark(row, figures),
        ),
    )


def knee(rates: Sequence[tuple[int, float]]) -> int | None:
    """Return the number of instances from which more of them bring less than half of what they should, or None.

    Args:
        rates: instances and their rate, in order.
    """
    for (count, rate), (more, higher) in pairwise(rates):
        if higher / rate - 1 < (more / count - 1) / 2:
            return count
    return None


def _knee_remark(row: Row, figures: Sequence[Figure]) -> list[str]:
    if not row.scaling:
        return []
    rates = [(int(f.entrant.style.split()[0]), f.median) for f in figures if f.metric is row.metrics[0]]
    if len(rates) < 2:
        return []
    gains = ", ".join(
        f"{higher / rate:.2f}x from {count} to {more}" for (count, rate), (more, higher) in pairwise(rates)
    )
    found = knee(rates)
    where = f"no knee up to {rates[-1][0]} instances" if found is None else f"the knee is at {found}"
    return [f"{where}: {gains}"]


def _figures(row: Row, measurements: Sequence[Measurement]) -> list[Figure]:
    figures = []
    for metric in row.metrics:
        for entrant in row.entrants:
            own = [m for m in measurements if m.entrant == entrant and m.metrics.get(metric.key)]
            samples = tuple(sample for m in own for sample in m.metrics[metric.key])
            if samples:
                cpu = [m.cpu_us for m in own if m.cpu_us is not None] if metric is row.metrics[0] else []
                figures.append(Figure(entrant, metric, samples, statistics.median(cpu) if cpu else None))
    return figures


def _failures(row: Row, measurements: Sequence[Measurement], missing: Mapping[str, str]) -> list[str]:
    wanted = dict.fromkeys(entrant.contender for entrant in row.entrants)
    failures = [f"{name} is missing: {missing[name]}" for name in wanted if name in missing]
    for m in measurements:
        if m.error is not None:
            failures.append(f"{m.entrant.label}, round {m.round + 1}: {m.error}")
    measured = {m.entrant for m in measurements}
    failures += [
        f"{entrant.label} was not measured"
        for entrant in row.entrants
        if entrant not in measured and entrant.contender not in missing
    ]
    return failures


def _best(figures: Sequence[Figure], metric: Metric, among: Sequence[str] | None = None) -> str | None:
    """Return the peer with the best median of a metric, or None when no peer has one."""
    peers = {
        f.entrant.contender: f.median
        for f in figures
        if f.metric is metric
        and f.entrant.contender not in (OURS, CEILING)
        and (among is None or f.entrant.contender in among)
    }
    if not peers:
        return None
    return (max if metric.higher_is_better else min)(peers, key=lambda name: peers[name])


def _median_of(figures: Sequence[Figure], metric: Metric, contender: str, style: str | None = None) -> float | None:
    """Return the median of a contender's style, or of its first style in the row (the headline)."""
    for f in figures:
        if f.metric is metric and f.entrant.contender == contender and style in (None, f.entrant.style):
            return f.median
    return None


def _with_ratio(figure: Figure, figures: Sequence[Figure], best_peer: str | None) -> Figure:
    if figure.entrant.contender == OURS:
        theirs = _median_of(figures, figure.metric, best_peer) if best_peer else None
        ours: float | None = figure.median
    else:
        ours, theirs = _median_of(figures, figure.metric, OURS), figure.median
    if ours is None or theirs is None:
        return figure
    return attrs.evolve(figure, ratio=ratio(ours, theirs))


def _judge(goal: Goal, row: Row, figures: Sequence[Figure], failures: Sequence[str]) -> Verdict:
    ours = _median_of(figures, goal.metric, OURS, goal.style)
    if ours is None:
        return Verdict(goal, None, NOT_JUDGED, "no figure of ours")
    value: float | None = ours
    if goal.against == OURS:
        theirs = _median_of(figures, goal.metric, OURS, goal.against_style)
        value = None if theirs is None else ours - theirs if goal.added else ratio(ours, theirs)
        if value is None:
            return Verdict(goal, None, NOT_JUDGED, f"no figure of {goal.against_style}")
    elif goal.against is not None:
        peer, reason = _opponent(goal, row, figures)
        if peer is None:
            return Verdict(goal, None, NOT_JUDGED, reason)
        theirs = _median_of(figures, goal.metric, peer)
        value = None if theirs is None else ratio(ours, theirs)
        if value is None:
            return Verdict(goal, None, NOT_JUDGED, f"no figure of {peer}")
    assert value is not None
    if failures:
        return Verdict(goal, value, NOT_JUDGED, "the row failed")
    reached = value >= goal.limit if goal.metric.higher_is_better else value <= goal.limit
    return Verdict(goal, value, REACHED if reached else NOT_REACHED)


def _opponent(goal: Goal, row: Row, figures: Sequence[Figure]) -> tuple[str | None, str]:
    """Return the peer a goal is judged against, or None and the reason; the best of some peers is not the
    best.
    """
    entered = {entrant.contender for entrant in row.entrants}
    if goal.against != BEST_PYTHON:
        return (goal.against, "") if goal.against in entered else (None, f"{goal.against} was not run")
    absent = [peer for peer in PYTHON_PEERS if peer not in entered]
    if absent:
        return None, f"{', '.join(absent)} not run"
    return _best(figures, goal.metric, PYTHON_PEERS), "no figure of a Python peer"


def as_json(summary: RowSummary) -> dict[str, Any]:
    """Return a row's summary as plain data, samples included."""
    return {
        "row": summary.row.name,
        "title": summary.row.title,
        "rounds": summary.rounds,
        "failed": summary.failed,
        "failures": list(summary.failures),
        "remarks": list(summary.remarks),
        "left_out": dict(summary.row.left_out),
        "figures": [_figure_json(f, summary) for f in summary.figures],
        "best_peers": dict(summary.best_peers),
        "goals": [
            {
                "goal": v.goal.text(),
                "style": v.goal.style,
                "metric": v.goal.metric.key,
                "value": v.value,
                "verdict": v.verdict,
                "reason": v.reason,
            }
            for v in summary.verdicts
        ],
    }


def _figure_json(figure: Figure, summary: RowSummary) -> dict[str, Any]:
    data: dict[str, Any] = {
        "contender": figure.entrant.contender,
        "style": figure.entrant.style,
        "metric": figure.metric.key,
        "unit": figure.metric.label,
        "higher_is_better": figure.metric.higher_is_better,
        "median": figure.median,
        "min": min(figure.samples),
        "max": max(figure.samples),
        "samples": list(figure.samples),
        "cpu_us_per_message": figure.cpu_us,
    }
    if figure.entrant.contender == OURS:
        data["ratio_to_peers"] = {
            peer.entrant.contender: ratio(figure.median, peer.median)
            for peer in summary.of(figure.metric)
            if peer.entrant.contender not in (OURS, CEILING)
        }
        data["ratio_to_best_peer"] = figure.ratio
    return data
