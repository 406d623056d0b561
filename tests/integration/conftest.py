"""Prints the table of the security matrix behind a run that had rows of it."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per row: what it is, how the test went, and what was seen."""
    lines = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if "test_security_matrix" in report.nodeid and report.when == "call":
                shown = dict(report.user_properties).get("security")
                name, _, seen = str(shown).partition("\t") if shown else (report.nodeid, "", "")
                lines.append(f"{outcome:<7} {name:<52} {seen}")
    if lines:
        terminalreporter.section("security, on real servers")
        for line in lines:
            terminalreporter.write_line(line)
