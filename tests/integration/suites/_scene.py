"""What a case of the suites stands on: a server, clients that meet faults, and who notes what each fault did.

    async def test_tcp_break(scene: Scene) -> None:
        async with scene.open() as nc:
            async with scene.fault("TCP connection breaks", nc) as fault:
                with scene.faults.inject("publish", close_connection()):
                    with fault.raises(ConnectionLostError, "publish(confirm=True)"):
                        await nc.publish("orders.1", b"x", confirm=True)
                await scene.healed(nc)

Every fault is held to the law of the suites: nothing crashed, no restart (the same process id), as many tasks as
before, and a ledger that adds up at every step of the scheduler.

Must not know what any case does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import pytest
import trio

from beamline_trio import Client, State, open_client
from beamline_trio.faults import FaultDialer
from beamline_trio.metrics._reading import read_client
from beamline_trio.metrics._reading_router import read_router
from beamline_trio.metrics._series import MOMENTARY, Key, Reading
from beamline_trio.router import Router
from beamline_trio.testing import EitherServer
from tests._breaking import breaking
from tests._memory import Audit, tasks

E = TypeVar("E", bound=Exception)

LIMIT_SECONDS: Final = 30.0
# So that an outage takes tenths of seconds also where time is real.
QUICK: Final[dict[str, Any]] = {
    "reconnect_delay_seconds": 0.05,
    "reconnect_delay_max_seconds": 0.2,
    "connect_timeout_seconds": 1.0,
    "operation_timeout_seconds": 1.0,
    "ping_interval_seconds": 0.3,
    "pong_timeout_seconds": 0.3,
}


@attrs.frozen
class FaultReport:
    """What one fault looked like from outside.

    Attributes:
        fault: what was done.
        exceptions: "call: class of the exception", in the order in which they came.
        logs: codes, in the order in which they were first logged.
        metrics: series -> by how much it moved; histograms and latencies are left out.
        noticed_seconds: from the fault to the first warning, error or exception; None when there was none.
        over_seconds: from the fault to the end of all that it caused.
    """

    fault: str
    exceptions: list[str]
    logs: list[str]
    metrics: dict[str, float]
    noticed_seconds: float | None
    over_seconds: float


class Fault:
    """A fault that is going on. Made by `Scene.fault`.

    Attributes:
        logs: the records of the library since it began.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.logs: list[logging.LogRecord] = []
        self._began = trio.current_time()
        self._noticed: float | None = None
        self._exceptions: list[str] = []

    def strikes(self) -> None:
        """It happens now, and not when its block began."""
        self._began = trio.current_time()
        self._noticed = None

    @contextmanager
    def raises(self, kind: type[E], call: str) -> Generator[pytest.ExceptionInfo[E]]:
        """A call that must fail with exactly this class."""
        with pytest.raises(kind) as caught:
            yield caught
        assert type(caught.value) is kind
        self._exceptions.append(f"{call}: {kind.__name__}")
        self._notice()

    def note(self, record: logging.LogRecord) -> None:
        """Take a log record."""
        self.logs.append(record)
        if record.levelno >= logging.WARNING:
            self._notice()

    def codes(self) -> list[str]:
        """The codes logged since it began, each once."""
        return list(dict.fromkeys(record.__dict__["event"] for record in self.logs))

    def report(self, metrics: dict[str, float]) -> FaultReport:
        """What it looked like."""
        noticed = None if self._noticed is None else self._noticed - self._began
        over = trio.current_time() - self._began
        return FaultReport(self.name, self._exceptions, self.codes(), metrics, noticed, over)

    def _notice(self) -> None:
        if self._noticed is None:
            self._noticed = trio.current_time()


class _Records(logging.Handler):
    """Hands the library's log records to the faults that are going on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.faults: list[Fault] = []

    def emit(self, record: logging.LogRecord) -> None:
        for fault in self.faults:
            fault.note(record)


class Scene:
    """One server and the clients of a case.

    Attributes:
        nats: the server.
        faults: the dialer of the client that `open` gives.
        reports: of the faults that are over.
    """

    def __init__(self, nats: EitherServer, audit: Audit, records: _Records) -> None:
        self.nats = nats
        self.faults = FaultDialer(nats.dialer("app"))
        self.reports: list[FaultReport] = []
        self._audit = audit
        self._records = records
        self._others = 0

    @asynccontextmanager
    async def open(self, **overrides: Any) -> AsyncGenerator[Client]:
        """The client under test, quick to reconnect, behind `faults`."""
        async with open_client(self.nats.url, dialer=self.faults, **QUICK | overrides) as nc:
            self._audit.watch(nc)
            yield nc

    @asynccontextmanager
    async def open_other(self, **overrides: Any) -> AsyncGenerator[Client]:
        """Another client, which meets no injected fault."""
        self._others += 1
        dialer = self.nats.dialer(f"other-{self._others}")
        async with open_client(self.nats.url, dialer=dialer, **QUICK | overrides) as nc:
            self._audit.watch(nc)
            yield nc

    @asynccontextmanager
    async def fault(self, name: str, *seen: Client | Router) -> AsyncGenerator[Fault]:
        """Something goes wrong inside, and is over at the end: then nothing has crashed, and nobody is missing.

        The report has what moved in those that are seen.
        """
        process, before, running = os.getpid(), _series(seen), tasks()
        fault = Fault(name)
        self._records.faults.append(fault)
        try:
            yield fault
        finally:
            self._records.faults.remove(fault)
        await self._same_tasks(running)
        assert os.getpid() == process
        for one in seen:
            assert isinstance(one, Router) or one.ledger().balanced
        moved = {key: value - before.get(key, 0) for key, value in _series(seen).items()}
        self.reports.append(fault.report({_shown(key): value for key, value in moved.items() if value}))

    async def break_link(self, nc: Client) -> None:
        """The TCP connection of the client under test breaks, and it knows; nothing of anybody's is on its way."""
        async with breaking(self.faults, nc, "publish", subjects="break"):
            await nc.publish("break", b"")

    async def healed(self, *clients: Client) -> None:
        """Wait until clients are connected, what was pending is accounted for, and the server answers them."""
        for nc in clients:
            await until(partial(_is_up, nc))
            await nc.flush()

    async def _same_tasks(self, running: list[str]) -> None:
        """As many tasks as before, of the same names; what is on its way out gets a moment."""
        with trio.move_on_after(1.0):
            await until(lambda: tasks() == running)
        assert tasks() == running


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


@asynccontextmanager
async def open_scene(nats: EitherServer) -> AsyncGenerator[Scene]:
    """A case's stage, audited at every step of the scheduler."""
    audit, records = Audit(), _Records()
    logger = logging.getLogger("beamline_trio")
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    trio.lowlevel.add_instrument(audit)
    try:
        with trio.fail_after(LIMIT_SECONDS):
            yield Scene(nats, audit, records)
    finally:
        trio.lowlevel.remove_instrument(audit)
        logger.removeHandler(records)
        logger.setLevel(level)
    audit.check()


def _is_up(nc: Client) -> bool:
    # The account ends with a PONG of its own, behind what was pending.
    return nc.state is State.CONNECTED and not nc.stats().pending_operations and not nc.connection.retry.under_way


def _series(seen: tuple[Client | Router, ...]) -> dict[Key, float]:
    reading = Reading()
    for one in seen:
        reading.add(read_router(one) if isinstance(one, Router) else read_client(one))
    return {key: number for key, number in reading.numbers.items() if key[0] not in MOMENTARY}


def _shown(key: Key) -> str:
    name, values = key
    return f"{name}{{{','.join(values)}}}" if values else name
