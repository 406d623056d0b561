"""What Prometheus and Grafana are given: the alerts and the dashboard that are shipped beside this module, as text.

The alerts can be printed for a wiki of one's own, and faster: a staging system need not wait for minutes to see one
fire. Only the text is changed, so that whoever compares the two sees the same rules.

Must not know a rule.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

RUNBOOKS: Final = "docs/operation/runbooks.md"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600}
_FOR: Final = re.compile(r"^( *for: )(\d+)([smh])$", re.MULTILINE)
_WINDOW: Final = re.compile(r"(\[)(\d+)([smh])(?=\])")
_LEAST_SECONDS: Final = 1.0


def alert_rules(*, runbooks: str = RUNBOOKS, faster: float = 1.0) -> str:
    """The rules file for Prometheus.

    Args:
        runbooks: where the page of the runbooks is served; the links of the alerts are this and `#` and a section.
        faster: divides every `for` and every window. With 20 a scrape every second is what one every 15 s is to
            the originals.

    Raises:
        ValueError: faster is less than 1, or so high that a duration would be less than 1 s.
    """
    text = _shipped("alerts.yml").replace(f"{RUNBOOKS}#", f"{runbooks}#")
    if not faster >= 1:
        raise ValueError(f"faster is {faster}; it must be at least 1")
    if faster > 1:
        for durations in (_FOR, _WINDOW):
            text = durations.sub(lambda found: _divided(found, faster), text)
    return text


def dashboard() -> str:
    """The dashboard for Grafana (JSON), which asks for its data source when it is imported."""
    return _shipped("dashboard.json")


def _divided(found: re.Match[str], by: float) -> str:
    before, number, unit = found.groups()
    seconds = int(number) * _SECONDS[unit] / by
    if seconds < _LEAST_SECONDS:
        raise ValueError(
            f"faster is {by:g}, which makes {number}{unit} to {seconds:g} s; "
            f"it must leave at least {_LEAST_SECONDS:g} s"
        )
    return f"{before}{round(seconds * 1_000)}ms"


def _shipped(name: str) -> str:
    return resources.files(__name__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")
