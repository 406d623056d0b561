"""The traces of a scenario under some seeds, in this process; one line `seed digest entries` for each on stdout.

Run by `_compare` in fresh processes; with a directory it leaves every trace there as a file.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beamline_trio.cli._scenario_file import load_scenario
from beamline_trio.simulation import run_scenario


def main(target: str, first: int, last: int, directory: Path | None) -> None:
    """Run the scenario under the seeds from first to last."""
    scenario = load(target)
    for seed in range(first, last + 1):
        file = None if directory is None else directory / f"{seed}.jsonl"
        verdict = run_scenario(scenario, seed, trace_file=file)
        print(seed, verdict.trace.digest(), verdict.trace.count, verdict.plan is not None, flush=True)


def load(target: str) -> Callable[..., Any]:
    """`module:function`, or the file of a scenario."""
    if target.endswith(".py"):
        return load_scenario(target)
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]) if len(sys.argv) > 4 else None)
