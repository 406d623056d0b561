"""MODULE:ROUTER: what is found, and one line for what is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beamline_trio.cli._failures import CommandError
from beamline_trio.cli._target import load_router

ROUTER = """
from beamline_trio import Router
router = Router("r")
spare = Router("s")
@router.route("a")
async def handle(message): ...
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty current directory, which is not on the path yet, as for a console script."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("user_"):
            del sys.modules[name]


def test_modules_and_packages_of_the_current_directory_are_found(here: Path) -> None:
    """The current directory comes first."""
    (here / "user_module.py").write_text(ROUTER)
    (here / "user_package").mkdir()
    (here / "user_package" / "inner.py").write_text(ROUTER)
    assert load_router("user_module:router").name == "r"
    assert load_router("user_package.inner:router").name == "r"
    assert sys.path.count(str(here)) == 1


@pytest.mark.parametrize("target", ["user_module", "user_module:", ":router", ""])
def test_what_is_no_target_is_refused(target: str) -> None:
    """With an example."""
    with pytest.raises(CommandError, match="is no MODULE:ROUTER; write it as in prices:router") as caught:
        load_router(target)
    assert caught.value.code == 2


def test_a_module_that_is_not_there_is_named(here: Path) -> None:
    """The first missing part, and where it was looked for."""
    (here / "user_package").mkdir()
    for target, missing in (
        ("user_nothing:r", "user_nothing"),
        ("user_package.nothing:r", "user_package.nothing"),
        ("user_nothing.inner:r", "user_nothing"),
    ):
        with pytest.raises(CommandError, match=f"no module '{missing}', neither in {here} nor installed"):
            load_router(target)


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n1 / 0", "ZeroDivisionError: division by zero .*user_module.py, line 2"),
        ("import user_missing", "ModuleNotFoundError: No module named 'user_missing' .*user_module.py, line 1"),
        ("\n\ndef f(:", "SyntaxError: invalid syntax .*user_module.py, line 3"),
    ],
)
def test_a_module_that_cannot_be_imported_says_where(here: Path, text: str, message: str) -> None:
    """A missing import of the module's own is not the module missing."""
    (here / "user_module.py").write_text(text)
    with pytest.raises(CommandError, match=f"importing user_module raised {message}"):
        load_router("user_module:router")


@pytest.mark.parametrize(
    "attribute, message",
    [
        ("nothing", "module 'user_module' has no attribute 'nothing'; its routers are router, spare"),
        ("handle", "user_module:handle is of type function, not a Router; write handle = Router"),
        ("Router", "user_module:Router is of type type, not a Router"),
        ("spare", "user_module:spare has no route; add one with @spare.route"),
    ],
)
def test_an_attribute_that_is_no_router_is_refused(here: Path, attribute: str, message: str) -> None:
    """It says what is there instead."""
    (here / "user_module.py").write_text(ROUTER)
    with pytest.raises(CommandError, match=message):
        load_router(f"user_module:{attribute}")


def test_a_module_without_routers_says_so(here: Path) -> None:
    """There is nothing to offer."""
    (here / "user_module.py").write_text("")
    with pytest.raises(CommandError, match="has no attribute 'router'; it has no router"):
        load_router("user_module:router")
