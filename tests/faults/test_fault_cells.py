"""The cells of fault injection before the simulated server, in virtual time; see `_cells`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from beamline_trio.faults import FaultDialer, OperationKind
from beamline_trio.simulation import ServerConfig, World, run
from tests.faults._cells import CELLS, Cell
from tests.faults._names import FAULTS, NAMES, OPERATIONS, SEEDS, Proven
from tests.faults._proof import Stage
from tests.faults._table import SIMULATION, told


@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
def test_cell(cell: Cell, seed: int, record_property: Callable[[str, object], None]) -> None:
    """The law is the cell's docstring."""
    proven: set[Proven] = set()

    async def play(world: World) -> None:
        server = await world.start_server("a", ServerConfig(jetstream=True))
        await cell(Stage(server.url, FaultDialer(world.dialer("app")), world.dialer("witness"), proven))

    with told(record_property, cell.__name__, SIMULATION, proven):
        run(play, seed=seed)


def test_there_are_thirty() -> None:
    """Five faults and six operations, each together with each."""
    assert [cell.__name__ for cell in CELLS] == list(NAMES)
    assert len(NAMES) == len(OPERATIONS) * len(FAULTS) == 30
    assert set(OPERATIONS) == set(OperationKind)
