"""`python -m tests.determinism [--seeds 1:100] [--scenario MODULE:FUNCTION]`; exit code 0 if all are identical.

Without a scenario the seeds are shared: the last quarter of them goes to the accounts, which have JetStream, half of it
to those of routers.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ._compare import HASH_SEEDS, Traced, compare

# The full client under faults: what the mutants are found with.
SCENARIO = "tests.mutants._workload:scenario"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ACCOUNTS = str(EXAMPLES / "accounting.py")
ROUTERS = str(EXAMPLES / "router_accounting.py")


def main() -> int:
    """Compare, and say what was compared."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism", description=__doc__)
    parser.add_argument("--seeds", default="1:100", metavar="FIRST:LAST")
    parser.add_argument("--scenario", metavar="MODULE:FUNCTION")
    options = parser.parse_args()
    first, last = (int(part) for part in options.seeds.split(":"))
    began = time.monotonic()
    traced: list[Traced] = []
    differences: list[str] = []
    for scenario, one, other in _parts(options.scenario, first, last):
        more, found = compare(scenario, one, other)
        traced += more
        differences += found
    for difference in differences:
        print(difference)
    print(
        f"{len(traced)} seeds x 2 processes (PYTHONHASHSEED {' and '.join(HASH_SEEDS)}), "
        f"{sum(one.had_plan for one in traced)} with faults, {sum(one.entries for one in traced)} trace lines each: "
        f"{len(traced) - len(differences)} identical, {len(differences)} different ({time.monotonic() - began:.0f} s)"
    )
    return 1 if differences or not traced else 0


def _parts(scenario: str | None, first: int, last: int) -> list[tuple[str, int, int]]:
    """Which scenario runs under which seeds."""
    if scenario is not None:
        return [(scenario, first, last)]
    middle, eighth = last - (last + 1 - first) // 4, last - (last + 1 - first) // 8
    parts = ((SCENARIO, first, middle), (ACCOUNTS, middle + 1, eighth), (ROUTERS, eighth + 1, last))
    return [part for part in parts if part[1] <= part[2]]


if __name__ == "__main__":
    sys.exit(main())
