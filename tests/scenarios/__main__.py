"""Scenarios, one process each, and a table of them: `python -m tests.scenarios [--on real] [--rate 10] [5.1 ...]`.

Simulated ones run two at a time, real ones one after the other. `nox -s scenarios` and `nox -s scenarios-real` call it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from beamline_trio.scenarios import SCENARIOS
from beamline_trio.server_process import find_haproxy

REAL = ("5.1", "5.2", "5.3")
COMMAND = (sys.executable, "-m", "beamline_trio.cli", "scenario", "run", "--json")


def main() -> int:
    """Run them; the exit code tells whether all hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios")
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="else all, or 5.1, 5.2 and 5.3 on real servers")
    parser.add_argument("--on", choices=("simulation", "real"), default="simulation")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("scenario-reports"))
    options = parser.parse_args()
    real = options.on == "real"
    numbers = options.numbers or (REAL if real else by_length())
    words = ["--on", options.on, "--rate", f"{options.rate:g}", "--seed", str(options.seed), "--out", str(options.out)]
    if options.full and real:
        words.append("--full")
    if real and find_haproxy() is None:
        print("no haproxy on this machine: the instances of 5.1 and 5.3 have no load balancer", flush=True)
    elif real:
        os.environ.setdefault("ROUTER_LOAD_BALANCER_ENABLED", "true")
    began = time.monotonic()
    with ThreadPoolExecutor(1 if real else 2) as pool:
        results = dict(zip(numbers, pool.map(partial(run, words), numbers), strict=True))
    tell(results, real=real)
    print(f"{len(results)} scenarios in {time.monotonic() - began:.0f} s of wall time", flush=True)
    return 0 if all(result.get("result", "").startswith("passed") for result in results.values()) else 1


def by_length() -> list[str]:
    """The longest first, so that no long one is left for the end."""
    return sorted(SCENARIOS, key=lambda number: -SCENARIOS[number].minutes)


def run(words: Sequence[str], number: str) -> dict[str, Any]:
    """Run one in a process of its own."""
    done = subprocess.run([*COMMAND, number, *words], stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"result": f"ended with {done.returncode}"}
    print(f"{number}: {found['result']}", file=sys.stderr, flush=True)
    return found


def tell(results: dict[str, dict[str, Any]], *, real: bool) -> None:
    """The table, in the scenarios' order; of real servers also what was counted."""
    print(f"\n{'':4}  {'result':<20}  {'simulated' if not real else 'length':>10}  {'wall':>9}  {'x real time':>11}")
    for number in sorted(results):
        one = results[number]
        if "wall_seconds" not in one:
            print(f"{number:4}  {one['result']}")
            continue
        length, wall = one["seconds"], one["wall_seconds"]
        print(f"{number:4}  {one['result']:<20}  {length / 60:>6.1f} min  {wall:>7.1f} s  {length / wall:>11.1f}")
        counts, rates = one["counts"], one["throughput"]
        if real:
            names = ("begun", "acked", "done", "dead_letters", "handled_again", "stored_twice", "lost", "unknown")
            print("      " + ", ".join(f"{name.replace('_', ' ')} {counts[name]:,}" for name in names))
            print(
                f"      longest gap {rates['longest_gap_seconds']:.1f} s, between PubAcks "
                f"{rates['longest_ack_gap_seconds']:.1f} s; longest recovery {rates['longest_recovery_seconds']:.1f} s"
            )
        for finding in one["findings"]:
            if finding["mark"] != "ok":
                print(f"      {finding['mark']}: {finding['name']}: {finding['value']}, must be {finding['limit']}")


if __name__ == "__main__":
    sys.exit(main())
