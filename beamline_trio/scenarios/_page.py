"""A report -> a page that can be looked at anywhere: one file of HTML, with its style and its picture in it.

No scripts, and nothing from elsewhere. Must not judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from ._limits import RESULTS
from ._picture import draw_timeline

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6675; --paper: #ffffff; --line: #d9dee6; --shade: #f3f5f8;
  --a: #1f6feb; --b: #d97706; --c: #7c3aed; --d: #0d9488; --band: #dc2626; --ok: #15803d; --warn: #b45309;
  --fail: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b4; --paper: #12161c; --line: #2b333f;
  --shade: #1a2028; --a: #6ea8fe; --b: #f5b042; --c: #b794f6; --d: #4fd1c5; --band: #f87171; --ok: #4ade80;
  --warn: #fbbf24; --fail: #f87171; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 24px; max-width: 1200px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 17px; margin: 28px 0 8px; } p { margin: 4px 0; color: var(--soft); }
.result { font-weight: 600; } .ok, .passed { color: var(--ok); } .warn { color: var(--warn); }
.fail, .failed { color: var(--fail); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } td.number, th.number { text-align: right; }
svg.timeline { width: 100%; height: auto; min-width: 720px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg text.panel { fill: var(--ink); font-weight: 600; }
.grid { stroke: var(--line); } .phase { fill: var(--shade); } .band { fill: var(--band); opacity: 0.18; }
.alert { fill: var(--fail); } svg text.alert { fill: var(--fail); font-weight: 600; }
.line { fill: none; stroke-width: 1.4; } .line-a { stroke: var(--a); } .line-b { stroke: var(--b); }
.line-c { stroke: var(--c); } .line-d { stroke: var(--d); } svg text.legend { stroke: none; font-weight: 600; }
text.line-a { fill: var(--a); } text.line-b { fill: var(--b); } text.line-c { fill: var(--c); }
text.line-d { fill: var(--d); }
"""
_WHEN: Final = ("base", "most", "end")
_RESULT_CLASSES: Final = {result: mark.value for mark, result in RESULTS.items()}


def page_of(report: Mapping[str, Any]) -> str:
    """The page of a report."""
    title = escape(f"{report['scenario']} {report['title']}")
    sections = [
        f"<h1>{title}</h1>",
        _headline(report),
        f'<div class="scroll">{draw_timeline(report)}</div>',
        "<h2>Criteria</h2>",
        _criteria(report),
        "<h2>Faults</h2>",
        _faults(report),
        "<h2>Metrics and alerts</h2>",
        _alerts(report),
        "<h2>Availability</h2>",
        _pairs(_availability(report)),
        "<h2>Resources</h2>",
        _resources(report),
        "<h2>Messages</h2>",
        _pairs(_counts(report)),
        "<h2>Settings</h2>",
        _pairs(_settings(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _headline(report: Mapping[str, Any]) -> str:
    result = str(report["result"])
    where = "simulated" if report["on"] == "simulation" else "on real servers"
    wall = report.get("wall_seconds")
    took = f" in {wall:,.0f} s ({report['seconds'] / wall:,.0f} x real time)" if wall else ""
    length = f"{report['seconds'] / 60:,.1f} min {where}{took}, {report['rate']:g} messages/s, seed {report['seed']}"
    return (
        f'<p><span class="result {_RESULT_CLASSES[result]}">{escape(result)}</span> · {escape(length)}</p>'
        f"<p>{escape(report['about'])}</p>"
    )


def _criteria(report: Mapping[str, Any]) -> str:
    rows = [tuple(escape(one[part]) for part in ("mark", "name", "value", "limit")) for one in report["findings"]]
    marked = [(f'<span class="{mark}">{mark}</span>', *others) for mark, *others in rows]
    return _table(("", "criterion", "found", "must be"), marked)


def _faults(report: Mapping[str, Any]) -> str:
    if not report["faults"]:
        return "<p>none</p>"
    rows = [
        (
            escape(one["kind"].replace("_", " ")),
            escape(one["target"] or "-"),
            f"{one['begins']:,.1f}",
            f"{one['healed'] - one['begins']:,.1f}",
            _seconds(one["reconnect_seconds"]),
            _seconds(one["recovery_seconds"]),
            f"{one['depth_max']:,}",
        )
        for one in report["faults"]
    ]
    names = ("fault", "whom", "at (s)", "lasted (s)", "reconnect (s)", "recovery (s)", "depth at the most")
    return _table(names, rows, numbers_from=2)


def _alerts(report: Mapping[str, Any]) -> str:
    """Every alert that was looked at: what it asks for, and when it was raised."""
    rows: list[tuple[str, ...]] = []
    for alert in report["alerts"]:
        rule = f"{alert['metric']} {alert['comparison']} {alert['threshold']:g} for {alert['for_seconds']:,.0f} s"
        name = (escape(alert["name"]), escape(rule))
        for one in alert["raised"]:
            whom = ", ".join((one["target"], *one["labels"][1:]))
            until = "the end" if one["ends"] is None else f"{one['ends']:,.0f}"
            rows.append((*name, escape(whom), f"{one['since']:,.0f}", f"{one['begins']:,.0f}", until))
        if not alert["raised"]:
            rows.append((*name, "not raised", "", "", ""))
    scraped = f"<p>scraped every {report['metrics']['scrape_seconds']:g} s{_dropped(report['metrics']['series'])}</p>"
    names = ("alert", "rule", "told by", "holds from (s)", "raised at (s)", "over at (s)")
    return scraped + _table(names, rows, numbers_from=3)


def _dropped(series: Sequence[Mapping[str, Any]]) -> str:
    count = sum(one["dropped"] for one in series)
    return f"; {count:,} changes of series are not in the report, which keeps the first of each" if count else ""


def _availability(report: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    seen = report["availability"]
    if seen["readiness_looks"]:
        yield "readiness", f"looked at {seen['readiness_looks']:,} times, {seen['ready_least']} ready at the least"
    for name, seconds in seen["restart_seconds_by_instance"].items():
        if seconds:
            longest = f"{min(seconds):,.1f} to {max(seconds):,.1f} s until it took messages again"
            yield f"restarts of {name}", f"{len(seconds)}, {longest}"
    if seen["requests"] is not None:
        yield (
            "requests",
            "{asked:,} asked, {again:,} answered at a later attempt, {failed:,} not".format(**seen["requests"]),
        )
    if seen["repeats"] is not None:
        known = seen["repeats"]["recognised"]
        told = "" if known is None else f", {known:,} recognised"
        yield "messages that came again", f"{seen['repeats']['repeated']:,}{told}"


def _resources(report: Mapping[str, Any]) -> str:
    rows = [
        (escape(name), escape(measure.replace("_", " ")), *(_amount(measure, values[when]) for when in _WHEN))
        for kind in ("nodes", "instances")
        for name, used in report["resources"][kind].items()
        for measure, values in used.items()
    ]
    return _table(("server or instance", "", "base", "at the most", "end"), rows, numbers_from=2)


def _amount(measure: str, value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1_000_000:,.1f} MB" if measure == "memory_bytes" else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:,.1f}"


def _counts(report: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    for name, value in report["counts"].items():
        if name == "examples":
            yield from (("example", one) for one in value)
        elif isinstance(value, dict):
            yield name, ", ".join(f"{key} {count:,}" for key, count in value.items()) or "none"
        else:
            yield name, f"{value:,}"
    for name, value in report["throughput"].items():
        yield name, f"{value:,.1f}"


def _settings(report: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    topology = {name: value for name, value in report["topology"].items() if value}
    yield "topology", ", ".join(f"{name} {value}" for name, value in topology.items())
    yield (
        "client options",
        ", ".join(f"{name} {value}" for name, value in report["client_options"].items()) or "defaults",
    )
    for name, value in report["settings"].items():
        if value is not None:
            yield name, value


def _pairs(pairs: Iterable[tuple[str, object]]) -> str:
    rows = [(escape(name.replace("_", " ")), escape(str(value))) for name, value in pairs]
    return _table(("", ""), rows)


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers_from: int = 99) -> str:
    number = ' class="number"'

    def cells(tag: str, row: tuple[str, ...]) -> str:
        return "".join(
            f"<{tag}{number if index >= numbers_from else ''}>{cell}</{tag}>" for index, cell in enumerate(row)
        )

    head = f"<thead><tr>{cells('th', names)}</tr></thead>" if any(names) else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'
