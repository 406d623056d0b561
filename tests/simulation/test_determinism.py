"""Same seed, two fresh processes, different hash seeds: the same trace, byte for byte.

`nox -s determinism` compares 100 seeds; this keeps the property and the comparison itself alive.
"""

from __future__ import annotations

import os

import pytest
import trio

from beamline_trio.simulation import World
from tests.determinism.__main__ import ACCOUNTS
from tests.determinism._compare import compare


async def hashes(world: World) -> None:
    """What must not be done: behaviour from the order of a set, which depends on the hash seed."""
    words = {"alpha", "beta", "gamma", "delta", "epsilon"}
    for word in words:
        world.trace.add("app", "word", word=word)
        await trio.sleep(1)


@pytest.mark.slow
def test_traces_are_identical_over_processes() -> None:
    """The full client under faults: every seed's trace is the same in both processes, and they have faults."""
    traced, differences = compare("tests.mutants._workload:scenario", 1, 4)
    assert not differences, differences[0]
    assert [one.seed for one in traced] == [1, 2, 3, 4]
    assert all(one.had_plan and one.entries > 100 for one in traced)
    assert len({one.digest for one in traced}) == len(traced)


@pytest.mark.slow
def test_the_traces_of_streams_are_identical_too() -> None:
    """JetStream, its consumers and a server that dies: the same in both processes."""
    traced, differences = compare(ACCOUNTS, 1, 2)
    assert not differences, differences[0]
    assert all(one.had_plan and one.entries > 1_000 for one in traced)


@pytest.mark.slow
def test_a_difference_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that depends on the order of a set differs, and the first line that does is shown."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["."]))
    _, differences = compare("tests.simulation.test_determinism:hashes", 1, 1)
    assert len(differences) == 1
    assert differences[0].startswith("seed 1, line 1:\n")
    assert '"kind":"word"' in differences[0]
