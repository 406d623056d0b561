"""`python -m tests.metrics`: everything that the contract lists is provoked, and seen.

Prints what drifts between contract, pages, source and live output (nothing), a table of how often each series, code and
event was seen, and what `promtool check metrics` says to the live output. Exit code 1 when anything drifts, anything
listed was not seen, or anything was seen that is not listed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import trio

from beamline_trio.metrics import load_event_contract, load_log_contract
from beamline_trio.router import BREAKER_TRANSITIONS, BreakerState
from beamline_trio.server_process import ServerNotFoundError, find_nats_server
from beamline_trio.simulation import run
from tests.metrics import (
    _provoke_cluster,
    _provoke_connection,
    _provoke_jetstream,
    _provoke_outcomes,
    _provoke_program,
    _provoke_router,
)
from tests.metrics._watch import Series, Watch

ROOT = Path(__file__).parents[2]
DRIFT_TESTS = ("tests/metrics", "tests/test_docs_reference.py")
LIMIT_SECONDS = 600
PROVOCATIONS = (
    *_provoke_cluster.PROVOCATIONS,
    *_provoke_connection.PROVOCATIONS,
    *_provoke_jetstream.PROVOCATIONS,
    *_provoke_outcomes.PROVOCATIONS,
    *_provoke_program.PROVOCATIONS,
    *_provoke_router.PROVOCATIONS,
)
# Values that are there so that the contract need not change when something is classified anew, or that cannot be.
RESERVED: dict[Series, str] = {
    ("router_nats_publish_errors_total", ("unknown",)): "every reason of today has a type of its own",
    **{
        ("router_circuit_breaker_transitions_total", (before.value, after.value)): "a breaker has no such transition"
        for before, after in product(BreakerState, BreakerState)
        if (before, after) not in BREAKER_TRANSITIONS
    },
}


def provoke(watch: Watch, *, processes: bool = True) -> list[str]:
    """Let everything happen once, without what needs a process of its own if that is not wanted.

    Returns:
        What could not happen, with the reason.
    """
    missed: list[str] = []
    with watch.listening():
        for provocation in PROVOCATIONS:
            run(partial(provocation, watch=watch), seed=1, ends_within_seconds=LIMIT_SECONDS)
        trio.run(_provoke_program.http_fails)
        if not processes:
            return missed
        try:
            find_nats_server()
        except ServerNotFoundError as error:
            missed.append(f"`beamline run` was not run: {error}")
        else:
            _provoke_program.router_process(watch)
    return missed


def unseen(watch: Watch) -> list[str]:
    """What is listed and was not seen."""
    series = [_shown(series) for series, count in watch.seen().items() if not count and series not in RESERVED]
    logs = [log.code for log in load_log_contract() if not watch.logs[log.code]]
    events = [event.name for event in load_event_contract() if not watch.events[event.name]]
    return series + logs + events


def table(watch: Watch) -> list[str]:
    """A line for each series, code and event: how often it was seen."""
    lines = [f"{'metric {bounded labels}':<76}{'seen':>8}"]
    lines += [f"{_shown(series):<76}{count:>8}" for series, count in watch.seen().items()]
    lines.append(f"{'log code':<76}{'seen':>8}")
    lines += [f"{log.code:<76}{watch.logs[log.code]:>8}" for log in load_log_contract()]
    lines.append(f"{'event':<76}{'seen':>8}")
    lines += [f"{event.name:<76}{watch.events[event.name]:>8}" for event in load_event_contract()]
    return lines


def _shown(series: Series) -> str:
    name, values = series
    return f"{name}{{{','.join(values)}}}" if values else name


def promtool(output: bytes) -> tuple[bool, str]:
    """What Prometheus' linter says; it is told when it could not be asked, and that is not called a success."""
    if shutil.which("promtool") is None:
        return True, "skipped: promtool is not on PATH; it comes with Prometheus"
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=output, capture_output=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).decode().strip()
    clean = done.returncode == 0 and not said
    return clean, "clean" if clean else said


def main() -> int:
    """Check, provoke, report."""
    drift = subprocess.run([sys.executable, "-m", "pytest", "-q", *DRIFT_TESTS], cwd=ROOT, check=False).returncode
    watch = Watch()
    missed = provoke(watch)
    lacking = unseen(watch)
    clean, said = promtool(watch.collector.render())
    print("", *table(watch), "", sep="\n")
    print(f"promtool check metrics: {said}")
    reserved = [f"{_shown(series)}: {reason}" for series, reason in RESERVED.items()]
    for what, found in (
        ("reserved", reserved),
        ("not seen", lacking),
        ("complaint", watch.complaints),
        ("left out", missed),
    ):
        for one in found:
            print(f"{what}: {one}")
    print(f"drift: {'none' if drift == 0 else 'see the failed tests above'}")
    seen = len(watch.seen()), len(load_log_contract()), len(load_event_contract())
    print("listed: {} series, {} log codes, {} events; not seen: {}; seen and not listed: {}".format(
        *seen, len(lacking), len(watch.complaints)
    ))  # fmt: skip
    return int(bool(drift or lacking or watch.complaints or not clean))


if __name__ == "__main__":
    sys.exit(main())
