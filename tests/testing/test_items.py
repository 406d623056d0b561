"""The names under which a failure can be run again."""

from __future__ import annotations

import pytest

from beamline_trio.testing._items import replay_command, without_seed


@pytest.mark.parametrize(
    "name, bare",
    [
        ("test_a.py::test_b[seed-17]", "test_a.py::test_b"),
        ("test_a.py::TestC::test_b[7-x-seed-17]", "test_a.py::TestC::test_b[7-x]"),
        ("test_a.py::test_b[simulated-seed-17]", "test_a.py::test_b[simulated]"),
        ("test_a.py::test_b[-seed-17]", "test_a.py::test_b[]"),
    ],
)
def test_a_name_without_its_seed(name: str, bare: str) -> None:
    """The seed goes, and the other parameters stay."""
    assert without_seed(name, 17) == bare


def test_the_command_is_one_for_a_shell() -> None:
    """Names with spaces and brackets are quoted, and those with a dollar or a quote are safe."""
    assert replay_command("a.py::b[c d]", 3, None) == 'pytest "a.py::b[c d]" --nats-seed 3'
    assert (
        replay_command("a.py::b[$HOME]", 3, "my plan") == "pytest 'a.py::b[$HOME]' --nats-seed 3 --nats-plan 'my plan'"
    )
