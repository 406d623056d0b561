"""Ours against an earlier state of ours: `python -m benchmarks.against REVISION [--rounds 9] [--row NAME ...]`.

The revision is unpacked by `git archive`. Both states are measured on one server, in turns (A B, B A, A B ...), each
in a fresh process, and the client's processor time per message is compared pair by pair. Printed for each row and
style: the median of the ratios, now over then, and a 95 % interval of their mean (bootstrap over the pairs).

Exit status: 0 when every interval lies below the limit, 1 when one does not or a measurement failed.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from ._process import PROJECT
from ._rows import OURS, Entrant, Row, choose_rows
from ._runner import Runner, pin_runner
from ._server import BenchServer, find_server

DEFAULT_ROUNDS = 9
LIMIT = 1.15
_RESAMPLES = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("revision", help="of git, as in HEAD~3 or v0.1")
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, metavar="N")
    parser.add_argument("--row", action="extend", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--quick", action="store_true", help="little work for each measurement")
    options = parser.parse_args(argv)
    pins, worst = pin_runner(), 0.0
    with tempfile.TemporaryDirectory() as name, BenchServer(find_server()) as server:
        unpack(options.revision, Path(name))
        now, then = (
            Runner(server, pins, quick=options.quick, progress=lambda text: None, directory=directory)
            for directory in (PROJECT, Path(name))
        )
        known = rows_of(Path(name))
        print(f"processor time per message, now over {options.revision}, {options.rounds} rounds; limit {LIMIT}")
        for row in choose_rows(options.row):
            if row.name not in known:
                print(f"  {row.name:<20} not in {options.revision}", flush=True)
                continue
            for entrant in row.entrants:
                if entrant.contender == OURS:
                    ratios = compare(now, then, row, entrant, options.rounds)
                    worst = max(worst, _report(row, entrant, ratios))
    return 0 if worst < LIMIT else 1


def unpack(revision: str, directory: Path) -> None:
    """The tree of a revision, as files."""
    archive = subprocess.run(["git", "archive", revision], cwd=PROJECT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")


def rows_of(directory: Path) -> set[str]:
    """The names of the rows that a tree has."""
    command = [sys.executable, "-m", "benchmarks", "--list"]
    listed = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if line[:1].strip()}


def compare(now: Runner, then: Runner, row: Row, entrant: Entrant, rounds: int) -> list[float]:
    """The ratios of processor time, a pair each round; none for a row that has no such figure."""
    ratios = []
    for number in range(rounds):
        pair = {}
        for runner in (now, then) if number % 2 == 0 else (then, now):
            measured = runner.measure(row, entrant, number)
            if measured.error is not None:
                raise SystemExit(f"{row.name}, {entrant.style}: {measured.error}")
            if measured.cpu_us is None:
                return []
            pair[runner] = measured.cpu_us
        ratios.append(pair[now] / pair[then])
    return ratios


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % of the means of samples drawn with replacement; the same for the same ratios."""
    draw = random.Random(1)
    means = sorted(statistics.fmean(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    return means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES)]


def _report(row: Row, entrant: Entrant, ratios: Sequence[float]) -> float:
    """Print a line; returns the upper end of the interval."""
    if not ratios:
        return 0.0
    low, high = interval(ratios)
    verdict = "below the limit" if high < LIMIT else "NOT BELOW THE LIMIT"
    figures = f"median {statistics.median(ratios):.3f}  95 % {low:.3f} to {high:.3f}"
    print(f"  {row.name:<20} {entrant.style:<16} {figures}  {verdict}", flush=True)
    return high


if __name__ == "__main__":
    sys.exit(main())
