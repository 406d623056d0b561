"""Every page of the documentation: its code compiles or runs, what it points to exists, its figures are the code's."""

from __future__ import annotations

import ast
import inspect
import random
import re
from pathlib import Path
from types import ModuleType

import pytest

import beamline_trio
from beamline_trio import ClientOptions
from beamline_trio.connection import next_delay
from beamline_trio.server_process import Server
from beamline_trio.simulation import SimulatedServer
from beamline_trio.testing import EitherServer
from tests._documents import DOCS, PAGES, ROOT, code_blocks, named_tests, rows, text_of
from tests.testing._inner_pytest import run_pytest

PICTURE_BYTES_MAX = 300_000
_PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")

# ---------------------------------------------------------------------------------------------------------- API


def test_the_api_page_has_every_public_name() -> None:
    """Whatever `beamline_trio` exports is described on the API page."""
    documented = set(re.findall(r"^\.\. auto\w+:: (\w+)", text_of(DOCS / "api.md"), re.MULTILINE))
    offered = {name: getattr(beamline_trio, name) for name in dir(beamline_trio) if not name.startswith("_")}
    exported = {name for name, value in offered.items() if not isinstance(value, ModuleType)}
    assert len(exported) > 50
    assert exported <= documented


# -------------------------------------------------------------------------------------------------- every page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_a_page_compiles(page: Path) -> None:
    """Code blocks are Python, with `await` at the top level where they show a part of a function."""
    for number, code in enumerate(code_blocks(page, "python"), 1):
        compile(code, f"{page.name}, block {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_exists(page: Path) -> None:
    """Every test that is named is there, and so is every file that is linked."""
    text = text_of(page)
    for file, test in sorted(named_tests(text)):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert test in functions, f"{file}::{test}"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


def test_pictures_are_small_and_shown() -> None:
    """Each lies beside the pages for one of them, and is no more than a page may weigh."""
    shown = {(page.parent / target).resolve() for page in PAGES for target in _PICTURE.findall(text_of(page))}
    pictures = set((DOCS / "pictures").glob("*.png"))
    assert pictures == {target for target in shown if target.suffix == ".png"}
    assert all(picture.stat().st_size < PICTURE_BYTES_MAX for picture in pictures)


def test_no_page_shows_this_workplace() -> None:
    """Pages name no path of a machine, and nothing outside of the tree."""
    for page in PAGES:
        assert not re.search(r"/(?:home|root|work|tmp|Users)/|\.\./shared|localhost/", text_of(page)), page.name


# ------------------------------------------------------------------------------------------------------ figures


def test_the_times_of_the_passes_are_those_of_the_code() -> None:
    """docs/connection.md shows when passes begin with the defaults and without jitter."""
    options = ClientOptions(reconnect_jitter="none")
    (shown_times,) = code_blocks(DOCS / "connection.md", "text")
    at = 0.0
    times = []
    for passes in range(len(shown_times.split())):
        at += next_delay(passes, at, options, random.Random(0))
        times.append(f"{at:.1f}")
    assert shown_times.split() == times


@pytest.mark.slow
def test_the_testing_page_shows_tests_that_pass(tmp_path: Path) -> None:
    """Its test modules run as a user's would: with pytest and the plugin, no conftest.py, no trio_mode."""
    modules = [code for code in code_blocks(DOCS / "testing.md", "python") if "async def test_" in code]
    assert len(modules) == 4
    for number, code in enumerate(modules, 1):
        (tmp_path / f"test_page_{number}.py").write_text(code)
    result = run_pytest(tmp_path, trio_mode=False)
    assert result.code == 0, result.out
    assert set(result.outcomes().values()) == {"PASSED"}


@pytest.mark.parametrize("column, kind", [(1, SimulatedServer), (2, Server), (3, EitherServer)])
def test_the_testing_page_says_which_calls_are_awaited(column: int, kind: type) -> None:
    """In its table each call is awaited exactly where it is async."""
    header = ("", "`nats_world.start_server(...)`", "`open_server`, `nats_server`", "`nats`")
    table = rows(DOCS / "testing.md", *header)
    calls = [call for row in table for call in re.findall(r"(await )?\w+\.(\w+)\(", row[column])]
    assert len(calls) >= 3
    for awaited, method in calls:
        assert inspect.iscoroutinefunction(getattr(kind, method)) is bool(awaited), method
