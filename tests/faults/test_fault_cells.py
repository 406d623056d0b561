"""The cells of fault injection before the simulated server, in virtual time; see `_cells`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from beamline_trio.faults import FaultDialer
from beamline_trio.simulation import World, run
from tests.faults._cells import CELLS
from tests.faults._proof import Stage


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
def test_cell(cell: Callable[[Stage], Awaitable[None]], seed: int) -> None:
    """The law is the cell's docstring."""

    async def play(world: World) -> None:
        server = await world.start_server("a")
        await cell(Stage(server.url, FaultDialer(world.dialer("app")), world.dialer("witness")))

    run(play, seed=seed)


def test_there_are_fifteen() -> None:
    """Five faults and three operations, each together with each."""
    operations = ("connect", "publish", "subscribe")
    faults = ("error", "timeout", "close", "delay", "intermittent")
    assert [cell.__name__ for cell in CELLS] == [f"{operation}_{fault}" for operation in operations for fault in faults]
