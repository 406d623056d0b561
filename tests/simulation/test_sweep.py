"""The sweep: an application with the full client keeps every law under many seeds, each with faults of its own."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.mutants._trial import copied_package, in_scenario, run_module

# FIRST:LAST; the nightly run sweeps more.
SEEDS = os.environ.get("BEAMLINE_SWEEP_SEEDS", "1:40")
ACCOUNT_SEEDS = os.environ.get("BEAMLINE_ACCOUNT_SEEDS", "1:15")
ROUTER_SEEDS = os.environ.get("BEAMLINE_ROUTER_SEEDS", "1:15")
CLUSTER_SEEDS = os.environ.get("BEAMLINE_CLUSTER_SEEDS", "1:6")
ACCOUNTS = "examples/accounting.py"
ROUTERS = "examples/router_accounting.py"
CLUSTERS = "examples/cluster_accounting.py"
# What a sweep finds goes here when it is mended, with what was wrong: it is tried whichever seeds are.
ONCE_FAILED = [
    (ACCOUNTS, 172, "a publisher called unknown what the queue had given up, and nobody had written"),
    (CLUSTERS, 757, "an operator that was closed while its link was down took the whole application with it"),
    (CLUSTERS, 8, "a publish that was refused, since an attempt under its id was under way, was called failed"),
    (CLUSTERS, 322, "a consumer forgot acks since its stream, not yet caught up, lacked the messages"),
]


@pytest.mark.slow
@pytest.mark.timeout(0)  # a sweep of the nightly takes as long as it takes; a seed that gets stuck is noticed below
@pytest.mark.parametrize(
    "scenario, seeds",
    [("", SEEDS), (ACCOUNTS, ACCOUNT_SEEDS), (ROUTERS, ROUTER_SEEDS), (CLUSTERS, CLUSTER_SEEDS)],
    ids=["workload", "accounts", "routers", "clusters"],
)
def test_every_law_holds_under_every_seed(scenario: str, seeds: str) -> None:
    """In processes of their own, on copies of the package: at its speed without a measurement of coverage."""
    first, last = map(int, seeds.split(":"))
    workers = min(2, os.cpu_count() or 1)
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        bounds = [first + (last + 1 - first) * part // workers for part in range(workers + 1)]
        parts = list(pool.map(partial(_sweep, scenario), bounds[:-1], [bound - 1 for bound in bounds[1:]]))
    seconds = time.perf_counter() - began
    runs = [run for part in parts for run in part]
    assert [run["seed"] for run in runs] == list(range(first, last + 1))
    events, hours = sum(run["events"] for run in runs), sum(run["virtual_seconds"] for run in runs) / 3600
    print(
        f"\nsweep: {len(runs)} seeds in {seconds:.1f} s, {events / seconds:,.0f} events/s, "
        f"{hours:.2f} simulated hours, {hours / seconds:.3f} a second"
    )
    counted = sum((Counter(run["figures"]) for run in runs), Counter())
    assert not counted["lost"]
    if counted:
        print(", ".join(f"{name} {count:,}" for name, count in counted.items()), "lost 0", sep=", ")


@pytest.mark.slow
@pytest.mark.parametrize("scenario, seed, what", ONCE_FAILED)
def test_a_seed_that_once_failed_passes(scenario: str, seed: int, what: str) -> None:
    """Every law holds under it, as under any other."""
    (run,) = _sweep(scenario, seed, seed)
    assert not run["laws"], what


def _sweep(scenario: str, first: int, last: int) -> list[dict[str, Any]]:
    """Run some of the seeds; fails at the first one that is bad, and says how to see it again."""
    with copied_package() as copy:
        output, complaint = run_module(
            copy, "tests.mutants._judge", f"{first}:{last}", "--errors", *in_scenario(scenario)
        )
    runs = [json.loads(line) for line in output.splitlines()]
    assert not complaint, complaint
    seed, reason = runs[-1]["seed"], runs[-1]["reason"]
    replay = f"`beamline simulate {scenario or 'tests/mutants/_workload.py'} --seeds {seed}:{seed}`"
    assert not reason, f"seed {seed}: {reason}; replay it by {replay}"
    return runs
