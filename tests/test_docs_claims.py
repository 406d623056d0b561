"""Pages that claim something name the test that holds it; what they tell to run is there to be run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import beamline_trio
from beamline_trio.metrics import load_contract, load_log_contract
from tests._documents import DOCS, PAGES, ROOT, named_tests, names_in, text_of
from tests.integration.suites._register import SUITES

PACKAGE = Path(beamline_trio.__file__).parent
# The last column of a table of claims.
HELD = ("held by", "moved by")
PIPELINES = (ROOT / ".gitlab-ci.yml", ROOT / ".drone.yml")
TROUBLE = re.compile(r"failures|errors|_lost_|exhausted|dropped|expired|failed|slow_consumer|redelivery|status|_count$")


def claims(page: Path) -> list[tuple[str, str]]:
    """(claim, what holds it): the rows of every table whose last column says that."""
    found: list[tuple[str, str]] = []
    inside = False
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[-1] in HELD:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            found.append((cells[0], cells[-1]))
    return found


def sessions_of_nox() -> set[str]:
    """The names of the sessions in noxfile.py."""
    names: set[str] = set()
    for node in ast.parse(text_of(ROOT / "noxfile.py")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(called) != "nox.session":
                continue
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            given = [ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg == "name"]
            names.add(given[0] if given else node.name)
    return names


def sessions_named(text: str) -> list[str]:
    """The sessions behind each `nox -s` of a text."""
    calls = re.findall(r"nox -s((?: [\w-]+)+)", re.sub(r" -- .*| +#.*", "", text))
    return [name for call in calls for name in call.split()]


# ------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("page", [page for page in PAGES if claims(page)], ids=lambda page: page.name)
def test_every_claim_in_a_table_names_a_test(page: Path) -> None:
    """A row that says what holds it names a test; that it exists is tested with the other pages."""
    for claim, held_by in claims(page):
        assert named_tests(held_by), f"{page.name}: {claim}"


def test_the_pages_of_the_contract_have_claims() -> None:
    """A page whose tables have lost their last column claims nothing that is held."""
    counts = {name: len(claims(DOCS / f"{name}.md")) for name in ("resilience", "production-monitoring", "security")}
    assert all(count >= 20 for count in counts.values()), counts


def test_every_sentence_of_the_honest_words_names_its_test() -> None:
    """docs/resilience.md: each point of the guarantee has at least one."""
    points = re.split(r"\n- ", text_of(DOCS / "resilience.md").partition("## The guarantee")[2])[1:]
    assert len(points) >= 8
    assert all(named_tests(point) for point in points)


def test_the_table_of_outcomes_has_its_cells() -> None:
    """docs/resilience.md has 16 cells: two calls, four situations, fail-open off and on; each a case of the suite."""
    table = text_of(DOCS / "resilience.md").partition("(outcomes)=")[2].partition("| claim |")[0]
    rows = [line for line in table.splitlines() if "test_publish_failure.py::" in line]
    assert len({test for _, test in named_tests(table)}) == len(rows) == 16 // 2


# ---------------------------------------------------------------------------------------- what can be run and read


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_tells_to_run_is_there(page: Path) -> None:
    """Sessions of nox, and files of the tree that are named by their path."""
    text = text_of(page)
    assert set(sessions_named(text)) <= sessions_of_nox(), page.name
    for path in re.findall(r"(?<![\w./-])((?:tests|examples|benchmarks|docs)/(?!_build)[\w/.-]*\w)", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"
    for path in re.findall(r"`((?:\w+/)+_?\w+\.(?:py|toml))`", text):
        # The package is not always beside its tests, and stages are named without its name.
        assert any((root / path).exists() for root in (ROOT, PACKAGE, PACKAGE.parent)), f"{page.name}: {path}"


def test_each_session_has_its_row() -> None:
    """docs/contributing.md lists every session, and no other."""
    rows = [line.split("|")[1] for line in text_of(DOCS / "contributing.md").splitlines() if line.startswith("| `nox")]
    assert {name for row in rows for name in sessions_named(row)} == sessions_of_nox()


def test_the_map_of_commands_has_every_suite() -> None:
    """docs/running-the-tests.md says for each suite how it is run."""
    text = text_of(DOCS / "running-the-tests.md")
    assert [suite.name for suite in SUITES if f"tests/integration/suites/{suite.name}.py" not in text] == []


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: path.name)
def test_pipelines_only_call_sessions(pipeline: Path) -> None:
    """Each command is an installation or a call of nox, and each session is one of noxfile.py."""
    commands = re.findall(r"^ +- ((?:pip|nox|python|pytest|bash|sh|\./)\b.*)$", text_of(pipeline), re.MULTILINE)
    assert commands
    assert all(command.startswith(("pip install ", "nox -s ")) for command in commands), commands
    assert set(sessions_named("\n".join(commands))) <= sessions_of_nox()


def test_all_pipelines_run_the_same() -> None:
    """GitLab CI and Drone CI: the same sessions on every push, and the same each night; `.ci/run` those of a push."""
    both = []
    for pipeline in PIPELINES:
        push, _, night = text_of(pipeline).partition("nightly:" if "gitlab" in pipeline.name else "name: extended")
        both.append((set(sessions_named(push)), set(sessions_named(night))))
    assert both[0] == both[1]
    here = text_of(ROOT / ".ci" / "run")
    assert all(re.search(rf"\b{name}\b", here) for name in both[0][0])


# -------------------------------------------------------------------------------------------------- monitoring


def test_every_warning_has_advice() -> None:
    """docs/production-monitoring.md: each code at warning or above has its row, and only those have."""
    page = text_of(DOCS / "production-monitoring.md").partition("| code |")[2].partition("\n\n")[0]
    advised = [name for row in page.splitlines() for name in names_in(row.split("|")[1])] if page else []
    expected = [log.code for log in load_log_contract() if log.level != "info"]
    assert sorted(advised) == sorted(expected)


def test_every_metric_of_trouble_has_advice() -> None:
    """docs/production-monitoring.md: each metric that tells of trouble has a row."""
    page = text_of(DOCS / "production-monitoring.md")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `router_")]
    advised = {name for row in rows for name in names_in(row)}
    assert {metric.name for metric in load_contract() if TROUBLE.search(metric.name)} <= advised
