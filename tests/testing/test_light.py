"""What the plugin costs those who do not use it, and the names of the package."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import beamline_trio
import beamline_trio.testing as package

_PLUGIN: Final = "beamline_trio.testing._plugin"
_HEAVY: Final = (
    "beamline_trio.cli",
    "beamline_trio.faults",
    "beamline_trio.operation",
    "beamline_trio.server_process",
    "beamline_trio.client",
    "beamline_trio.simulation",
    "hypothesis",
    "pytest_trio",
    "rich",
    "trio",
    "typer",
)


def test_the_plugin_imports_little() -> None:
    """Pytest imports it whenever it starts: the simulation and its like come with the first test that uses them."""
    code = f"import sys, json, {_PLUGIN}; print(json.dumps(list(sys.modules)))"
    environment = {"PYTHONPATH": str(Path(beamline_trio.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert _PLUGIN in loaded
    assert not set(loaded).intersection(_HEAVY)


def test_the_names_of_the_package_are_those_that_are_typed() -> None:
    """What type checkers are told is what an import gives."""
    tree = ast.parse(Path(package.__file__).read_text())
    typed = {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert len(typed) > 20
    assert set(typed) <= set(dir(package))
    for name, module in typed.items():
        home = importlib.import_module(
            f"beamline_trio.{module}" if module[0] != "_" else f"{package.__name__}.{module}"
        )
        assert getattr(package, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = getattr(package, "nothing")  # noqa: B009 - the type checkers know that it is not there


def test_the_entry_point_names_the_plugin() -> None:
    """An installed package brings its plugin."""
    points = importlib.metadata.entry_points(group="pytest11", name="beamline")
    if not points:
        pytest.skip("not installed; `nox -s tests` checks the wheel")
    assert {point.value for point in points} == {_PLUGIN}
