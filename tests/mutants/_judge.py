"""Runs the workload, or another scenario, under one seed after another, and tells of each in a line of JSON.

    python -m tests.mutants._judge SEED|FIRST:LAST ... [--errors] [--scenario FILE]

Ends at the first seed in which a law is broken; with `--errors` also at the first one in which the scenario raises. The
package under test is whichever PYTHONPATH leads to.

Must not know mutants.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

# A seed takes less than a second, one of a cluster some: what takes so long goes round in circles, and may eat memory.
STUCK_SECONDS: Final = 60.0
MEMORY_BYTES_MAX: Final = 2 << 30


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", nargs="+", metavar="SEED|FIRST:LAST")
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--scenario", default="")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    judge(options.scenario, itertools.chain.from_iterable(map(_numbers, options.seeds)), errors=options.errors)


def _numbers(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last or first) + 1)


def judge(file: str, seeds: Iterable[int], *, errors: bool) -> None:
    """Run the seeds until one is bad."""
    from beamline_trio.simulation import run_scenario

    scenario = _unnoted(_load(file))
    for seed in seeds:
        _alarm(seed)
        verdict = run_scenario(scenario, seed)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        laws = list(dict.fromkeys(violation.law for violation in verdict.broken))
        error = type(verdict.error).__name__ if verdict.error is not None else ""
        _tell(
            seed,
            laws=laws,
            error=error,
            reason=verdict.reason,
            events=verdict.events,
            virtual_seconds=verdict.virtual_seconds,
            figures=dict(verdict.figures),
        )
        if laws or (error and errors):
            return


def _load(file: str) -> Callable[..., Any]:
    if file:
        from beamline_trio.cli._scenario_file import load_scenario

        return load_scenario(file)
    from ._workload import scenario

    return scenario


def _unnoted(scenario: Callable[..., Any]) -> Callable[..., Any]:
    """The same without a trace, which is a sixth of what it costs: only the verdict is looked at."""

    @functools.wraps(scenario)
    async def run(world: Any) -> None:
        world.trace.stop()
        await scenario(world)

    return run


def _alarm(seed: int) -> None:
    def stuck(*_: object) -> NoReturn:
        _tell(seed, laws=[], error="stuck", reason=f"one seed took more than {STUCK_SECONDS:g} s")
        os._exit(0)  # whatever goes round in circles may catch exceptions

    signal.signal(signal.SIGALRM, stuck)
    signal.setitimer(signal.ITIMER_REAL, STUCK_SECONDS)


def _tell(seed: int, *, laws: list[str], error: str, reason: str, **figures: object) -> None:
    line = {"seed": seed, "laws": laws, "error": error, "reason": reason[:300]}
    sys.stdout.write(json.dumps({**line, **figures}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
