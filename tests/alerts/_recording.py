"""What the panels of the dashboard show of a run: their expressions asked over its time, and written down.

docs/dashboard_picture.py draws it.

Must not know which panels there are.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, Final

from beamline_trio.metrics import dashboard
from tests.alerts._prometheus import Prometheus

STEP_SECONDS: Final = 1.0
# What an operator would choose above the panels, and the range of a rate at a scrape every second.
CHOSEN: Final = {
    "$job": ".*",
    "$instance": ".*",
    "$client": "calm|down|queue|refused|given|breaks|pressed|leaderless|cut|node|unready|prices.*",
    "$__rate_interval": "5s",
}


def asked(expression: str) -> str:
    """An expression with what is chosen in it."""
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    return expression


def legend_of(template: str, labels: dict[str, str]) -> str:
    """A legend as Grafana makes it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


async def record(prometheus: Prometheus, file: Path, seconds: float) -> None:
    """Write down the panels over the last so many seconds: times begin at 0."""
    end = time.time()
    start = end - seconds
    panels: list[dict[str, Any]] = []
    for panel in json.loads(dashboard())["panels"]:
        if panel["type"] == "row":
            continue
        series = [
            {
                "legend": legend_of(target["legendFormat"], one["metric"]),
                "points": [[round(at - start, 1), round(float(value), 6)] for at, value in one["values"]],
            }
            for target in panel["targets"]
            for one in await prometheus.range(asked(target["expr"]), start, end, STEP_SECONDS)
        ]
        panels.append({"title": panel["title"], "series": series})
    file.write_text(json.dumps({"seconds": round(seconds, 1), "panels": panels}) + "\n", encoding="utf-8")
