"""The command line of the benchmarks: `python -m benchmarks [--list] [--row NAME ...] [--quick] ...`.

Exit status: 0 when every row that was asked for is complete, 1 when one failed (a contender missing, messages
lost, a process that died), 2 for wrong arguments. A goal that is not reached is printed and does not change
the status.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._report import can_plot, heading, list_rows, table_of, write_json, write_plot
from ._rows import OURS, PEERS, ROUTER_PEERS, Row, choose_rows
from ._runner import Pins, Runner, pin_runner, probe, restrict, select_peers
from ._server import BenchServer, ServerError, find_server
from ._summary import RowSummary, summarise

DEFAULT_ROUNDS = 5
RESULTS = Path("build/benchmarks")


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure beamline_trio beside the other Python NATS clients on one real nats-server.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="as --row; the first word of names is all that have it")
    parser.add_argument("--list", action="store_true", help="name the rows, their contenders and goals, and end")
    parser.add_argument("--row", action="extend", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--peers", metavar="A,B", help=f"only these peers, of {','.join((*PEERS, *ROUTER_PEERS))}")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds per row (default {DEFAULT_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="one round of little work: does everything run?")
    parser.add_argument("--ceiling", action="store_true", help="also measure a bare socket where that makes sense")
    parser.add_argument("--json", type=Path, default=RESULTS / "results.json", metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PATH", help=f"default {RESULTS / 'results.png'}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = arguments()
    options = parser.parse_args(argv)
    try:
        peers = select_peers(options.peers)
        rows = [
            restrict(row, peers, options.ceiling) for row in choose_rows([*options.rows, *(options.row or ())] or None)
        ]
    except ValueError as error:
        parser.error(str(error))
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least 1")
    if options.plot is not None and not can_plot():
        parser.error("--plot needs matplotlib: pip install -e '.[bench]'")
    if options.list:
        print(list_rows(rows))
        return 0
    # Unwinds like Ctrl-C, so that no server or contender is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options, rows, (OURS, *peers))
    except ServerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, rows: Sequence[Row], contenders: Sequence[str]) -> int:
    pins = pin_runner()
    versions, missing = probe(contenders)
    rounds = options.rounds or (1 if options.quick else DEFAULT_ROUNDS)
    summaries: list[RowSummary] = []
    with BenchServer(find_server()) as server:
        environment = _environment(server, pins)
        if options.quick:
            print("QUICK: too little work for the figures to mean anything; this only shows that everything runs")
        print(heading(versions, missing, environment), flush=True)
        runner = Runner(server, pins, quick=options.quick, progress=_progress)
        for row in rows:
            row_rounds = min(rounds, row.rounds_max)
            measurements = runner.run_row(row, row_rounds, missing)
            summaries.append(summarise(row, row_rounds, measurements, missing))
            _progress("")
            print(table_of(summaries[-1]), flush=True)
    meta = {**environment, "quick": options.quick, "versions": versions, "missing": missing}
    write_json(options.json, summaries, meta)
    print(f"\nwritten: {options.json}")
    _plot(options.plot, summaries, environment)
    return _conclude(summaries)


def _plot(path: Path | None, summaries: Sequence[RowSummary], environment: dict[str, Any]) -> None:
    if path is None and not can_plot():
        print("no plot: matplotlib is not installed (pip install -e '.[bench]')")
        return
    target = path or RESULTS / "results.png"
    write_plot(target, summaries, f"{environment['server']}, Python {environment['python']}")
    print(f"written: {target}")


def _conclude(summaries: Sequence[RowSummary]) -> int:
    verdicts = [verdict.verdict for summary in summaries for verdict in summary.verdicts]
    failed = [summary.row.name for summary in summaries if summary.failed]
    print(f"goals: {verdicts.count('reached')} of {len(verdicts)} reached")
    if failed:
        print(f"FAILED rows: {', '.join(failed)}")
    return 1 if failed else 0


def _environment(server: BenchServer, pins: Pins) -> dict[str, Any]:
    return {
        "server": server.version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "server_core": pins.server,
        "contender_core": pins.contender,
        "uvloop": False,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _progress(text: str) -> None:
    """Show what is being measured, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
