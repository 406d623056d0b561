"""`python -m tests.alerts`: each alert fires, and clears, in a real Prometheus.

A copy of the rules whose `for` and windows are divided by 20 watches a real process with a client for each alert
about a client, and two routers of `beamline run`, on real nats-servers. All get their faults at the same time, and
lose them when their alerts have fired. Prints the table alert -> fired -> cleared. Exit code 1 when one did not, or
when a client to which nothing was done had an alert; 77 when there is no Prometheus, which is no success.

Logs, the result and what the dashboard's panels would have shown go to the directory of `--output`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import attrs
import trio

from beamline_trio.metrics import alert_rules
from tests.alerts._prometheus import Alert, Prometheus, find_prometheus, open_prometheus
from tests.alerts._recording import record
from tests.alerts._rig import Rig, open_rig
from tests.alerts._rules import load_rules
from tests.alerts._scenarios import CALM, SCENARIOS, TAKEN_AWAY, Scenario

FASTER: Final = 20
SKIPPED: Final = 77
WARM_UP_SECONDS: Final = 8.0
CALM_AGAIN_SECONDS: Final = 3.0
FIRES_WITHIN_SECONDS: Final = 90.0
CLEARS_WITHIN_SECONDS: Final = 150.0
_LOOK_SECONDS: Final = 0.5


@attrs.define
class Seen:
    """What was seen of one alert: seconds from its fault to firing, and from the end of the fault to its clearing."""

    scenario: Scenario
    fired: float | None = None
    cleared: float | None = None
    summary: str = ""


class Watch:
    """Looks at what fires, all the time."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self.now: list[Alert] = []
        self.unfounded: set[str] = set()

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            self.now = await self._prometheus.firing()
            self.unfounded |= {alert.name for alert in self.now if alert.labels.get("client") == CALM}
            await trio.sleep(_LOOK_SECONDS)

    def of(self, scenario: Scenario, rig: Rig) -> Alert | None:
        """The alert of this scenario, if it fires."""
        wanted = scenario.labels(rig).items()
        return next((one for one in self.now if one.name == scenario.alert and wanted <= one.labels.items()), None)


async def follow(seen: Seen, rig: Rig, prometheus: Prometheus, watch: Watch) -> None:
    """The fault, the alert, the end of the fault, the end of the alert."""
    began = trio.current_time()
    await seen.scenario.begin(rig, prometheus)
    with trio.move_on_after(FIRES_WITHIN_SECONDS):
        while (alert := watch.of(seen.scenario, rig)) is None:  # noqa: ASYNC110
            await trio.sleep(_LOOK_SECONDS)
        seen.fired = trio.current_time() - began
        seen.summary = alert.annotations["summary"]
    ended = trio.current_time()
    await seen.scenario.end(rig, prometheus)
    if seen.fired is None:
        return
    with trio.move_on_after(CLEARS_WITHIN_SECONDS):
        while watch.of(seen.scenario, rig) is not None:  # noqa: ASYNC110
            await trio.sleep(_LOOK_SECONDS)
        seen.cleared = trio.current_time() - ended


async def run(directory: Path) -> tuple[list[Seen], set[str]]:
    """Everything; returns what was seen, and the alerts that were about the client to which nothing was done."""
    result = [Seen(scenario) for scenario in SCENARIOS]
    async with open_rig(directory, TAKEN_AWAY) as rig:
        targets = {"application": [rig.application.address], "routers": [rig.gone.address, rig.failing.address]}
        began = time.time()
        async with open_prometheus(directory, alert_rules(faster=FASTER), targets) as prometheus:
            watch = Watch(prometheus)
            async with trio.open_nursery() as watching:
                watching.start_soon(watch.run)
                await trio.sleep(WARM_UP_SECONDS)
                async with trio.open_nursery() as nursery:
                    for seen in result:
                        nursery.start_soon(follow, seen, rig, prometheus, watch)
                watching.cancel_scope.cancel()
            await trio.sleep(CALM_AGAIN_SECONDS)
            await record(prometheus, directory / "panels.json", time.time() - began)
    return result, watch.unfounded


def seconds(value: float | None) -> str:
    """How long it took, or that it did not happen."""
    return "NO" if value is None else f"{value:.1f} s"


def table(result: list[Seen]) -> list[str]:
    """A line for each alert."""
    severities = {rule.name: rule.severity for rule in load_rules()}
    lines = [f"{'alert':<36}{'severity':<10}{'fault':<40}{'fired':>8}{'cleared':>9}"]
    for seen in result:
        name, fault = seen.scenario.alert, seen.scenario.fault
        lines.append(f"{name:<36}{severities[name]:<10}{fault:<40}{seconds(seen.fired):>8}{seconds(seen.cleared):>9}")
    return lines


def verdict(result: list[Seen], unfounded: set[str]) -> tuple[bool, list[str]]:
    """Whether each alert that is shipped has fired and cleared, and none was unfounded; with the words for it."""
    shipped = [rule.name for rule in load_rules()]
    good = {seen.scenario.alert for seen in result if seen.fired is not None and seen.cleared is not None}
    untried = set(shipped) - {seen.scenario.alert for seen in result}
    lines = [f"{len(good)} of {len(shipped)} alerts fired and cleared (durations divided by {FASTER})"]
    lines += [f"not tried: {name}" for name in sorted(untried)]
    lines.append(f"about the client to which nothing was done: {', '.join(sorted(unfounded)) or 'none'}")
    return good >= set(shipped) and not unfounded, lines


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.alerts")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="for logs and the result; default: temporary")
    options = parser.parse_args()
    if find_prometheus() is None:
        print("skipped: prometheus is not on PATH; on Debian `apt-get install prometheus` brings it and promtool")
        return SKIPPED
    directory = options.output or Path(tempfile.mkdtemp(prefix="beamline-alerts-"))
    directory.mkdir(parents=True, exist_ok=True)
    result, unfounded = trio.run(run, directory)
    good, words = verdict(result, unfounded)
    lines = [*table(result), "", *words]
    (directory / "table.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = [{"alert": seen.scenario.alert, "fired": seen.fired, "cleared": seen.cleared, "summary": seen.summary}
            for seen in result]  # fmt: skip
    (directory / "alerts.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print("", *lines, f"logs: {directory}", sep="\n")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
