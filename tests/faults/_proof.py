"""What the cells of fault injection prove things with: a client under test, and somebody who sees what arrives.

Three proofs, and each is noted when it stands: semantics when all that a cell says has held, observability when it has
told what is to be seen and nothing else was, resilience when afterwards everything works and nobody is missing.

Must not know what is tested with it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import attrs
import trio

from beamline_trio import (
    Client,
    Outcome,
    State,
    Subscription,
    open_client,
)
from beamline_trio.faults import FaultDialer
from beamline_trio.metrics import Collector
from beamline_trio.transport import Dialer
from tests._breaking import breaking
from tests._memory import Audit, tasks
from tests.faults._names import Proven

P = TypeVar("P", bound="Proof")

TIMEOUT_SECONDS = 1.0
LIMIT_SECONDS = 20.0
GAUGE = "router_nats_connection_status"
LOST, RESTORED = "NATS_CONNECTION_LOST", "NATS_CONNECTION_RESTORED"
# The counters that say that something went wrong.
_TROUBLES = (
    "lost",
    "restored",
    "connect_failures",
    "reconnect_failures",
    "exhausted",
    "publish_failures",
    "confirmed_publish_failures",
    "subscribe_failures",
    "skipped",
    "pending_dropped",
    "pending_expired",
    "late_replies",
    "malformed",
    "unroutable",
    "pongs_missed",
    "server_errors",
)


@attrs.frozen
class Stage:
    """A server, and the dialer between it and the client under test.

    Attributes:
        url: where the server is.
        faults: the dialer of the client under test.
        plain: the dialer of everybody else.
        proven: what the cell has proven so far.
    """

    url: str
    faults: FaultDialer
    plain: Dialer
    proven: set[Proven] = attrs.field(factory=set)


class _Codes(logging.Handler):
    """The event codes of the library's log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.__dict__["event"])


class _Gauge(trio.abc.Instrument):
    """What a scrape would show of the connection's status, at every change of the client's state."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._collector = Collector()
        self._collector.add(nc)
        self._state = nc.state
        self.seen = [self._scrape()]

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look."""
        if self._nc.state is not self._state:
            self._state = self._nc.state
            self.seen.append(self._scrape())

    def _scrape(self) -> float:
        samples = (sample for family in self._collector.collect() for sample in family.samples)
        return next(sample.value for sample in samples if sample.name == GAUGE)

    def dips(self) -> int:
        """How often it has left 1 since it was last asked, when it must have been at 0 before it was back."""
        seen, self.seen = self.seen, self.seen[-1:]
        assert set(seen) <= {0.0, 0.5, 1.0}
        outages = "".join(f"{value:g} " for value in seen).split("1 ")[1:]
        dips = [outage for outage in outages if outage]
        assert all("0" in outage.split() for outage in dips)
        return len(dips)


@attrs.frozen
class Parts:
    """What a proof is made of.

    Attributes:
        stage: see `Stage`.
        nc: the client under test.
        witness: a client that meets no fault.
        arrivals: its subscription to all orders.
        codes: of the log.
    """

    stage: Stage
    nc: Client
    witness: Client
    arrivals: Subscription
    codes: _Codes


class Proof:
    """A client under test, somebody who sees what arrives at the server, and what both have seen."""

    def __init__(self, parts: Parts) -> None:
        self.stage = parts.stage
        self.faults = parts.stage.faults
        self.nc = parts.nc
        self.gauge = _Gauge(parts.nc)
        self._witness = parts.witness
        self._arrivals = parts.arrivals
        self._codes = parts.codes
        self._before: dict[str, int] = {}
        self._tasks = tasks()
        self._process = os.getpid()
        self.forget()

    async def arrived(self) -> list[bytes]:
        """The payloads that the server has got since it was last asked."""
        await self.nc.flush()
        await self._witness.flush()
        return [(await self._arrivals.receive()).payload for _ in range(self._arrivals.pending_messages)]

    def forget(self) -> None:
        """What was seen up to now is of no interest."""
        self._before = self.troubles()
        self._codes.seen.clear()
        self.gauge.dips()

    def moved(self, counter: str) -> int:
        """By how much a counter of trouble has moved since `shows`."""
        return self.troubles()[counter] - self._before[counter]

    def shows(self, moved: Mapping[str, int] | None = None, codes: Mapping[str, int] | None = None) -> None:
        """Exactly these counters of trouble have moved, and these codes were logged, since it was last asked.

        And the gauge has dipped once for each link that was lost, and not else.
        """
        now = self.troubles()
        changed = {name: count - self._before[name] for name, count in now.items() if count != self._before[name]}
        logged = Counter(self._codes.seen)
        logged.pop("NATS_RECONNECT_ATTEMPT", None)
        dips = self.gauge.dips()
        self.forget()
        assert changed == (moved or {}), f"counters moved: {changed}"
        assert logged == (codes or {}), f"codes logged: {logged}"
        assert dips == changed.get("lost", 0), f"the gauge dipped {dips} times: {changed}"
        self.stage.proven.add(Proven.OBSERVABILITY)

    def troubles(self) -> dict[str, int]:
        """The counters that say that something went wrong."""
        return flat(attrs.asdict(self.nc.stats()), _TROUBLES)

    async def connected(self) -> None:
        """Wait until the client is connected, and the account of what was pending is closed."""
        await until(lambda: self.nc.state is State.CONNECTED and not self.nc.connection.retry.under_way)

    async def healthy(self) -> None:
        """The fault is undone: everything works, nothing moves, nobody is missing."""
        await self.connected()
        await self.settle()
        self.forget()
        await self.works()
        await self.nc.flush()
        self.shows()
        assert self.nc.ledger().balanced
        assert self.nc.ledger().open == 0
        assert tasks() == self._tasks
        assert os.getpid() == self._process
        assert self.faults.unframed == 0

    async def settle(self) -> None:
        """What the fault has left behind is over."""
        await self.arrived()

    async def works(self) -> None:
        """Everything that a client does."""
        for number in range(3):
            assert await self.nc.publish("orders.7", b"healthy %d" % number, confirm=True) is Outcome.SENT
        async with self.nc.subscribe("orders.*.new") as sub:
            await sub.confirmed()
            await self.nc.publish("orders.7.new", b"new")
            assert (await sub.receive()).payload == b"new"
        assert await self.arrived() == [b"healthy 0", b"healthy 1", b"healthy 2", b"new"]


def flat(statistics: Mapping[str, Any], names: Iterable[str], prefix: str = "") -> dict[str, int]:
    """These counters, those of several reasons one by one."""
    found: dict[str, int] = {}
    for name in names:
        value = statistics[name]
        if isinstance(value, dict):
            found.update({f"{prefix}{name}.{label}": count for label, count in value.items()})
        else:
            found[f"{prefix}{name}"] = value
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


@contextmanager
def _codes() -> Generator[_Codes]:
    logger, handler = logging.getLogger("beamline_trio"), _Codes()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def _instrument(instrument: trio.abc.Instrument) -> Generator[None]:
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


@asynccontextmanager
async def proving(stage: Stage) -> AsyncGenerator[Proof]:
    """A client under test, audited at every step; healthy at the end."""
    async with proving_by(Proof, stage) as proof:
        yield proof


@asynccontextmanager
async def proving_by(make: Callable[[Parts], P], stage: Stage) -> AsyncGenerator[P]:
    """The same by a proof of one's own."""
    audit = Audit()
    with trio.fail_after(LIMIT_SECONDS), _codes() as codes, _instrument(audit):
        async with (
            open_client(stage.url, dialer=stage.plain) as witness,
            witness.subscribe("orders.>") as arrivals,
        ):
            await arrivals.confirmed()
            async with open_tested(stage) as nc:
                audit.watch(nc)
                await nc.flush()
                proof = make(Parts(stage, nc, witness, arrivals, codes))
                with _instrument(proof.gauge):
                    yield proof
                    stage.proven.add(Proven.SEMANTICS)
                    await proof.healthy()
    audit.check()
    stage.proven.add(Proven.RESILIENCE)


@asynccontextmanager
async def open_tested(stage: Stage) -> AsyncGenerator[Client]:
    """The client under test; it gives up what takes longer than TIMEOUT_SECONDS, and reconnects quickly."""
    async with open_client(
        stage.url,
        dialer=stage.faults,
        connect_timeout_seconds=TIMEOUT_SECONDS,
        operation_timeout_seconds=TIMEOUT_SECONDS,
        reconnect_delay_max_seconds=0.2,
    ) as nc:
        yield nc


async def lose_link(proof: Proof) -> None:
    """The link breaks under the client, under a publish that was not confirmed."""
    async with breaking(proof.faults, proof.nc, "publish", after=True):
        await proof.nc.publish("orders.1", b"the last")
