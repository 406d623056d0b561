"""Laws of the table of cells: it counts only what was proven in every run, and a failed or missing cell shows."""

from __future__ import annotations

import pytest

from tests.faults._names import NAMES, Proven
from tests.faults._table import REAL, RUNS, SIMULATION, Table, told

ALL = sorted(Proven)


def filled() -> Table:
    """Everything was proven everywhere."""
    table = Table()
    for where, runs in RUNS.items():
        for name in NAMES * runs:
            table.add(name, where, ALL, passed=True)
    return table


def test_thirty_of_thirty() -> None:
    """The line that a run is judged by."""
    table = filled()
    assert table.complete
    assert table.lines()[-2:] == [
        "simulation: 30 of 30 cells, three proofs each, 3 seeds each",
        "real server: 30 of 30 cells, three proofs each",
    ]
    assert sum(line.split().count("proven") for line in table.lines()[2:32]) == 180


def test_a_failed_cell_shows() -> None:
    """One run of one cell that has not proven something: it does not count, and it stands in its row."""
    table = filled()
    table.add("ack_close", SIMULATION, [Proven.SEMANTICS], passed=False)
    assert not table.complete
    assert table.proven(SIMULATION) == 29
    assert "ack               close          FAILED       proven       FAILED         proven" in "\n".join(
        table.lines()
    )


@pytest.mark.parametrize("missing", [1, len(RUNS)])
def test_a_missing_cell_shows(missing: int) -> None:
    """It ran under too few seeds, or not at all."""
    table = Table()
    for name in NAMES:
        for _ in range(RUNS[SIMULATION] - (missing if name == "nak_delay" else 0)):
            table.add(name, SIMULATION, ALL, passed=True)
    assert not table.complete
    assert table.proven(SIMULATION) == 29
    assert any(line.startswith("nak               delay          did not run") for line in table.lines())


def test_without_a_real_server_the_simulation_is_enough() -> None:
    """The count says that none ran there; some that ran and some that did not are no complete run."""
    table = Table()
    for name in NAMES * RUNS[SIMULATION]:
        table.add(name, SIMULATION, ALL, passed=True)
    assert table.complete
    assert table.lines()[-1] == "real server: 0 of 30 cells, three proofs each"
    table.add("connect_error", REAL, ALL, passed=True)
    assert not table.complete


def test_a_cell_must_prove_everything() -> None:
    """One that forgets a proof fails, and what it has proven is told all the same."""
    properties: list[tuple[str, object]] = []
    with (
        pytest.raises(AssertionError, match="it must prove"),
        told(lambda name, value: properties.append((name, value)), "ack_error", REAL, {Proven.RESILIENCE}),
    ):
        pass
    assert properties == [("fault cell", ("ack_error", REAL, ["resilience"]))]
