"""What the contender programs share: arguments, pinning, clocks, memory, the printed result.

Must not import anything beyond the standard library (see `_protocol`), and must not favour anyone: the same
interpreter, garbage collector settings and event loop policy for all. uvloop is not used: trio has no
counterpart, and the rows compare the clients, not the loops below them.
"""

import gc
import importlib.metadata
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks._protocol import Params

Result = dict[str, Any]


class Elapsed(NamedTuple):
    """Wall-clock and processor seconds (all threads of the process) of a timed section."""

    wall_seconds: float
    cpu_seconds: float


class Stopwatch:
    """Starts when made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def read(self) -> Elapsed:
        return Elapsed(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def throughput(messages: int, elapsed: Elapsed, **counts: int) -> Result:
    """Return the result of a workload that is measured in messages per second."""
    cpu_us = elapsed.cpu_seconds / messages * 1e6
    return {
        "metrics": {"rate_k": [messages / elapsed.wall_seconds / 1e3], "cpu_us": [cpu_us]},
        "cpu_us": cpu_us,
        **counts,
    }


def latencies(samples_ns: list[int], elapsed: Elapsed) -> Result:
    """Return the result of a workload that is measured in microseconds per operation."""
    ordered = sorted(samples_ns)
    return {
        "metrics": {"p50_us": [percentile(ordered, 0.50) / 1e3], "p99_us": [percentile(ordered, 0.99) / 1e3]},
        "cpu_us": elapsed.cpu_seconds / len(ordered) * 1e6,
    }


def percentile(ordered: list[int], fraction: float) -> int:
    """Return the sample below which `fraction` of the ordered samples lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def rss_mb() -> float:
    """Return the resident memory of this process in MB, after a full collection."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def say(event: str, **fields: float) -> None:
    """Tell the runner about an event while the workload runs."""
    print(json.dumps({"event": event, **fields}), flush=True)


def main(distribution: str, workloads: Mapping[str, Callable[[Params], Any]], run: Callable[..., Result]) -> None:
    """Run the workload named on the command line by `run(function, params)` and print its result.

    `--check` prints the client's version instead; the runner takes an import error here for a missing
    contender.
    """
    if sys.argv[1] == "--check":
        print(json.dumps({"version": _version(distribution)}), flush=True)
        return
    params = Params.from_json(sys.argv[2])
    if params.cpu is not None:
        os.sched_setaffinity(0, {params.cpu})
    # Clients log each refused reconnect with a traceback; formatting those is not what the rows measure.
    logging.disable(logging.CRITICAL)
    print(json.dumps(run(workloads[sys.argv[1]], params)), flush=True)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "source tree"
