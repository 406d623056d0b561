"""`python -m tests.integration.suites [--part standard] [pytest's arguments]`: the suites, and the table of them.

Fails when a case failed, when a suite has not the cases that it must have, when one of them was skipped in the
simulation, and when too few met the real server. Of a selection (`-k basic`) only what ran is judged.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.integration.suites._register import (
    ALL_CASES,
    EXTENDED_CASES,
    ON_THE_ROUTER,
    STANDARD_CASES,
    SUITES,
    UNCOUNTED,
    CaseName,
    Part,
    Suite,
    cases_of,
)

HERE: Final = Path(__file__).parent
# 78 of the 91 at the least: so many may be skipped on the real server, in all and in a part.
REAL_SKIPPED_MOST: Final = 13
_PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "standard": ("standard",),
    "extended": ("standard", "extended"),
    "all": ("standard", "extended", "beside"),
}


class Tally:
    """A pytest plugin that sorts the outcomes of the suites' cases."""

    def __init__(self) -> None:
        self.outcomes: dict[CaseName, str] = {}
        self.reasons: dict[CaseName, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a case; a failure in any of its phases is one of the case."""
        name = CaseName.parse(report.nodeid)
        if name is None:
            return
        if report.failed:
            self.outcomes[name] = "failed"
        elif report.skipped:
            self.outcomes[name] = "skipped"
            self.reasons[name] = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        elif report.when == "call":
            self.outcomes.setdefault(name, "passed")

    def cases(self, suite: Suite, side: str) -> Counter[str]:
        """Outcome -> cases of a suite on a side."""
        return Counter(
            outcome for name, outcome in self.outcomes.items() if (name.suite, name.side) == (suite.name, side)
        )

    def passed(self, suites: list[Suite], side: str) -> int:
        """Cases that passed."""
        return sum(self.cases(suite, side)["passed"] for suite in suites)


def report(tally: Tally, suites: list[Suite], *, complete: bool) -> bool:
    """Print the table and the totals; whether everything is as it must be."""
    good = True
    print(f"\n{'suite':<44}{'cases':>6}{'simulated':>24}{'real':>24}")
    for suite in suites:
        sides = [tally.cases(suite, side) for side in ("simulated", "real")]
        print(f"{suite.name:<44}{suite.cases:>6}{_shown(sides[0]):>24}{_shown(sides[1]):>24}")
        for side in sides:
            good &= not side["failed"] and (side.total() == suite.cases or not complete)
        good &= not sides[0]["skipped"]
    for title, parts, cases in (
        ("standard", ("standard",), STANDARD_CASES),
        ("extended", ("standard", "extended"), EXTENDED_CASES),
        ("all", ("standard", "extended", "beside"), ALL_CASES),
    ):
        counted = [suite for suite in suites if suite.part in parts]
        if complete and cases_of({suite.part for suite in counted}) == cases:
            simulated, real = (tally.passed(counted, side) for side in ("simulated", "real"))
            print(f"{title}: {cases} cases, {simulated} passed on the simulated server, {real} on the real one")
            if real < cases - REAL_SKIPPED_MOST:
                print(f"fewer than {cases - REAL_SKIPPED_MOST} met the real server")
                good = False
    for name, reason in tally.reasons.items():
        print(f"not on the {name.side} server: {name.suite}::{name.case}: {reason.removeprefix('Skipped: ')}")
    for case, halves in ON_THE_ROUTER.items():
        print(f"{case}, on the router: {', '.join(halves)}")
    fine = "counts are complete, nothing failed" if complete else "of the selection nothing failed"
    print(fine if good else "NOT as it must be: a case failed, was skipped or is missing")
    return good


def _shown(outcomes: Counter[str]) -> str:
    return f"{outcomes['passed']} passed, {outcomes['failed']} f, {outcomes['skipped']} s"


def main() -> int:
    """Run the suites of a part, then report."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.suites", description=__doc__)
    parser.add_argument("--part", choices=_PARTS, default="all")
    options, selection = parser.parse_known_args()
    suites = [suite for suite in SUITES if suite.part in _PARTS[options.part]]
    names = [suite.name for suite in suites] + (list(UNCOUNTED) if options.part == "all" else [])
    files = [str(path) for name in names if (path := HERE / f"{name}.py").exists()]
    tally = Tally()
    code = pytest.main(["-q", *files, *selection], plugins=[tally])
    good = report(tally, suites, complete=not selection)
    return int(code) or int(not good)


if __name__ == "__main__":
    sys.exit(main())
