"""A client for a command that asks a server something and ends: its options, and how long it waits for the server.

Must not run a server of its own: there would be nothing in it to look at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import trio
import typer

from ..client import Client, open_client
from ..connection import ClientOptions
from ..operation import load_options

ServersOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--nats", metavar="URL", help="A server; repeat it for more. Else NATS_URL.")
]
ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with options of the client.")
]
# A command is watched by a person, or by a script that has others to run: an outage is told, not waited out.
_WAIT_SECONDS: Final = 10.0
_PROFILE: Final = ClientOptions(name="beamline", pending_timeout_seconds=_WAIT_SECONDS)


def command_options(servers: list[str] | None, config: Path | None, **arguments: Any) -> ClientOptions:
    """The options of a command's client, from its arguments, the environment and a file.

    Raises:
        OptionsError: see `load_options`.
    """
    given = {"servers": servers, **arguments} if servers else arguments
    return load_options(profile=_PROFILE, file=config, **given).client


def run_with_client(options: ClientOptions, command: Callable[[Client], Awaitable[int]]) -> int:
    """Run a command with a client, in a trio run of its own; returns its exit code.

    Raises:
        NatsError: no server could be reached, and whatever the command raises.
    """

    async def run() -> int:
        async with open_client(options=options) as client:
            return await command(client)

    return trio.run(run)
