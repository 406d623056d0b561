"""`python -m tests.determinism [--seeds 1:100] [--scenario MODULE:FUNCTION]`; exit code 0 if all are identical."""

from __future__ import annotations

import argparse
import sys
import time

from ._compare import HASH_SEEDS, compare

# The full client under faults: what the mutants are found with.
SCENARIO = "tests.mutants._workload:scenario"


def main() -> int:
    """Compare, and say what was compared."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism", description=__doc__)
    parser.add_argument("--seeds", default="1:100", metavar="FIRST:LAST")
    parser.add_argument("--scenario", default=SCENARIO, metavar="MODULE:FUNCTION")
    options = parser.parse_args()
    first, last = (int(part) for part in options.seeds.split(":"))
    began = time.monotonic()
    traced, differences = compare(options.scenario, first, last)
    for difference in differences:
        print(difference)
    print(
        f"{len(traced)} seeds x 2 processes (PYTHONHASHSEED {' and '.join(HASH_SEEDS)}), "
        f"{sum(one.had_plan for one in traced)} with faults, {sum(one.entries for one in traced)} trace lines each: "
        f"{len(traced) - len(differences)} identical, {len(differences)} different ({time.monotonic() - began:.0f} s)"
    )
    return 1 if differences or not traced else 0


if __name__ == "__main__":
    sys.exit(main())
