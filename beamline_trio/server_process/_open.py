"""Own a server for the time of an `async with`: its temporary directory, its guard, its process.

What the server does meanwhile is `_process`'s matter; here is only what exists, and that it is gone
afterwards.

All of it is protected from KeyboardInterrupt, which so arrives at a checkpoint and not between making a thing
and noting that it must be removed. The user's block is not: it runs in frames of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import attrs
import trio

from ._files import CONFIG_NAME, ServerFiles
from ._find import find_nats_server
from ._guard import open_guard
from ._options import ServerOptions
from ._process import Server


@contextlib.asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_server(options: ServerOptions | None = None, **overrides: Any) -> AsyncGenerator[Server]:
    """Run a nats-server of one's own, ready when the block begins and gone when it ends.

    Leaving the block, in whatever way, kills the server (call `Server.stop` before for an orderly shutdown),
    reaps it, and removes its temporary directory with configuration, log and store; a `store_directory` or
    `log_file` that was given is kept. Cancelled while starting, it leaves nothing either. Should this process
    die without leaving the block, a guard process does the same.

    The server is in a session of its own: Ctrl-C in the terminal does not reach it, only you.

    Args:
        options: how to start it; None = `ServerOptions()`, which takes any free port on the loopback
            interface.
        overrides: fields of `ServerOptions` that replace those of `options`.

    Raises:
        OSError: a file cannot be written, or there is no /bin/sh to guard the server.
        ServerNotFoundError: there is no nats-server.
        ServerStartError: it did not get ready; the message has its exit code and the end of its log.
        TypeError: an override is no field of `ServerOptions`.
        ValueError: a field is out of its bounds.
    """
    options = attrs.evolve(options or ServerOptions(), **overrides)
    executable = options.executable or find_nats_server()
    async with (
        open_directory() as directory,
        open_guard(directory / CONFIG_NAME, directory) as guard,
    ):
        server = Server(options, executable, ServerFiles(options, directory), guard)
        try:
            await server.start()
            yield server
        finally:
            await server.aclose()


@contextlib.asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_directory() -> AsyncGenerator[Path]:
    """A temporary directory, removed behind the block."""
    directory = Path(tempfile.mkdtemp(prefix="beamline-nats-server-"))
    try:
        yield directory
    finally:
        # Not in a thread: Ctrl-C pierces a shield, and would leave the directory there.
        shutil.rmtree(directory)
