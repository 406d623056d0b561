"""A trial: a fresh copy of the package, a mutant applied to it, and the workload's laws over it in its own process.

The copy is made of the package that is imported here: of the tree, or of an installed wheel.

Must not print.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

import beamline_trio

from ._apply import Mutant, apply_mutant

PACKAGE: Final = Path(beamline_trio.__file__).resolve().parent
ROOT: Final = Path(__file__).resolve().parents[2]
SEEDS: Final = 200
# A seed of a cluster takes seconds; the nightly sweep has more of them.
SEEDS_MAX: Final[Mapping[str, int]] = {"examples/cluster_accounting.py": 40}


@attrs.frozen
class Result:
    """What came of a trial.

    Attributes:
        law: the first law that was broken; "" when none was.
        laws: all that were broken under that seed.
        error: what the scenario raised, when that ended the trial: an exception's name, "stuck", or "import".
        reason: in a line.
        seed: under which; 0 when it did not come so far.
        seeds: how many were run.
        seconds: wall time.
    """

    law: str
    laws: tuple[str, ...]
    error: str
    reason: str
    seed: int
    seeds: int
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether anything was noticed."""
        return bool(self.law or self.error)

    def __str__(self) -> str:
        took = f"({self.seconds:.1f} s)"
        if self.law:
            return f"caught by {self.law} at seed {self.seed} {took}"
        if self.error == "import":
            return f"caught by a crash before the first seed {took}: {self.reason}"
        if self.error:
            return f"caught by an error, {self.error}, at seed {self.seed} {took}"
        return f"NOT CAUGHT in {self.seeds} seeds {took}"


def try_mutant(
    mutant: Mutant | None,
    *,
    scenario: str = "",
    seeds: int = SEEDS,
    also: Iterable[int] = (),
    errors: bool = False,
    time_box_seconds: float | None = None,
) -> Result:
    """Try a mutant, or without one the unchanged package.

    Args:
        mutant: what is changed.
        scenario: the file of a scenario below the root, if the mutant has none of its own; empty = the workload.
        seeds: from 1 to this one, until a law is broken; those that are known to show the mutant first.
        also: before these.
        errors: whether an error of the scenario is enough.
        time_box_seconds: it has been tried enough after so long, whatever seed it has come to.

    Raises:
        DiffError: the mutant does not apply.
    """
    with copied_package(mutant) as copy:
        began = time.monotonic()
        file = mutant.scenario if mutant is not None and mutant.scenario else scenario
        first = [mutant.seed] if mutant is not None and mutant.seed else []
        arguments = [*map(str, (*first, *also)), *([f"1:{seeds}"] if seeds else []), *in_scenario(file)]
        arguments += ["--errors"] if errors else []
        output, complaint = run_module(copy, "tests.mutants._judge", *arguments, time_box_seconds=time_box_seconds)
        seconds = time.monotonic() - began
    return _result([json.loads(line) for line in output.splitlines()], complaint, seconds)


def in_scenario(file: str) -> list[str]:
    """The arguments of `_judge` for a scenario below the root."""
    return ["--scenario", str(ROOT / file)] if file else []


@contextmanager
def copied_package(mutant: Mutant | None = None) -> Generator[Path]:
    """A directory with a copy of the package, changed or not. It is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="beamline-mutant-") as name:
        copy = Path(name)
        shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            apply_mutant(mutant, copy)
        yield copy


def run_module(copy: Path, module: str, *arguments: str, time_box_seconds: float | None = None) -> tuple[str, str]:
    """Run a module of the tests on a copy; returns what it printed, and the last line of its complaint if it failed."""
    # Of the tests only their directory: the tree must not offer its own package.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    tests = copy / "tests" / "mutants"
    shutil.copytree(Path(__file__).parent, tests, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=time_box_seconds
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        return output.decode() if isinstance(output, bytes) else output, ""
    complaint = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return done.stdout, complaint[0] if complaint else ("" if not done.returncode else f"exit {done.returncode}")


def _result(lines: list[dict[str, Any]], complaint: str, seconds: float) -> Result:
    last: dict[str, Any] = lines[-1] if lines else {"seed": 0, "laws": [], "error": "", "reason": ""}
    laws, error, reason = tuple(last["laws"]), last["error"], last["reason"]
    if complaint:
        error, reason = ("import" if not lines else "crash"), complaint
    return Result(laws[0] if laws else "", laws, "" if laws else error, reason, last["seed"], len(lines), seconds)
