"""The commands and their options; what they do is elsewhere.

A command turns its arguments into a call and the call's result into the exit code.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs
import trio
import typer

from .._version import __version__
from ..operation import ROUTER_PROFILE, load_options
from ._check import check_router
from ._connection import ConfigOption, ServersOption, command_options, run_with_client
from ._dead_letters import dead_letters_app
from ._failures import guarded
from ._fault_plan import load_fault_plan
from ._logs import LogFormat, set_up_logs
from ._run import run_router
from ._scenario import scenarios_app
from ._simulate import simulate_command
from ._target import load_target

_DEMO: Final = "beamline_trio.cli.demo"
_Target: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODULE:ROUTER|FILE.toml", help="A router of a module, or a file of routes.")
]


def run_app() -> int:
    """Run the command that this process was started with; returns the exit code."""
    app = typer.Typer(name="beamline", add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_about)
    app.command("run")(_run)
    app.command("check")(_check)
    app.command("simulate")(simulate_command)
    app.add_typer(dead_letters_app(_say))
    app.add_typer(scenarios_app(_say))
    app.command("version")(_version)
    # The demo is a package of its own, with all it needs; it is imported here and nowhere else.
    if importlib.util.find_spec(_DEMO) is not None:
        app.command("demo")(importlib.import_module(_DEMO).demo_command)
    try:
        app(prog_name="beamline")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _about() -> None:
    """NATS client and message router for trio."""


def _run(
    target: _Target,
    nats: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A server; repeat it for more. Else NATS_URL, else a nats-server of its own."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port of /metrics, /healthz, /readyz; 0 = any free. Else 9001.")
    ] = None,
    metrics_host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where it listens; 0.0.0.0 = everywhere. Else 127.0.0.1.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the client. Else the router's.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with options.")] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="Of the log on stderr; auto = text on a terminal, else JSON.")
    ] = LogFormat.AUTO,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of faults that meet its client: for a staging system only."),
    ] = None,
    accept_faults: Annotated[
        bool, typer.Option("--accept-faults", help="That it is no production system that --faults is for.")
    ] = False,
) -> None:
    """Run a router until SIGTERM or Ctrl-C, which drains it; a second signal cuts that short.

    TARGET is MODULE:ROUTER, as in prices:router for prices.py here, or a file of routes, as in router.toml. Options are
    also read from the environment (NATS_<OPTION>) and from --config.
    """
    given = {"servers": nats or None, "metrics_port": metrics_port, "metrics_host": metrics_host, "name": name}
    arguments: dict[str, Any] = {option: value for option, value in given.items() if value is not None}

    def run() -> int:
        plan = load_fault_plan(faults, accepted=accept_faults)
        loaded = load_target(target)
        set_up_logs(log_format)
        profile = attrs.evolve(ROUTER_PROFILE, name=loaded.router.name)
        configuration = load_options(profile=profile, file=config, **arguments)
        return trio.run(partial(run_router, loaded, configuration, _say, plan))

    raise typer.Exit(guarded(run))


def _check(
    target: _Target,
    allow_warnings: Annotated[
        bool, typer.Option("--allow-warnings", help="End with exit code 0 if there are no errors.")
    ] = False,
    nats: ServersOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a router against a server: configuration, streams, consumers, permissions. Nothing is changed.

    Each finding says what to change. Exit code 1 where there are any.
    """

    def run() -> int:
        loaded = load_target(target)
        options = command_options(nats, config, name=loaded.router.name)
        return run_with_client(options, partial(check_router, loaded, allow_warnings, _say))

    raise typer.Exit(guarded(run))


def _version() -> None:
    """Show the versions of beamline_trio, Python and trio."""
    _say(f"beamline_trio {__version__} (Python {platform.python_version()}, trio {_trio_version()})")


def _trio_version() -> str:
    version: Any = trio.__version__
    return str(version)


def _say(line: str) -> None:
    """Print a line for people. Nobody reading any more is no reason to stop a router."""
    try:
        print(line, flush=True)
    except OSError:
        pass
