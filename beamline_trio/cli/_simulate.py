"""`beamline simulate`: sweeps a scenario over seeds, and says which of them break a law.

What it found goes to stdout, how far it is to stderr. What it imports is imported when it is called, so that no other
command pays for the simulation.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ._exit_codes import FAILED, INTERRUPTED
from ._failures import CommandError, guarded

if TYPE_CHECKING:
    from ..simulation import Plan, Verdict
    from ._sweep import Failure, Figures

_PLAIN_EVERY_SECONDS: Final = 10.0


def simulate_command(
    scenario: Annotated[
        str, typer.Argument(metavar="FILE.py[:FUNCTION]", help="Has `async def scenario(world)`, decorated with @laws.")
    ],
    seeds: Annotated[str, typer.Option(metavar="FIRST:LAST", help="Both included; one number is one seed.")] = "1:100",
    shrink: Annotated[bool, typer.Option(help="Drop faults from the plan of a failure while it stays one.")] = False,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The faults (JSON) for every seed, in the place of drawn ones.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where all that happens is written, for a single seed.")
    ] = None,
    stop_after: Annotated[int, typer.Option(metavar="N", min=1, help="Failures after which the sweep ends.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Run a scenario in simulated worlds, one for each seed, and check its laws.

    Exits with 0 when they all hold, 1 when one is broken, 2 when there is no such scenario.
    """
    raise typer.Exit(guarded(_Simulate(scenario, seeds, shrink, plan, trace, stop_after, as_json).run))


class _Simulate:
    """One call of the command."""

    def __init__(
        self,
        target: str,
        seeds: str,
        shrink: bool,
        plan_file: Path | None,
        trace_file: Path | None,
        stop_after: int,
        as_json: bool,
    ) -> None:
        self._target = target
        self._first, self._last = 0, -1
        self._seeds_text = seeds
        self._shrink = shrink
        self._plan_file = plan_file
        self._trace_file = trace_file
        self._stop_after = stop_after
        self._as_json = as_json

    def run(self) -> int:
        """Returns the exit code."""
        from ._scenario_file import load_scenario
        from ._sweep import Figures, Sweep

        self._first, self._last = _parse_seeds(self._seeds_text)
        count = self._last - self._first + 1
        if self._trace_file is not None and count > 1:
            raise CommandError(f"--trace is for one seed, as in --seeds {self._first}; --seeds is {self._seeds_text}")
        plan = None if self._plan_file is None else _read_plan(self._plan_file)
        if self._trace_file is not None:
            _check_writable(self._trace_file)
        # The client logs every outage, and here there is little else. A scenario that wants the log sets a handler.
        logging.getLogger("beamline_trio").addHandler(logging.NullHandler())
        scenario = load_scenario(self._target)
        figures, interrupted = Figures(), False
        with _progress(count) as tell_progress:
            sweep = Sweep(
                scenario, plan, self._trace_file, self._stop_after, self._shrink, tell_progress, self._tell_failure
            )
            try:
                sweep.run(range(self._first, self._last + 1), figures)
            except BaseException as error:
                if not _is_interrupt(error):
                    raise
                interrupted = True
        self._tell_figures(figures, interrupted)
        return INTERRUPTED if interrupted else FAILED if figures.failures else 0

    # Failures

    def _tell_failure(self, failure: Failure) -> None:
        from ..testing._verdict_text import tell_verdict

        verdict, smallest = failure.verdict, failure.shrunk
        if smallest is not None and smallest.plan is not None and smallest is not verdict:
            failure.plan_file = self._save_plan(verdict.seed, smallest.plan)
        if self._as_json:
            return
        replay = self._replay(verdict.seed, self._plan_file)
        if failure.plan_file is None:
            print(tell_verdict(verdict, replay))
            if self._shrink:
                print("shrinking was interrupted" if smallest is None else "shrinking found no smaller plan")
        else:
            assert smallest is not None
            print(tell_verdict(smallest, self._replay(verdict.seed, failure.plan_file)))
            print(f"shrunk from {_faults(verdict)} to {_faults(smallest)} in {failure.tries} runs: {failure.plan_file}")
            print(f"unshrunk: {replay}")
        print(flush=True)

    def _save_plan(self, seed: int, plan: Plan) -> Path:
        """In the current directory, as a core dump is: the scenario's own may be another's."""
        file = Path(f"{Path(self._target.partition(':')[0]).stem}-seed-{seed}.plan.json")
        try:
            file.write_text(f"{plan.to_json()}\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"the plan cannot be written: {error}", code=FAILED) from error
        return file

    def _replay(self, seed: int, plan_file: Path | None) -> str:
        words = ["beamline", "simulate", self._target, "--seeds", f"{seed}:{seed}"]
        return shlex.join(words if plan_file is None else [*words, "--plan", str(plan_file)])

    # Figures

    def _tell_figures(self, figures: Figures, interrupted: bool) -> None:
        if self._as_json:
            print(json.dumps(self._record(figures, interrupted)))
            return
        seeds = f"{figures.seeds:,} of {self._last - self._first + 1:,} seeds run"
        held = "all laws hold" if figures.seeds else "so nothing is known"
        found = f"{len(figures.failures)} failed" if figures.failures else held
        print(f"{seeds}, {found}{' (interrupted)' if interrupted else ''}")
        if figures.counted:
            print(", ".join(f"{name} {count:,}" for name, count in figures.counted.items()))
        print(
            f"{figures.events:,} events, {figures.events_per_second:,.0f} a second; "
            f"{figures.virtual_seconds / 3600:,.1f} simulated hours, {figures.hours_per_second:.2f} a wall second; "
            f"{figures.wall_seconds:.1f} wall seconds"
        )

    def _record(self, figures: Figures, interrupted: bool) -> dict[str, Any]:
        return {
            "scenario": self._target,
            "seeds": [self._first, self._last],
            "seeds_run": figures.seeds,
            "interrupted": interrupted,
            "failures": [self._failure_record(failure) for failure in figures.failures],
            "counted": dict(figures.counted),
            "events": figures.events,
            "events_per_second": figures.events_per_second,
            "simulated_hours": figures.virtual_seconds / 3600,
            "simulated_hours_per_wall_second": figures.hours_per_second,
            "wall_seconds": figures.wall_seconds,
        }

    def _failure_record(self, failure: Failure) -> dict[str, Any]:
        verdict = failure.verdict
        file = failure.plan_file or self._plan_file
        return {
            "seed": verdict.seed,
            "reason": verdict.reason,
            "broken": [{"law": one.law, "at_seconds": one.at, "text": one.text} for one in verdict.broken],
            "plan": None if verdict.plan is None else json.loads(verdict.plan.to_json()),
            "shrunk_plan_file": None if failure.plan_file is None else str(failure.plan_file),
            "replay": self._replay(verdict.seed, file),
            "trace_sha256": verdict.trace.digest(),
        }


def _parse_seeds(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    try:
        parsed = int(first), int(last if colon else first)
    except ValueError:
        parsed = (0, -1)
    if not 0 <= parsed[0] <= parsed[1]:
        raise CommandError(f"--seeds is {text!r}; write FIRST:LAST, as in 1:1000, or one seed, as in 17")
    return parsed


def _read_plan(file: Path) -> Plan:
    from ..faults import FaultPlanError, Plan

    try:
        return Plan.from_json(file.read_bytes())
    except (OSError, FaultPlanError) as error:
        raise CommandError(f"--plan {file}: {error}") from error


def _check_writable(file: Path) -> None:
    try:
        file.open("w").close()
    except OSError as error:
        raise CommandError(f"--trace {file}: {error}") from error


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, also in the group of a scenario's nursery."""
    group = isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None
    return group or isinstance(error, KeyboardInterrupt)


def _faults(verdict: Verdict) -> str:
    count = 0 if verdict.plan is None else len(verdict.plan.faults)
    return f"{count} fault{'' if count == 1 else 's'}"


@contextmanager
def _progress(count: int) -> Generator[Callable[[Figures, bool], None]]:
    """How far it is, on stderr: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress(count)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed goes above the bar; but into a file or pipe where stdout is one.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task("seeds", total=count)

        def tell(figures: Figures, shrinking: bool) -> None:
            failed = f", {len(figures.failures)} failed" if figures.failures else ""
            what = "shrinking" if shrinking else f"{figures.hours_per_second:.1f} h/s"
            progress.update(task, completed=figures.seeds, description=f"seeds ({what}{failed})")

        yield tell


def _plain_progress(count: int) -> Callable[[Figures, bool], None]:
    told_at = 0.0

    def tell(figures: Figures, shrinking: bool) -> None:
        nonlocal told_at
        if figures.wall_seconds - told_at >= _PLAIN_EVERY_SECONDS:
            told_at = figures.wall_seconds
            print(f"beamline: {figures.seeds} of {count} seeds, {len(figures.failures)} failed", file=sys.stderr)

    return tell
