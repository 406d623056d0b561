"""The table of the cells: which operation with which fault was proven how, and before which server.

A test tells what its cell has proven by a property of its report, and `Table` is a plugin of pytest that reads these.

Must not run anything, nor import the package: pytest has to see it first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.faults._names import FAULTS, NAMES, OPERATIONS, SEEDS, Proven

SIMULATION: Final = "simulation"
REAL: Final = "real server"
RUNS: Final = {SIMULATION: len(SEEDS), REAL: 1}
_PROPERTY: Final = "fault cell"


@contextmanager
def told(record_property: Callable[[str, object], None], cell: str, where: str, proven: set[Proven]) -> Generator[None]:
    """Tell of a cell what it has proven when the block ends, and that it has proven all."""
    try:
        yield
    finally:
        record_property(_PROPERTY, (cell, where, sorted(proven)))
    assert proven == set(Proven), f"{cell} has proven {sorted(proven)}, it must prove {sorted(Proven)}"


class Table:
    """What the runs of the cells have proven."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], list[set[str]]] = {}
        self._failed: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one run, by the report of its call."""
        value: Any
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == "call":
                cell, where, proven = value
                self.add(cell, where, proven, passed=report.passed)

    def add(self, cell: str, where: str, proven: Iterable[str], *, passed: bool) -> None:
        """Note one run of a cell."""
        self._runs.setdefault((cell, where), []).append(set(proven))
        if not passed:
            self._failed.add((cell, where))

    def proven(self, where: str) -> int:
        """How many cells have proven everything, in each of their runs."""
        return sum(self._is_proven(cell, where) for cell in NAMES)

    @property
    def complete(self) -> bool:
        """Whether every cell has proven everything in the simulation, and before the real server if there was one."""
        met_real = any(where == REAL for _, where in self._runs)
        return all(self.proven(where) == len(NAMES) for where in RUNS if where != REAL or met_real)

    def _is_proven(self, cell: str, where: str) -> bool:
        runs = self._runs.get((cell, where), [])
        return len(runs) == RUNS[where] and (cell, where) not in self._failed

    def lines(self) -> list[str]:
        """The table, and a line for each server."""
        groups = "".join(f"  {where:<39}" for where in RUNS)
        proofs = "".join(f"{proof:<13}" for proof in Proven)
        lines = [f"{'':<31}{groups}".rstrip(), f"{'operation':<18}{'fault':<13}{f'  {proofs}' * len(RUNS)}".rstrip()]
        for operation in OPERATIONS:
            for fault in FAULTS:
                cell = f"{operation}_{fault}"
                marks = "".join(f"  {self._marks(cell, where)}" for where in RUNS)
                lines.append(f"{operation:<18}{fault:<13}{marks}".rstrip())
        return [*lines, "", *(self._sum(where) for where in RUNS)]

    def _marks(self, cell: str, where: str) -> str:
        runs = self._runs.get((cell, where), [])
        if len(runs) < RUNS[where]:
            return f"{'did not run':<39}"
        return "".join(f"{'proven' if all(proof in run for run in runs) else 'FAILED':<13}" for proof in Proven)

    def _sum(self, where: str) -> str:
        seeds = f", {RUNS[where]} seeds each" if RUNS[where] > 1 else ""
        return f"{where}: {self.proven(where)} of {len(NAMES)} cells, three proofs each{seeds}"
