"""Evidence -> a report: plain data that can be written as JSON, and read again to be shown.

Must not judge or draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from ._conductor import Evidence
from ._criteria import Measured, judge, measure
from ._finding import Finding
from ._limits import RESULTS, Mark
from ._sampling import Sample
from ._uses import Use, summary_of

FORMAT: Final = 2
# A timeline of more points than a picture is wide shows nothing more.
POINTS_MAX: Final = 1_200


def report_of(evidence: Evidence) -> dict[str, Any]:
    """The report of a run."""
    measured = measure(evidence)
    findings = judge(evidence, measured)
    scenario, settings, plan = evidence.scenario, evidence.settings, evidence.plan
    return {
        "format": FORMAT,
        "scenario": scenario.number,
        "title": scenario.title,
        "about": scenario.about,
        "result": result_of(findings),
        "on": settings.on,
        "seed": settings.seed,
        "rate": settings.rate,
        "scale": plan.scale,
        "planned_seconds": plan.seconds,
        "seconds": evidence.seconds,
        "settings": attrs.asdict(settings),
        "topology": {**attrs.asdict(plan.topology), "regions": list(plan.topology.regions)},
        "client_options": dict(scenario.client),
        "phases": [attrs.asdict(span) for span in plan.spans],
        "findings": [_finding(finding) for finding in findings],
        "counts": _counts(evidence),
        "throughput": _throughput(evidence, measured),
        "faults": _faults(evidence, measured),
        "availability": _availability(evidence),
        "alerts": _alerts(evidence),
        "metrics": _metrics(evidence),
        "resources": _resources(evidence),
        "gaps": {
            "acks": [_gap(gap.begins, gap.ends) for gap in evidence.ack_gaps],
            "ends": [_gap(gap.begins, gap.ends) for gap in evidence.end_gaps],
            "unready": [_gap(*one) for one in evidence.unready],
        },
        "timeline": _timeline(evidence.samples),
    }


def result_of(findings: Sequence[Finding]) -> str:
    """`passed`, `passed with warnings`, or `failed`."""
    marks = {finding.mark for finding in findings}
    return RESULTS[next((mark for mark in (Mark.FAIL, Mark.WARN) if mark in marks), Mark.OK)]


def _finding(finding: Finding) -> dict[str, str]:
    return {"name": finding.name, "mark": finding.mark.value, "value": finding.value, "limit": finding.limit}


def _counts(evidence: Evidence) -> dict[str, Any]:
    ledger = evidence.ledger
    return {
        "begun": ledger.begun,
        "acked": ledger.acked.count,
        "ended": ledger.ended.count,
        "done": ledger.done,
        "dead_letters": ledger.dead,
        "handled": ledger.handled,
        "handled_again": ledger.again,
        "publish_duplicates": ledger.duplicates,
        "publish_errors": dict(sorted(ledger.publish_errors.items())),
        "lost": len(ledger.lost()),
        "unknown": len(ledger.unknown()),
        "stored_twice": ledger.stored_twice,
        "over_delivered": ledger.over_delivered,
        "out_of_order": ledger.out_of_order,
        "unasked": ledger.unasked,
        "handled_by_instance": dict(sorted(ledger.by_instance.items())),
        "ended_by_region": dict(sorted(ledger.by_region.items())),
        "restarts_by_instance": {name: len(seconds) for name, seconds in evidence.restarts.items()},
        "examples": ledger.examples,
    }


def _throughput(evidence: Evidence, measured: Measured) -> dict[str, float]:
    gaps = [gap.seconds for gap in evidence.end_gaps]
    return {
        "base_per_second": measured.base_rate,
        "end_per_second": measured.end_rate,
        "longest_gap_seconds": max(gaps, default=0.0),
        "longest_ack_gap_seconds": max((gap.seconds for gap in evidence.ack_gaps), default=0.0),
        "longest_recovery_seconds": max((one.recovery_seconds or 0.0 for one in measured.recoveries), default=0.0),
        "depth_max": max((sample.outstanding + sample.backlog for sample in evidence.samples), default=0),
        "latency_max_seconds": max((sample.latency_seconds for sample in evidence.samples), default=0.0),
    }


def _faults(evidence: Evidence, measured: Measured) -> list[dict[str, Any]]:
    bands = {id(band.fault): band for band in evidence.bands}
    return [
        {
            "kind": one.fault.kind.value,
            "phase": one.fault.phase,
            "target": one.fault.target,
            "share": one.fault.share,
            "begins": bands[id(one.fault)].begins,
            "healed": bands[id(one.fault)].healed,
            "reconnect_seconds": one.reconnect_seconds,
            "recovery_seconds": one.recovery_seconds,
            "depth_max": one.depth_max,
        }
        for one in measured.recoveries
    ]


def _availability(evidence: Evidence) -> dict[str, Any]:
    """Readiness, restarts, and what was asked and remembered; None = that was not looked at."""
    requests, repeats = evidence.requests, evidence.repeats
    return {
        "readiness_looks": evidence.readiness_looks,
        "ready_least": evidence.ready_least,
        "restart_seconds_by_instance": {
            name: [round(one, 3) for one in seconds] for name, seconds in evidence.restarts.items()
        },
        "requests": None if requests is None else attrs.asdict(requests),
        "repeats": None if repeats is None else attrs.asdict(repeats),
    }


def _alerts(evidence: Evidence) -> list[dict[str, Any]]:
    """Every alert that was looked at, with each time that it was raised."""
    metering = evidence.metering
    return [
        {
            **attrs.asdict(alert),
            "raised": [
                {**attrs.asdict(one), "labels": list(one.labels)} for one in metering.raised if one.alert == alert.name
            ],
        }
        for alert in metering.book.alerts
    ]


def _metrics(evidence: Evidence) -> dict[str, Any]:
    """The series that alerts look at: from when on which value (null = it has ended), and how many changes followed."""
    metering = evidence.metering
    return {
        "scrape_seconds": metering.scrape_seconds,
        "series": [
            {
                "target": target,
                "name": name,
                "labels": list(labels),
                "changes": [[round(at, 3), value] for at, value in series.changes],
                "dropped": series.dropped,
            }
            for (target, name, labels), series in sorted(metering.series.items())
        ],
    }


def _resources(evidence: Evidence) -> dict[str, Any]:
    """What each server and instance used; what nobody can tell of one is left out."""
    base, last = evidence.plan.base, evidence.plan.recovery
    found: dict[str, Any] = {}
    for kind in ("nodes", "instances"):
        by_name: dict[str, list[tuple[float, Use]]] = {}
        for sample in evidence.uses:
            for name, use in getattr(sample, kind).items():
                by_name.setdefault(name, []).append((sample.at, use))
        found[kind] = {
            name: summary_of(uses, base.ends, (last.begins + last.ends) / 2) for name, uses in sorted(by_name.items())
        }
    return found


def _gap(begins: float, ends: float) -> dict[str, float]:
    return {"begins": begins, "seconds": ends - begins}


def _timeline(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    """Columns of at most POINTS_MAX rows: of several samples the sum, the worst or the last, as each column says."""
    step = max(1, -(-len(samples) // POINTS_MAX))
    groups = [samples[index : index + step] for index in range(0, len(samples), step)]
    starts = [samples[0], *(group[-1] for group in groups[:-1])]
    pairs = list(zip(starts, groups, strict=True))
    return {
        "at": [round(group[-1].at, 3) for group in groups],
        "begun_per_second": [_rate(start.begun, group[-1].begun, start, group[-1]) for start, group in pairs],
        "acked_per_second": [_rate(start.acked, group[-1].acked, start, group[-1]) for start, group in pairs],
        "ended_per_second": [_rate(start.ended, group[-1].ended, start, group[-1]) for start, group in pairs],
        "depth": [max(one.outstanding + one.backlog for one in group) for group in groups],
        "latency_seconds": [round(max(one.latency_seconds for one in group), 4) for group in groups],
        "ready": [min(one.ready for one in group) for group in groups],
        "up": [min(one.up for one in group) for group in groups],
        "connected": [all(one.connected for one in group) for group in groups],
        "quorum": [all(one.quorum for one in group) for group in groups],
        "leader": [group[-1].leader for group in groups],
        "regions": [min(one.regions for one in group) for group in groups],
        "tasks": [max(one.tasks for one in group) for group in groups],
        "memory_bytes": [max(one.memory_bytes for one in group) for group in groups],
        "connections": [max(one.connections for one in group) for group in groups],
        "handled_by_instance": [list(group[-1].by_instance) for group in groups],
        "ended_by_region": [list(group[-1].by_region) for group in groups],
    }


def _rate(before: int, after: int, start: Sample, end: Sample) -> float:
    seconds = end.at - start.at
    return round((after - before) / seconds, 2) if seconds else 0.0
