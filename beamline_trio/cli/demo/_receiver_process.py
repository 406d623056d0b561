"""The receiver as its parent sees it: start it, read its lines, ask for its book, leave nothing behind.

Must not judge what the receiver says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from ...connection import Ledger
from ._errors import DemoError
from ._messages import FINISH, from_ranges

MODULE: Final = "beamline_trio.cli.demo._receiver"
_STDERR_BYTES_MAX: Final = 4_096
_END_SECONDS: Final = 2.0
FINISH_SECONDS_MAX: Final = 15.0


class ReceiverError(DemoError):
    """The receiver process ended too early, or did not answer."""


@attrs.frozen
class ReceiverStatus:
    """What the receiver last said of its client."""

    state: str = "starting"
    reconnect_attempts: int = 0
    pending: int = 0
    restored: int = 0


@attrs.frozen
class ReceiverBook:
    """What the receiver has at the end."""

    received: set[int]
    duplicates: int
    ledger: Ledger


class Receiver:
    """A receiver process that runs. Made by `open_receiver`.

    Attributes:
        status: what it last said of its client.
        receipts: the ids it has told of.
        confirmed: server process -> when it first told that its subscriptions are confirmed there, in order.
    """

    def __init__(self, process: trio.Process, on_log: Callable[[int, str, str], None]) -> None:
        self._process = process
        self._on_log = on_log
        self._changed = trio.lowlevel.ParkingLot()
        self._stderr = b""
        self._book: ReceiverBook | None = None
        self._ended = False
        self.status = ReceiverStatus()
        self.receipts: set[int] = set()
        self.confirmed: dict[str, float] = {}

    async def wait_confirmed(self, after: str = "") -> str:
        """Wait until its subscriptions are confirmed on another server process than `after`; returns that one.

        Raises:
            ReceiverError: it ended.
        """
        while (server := next(reversed(self.confirmed), after)) == after:
            await self._wait_change()
        return server

    async def finish(self) -> ReceiverBook:
        """Let it drain, and take its book.

        Raises:
            ReceiverError: it ended without.
        """
        if self._process.stdin is None:
            raise RuntimeError("the receiver was started without a pipe")
        try:
            await self._process.stdin.send_all(FINISH)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has ended; the reader says why
        with trio.move_on_after(FINISH_SECONDS_MAX):
            while self._book is None:
                await self._wait_change()
            return self._book
        raise ReceiverError(f"the receiver process did not tell its book within {FINISH_SECONDS_MAX:g} s")

    async def _wait_change(self) -> None:
        if self._ended:
            raise ReceiverError(f"the receiver process ended too early: {self._last_words()}")
        await self._changed.park()

    async def read(self) -> None:
        """Take its lines until it closes its stdout. A task of `open_receiver`."""
        rest = b""
        async for chunk in _stream(self._process.stdout):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            self._changed.unpark_all()
        await self._process.wait()
        self._ended = True
        self._changed.unpark_all()

    async def read_stderr(self) -> None:
        """Keep the end of what it says there, for the error. A task of `open_receiver`."""
        async for chunk in _stream(self._process.stderr):
            self._stderr = (self._stderr + chunk)[-_STDERR_BYTES_MAX:]

    def _take(self, line: dict[str, Any]) -> None:
        event = line.pop("event")
        if event == "received":
            self.receipts |= from_ranges(line["ids"])
        elif event == "status":
            self.status = ReceiverStatus(**line)
        elif event == "log":
            self._on_log(line["level"], line["code"], f"receiver: {line['text']}")
        elif event == "confirmed":
            self.confirmed.setdefault(line["server"], trio.current_time())
        elif event == "disconnected":
            self.status = attrs.evolve(self.status, state="reconnecting")
        elif event == "book":
            self._book = ReceiverBook(from_ranges(line["ids"]), line["duplicates"], Ledger(**line["ledger"]))

    def _last_words(self) -> str:
        lines = self._stderr.decode("utf-8", "replace").strip().splitlines()
        return f"exit code {self._process.returncode}" + (f", {lines[-1].strip()}" if lines else "")


@asynccontextmanager
async def open_receiver(
    url: str, *, drop_one: bool, on_log: Callable[[int, str, str], None]
) -> AsyncGenerator[Receiver]:
    """Start a receiver of the server at `url`; it is gone when the block is left.

    Args:
        drop_one: let it throw one message away.
        on_log: called with level, event code and text of what its client logs.
    """
    command = [sys.executable, "-P", "-m", MODULE, url, *(["--drop-one"] if drop_one else [])]
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
    )
    try:
        async with trio.open_nursery() as nursery:
            receiver = Receiver(process, on_log)
            nursery.start_soon(receiver.read)
            nursery.start_soon(receiver.read_stderr)
            yield receiver
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.move_on_after(_END_SECONDS, shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


def _stream(stream: trio.abc.ReceiveStream | None) -> trio.abc.ReceiveStream:
    if stream is None:
        raise RuntimeError("the receiver was started without a pipe")
    return stream
