"""`beamline demo`: the options, where the run is shown, the exit code.

Exit codes: 0 = the account adds up and nothing is lost; 1 = it does not; 2 = it could not run (usage, port, no server);
130 = interrupted twice, no account.

Must not know how a run works.
"""

from __future__ import annotations

import enum
import math
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Final

import trio
import typer

from ...operation import OperationError
from ...server_process import ServerProcessError
from ...transport import ConnectError
from .._exit_codes import FAILED, INTERRUPTED, USAGE_ERROR
from ._errors import DemoError
from ._report import Result, as_json, as_text
from ._run import RunOptions, run_demo
from ._view import LineView, View, logging_to

MESSAGES_MAX: Final = 2_000_000  # one record each, twice: about 1 GB


class Sabotage(enum.StrEnum):
    """What may be done to a run on purpose."""

    DROP_ONE = "drop-one"


def demo_command(
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Messages per second.")] = 500,
    seconds: Annotated[float, typer.Option(min=3, max=86_400, help="How long to publish.")] = 20,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where /metrics is while it runs; 0 = any free port.")
    ] = 9001,
    sabotage: Annotated[
        Sabotage | None,
        typer.Option(help="drop-one throws one confirmed message away: the account must find it (lost 1, exit 1)."),
    ] = None,
    as_json_line: Annotated[
        bool, typer.Option("--json", help="Print the account as one JSON object on the last line.")
    ] = False,
) -> None:
    """Publish through a router while its server is killed and started again, and account for every message.

    It starts its own nats-server on a free port, a router with two routes, and
    a receiver in a process of its own. At one third of the time it kills the
    server, and starts it again 3 s later. It ends with an account in which
    every message is delivered, failed, unknown (with the reason) or lost; none
    may be lost. Ctrl-C ends it early, with the account.
    """
    if not math.isfinite(rate * seconds) or rate * seconds > MESSAGES_MAX:
        raise typer.BadParameter(
            f"{rate:g} messages a second for {seconds:g} s are {rate * seconds:.0f}, the account takes {MESSAGES_MAX}; "
            "lower one of them",
            param_hint="--rate / --seconds",
        )
    options = RunOptions(rate=rate, seconds=seconds, metrics_port=metrics_port, drop_one=sabotage is Sabotage.DROP_ONE)
    result = _run(options)
    print(as_text(result))
    if as_json_line:
        print(as_json(result))
    raise typer.Exit(0 if result.passed else FAILED)


def _run(options: RunOptions) -> Result:
    """Run it, or end the process with the reason why not."""
    failure: tuple[object, int] = ("", FAILED)
    try:
        with _open_view() as view, logging_to(view):
            return trio.run(run_demo, options, view)
    except* (ServerProcessError, OperationError) as group:
        failure = (_first(group), USAGE_ERROR)
    except* (DemoError, ConnectError) as group:
        failure = (_first(group), FAILED)
    except* BrokenPipeError:
        failure = ("nobody reads its output", FAILED)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush would fail as well
    except* KeyboardInterrupt:
        failure = ("interrupted twice: ended without an account", INTERRUPTED)
    # Not above: what is raised in an except* block becomes a group.
    print(f"beamline: {failure[0]}", file=sys.stderr)
    raise typer.Exit(failure[1])


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def _open_view() -> Generator[View]:
    """A live picture on a terminal, else lines."""
    if not sys.stdout.isatty():
        yield LineView()
        return
    from rich.console import Console

    from ._live import LiveView

    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        with LiveView(console) as view:
            yield view
    else:
        yield LineView()
