"""`python -m tests.mutants`: do the simulation's laws find bugs of the client?

The unchanged package must pass the seeds under which the mutants were caught by a law, and more. Then, if asked for,
mutants are drawn, and the rate at which they are caught is printed with the diffs of those that survive: a survivor is
a change that no law sees, or one that changes nothing that anybody can see.

Exit code 1 when the unchanged package fails, or one of the kept mutants is not caught.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import attrs

from ._apply import Mutant, fixed_mutants
from ._draw import draw_mutants
from ._trial import SEEDS, SEEDS_MAX, Result, try_mutant

# A mutant that was drawn has been tried enough after so long.
DRAWN_SECONDS: Final = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _parse(arguments)
    mutants = [mutant for mutant in fixed_mutants() if not options.mutants or mutant.name in options.mutants]
    if unknown := sorted(set(options.mutants) - {mutant.name for mutant in mutants}):
        sys.exit(f"there is no mutant {', '.join(unknown)}; the mutants are the *.diff of tests/mutants")
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        caught = 0
        shown: defaultdict[str, set[int]] = defaultdict(set)
        for mutant, result in _try_all(pool, partial(_try_fixed, seeds=options.seeds), mutants):
            caught += bool(result.law)
            shown[mutant.scenario].add(result.seed)
            print(f"{mutant.name:<36} {_fixed(mutant, result)}", flush=True)
            if options.verbose:
                print(f"    {mutant.breaks}\n    {result.reason}\n    {', '.join(result.laws)}")
        print(f"{caught} of {len(mutants)} mutants caught by a law")
        good = caught == len(mutants)
        unchanged = {scenario: pool.submit(_try_unchanged, scenario, at, options) for scenario, at in shown.items()}
        for scenario, trial in unchanged.items():
            good &= _report_unchanged(scenario, trial.result())
        if options.draw:
            _try_drawn(pool, options.draw, options.draw_seed, options.seeds)
    return 0 if good else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--mutants", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds 1 to this one (default {SEEDS})")
    parser.add_argument(
        "--unchanged",
        type=int,
        default=SEEDS,
        metavar="N",
        help=f"what the unchanged package passes besides the seeds that show a mutant: 1 to N (default {SEEDS})",
    )
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="so many drawn mutants behind them")
    parser.add_argument("--draw-seed", type=int, default=1, metavar="S", help="which ones")
    parser.add_argument("--verbose", action="store_true", help="say how each was caught")
    return parser.parse_args(arguments)


def _try_all(
    pool: ThreadPoolExecutor, trial: Callable[[Mutant], Result], mutants: Sequence[Mutant]
) -> Iterator[tuple[Mutant, Result]]:
    yield from zip(mutants, pool.map(trial, mutants), strict=True)


def _try_unchanged(scenario: str, shown: set[int], options: argparse.Namespace) -> Result:
    """Under the seeds that have shown a mutant, and as many as are asked for."""
    seeds = min(options.unchanged, SEEDS_MAX.get(scenario, options.unchanged))
    return try_mutant(None, scenario=scenario, seeds=seeds, also=sorted(shown - set(range(seeds + 1))), errors=True)


def _try_fixed(mutant: Mutant, *, seeds: int) -> Result:
    return try_mutant(mutant, seeds=seeds)


def _fixed(mutant: Mutant, result: Result) -> str:
    """Of all laws that were broken the one that the mutant names is the one to tell."""
    named = mutant.breaks.split(":", 1)[0]
    if named in result.laws:
        result = attrs.evolve(result, law=named)
    return str(result) if result.law or not result.error else f"NOT CAUGHT by a law: {result}"


def _report_unchanged(scenario: str, result: Result) -> bool:
    under = f" of {scenario}" if scenario else ""
    if result.caught:
        print(f"unchanged: FAILS, {result}{under}: {result.reason}")
    else:
        print(f"unchanged: passes {result.seeds} seeds{under} ({result.seconds:.1f} s)")
    return not result.caught


def _try_drawn(pool: ThreadPoolExecutor, count: int, seed: int, seeds: int) -> None:
    mutants = draw_mutants(count, seed)
    trial = partial(try_mutant, seeds=seeds, errors=True, time_box_seconds=DRAWN_SECONDS)
    survivors: list[Mutant] = []
    for mutant, result in _try_all(pool, trial, mutants):
        print(f"{mutant.name:<64} {result}", flush=True)
        if not result.caught:
            survivors.append(mutant)
    caught = len(mutants) - len(survivors)
    print(f"{caught} of {len(mutants)} drawn mutants caught ({caught / max(len(mutants), 1):.0%}), seed {seed}")
    for mutant in survivors:
        print(f"\nsurvivor {mutant.name}\n{mutant.text}", end="")


if __name__ == "__main__":
    sys.exit(main())
