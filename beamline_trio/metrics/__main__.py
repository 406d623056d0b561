"""`python -m beamline_trio.metrics alerts | dashboard`: prints what Prometheus and Grafana are given.

Must not decide anything: `_alerts` makes the text.
"""

from __future__ import annotations

import argparse
import sys

from ._alerts import RUNBOOKS, alert_rules, dashboard


def main(arguments: list[str] | None = None) -> int:
    """Print one of the two."""
    parser = argparse.ArgumentParser(prog="python -m beamline_trio.metrics", description="Print to standard output.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    alerts = kinds.add_parser("alerts", help="the rules file for Prometheus")
    alerts.add_argument("--runbooks", metavar="URL", default=RUNBOOKS, help="where the page of the runbooks is served")
    alerts.add_argument("--faster", metavar="N", type=float, default=1.0, help="divide each `for` and window by this")
    kinds.add_parser("dashboard", help="the dashboard for Grafana")
    options = parser.parse_args(arguments)
    if options.kind == "dashboard":
        print(dashboard(), end="")
        return 0
    try:
        print(alert_rules(runbooks=options.runbooks, faster=options.faster), end="")
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
