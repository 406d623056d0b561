"""The package as users get it: what it ships, what type checkers see, what importing it costs."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import types
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

import pytest

import beamline_trio

_PACKAGE: Final = Path(beamline_trio.__file__).parent
_HEAVY: Final = (
    "anyio", "asyncio", "cattrs", "h11", "jsonschema", "msgspec", "opentelemetry", "prometheus_client", "pydantic",
    "rich", "trio_websocket", "typer",
)  # fmt: skip
_IMPORT_ROUNDS: Final = 9
# What a program needs that opens a client; and every name there is, which no program needs at once.
_IMPORT_RATIOS_MAX: Final = {"open_client": 1.5, "*": 2.2}

_TIME_ONE_IMPORT: Final = """
import sys, time
start = time.process_time()
module = __import__(sys.argv[1])
[getattr(module, name) for name in dir(module) if sys.argv[2] in (name, "*")]
print(time.process_time() - start)
"""


def _fresh_python(*args: str, **variables: str) -> str:
    """What a new interpreter prints; it measures no coverage, which would be paid for in its imports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, *args], env=environment | variables, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _public_modules() -> list[str]:
    """The package and its public subpackages: every module whose path has no private part."""
    found = (module.name for module in pkgutil.walk_packages([str(_PACKAGE)], "beamline_trio."))
    return ["beamline_trio", *(name for name in found if "._" not in name)]


def _public_names(module_name: str) -> list[str]:
    """What a module offers at run time, less the submodules that importing it has left there."""
    module = importlib.import_module(module_name)
    # `dir` and not `vars`: some packages give their names only when they are asked for.
    offered = ((name, getattr(module, name)) for name in dir(module))
    return sorted(
        name
        for name, value in offered
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    )


def _distribution() -> Distribution:
    """The installed distribution; skips where the package only lies on the path."""
    try:
        return importlib.metadata.distribution("beamline-trio")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed; `nox -s tests` checks the wheel")


def _installed_files() -> tuple[Distribution, list[str]]:
    """The distribution and its files; skips where only a link to the tree is installed."""
    distribution = _distribution()
    direct_url = json.loads(distribution.read_text("direct_url.json") or "{}")
    if direct_url.get("dir_info", {}).get("editable"):
        pytest.skip("an editable install has no files; `nox -s tests` checks the wheel")
    return distribution, [path.as_posix() for path in distribution.files or []]


@pytest.fixture
def importing_file(tmp_path: Path) -> Path:
    """A module that imports every public symbol, one line each."""
    lines = [
        f"from {module} import {name} as {name}_{number}"
        for number, module in enumerate(_public_modules())
        for name in _public_names(module)
    ]
    assert lines, "the package exports nothing"
    path = tmp_path / "imports_everything.py"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("module_name", ["beamline_trio", "beamline_trio.testing"])
def test_what_type_checkers_see_is_there(module_name: str) -> None:
    """Packages that give their names only when asked for offer what they show to type checkers, and nothing else."""
    module = importlib.import_module(module_name)
    assert module.__file__ is not None
    shown = {
        alias.name
        for statement in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(statement, ast.If)
        for node in statement.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == set(_public_names(module_name))
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018  # asking is what raises


def test_importing_the_package_imports_next_to_nothing() -> None:
    """A plain import pays for nothing: not for the client, not for trio, not for the simulation."""
    printed = _fresh_python("-c", "import beamline_trio, json, sys; print(json.dumps(list(sys.modules)))")
    loaded = set(json.loads(printed))
    assert {name for name in loaded if name.startswith("beamline_trio")} == {"beamline_trio", "beamline_trio._version"}
    assert "trio" not in loaded


@pytest.mark.slow
def test_mypy_sees_every_public_symbol(importing_file: Path) -> None:
    """What can be imported at run time is an explicit export for mypy --strict."""
    pytest.importorskip("mypy", reason="mypy is a tool of [dev]")
    printed = _fresh_python(
        "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={importing_file.parent / 'cache'}",
        "--config-file=", str(importing_file),
    )  # fmt: skip
    assert "Success" in printed


@pytest.mark.slow
def test_pyright_sees_every_public_symbol(importing_file: Path) -> None:
    """What can be imported at run time is an explicit export for pyright."""
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is a tool of [dev]")
    _distribution()  # pyright holds only installed packages to their exports
    project = importing_file.with_name("pyrightconfig.json")
    project.write_text(json.dumps({"include": [importing_file.name], "reportPrivateImportUsage": "error"}))
    printed = _fresh_python("-m", "pyright", "--project", str(project), "--pythonpath", sys.executable)
    assert "0 errors" in printed


def test_the_package_says_that_it_is_typed() -> None:
    """py.typed is shipped, so type checkers read the annotations of the installed package."""
    assert (_PACKAGE / "py.typed").is_file()


def test_the_wheel_ships_the_package_and_nothing_else() -> None:
    """No tests, benchmarks or configuration are installed beside the package."""
    distribution, files = _installed_files()
    assert {"beamline_trio/py.typed", "beamline_trio/scenarios/report.schema.json"} <= set(files)
    own = ("beamline_trio/", f"beamline_trio-{distribution.version}.dist-info/")
    strangers = [name for name in files if not name.startswith(own) and not name.endswith("/bin/beamline")]
    assert not strangers


def test_the_wheel_has_the_version_of_the_package() -> None:
    """The metadata and `beamline_trio.__version__` agree."""
    assert _distribution().version == importlib.import_module("beamline_trio._version").__version__


def test_importing_the_package_imports_nothing_heavy() -> None:
    """WebSocket, metrics and the command line's libraries are loaded by what uses them."""
    program = (
        "import json, sys, beamline_trio as b; [getattr(b, n) for n in dir(b)]; print(json.dumps(list(sys.modules)))"
    )
    printed = _fresh_python("-c", program)
    loaded = {name.partition(".")[0] for name in json.loads(printed)}
    assert "beamline_trio" in loaded
    assert not loaded.intersection(_HEAVY)


def test_records_compile_no_methods_of_their_own() -> None:
    """All frozen records that importing every public name makes share what compares, hashes and shows them."""
    program = """
import sys, attrs, beamline_trio as b
[getattr(b, name) for name in dir(b)]
loaded = [module for name, module in sys.modules.items() if name.startswith("beamline_trio.")]
classes = {value for module in loaded for value in vars(module).values() if isinstance(value, type)}
records = [one for one in classes if attrs.has(one) and one.__module__.startswith("beamline_trio.")]
assert len(records) > 50, records
print(*sorted(f"{one.__module__}.{one.__name__}" for one in records if hasattr(one.__hash__, "__code__")
    and one.__hash__.__code__.co_filename.startswith("<attrs")))
"""
    own = _fresh_python("-c", program).split()
    assert not own, f"{own} are made by attrs.frozen; beamline_trio.protocol.frozen makes such records in less time"


@pytest.mark.slow
@pytest.mark.parametrize("name", _IMPORT_RATIOS_MAX)
def test_what_importing_costs(tmp_path: Path, name: str) -> None:
    """Importing what opens a client takes less than 1.5 times what importing trio takes; all stages together, more.

    A name brings its stage when it is first asked for. Processor time, the least of fresh interpreters that take turns:
    what else the machine does counts little. Their byte code lies in a directory of the test: an installed package has
    it, a source tree need not.
    """
    byte_code = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "byte_code")}
    seconds: dict[str, list[float]] = {"trio": [], "beamline_trio": []}
    for _ in range(1 + _IMPORT_ROUNDS):
        for package, taken in seconds.items():
            printed = _fresh_python("-c", _TIME_ONE_IMPORT, package, "*" if package == "trio" else name, **byte_code)
            taken.append(float(printed))
    # The first round wrote the byte code.
    least = {package: min(taken[1:]) for package, taken in seconds.items()}
    ratio = least["beamline_trio"] / least["trio"]
    assert ratio < _IMPORT_RATIOS_MAX[name], f"{least} seconds, a ratio of {ratio:.2f}"
