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
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from beamline_trio.scenarios import SCENARIOS, ScenarioError, as_report
from beamline_trio.scenarios._plan import COMPRESSED_MINUTES
from beamline_trio.server_process import find_haproxy

REAL = ("5.1", "5.2", "5.3")
COMPRESSED_SECONDS = COMPRESSED_MINUTES * 60 + 1
WALL_SECONDS_MAX = 300.0
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
    numbers = list(dict.fromkeys(options.numbers)) or (REAL if real else by_cost())
    words = ["--on", options.on, "--rate", f"{options.rate:g}", "--seed", str(options.seed), "--out", str(options.out)]
    if options.full and real:
        words.append("--full")
    if real and find_haproxy() is not None:
        os.environ.setdefault("ROUTER_LOAD_BALANCER_ENABLED", "true")
    began, ended = time.monotonic(), dict[str, float]()

    def run_one(number: str) -> dict[str, Any]:
        found = run(words, number)
        ended[number] = time.monotonic() - began
        return found

    with ThreadPoolExecutor(1 if real else 2) as pool:
        results = dict(zip(numbers, pool.map(run_one, numbers), strict=True))
    tell(results, real=real)
    for reason in skipped(numbers) if real else ():
        print(f"skipped: {reason}")
    print(*took(results, ended), sep="\n", flush=True)
    return 0 if all(result.get("result", "").startswith("passed") for result in results.values()) else 1


def by_cost() -> list[str]:
    """What costs most first, so that nothing long is left for the end: by its length, and by the servers there are.

    A second variant of a scenario runs behind all others, whose time has a limit without it.
    """

    def cost(number: str) -> tuple[bool, float]:
        scenario = SCENARIOS[number]
        return is_variant(number), -scenario.minutes * scenario.topology.nodes * max(1, len(scenario.topology.regions))

    return sorted(SCENARIOS, key=cost)


def is_variant(number: str) -> bool:
    """Whether this is a scenario once more, with other settings."""
    return number[-1].isalpha()


def took(results: dict[str, dict[str, Any]], ended: dict[str, float]) -> Iterator[str]:
    """How long the scenarios took together, from the start to the last end; behind it, with variants, if there are."""
    first = [number for number in results if not is_variant(number)]
    sums = {"scenarios": first, "with variants": list(results) if len(first) < len(results) else []}
    for what, numbers in sums.items():
        if numbers:
            cpu = sum(results[number].get("cpu_seconds", 0.0) for number in numbers)
            wall = max(ended[number] for number in numbers)
            yield f"{len(numbers)} {what} in {wall:.0f} s of wall time, {cpu:.0f} s of CPU"


def run(words: Sequence[str], number: str) -> dict[str, Any]:
    """Run one in a process of its own."""
    done = subprocess.run([*COMMAND, number, *words], stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, Any] = {"result": f"ended with {done.returncode}"}
    if done.stdout:
        found = json.loads(Path(json.loads(done.stdout)["file"]).read_text(encoding="utf-8"))
        if wrong := [*late(found), *unlike(found)]:
            found["result"] = "failed"
            found["findings"] += wrong
    print(f"{number}: {found['result']}", file=sys.stderr, flush=True)
    return found


def late(one: dict[str, Any]) -> list[dict[str, str]]:
    """The finding that a compressed run took too long, with what starts and ends around it."""
    if one["on"] != "real" or one["planned_seconds"] > COMPRESSED_SECONDS or one["wall_seconds"] <= WALL_SECONDS_MAX:
        return []
    value = f"{one['wall_seconds']:.0f} s"
    return [{"name": "wall time", "mark": "fail", "value": value, "limit": f"<= {WALL_SECONDS_MAX:g} s"}]


def unlike(one: dict[str, Any]) -> list[dict[str, str]]:
    """The finding that a report is not what its schema says."""
    try:
        as_report(one)
    except ScenarioError as error:
        return [{"name": "report", "mark": "fail", "value": str(error), "limit": "as in its schema"}]
    return []


def tell(results: dict[str, dict[str, Any]], *, real: bool) -> None:
    """The table, in the scenarios' order; of real servers also what was counted."""
    length_name = "length" if real else "simulated"
    print(f"\n{'':4}  {'result':<20}  {length_name:>10}  {'wall':>9}  {'CPU':>9}  {'x real time':>11}")
    for number in sorted(results):
        one = results[number]
        if "wall_seconds" not in one:
            print(f"{number:4}  {one['result']}")
            continue
        length, wall, cpu = one["seconds"], one["wall_seconds"], one["cpu_seconds"]
        times = f"{length / 60:>6.1f} min  {wall:>7.1f} s  {cpu:>7.1f} s  {length / wall:>11.1f}"
        print(f"{number:4}  {one['result']:<20}  {times}")
        if real:
            print(*counted(one), sep="\n")
        for finding in one["findings"]:
            if finding["mark"] != "ok":
                print(f"      {finding['mark']}: {finding['name']}: {finding['value']}, must be {finding['limit']}")


# Of a real run: what is told, and its name in the report.
COUNTS = {
    "published": "begun",
    "acked": "acked",
    "consumed": "ended",
    "twice": "stored_twice",
    "lost": "lost",
    "unknown": "unknown",
    "out of order": "out_of_order",
    "handled again": "handled_again",
    "dead letters": "dead_letters",
}
# Of a real run: findings that are told when they are well, too.
TOLD = (
    "throughput of the base is back",
    "longest gap in throughput",
    "longest gap in throughput while there is a quorum",
    "loss of the quorum is seen, and its return",
    "readiness tells of the quorum",
    "alert RouterQuorumLost",
    "alert RouterRegionPartition",
    "requests that were answered",
    "what was done is remembered over restarts",
    "moments without an instance that is ready",
    "load balancer finds a ready instance",
)


def counted(one: dict[str, Any]) -> Iterator[str]:
    """What a real run has counted, and how long it stood still and took to recover."""
    counts, rates = one["counts"], one["throughput"]
    yield "      " + ", ".join(f"{name} {counts[field]:,}" for name, field in COUNTS.items())
    yield (
        f"      longest gap {rates['longest_gap_seconds']:.1f} s, between PubAcks "
        f"{rates['longest_ack_gap_seconds']:.1f} s; longest recovery {rates['longest_recovery_seconds']:.1f} s"
    )
    faults = Counter(fault["kind"].replace("_", " ") for fault in one["faults"])
    yield "      " + ", ".join(f"{count} x {kind}" for kind, count in faults.items())
    errors = ", ".join(f"{name} {count:,}" for name, count in counts["publish_errors"].items())
    yield f"      attempts that failed and were made again: {errors or 'none'}"
    for finding in one["findings"]:
        if finding["name"] in TOLD and finding["mark"] == "ok":
            yield f"      {finding['name']}: {finding['value']}"


def skipped(numbers: Sequence[str]) -> Iterator[str]:
    """What real runs here leave out, each with the reason."""
    if find_haproxy() is None and {"5.1", "5.3"} & set(numbers):
        yield "the load balancer of 5.1 and 5.3: there is no haproxy on this machine (Debian: apt-get install haproxy)"
    if "5.2" in numbers:
        yield "a load balancer in 5.2: each region has one instance of the router"


if __name__ == "__main__":
    sys.exit(main())
