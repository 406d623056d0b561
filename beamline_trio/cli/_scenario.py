"""`beamline scenario`: lists the production-scale scenarios, runs them, and shows reports of earlier runs.

Results go to stdout, how far a run is to stderr. What is imported is imported when it is called, so that no other
command pays for the simulation. Must not judge: a report says how its run ended.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from ..protocol import MissingExtraError
from ._exit_codes import FAILED
from ._failures import CommandError, guarded

if TYPE_CHECKING:
    from ..scenarios import Plan, Sample, Scenario

Say: TypeAlias = Callable[[str], None]
Tell: TypeAlias = "Callable[[Plan, Sample], object]"

GROUP: Final = "production_scale"
_PASSED: Final = ("passed", "passed with warnings")
_PLAIN_EVERY_SECONDS: Final = 10.0
_DIRECTORY: Final = Path("scenario-reports")


def scenarios_app(say: Say) -> typer.Typer:
    """The commands below `beamline scenario`; `say` prints a line."""
    app = typer.Typer(name="scenario", no_args_is_help=True, help="Run the production-scale scenarios.")

    @app.command("list")
    def list_command(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
        """List the scenarios: number, length in minutes, title."""
        raise typer.Exit(guarded(lambda: _list(say, as_json)))

    @app.command("run")
    def run_command(
        numbers: Annotated[list[str] | None, typer.Argument(metavar="NUMBER...", help="As in 2.1.")] = None,
        group: Annotated[str | None, typer.Option(help=f"{GROUP} = all of them.")] = None,
        on: Annotated[str, typer.Option(help="simulation, or real nats-servers.")] = "simulation",
        load: Annotated[str, typer.Option(help="pipeline, or the decisions of the example.")] = "pipeline",
        full: Annotated[bool, typer.Option("--full", help="Full length also on real servers.")] = False,
        seed: Annotated[int | None, typer.Option(help="Of all chance; else 1.")] = None,
        rate: Annotated[float | None, typer.Option(help="Messages a second; else 100.")] = None,
        minutes: Annotated[float | None, typer.Option(help="How long, instead of the scenario's own length.")] = None,
        out: Annotated[Path, typer.Option(metavar="DIRECTORY", help="Where the reports go.")] = _DIRECTORY,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a scenario.")] = False,
    ) -> None:
        """Run scenarios, and write a report of each as JSON and as a page.

        Exits with 0 when all hold, 1 when one does not, 2 when one cannot be run as asked for. Variables such as
        EXTENDED_TEST_MESSAGE_RATE stand in for options that are not given.
        """
        given = {"on": on, "load": load, "full": full or None, "seed": seed, "rate": rate, "duration_minutes": minutes}
        raise typer.Exit(guarded(lambda: _run(say, numbers or [], group, given, out, as_json)))

    @app.command("report")
    def report_command(
        files: Annotated[list[Path], typer.Argument(metavar="REPORT.json...", help="What `run` has written.")],
        pages: Annotated[bool, typer.Option("--html", help="Write the page beside each file again.")] = False,
    ) -> None:
        """Show reports of earlier runs. Exits with 1 when one of them has failed."""
        raise typer.Exit(guarded(lambda: _report(say, files, pages)))

    return app


# list


def _list(say: Say, as_json: bool) -> int:
    from ..scenarios import SCENARIOS

    for scenario in SCENARIOS.values():
        if as_json:
            say(json.dumps({"number": scenario.number, "minutes": scenario.minutes, "title": scenario.title}))
        else:
            say(f"{scenario.number}  {scenario.minutes:>4g} min  {scenario.title}")
    return 0


# run


def _run(
    say: Say, numbers: Sequence[str], group: str | None, given: dict[str, Any], directory: Path, as_json: bool
) -> int:
    from ..scenarios import ScenarioError, settings_from

    # Clients log every outage, and here there is little else; a line for each lost ack costs more than the ack.
    logging.getLogger("beamline_trio").setLevel(logging.CRITICAL)
    try:
        chosen = _choose(numbers, group)
        settings = settings_from(os.environ, **given)
        _make(directory)
        reports = []
        for scenario in chosen:
            report = _run_one(scenario, settings)
            reports.append(report)
            _write(report, directory)
            say(json.dumps(_summary(report)) if as_json else _line(report))
            if not as_json:
                _tell_findings(say, report)
    except ScenarioError as error:
        raise CommandError(str(error)) from error
    return 0 if all(report["result"] in _PASSED for report in reports) else FAILED


def _choose(numbers: Sequence[str], group: str | None) -> list[Scenario]:
    from ..scenarios import SCENARIOS, find_scenario

    if group is not None and group != GROUP:
        raise CommandError(f"--group is {group!r}; there is {GROUP}")
    if bool(numbers) == (group is not None):
        raise CommandError(f"name scenarios, as in 2.1, or write --group {GROUP}")
    return [find_scenario(number) for number in numbers] or list(SCENARIOS.values())


def _run_one(scenario: Scenario, settings: Any) -> dict[str, Any]:
    from ..scenarios import run_scenario

    began, used = time.perf_counter(), time.process_time()
    with _progress(scenario) as tell:
        report = run_scenario(scenario, settings, tell)
    report["wall_seconds"] = time.perf_counter() - began
    report["cpu_seconds"] = time.process_time() - used
    return report


def _make(directory: Path) -> None:
    """Where the reports go, before hours of running are spent on one that can go nowhere."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise CommandError(f"reports cannot be written to {str(directory)!r}: {error}; give another --out") from error


def _write(report: dict[str, Any], directory: Path) -> None:
    file = directory / f"{_name(report)}.json"
    try:
        file.write_text(json.dumps(report), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"the report cannot be written: {error}", code=FAILED) from error
    report["file"] = str(file)
    _write_page(report, file)


def _name(report: dict[str, Any]) -> str:
    """Of its files: with a load or a rate that is not the usual one, so that they do not take the place of that."""
    from ..scenarios import Settings

    own = Settings()
    load, rate = report["settings"]["load"], report["rate"]
    parts = ["scenario", report["scenario"], report["on"], "seed", str(report["seed"])]
    parts += [load] if load != own.load else []
    parts += ["rate", f"{rate:g}"] if rate != own.rate else []
    return "-".join(parts)


def _write_page(report: dict[str, Any], file: Path) -> None:
    from ..scenarios import page_of

    try:
        file.with_suffix(".html").write_text(page_of(report), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"the page cannot be written: {error}", code=FAILED) from error


# report


def _report(say: Say, files: Sequence[Path], pages: bool) -> int:
    reports = [_read(file) for file in files]
    for file, report in zip(files, reports, strict=True):
        if pages:
            _write_page(report, file)
        say(_line(report))
        _tell_findings(say, report)
    return 0 if all(report["result"] in _PASSED for report in reports) else FAILED


def _read(file: Path) -> dict[str, Any]:
    from ..scenarios import ScenarioError, as_report

    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(data, ensure_ascii=False).encode()  # JSON may escape half a character, which cannot be shown
        return as_report(data)
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{file} cannot be read as a report: {error}") from error
    except ScenarioError as error:
        raise CommandError(f"{file} cannot be shown: {error}; run the scenario again") from error
    except MissingExtraError as error:
        raise CommandError(f"{file} cannot be shown: {error}") from error


# What is said


def _line(report: dict[str, Any]) -> str:
    """A row of the table: scenario, result, simulated length, wall time, how much faster than time."""
    wall = report.get("wall_seconds")
    speed = f"  {wall:7.1f} s wall  {report['seconds'] / wall:7.1f} x" if wall else ""
    return f"{report['scenario']}  {report['result']:<20}  {report['seconds'] / 60:7.1f} min{speed}  {report['title']}"


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    names = ("scenario", "result", "on", "seed", "rate", "seconds", "wall_seconds", "cpu_seconds", "file")
    return {name: report[name] for name in (*names, "findings", "counts", "throughput")}


def _tell_findings(say: Say, report: dict[str, Any]) -> None:
    for one in report["findings"]:
        if one["mark"] != "ok":
            say(f"     {one['mark'].upper():<4}  {one['name']}: {one['value']}, must be {one['limit']}")


@contextmanager
def _progress(scenario: Scenario) -> Generator[Tell]:
    """How far it is, on stderr: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress(scenario)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(scenario.number, total=None)

        def tell(plan: Plan, sample: Sample) -> None:
            text = f"{scenario.number} {_phase(plan, sample.at)} ({sample.ended:,} done, {sample.outstanding:,} wait)"
            progress.update(task, total=plan.seconds, completed=sample.at, description=text)

        yield tell


def _plain_progress(scenario: Scenario) -> Tell:
    told_at = time.monotonic()

    def tell(plan: Plan, sample: Sample) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _PLAIN_EVERY_SECONDS:
            told_at = time.monotonic()
            part = f"{sample.at / 60:.1f} of {plan.seconds / 60:.1f} min"
            print(f"beamline: {scenario.number} {_phase(plan, sample.at)}, {part}", file=sys.stderr)

    return tell


def _phase(plan: Plan, at: float) -> str:
    return next((span.name for span in plan.spans if at < span.ends), "working off")
