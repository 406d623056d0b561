"""The page on fault injection shows code that runs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from beamline_trio.simulation import World, run
from tests._documents import DOCS, code_blocks, text_of
from tests.faults._cells import CELLS
from tests.faults._names import NAMES

APPLICATION, STREAMS, PLANS = code_blocks(DOCS / "fault-injection.md", "python")


@pytest.mark.parametrize(
    "name",
    [
        "test_a_refused_order_is_told",
        "test_a_silent_server_is_survived",
        "test_an_order_is_stored_once",
        "test_a_refused_ack_lets_the_order_come_again",
    ],
)
def test_its_tests_pass(name: str) -> None:
    """As they stand on the page, in a simulated world."""
    names: dict[str, Any] = {}
    exec(APPLICATION, names)
    exec(STREAMS, names)
    test: Callable[[World], Awaitable[None]] = names[name]
    run(test, seed=1)


def test_its_plan_is_drawn_and_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    """The example has something to shrink."""
    names: dict[str, Any] = {}
    exec(PLANS, names)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert len(names["smallest"].faults) == 1


def test_the_criteria_are_the_cells() -> None:
    """The page has a row for each cell, and it says what the cell's docstring says."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", text_of(DOCS / "fault-criteria.md"), re.MULTILINE)
    laws = [law for _, _, law in rows]
    assert [f"{operation}_{fault}" for operation, fault, _ in rows] == list(NAMES)
    assert laws == [cell.__doc__ for cell in CELLS]
