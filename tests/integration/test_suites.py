"""The suites have the cases that they must have: a lost one fails here, before anybody reads a table."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests._documents import DOCS, names_in, rows, text_of
from tests.integration.suites.__main__ import Tally, report
from tests.integration.suites._register import (
    ALL_CASES,
    EXTENDED_CASES,
    ON_THE_ROUTER,
    STANDARD_CASES,
    SUITES,
    CaseName,
    Suite,
    cases_of,
)

ROOT = Path(__file__).parents[2]
DIRECTORY = Path(__file__).parent / "suites"


@pytest.fixture(scope="module")
def collected() -> list[CaseName]:
    """Every case of every suite on both sides, as pytest collects them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(DIRECTORY)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [name for line in done.stdout.splitlines() if (name := CaseName.parse(line)) is not None]


def test_the_totals_are_those_of_the_contract() -> None:
    """47 standard and 54 extended of the original four, 91 with the three beside them."""
    assert cases_of({"standard"}) == STANDARD_CASES == 22 + 15 + 10
    assert cases_of({"standard", "extended"}) == EXTENDED_CASES == STANDARD_CASES + 7
    assert cases_of({"standard", "extended", "beside"}) == ALL_CASES == EXTENDED_CASES + 13 + 16 + 8


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_suite_has_its_cases_on_both_sides(suite: Suite, collected: list[CaseName]) -> None:
    """As many as the register says, each once simulated and once real."""
    counts = Counter(name.side for name in collected if name.suite == suite.name)
    assert counts == {"simulated": suite.cases, "real": suite.cases}


def test_the_page_of_the_suites_is_what_they_are() -> None:
    """docs/suites.md has the register, each suite a page of its own, and every case is there with its law."""
    listed = rows(DOCS / "suites.md", "suite", "cases", "part")
    assert [(names_in(name), cases, part) for name, cases, part in listed] == [
        ([suite.name], str(suite.cases), suite.part) for suite in SUITES
    ]
    pages = [name.partition("](")[2].rstrip(")") for name, _, _ in listed]
    assert {DOCS / page for page in pages} == set((DOCS / "suites").glob("*.md"))
    for suite, page in zip(SUITES, pages, strict=True):
        assert {f"pytest tests/integration/suites/{suite.name}.py -k {side}" for side in ("simulated", "real")} <= set(
            names_in(text_of(DOCS / page))
        )
    command = [sys.executable, str(DOCS / "suite_tables.py"), "--check"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_every_case_on_the_router_is_the_other_half_of_one(collected: list[CaseName]) -> None:
    """Both halves are cases, and each case of the router's suite is named once."""
    assert set(ON_THE_ROUTER) <= {f"{name.suite}::{name.case}" for name in collected}
    halves = [half for halves in ON_THE_ROUTER.values() for half in halves]
    assert len(halves) == len(set(halves))
    assert set(halves) == {name.case for name in collected if name.suite == "test_router_workflows"}


def filled(outcome: str, side: str) -> Tally:
    """Every case passed, but those of one side that came to this."""
    tally = Tally()
    for suite in SUITES:
        for number in range(suite.cases):
            tally.outcomes[CaseName(suite.name, f"test_{number}", "simulated")] = "passed"
            tally.outcomes[CaseName(suite.name, f"test_{number}", "real")] = "passed"
    for name in [name for name in tally.outcomes if name.side == side]:
        tally.outcomes[name] = outcome
    return tally


@pytest.mark.parametrize("parts", [{"standard"}, {"standard", "extended", "beside"}], ids=len)
def test_a_run_without_a_real_server_is_not_good(parts: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    """All that is skipped on the real server fails the run, a part too; what is skipped in the simulation does so."""
    suites = [suite for suite in SUITES if suite.part in parts]
    assert report(filled("passed", "real"), suites, complete=True)
    assert not report(filled("skipped", "real"), suites, complete=True)
    assert not report(filled("skipped", "simulated"), suites, complete=True)
    assert "met the real server" in capsys.readouterr().out


def test_a_selection_is_judged_by_what_ran(capsys: pytest.CaptureFixture[str]) -> None:
    """It need not be complete, and a failure in it fails it."""
    tally = Tally()
    tally.outcomes[CaseName("test_publish_failure", "a", "simulated")] = "passed"
    assert report(tally, list(SUITES), complete=False)
    assert "counts are complete" not in capsys.readouterr().out
    tally.outcomes[CaseName("test_publish_failure", "a", "simulated")] = "failed"
    assert not report(tally, list(SUITES), complete=False)


def test_a_lost_case_and_a_failed_one_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The report is good with every case there, and neither without one nor with a failure."""
    suite = Suite("test_publish_failure", 2, "beside")
    tally = Tally()
    for case in ("a", "b"):
        for side in ("simulated", "real"):
            assert not report(tally, [suite], complete=True)
            tally.outcomes[CaseName(suite.name, case, "real" if side == "real" else "simulated")] = "passed"
    assert report(tally, [suite], complete=True)
    tally.outcomes[CaseName(suite.name, "b", "real")] = "failed"
    assert not report(tally, [suite], complete=True)
    assert "NOT as it must be" in capsys.readouterr().out
