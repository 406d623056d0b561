"""The sweep: an application with the full client keeps every law under many seeds, each with faults of its own."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.mutants._trial import copied_package, run_module

# FIRST:LAST; the nightly run sweeps more.
SEEDS = os.environ.get("BEAMLINE_SWEEP_SEEDS", "1:200")


@pytest.mark.slow
@pytest.mark.timeout(0)  # a sweep of the nightly takes as long as it takes; a seed that gets stuck is noticed below
def test_every_law_holds_under_every_seed() -> None:
    """In a process of its own, on a copy of the package: at the speed that it has without a measurement of coverage."""
    first, last = map(int, SEEDS.split(":"))
    began = time.perf_counter()
    with copied_package() as copy:
        output, complaint = run_module(copy, "tests.mutants._judge", str(first), str(last), "--errors")
    seconds = time.perf_counter() - began
    runs = [json.loads(line) for line in output.splitlines()]
    assert not complaint, complaint
    seed = runs[-1]["seed"]
    replay = f"`python -m beamline_trio.cli simulate tests/mutants/_workload.py --seeds {seed}:{seed}`"
    assert not runs[-1]["reason"], f"seed {seed}: {runs[-1]['reason']}; replay it by {replay}"
    assert len(runs) == last - first + 1
    events, hours = sum(run["events"] for run in runs), sum(run["virtual_seconds"] for run in runs) / 3600
    print(
        f"\nsweep: {len(runs)} seeds in {seconds:.1f} s, {events / seconds:,.0f} events/s, "
        f"{hours:.2f} simulated hours, {hours / seconds:.3f} a second"
    )
