"""The project's sessions: what a developer, `.ci/run`, GitLab CI and Drone CI run, and nothing else does.

How it works: the tools' versions come from pyproject.toml. Tests never run on the source tree: the wheel is
built once per run of nox, installed, and tested from a copy of the tree that has no package in it
(docs/decisions/tests-on-the-wheel.md). Interpreters are found by asking them for their version, since a name
on PATH may be pyenv's shim for a version that is not active; a missing one is printed and skipped.

It must not hold settings of a tool that has a section in pyproject.toml.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "layers", "tests", "docs"]

ROOT: Final = Path(__file__).parent
SUPPORTED: Final = ("3.11", "3.12", "3.13")
BENCHMARK_PYTHON: Final = "3.13"
COVERAGE_MINIMUM: Final = 95.0
DEMO: Final = ("demo", "--seconds", "12", "--metrics-port", "0")

TESTED_EXTRAS: Final = "[server,testing,nkeys,typed,opentelemetry]"
# Quick, and the same on every machine: no server, no property search.
SMOKE: Final = "smoke or not (real_server or hypothesis or slow)"
# What users call, and where the simulation depends on the interpreter. All else is about servers, hostile texts, the
# model and tools, not about a Python: the nightly run has it on each, and here it would be most of the time.
SMOKE_PARTS: Final = tuple(
    f"tests/{name}"
    for name in (
        "client",
        "connection",
        "jetstream",
        "kv",
        "operation",
        "protocol",
        "router",
        "service",
        "simulation/test_determinism.py",
        "simulation/test_run.py",
        "testing/test_plugin.py::test_a_world_is_virtual",
        "transport",
    )
)
# What passes on the oldest and on the newest Python hardly fails between them: there a part of the subset runs.
SMOKE_BETWEEN: Final = "1/3"
# The whole suite feeds the parser 15,000 mutated streams; the smoke runs that many.
SMOKE_MUTATED_STREAMS: Final = "5000"
# Clusters of real servers are waited for by the minute: the nightly run has them.
_WAITS_LONG: Final = "--ignore=tests/integration/clusters"
_CLIENT: Final = tuple(f"tests/{name}" for name in ("client", "connection", "jetstream", "protocol", "transport"))
_ROUTER: Final = tuple(f"tests/{name}" for name in ("cluster", "examples", "operation", "router", "scenarios"))
# These print tables of what they have shown, so they run by their own modules.
_SUITES: Final = "tests/integration/suites"
_CELLS: Final = ("tests/faults/test_fault_cells.py", "tests/integration/test_fault_cells_real.py")
_BY_MODULES: Final = tuple(f"--ignore={path}" for path in (_SUITES, *_CELLS))
# What is slow here is measured too: what runs in a pytest of its own is reached nowhere else.
_WHOLE: Final = "tests/testing"
_NOT_WHOLE: Final = f"--ignore={_WHOLE}"
# A measurement of coverage makes tests last three times as long. Property tests and hours of simulation, which are
# plain, hardly reach a line that the others do not.
_PLAIN: Final = ("python", "-m", "pytest")
_COVERED: Final = ("coverage", "run", "-m", "pytest")
# Real servers live in real time, so what computes in virtual time yields to them, and may last several times as long.
_YIELDS: Final = ("nice", "-n", "10")
_LASTS: Final = ("--timeout", "600")
# The whole suite on one Python, the longest parts first.
PARTS: Final = {
    "hours of simulation": (
        *(*_YIELDS, *_PLAIN, *_LASTS, "-m", "slow and not (hypothesis or smoke or real_server)"),
        *(_NOT_WHOLE, *_BY_MODULES),
    ),
    "other tests with real servers": (
        *(*_COVERED, "-m", "real_server", "tests/integration", _WAITS_LONG),
        *_BY_MODULES,
    ),
    "unit tests of the rest": (
        *(*_YIELDS, *_COVERED, *_LASTS, "-m", SMOKE),
        *(*_BY_MODULES, *(f"--ignore={path}" for path in (_WHOLE, *_CLIENT, *_ROUTER))),
    ),
    "suites": ("coverage", "run", "-m", "tests.integration.suites"),
    "faults": ("coverage", "run", "-m", "tests.faults"),
    "unit tests of the router and of clusters": (*_YIELDS, *_COVERED, *_LASTS, "-m", SMOKE, *_ROUTER),
    "contract with real servers": (*_COVERED, "-m", "real_server", "tests/contract"),
    "unit tests of the client": (*_YIELDS, *_COVERED, *_LASTS, "-m", SMOKE, *_CLIENT),
    "tests of testing": (*_YIELDS, *_COVERED, *_LASTS, "-m", "not real_server", _WHOLE),
    "property tests": (
        *(*_YIELDS, *_PLAIN, *_LASTS, "-m", "hypothesis and not (smoke or real_server)"),
        _NOT_WHOLE,
    ),
}
SECURITY_TESTS: Final = ("tests/integration/test_security_matrix.py", "tests/integration/test_secrets.py", "-s")
REAL_SERVER_TESTS: Final = ("tests/contract", "tests/integration")
# The whole suite compares 100 scripts on both servers, and the seeds of a few runs.
FUZZED_SCRIPTS: Final = "2000"
DETERMINISM_SEEDS: Final = "1:100"
# In so many turns, as far as there is time. The whole suite sweeps 40 seeds, 15 of the accounts and of the routers, 6
# of clusters; the mutants' session 200 of each, 40 of clusters.
NIGHTLY_SWEEP_SEEDS: Final = 10_000
NIGHTLY_ACCOUNT_SEEDS: Final = 1_000
NIGHTLY_DETERMINISM_SEEDS: Final = 1_000
NIGHTLY_MUTATED_STREAMS: Final = 1_000_000
NIGHTLY_TURNS: Final = 10
# What each fault looked like in the suites, for docs/failure_tables.py.
FAILURES: Final = ROOT / "build" / "failures.json"
ROUTER_SCENARIO: Final = "examples/router_accounting.py"
ROUTER_SEEDS: Final = "1:1000"
ROUTER_REAL: Final = "tests/integration/router"
KILLS_SECONDS: Final = "120"
SWEEP: Final = "tests/simulation/test_sweep.py"
# What tests may read besides the package; a copy of these is their root.
TREE: Final = (
    "benchmarks",
    "changes",
    "docs",
    "examples",
    "tests",
    ".ci",
    ".drone.yml",
    ".gitlab-ci.yml",
    "CHANGELOG.md",
    "README.md",
    "noxfile.py",
    "pyproject.toml",
)
# A property test of the nightly profile may take this long; an ordinary test has pyproject's timeout.
PROPERTY_TIMEOUT_SECONDS: Final = 1800
PYTEST_NO_TESTS: Final = 5
_IMPORTS_HYPOTHESIS: Final = re.compile(r"^(import|from) hypothesis\b", re.MULTILINE)


# ----------------------------------------------------------------------------------------- checks of the text


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Ruff's rules and format; the news fragments."""
    session.install(*_tools("ruff", "towncrier"))
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")
    session.run("towncrier", "build", "--draft", "--version", "unreleased", silent=True)


@nox.session(reuse_venv=True)
def types(session: nox.Session) -> None:
    """Mypy (strict) and pyright."""
    session.install("-e", ".[dev]")
    session.run("mypy", *_typed_sources())
    session.run("pyright", "--pythonpath", str(Path(session.bin) / "python"))


@nox.session(reuse_venv=True)
def layers(session: nox.Session) -> None:
    """The shape of the package, by import-linter."""
    session.install(*_tools("import-linter"))
    session.run("lint-imports", *session.posargs)


@nox.session(reuse_venv=True)
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-b", "html", "docs", "docs/_build", *session.posargs)


# ------------------------------------------------------------------------------------------------------ tests


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite on this Python, most of it with branch coverage; the smoke subset on the others."""
    parser = argparse.ArgumentParser(prog="nox -s tests --")
    parser.add_argument("--coverage-minimum", type=float, default=COVERAGE_MINIMUM, metavar="PERCENT")
    options, selection = parser.parse_known_args(session.posargs)

    wheel = _wheel(session)
    tree = _tree(session)
    session.install(f"{wheel}[dev]")
    if selection:
        _pytest(session, "python", tree, *selection)
        return
    record = _Record(session)
    others = {version: path for version, path in _interpreters(session).items() if version != _RUNNING}
    pythons = {version: _environment(session, version, path, wheel) for version, path in others.items()}
    said: list[str] = []

    def whole(name: str, command: Sequence[str]) -> None:
        covered = ", with coverage" if "coverage" in command else ""
        record.run(f"{name}{covered}, Python {_RUNNING}", lambda: said.append(_said(session, command)))

    def smoke(version: str) -> None:
        share = ("--shard", "1/1" if version in (SUPPORTED[0], SUPPORTED[-1]) else SMOKE_BETWEEN)
        selection = ("-m", SMOKE, *share, *_LASTS, *SMOKE_PARTS)
        part = functools.partial(_pytest, session, pythons[version], tree, *selection, beside=True)
        record.run(f"smoke subset, shard {share[1]}, Python {version}", part)

    # Five at a time, of which the real servers' mostly wait.
    parts = [functools.partial(whole, name, command) for name, command in PARTS.items()]
    parts += [functools.partial(smoke, version) for version in pythons]
    with session.chdir(tree), ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda part: part(), parts))
    # Last, so that its closing lines are what the terminal shows.
    print(*said, sep="\n", flush=True)
    record.run("branch coverage", lambda: _report_coverage(session, tree, options.coverage_minimum))
    record.report()


@nox.session
def contract(session: nox.Session) -> None:
    """The same cases on the simulated and on the real nats-server, 2,000 fuzzed scripts, and the other real ones."""
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    tree = _tree(session)
    suites = [path for path in REAL_SERVER_TESTS if (tree / path).is_dir()]
    _pytest(session, "python", tree, *(session.posargs or suites), variables={"BEAMLINE_FUZZ_SCRIPTS": FUZZED_SCRIPTS})


@nox.session
def alerts(session: nox.Session) -> None:
    """Each alert fires and clears, in a real Prometheus, and the rules' unit tests; the table of it."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            session.skip(f"{name} is not on PATH; on Debian `apt-get install prometheus` brings both")
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    with session.chdir(_tree(session)):
        session.run("python", "-m", "pytest", "-q", "tests/alerts", env={"BEAMLINE_TEST_INSTALLED": "1"})
        session.run("python", "-m", "tests.alerts", "--output", str(ROOT / "build" / "alerts"), *session.posargs)


@nox.session
def determinism(session: nox.Session) -> None:
    """100 seeds, two processes with different hash seeds: the same traces, byte for byte."""
    _module(session, "tests.determinism", "--seeds", DETERMINISM_SEEDS)


@nox.session
def suites(session: nox.Session) -> None:
    """The suites of the resilience contract, each case on the simulated and on the real server, with a table."""
    _module(session, "tests.integration.suites", variables={"BEAMLINE_FAILURES": str(FAILURES)})
    if not session.posargs:  # a selection shows only some of the failures
        session.run("python", str(ROOT / "docs" / "failure_tables.py"), str(FAILURES), "--check")


@nox.session(name="contract-metrics")
def contract_metrics(session: nox.Session) -> None:
    """Every metric, log code and event of the contract: provoked, seen, and checked by promtool where it is."""
    _module(session, "tests.metrics")


@nox.session
def security(session: nox.Session) -> None:
    """TLS, authentication and WebSocket on real servers, and the search for secrets; a table of what was seen."""
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    _pytest(session, "python", _tree(session), *(session.posargs or SECURITY_TESTS))


@nox.session
def mutants(session: nox.Session) -> None:
    """Bugs that were put into the client, and 20 drawn ones: does the simulation find them?"""
    _module(session, "tests.mutants", "--draw", "20")


@nox.session
def router(session: nox.Session) -> None:
    """The router's laws under 1,000 seeds, its mutants, and between real streams: kills, outage, drain and load."""
    parser = argparse.ArgumentParser(prog="nox -s router --")
    parser.add_argument("--seeds", default=ROUTER_SEEDS, metavar="FIRST:LAST")
    parser.add_argument("--kills-seconds", default="180", help="a SIGKILL every 5 s for so long")
    parser.add_argument("--outage-seconds", default="60", help="the target is down for so long")
    options = parser.parse_args(session.posargs)
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    tree = _tree(session)
    mutants = sorted(path.stem for path in (tree / "tests" / "mutants").glob("router_*.diff"))
    record = _Record(session)
    with session.chdir(tree):
        sweep = functools.partial(session.run, "beamline", "simulate", ROUTER_SCENARIO, "--seeds", options.seeds)
        record.run(f"laws of routers under the seeds {options.seeds}", sweep)
        found = functools.partial(session.run, "python", "-m", "tests.mutants", "--verbose", "--mutants", *mutants)
        record.run(f"{len(mutants)} bugs put into the router, which the laws must find", found)
    lengths = {
        "BEAMLINE_ROUTER_KILLS_SECONDS": options.kills_seconds,
        "BEAMLINE_ROUTER_OUTAGE_SECONDS": options.outage_seconds,
    }
    real = functools.partial(_pytest, session, "python", tree, ROUTER_REAL, "-s", variables=lengths)
    text = f"killed for {options.kills_seconds} s, without a target for {options.outage_seconds} s, drained, overloaded"
    record.run(f"real streams: {text}", real)
    record.report()


@nox.session
def faults(session: nox.Session) -> None:
    """Every operation with every fault, on the simulated and on the real nats-server; a table of what is proven."""
    _module(session, "tests.faults")


@nox.session
def scenarios(session: nox.Session) -> None:
    """The production-scale scenarios at full length in the simulation; `-- --rate 10` for a tenth of the messages."""
    _module(session, "tests.scenarios")


@nox.session(name="scenarios-real")
def scenarios_real(session: nox.Session) -> None:
    """5.1, 5.2, 5.3 on real servers, compressed (`-- --full`: for hours), and a node killed every 4.5 s for 120 s."""
    parser = argparse.ArgumentParser(prog="nox -s scenarios-real --", epilog="all else is for tests.scenarios")
    parser.add_argument("--kills-seconds", default=KILLS_SECONDS, help="a SIGKILL every 4.5 s for so long")
    options, selection = parser.parse_known_args(session.posargs)
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    record = _Record(session)
    with session.chdir(_tree(session)):
        run = functools.partial(session.run, "python", "-m", "tests.scenarios", "--on", "real", *selection)
        record.run("scenarios on real servers", run)
        _run_kills(session, record, options.kills_seconds)
    record.report()


@nox.session
def clusters(session: nox.Session) -> None:
    """Real clusters: SIGKILL of a random node every 4.5 s for 120 s, and router instances restarted one by one."""
    parser = argparse.ArgumentParser(prog="nox -s clusters --")
    parser.add_argument("--kills-seconds", default=KILLS_SECONDS, help="a SIGKILL every 4.5 s for so long")
    parser.add_argument("--rounds", default="2", help="so often is each router instance restarted")
    options = parser.parse_args(session.posargs)
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    record = _Record(session)
    with session.chdir(_tree(session)):
        _run_kills(session, record, options.kills_seconds)
        rolling = ("-m", "tests.integration.clusters.rolling", "--rounds", options.rounds)
        text = f"three router instances are restarted one after another, {options.rounds} times"
        record.run(text, functools.partial(session.run, "python", *rolling))
    record.report()


def _run_kills(session: nox.Session, record: _Record, seconds: str) -> None:
    """A node of three is killed again and again; what is acknowledged, stored and consumed is counted."""
    kills = ("-m", "tests.integration.clusters.kills", "--seconds", seconds)
    run = functools.partial(session.run, "python", *kills)
    record.run(f"a node of three is killed every 4.5 s for {seconds} s", run)


def _run_module(session: nox.Session, python: Path, tree: Path, name: str, *args: str) -> None:
    """Run a module of the copied tree in an environment."""
    with session.chdir(tree):
        session.run(str(python), "-m", name, *args, env=_activated(python), external=True)


def _property_tests(tree: Path) -> list[str]:
    """The files that hold property tests."""
    files = (
        path for path in sorted((tree / "tests").rglob("test_*.py")) if _IMPORTS_HYPOTHESIS.search(path.read_text())
    )
    return [str(path.relative_to(tree)) for path in files]


def _in_turns(files: Sequence[str], start: int) -> Iterator[str]:
    """One file after another, for ever, from another one each night."""
    return (files[number % len(files)] for number in itertools.count(start))


def _share(numbers: int | tuple[int, int], shard: str) -> tuple[int, int]:
    """The I-th of N equal parts of the numbers from a first (or 1) to a last: its first and last."""
    first, last = (1, numbers) if isinstance(numbers, int) else numbers
    index, parts = (int(part) for part in shard.split("/"))
    count = last - first + 1
    return first + (index - 1) * count // parts, first + index * count // parts - 1


def _sweeps(session: nox.Session, python: Path, tree: Path) -> list[tuple[str, int, Callable[[str], None]]]:
    """What the nightly run does under many seeds: its name, how many they are, how FIRST:LAST of them are done."""

    def swept(variable: str, kind: str, seeds: str) -> None:
        _pytest(session, python, tree, SWEEP, "-s", "-k", kind, variables={variable: seeds})

    def identical(seeds: str) -> None:
        _run_module(session, python, tree, "tests.determinism", "--seeds", seeds)

    workload, accounts, routers, clusters = (
        functools.partial(swept, f"BEAMLINE_{variable}_SEEDS", kind)
        for variable, kind in (
            ("SWEEP", "workload"),
            ("ACCOUNT", "accounts"),
            ("ROUTER", "routers"),
            ("CLUSTER", "clusters"),
        )
    )
    return [
        ("the simulation under the seeds", NIGHTLY_SWEEP_SEEDS, workload),
        ("accounts under the seeds", NIGHTLY_ACCOUNT_SEEDS, accounts),
        ("routers under the seeds", NIGHTLY_ACCOUNT_SEEDS, routers),
        ("clusters under the seeds", NIGHTLY_ACCOUNT_SEEDS, clusters),
        ("traces in two processes, of the seeds", NIGHTLY_DETERMINISM_SEEDS, identical),
    ]


def _module(session: nox.Session, name: str, *defaults: str, variables: Mapping[str, str] | None = None) -> None:
    """Run a module of the copied tree on the installed wheel."""
    session.install(f"{_wheel(session)}{TESTED_EXTRAS}", *_test_tools())
    with session.chdir(_tree(session)):
        session.run("python", "-m", name, *(session.posargs or defaults), env=variables)


@nox.session
def nightly(session: nox.Session) -> None:
    """Everything, on every Python, as far as `--minutes` allow; `--shard I/N`."""
    parser = argparse.ArgumentParser(prog="nox -s nightly --")
    parser.add_argument("--shard", default="1/1", metavar="I/N")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="for everything together; no part begins behind them"
    )
    options = parser.parse_args(session.posargs)
    record = _Record(session, time.monotonic() + options.minutes * 60)

    wheel, tree, interpreters = _wheel(session), _tree(session), _interpreters(session)
    # The running one first: if time is short, the others are left out.
    versions = sorted(interpreters, key=lambda version: version != _RUNNING)
    pythons = {version: _environment(session, version, interpreters[version], wheel) for version in versions}
    for version, python in pythons.items():
        suite = functools.partial(_pytest, session, python, tree, "--shard", options.shard)
        record.run(f"whole suite, shard {options.shard}, Python {version}", suite)
    # Timings are worth nothing beside other work, so one shard measures and is told apart by its number.
    if not options.shard.startswith("1/"):
        record.skip("benchmarks", "the first shard runs them")
    elif BENCHMARK_PYTHON not in interpreters:
        record.skip("benchmarks", f"no Python {BENCHMARK_PYTHON} found")
    else:
        record.run("benchmarks", lambda: _bench(session, interpreters[BENCHMARK_PYTHON]))

    seed, python = int(time.time()), pythons[_RUNNING]
    first, last = _share(NIGHTLY_MUTATED_STREAMS, options.shard)
    streams = ("tests.protocol", "--streams", str(last - first + 1), "--seed", str(seed))
    survived = functools.partial(_run_module, session, python, tree, *streams)
    record.run(f"{last - first + 1:,} mutated streams under the parser, seed {seed}", survived)
    drawn = ("tests.mutants", "--draw", "20", "--draw-seed", str(seed))
    found = functools.partial(_run_module, session, python, tree, *drawn)
    record.run(f"mutants, and 20 drawn by seed {seed}", found)

    files = _in_turns(_property_tests(tree), seed)
    limits = ("--timeout", str(PROPERTY_TIMEOUT_SECONDS), "--shard", options.shard)
    for turn in itertools.count(1):
        # A part of each in turn, so that whatever time there is goes to all of them.
        if turn <= NIGHTLY_TURNS:
            for name, numbers, sweep in _sweeps(session, python, tree):
                first, last = _share(_share(numbers, options.shard), f"{turn}/{NIGHTLY_TURNS}")
                if first <= last:
                    record.run(f"{name} {first:,} to {last:,}", functools.partial(sweep, f"{first}:{last}"))
        elif record.time_is_up():
            break
        file, chance = next(files), str(seed + turn)
        search = (file, "-m", "hypothesis", "--hypothesis-profile", "nightly", "--hypothesis-seed", chance)
        properties = functools.partial(_pytest, session, python, tree, *search, *limits, may_be_none=True)
        record.run(f"property tests of {file}, shard {options.shard}, seed {chance}", properties)
    record.report()


# --------------------------------------------------------------------------------------------- the real thing


@nox.session
def demo(session: nox.Session) -> None:
    """`beamline demo` for 12 s, from the wheel."""
    session.install(f"{_wheel(session)}[server]")
    # Away from the tree: the demo starts a process of its own, which must find the wheel too.
    with session.chdir(session.cache_dir):
        session.run("beamline", *DEMO, *session.posargs)


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """`python -m benchmarks` on Python 3.13, with the peers."""
    interpreters = _interpreters(session)
    if BENCHMARK_PYTHON not in interpreters:
        session.error(
            f"no Python {BENCHMARK_PYTHON} found, and two of the peers support nothing older; install it "
            f"with pyenv or put python{BENCHMARK_PYTHON} on PATH"
        )
    _bench(session, interpreters[BENCHMARK_PYTHON], *session.posargs)


def _bench(session: nox.Session, interpreter: Path, *args: str) -> None:
    """Run the benchmarks in the tree, which they measure and write their results to."""
    python = _virtualenv(session, "bench", interpreter, f"{_wheel(session)}[bench]")
    session.run(str(python), "-m", "benchmarks", *args, env=_activated(python), external=True)


# ---------------------------------------------------------------------------------------- wheel, tree, pytest


_built_wheels: Final[list[Path]] = []


def _wheel(session: nox.Session) -> Path:
    """Build the wheel, once for all sessions of this run."""
    if not _built_wheels:
        # Of the session's name: several runs of nox may go on side by side.
        directory = session.cache_dir.resolve() / f"wheel-{session.name}"
        shutil.rmtree(directory, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        session.run(*pip, "--wheel-dir", str(directory), str(ROOT), external=True)
        _built_wheels.extend(directory.glob("*.whl"))
    (wheel,) = _built_wheels
    return wheel


def _tree(session: nox.Session) -> Path:
    """Copy what tests may read, without the package, so that only the installed one can be imported."""
    tree = session.cache_dir.resolve() / f"tree-{session.name}"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        elif source.exists():
            shutil.copy(source, tree / name)
    return tree


def _pytest(
    session: nox.Session,
    python: Path | str,
    tree: Path,
    *args: str,
    may_be_none: bool = False,
    beside: bool = False,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run pytest in the copied tree on the installed wheel; a selection that matches no test fails.

    Beside others: it yields to them, and of a run that passes only the closing line is printed.
    """
    env = {"BEAMLINE_TEST_INSTALLED": "1", **(variables or {})}
    if SMOKE in args:
        env["BEAMLINE_MUTATED_STREAMS"] = SMOKE_MUTATED_STREAMS
    if isinstance(python, Path):
        env |= _activated(python)
    with session.chdir(tree):
        success_codes = [0, PYTEST_NO_TESTS] if may_be_none else [0]
        pytest = (*(_YIELDS if beside else ()), str(python), "-m", "pytest", *args)
        said = session.run(*pytest, env=env, external=True, silent=beside, success_codes=success_codes)
    if beside:
        print(str(said).rstrip().rpartition("\n")[2], flush=True)


def _said(session: nox.Session, command: Sequence[str]) -> str:
    """Run a part of the suite in the copied tree; what it says, which it prints only when it fails."""
    return str(session.run(*command, env={"BEAMLINE_TEST_INSTALLED": "1"}, external=True, silent=True))


def _report_coverage(session: nox.Session, tree: Path, minimum: float) -> None:
    """The branch coverage of all parts together; the report names the files of the source tree."""
    # From the root: [tool.coverage.paths] maps only to files that exist.
    data = f"--data-file={tree / '.coverage'}"
    session.run("coverage", "combine", "--quiet", data, str(tree))
    session.run("coverage", "report", data, f"--fail-under={minimum:g}")


# ------------------------------------------------------------------------------ interpreters and environments

_RUNNING: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _interpreters(session: nox.Session) -> dict[str, Path]:
    """The supported versions that this machine has, and the running one; says which are missing."""
    found = {version: _find_interpreter(version) for version in SUPPORTED} | {_RUNNING: Path(sys.executable)}
    for version, path in found.items():
        session.log(f"Python {version}: {path if path is not None else 'not found, skipped'}")
    return {version: path for version, path in found.items() if path is not None}


@functools.cache
def _find_interpreter(version: str) -> Path | None:
    """The first interpreter of this version on PATH or among pyenv's, by its own word."""
    on_path = shutil.which(f"python{version}")
    candidates = [Path(on_path)] if on_path is not None else []
    for root in dict.fromkeys((Path(os.environ.get("PYENV_ROOT") or "~/.pyenv"), Path("~/.pyenv"))):
        candidates += sorted((root.expanduser() / "versions").glob(f"{version}.*/bin/python"), reverse=True)
    return next((path for path in candidates if _answers(path, version)), None)


def _answers(path: Path, version: str) -> bool:
    """Whether the interpreter runs and is of this version."""
    question = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def _environment(session: nox.Session, version: str, interpreter: Path, wheel: Path) -> Path:
    """A fresh environment of this interpreter with the wheel and what the suite needs."""
    return _virtualenv(session, version, interpreter, f"{wheel}{TESTED_EXTRAS}", *_test_tools())


def _virtualenv(session: nox.Session, name: str, interpreter: Path, *requirements: str) -> Path:
    """Make a fresh environment beside the session's own; returns its python."""
    directory = session.cache_dir.resolve() / f"{session.name}-{name}"
    make = (sys.executable, "-m", "virtualenv", "--quiet", "--clear", "--python", str(interpreter))
    session.run(*make, str(directory), external=True)
    python = directory / "bin" / "python"
    session.run(str(python), "-m", "pip", "install", "--quiet", *requirements, external=True)
    return python


def _activated(python: Path) -> dict[str, str]:
    """The variables that make an environment's scripts the first on PATH."""
    return {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(python.parent.parent),
    }


def _tools(*names: str) -> list[str]:
    """The requirements of these tools as pyproject.toml's [dev] has them."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    known = {
        re.split(r"[^\w.-]", requirement, maxsplit=1)[0]: requirement
        for requirement in project["optional-dependencies"]["dev"]
    }
    return [known[name] for name in names]


def _test_tools() -> list[str]:
    """What the suite needs besides the extras; tests skip where mypy and pyright are missing."""
    return _tools("hypothesis", "msgspec", "opentelemetry-sdk", "pydantic", "pytest-timeout", "pyyaml", "trustme")


def _typed_sources() -> list[str]:
    """What mypy reads: it takes no directory without modules, and a young tree has some."""
    directories = ("beamline_trio", "tests", "benchmarks", "examples")
    return [name for name in directories if any((ROOT / name).rglob("*.py"))] + ["noxfile.py"]


class _Record:
    """What a run of several parts covered: goes on behind a failed part, and fails at the end.

    Args:
        session: that runs them.
        deadline: by `time.monotonic`; behind it no part but the first begins.
    """

    def __init__(self, session: nox.Session, deadline: float = math.inf) -> None:
        self._session = session
        self._deadline = deadline
        self._lines: list[str] = []
        self._failures = 0

    def run(self, name: str, part: Callable[[], object]) -> None:
        """Run one part and note how it went, or that the time was up."""
        if self._lines and self.time_is_up():
            self.skip(name, "the time was up")
            return
        start = time.monotonic()
        try:
            part()
        except CommandFailed:
            self._failures += 1
            outcome = "FAILED"
        else:
            outcome = "passed"
        self._lines.append(f"{outcome:<8} {time.monotonic() - start:>7.0f} s  {name}")

    def time_is_up(self) -> bool:
        """Whether the deadline is over."""
        return time.monotonic() >= self._deadline

    def skip(self, name: str, reason: str) -> None:
        """Note a part that was left out."""
        self._lines.append(f"{'skipped':<8} {'':>9}  {name}: {reason}")

    def report(self) -> None:
        """Print the table; an error if any part failed."""
        print(f"\n{self._session.name} covered:", *self._lines, sep="\n  ", flush=True)
        if self._failures:
            self._session.error(f"{self._failures} of {len(self._lines)} parts failed")
