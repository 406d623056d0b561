"""What the cells of fault injection prove things with: a client under test, and somebody who sees what arrives.

Must not know what is tested with it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from beamline_trio import (
    Client,
    Outcome,
    State,
    Subscription,
    open_client,
)
from beamline_trio.faults import (
    FaultDialer,
)
from beamline_trio.transport import Dialer
from tests._memory import Audit, tasks

TIMEOUT_SECONDS = 1.0
LIMIT_SECONDS = 20.0
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
    """

    url: str
    faults: FaultDialer
    plain: Dialer


class _Codes(logging.Handler):
    """The event codes of the library's log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.__dict__["event"])


class Proof:
    """A client under test, somebody who sees what arrives at the server, and what both have seen."""

    def __init__(self, stage: Stage, nc: Client, witness: Client, arrivals: Subscription, codes: _Codes) -> None:
        self.faults = stage.faults
        self.stage = stage
        self.nc = nc
        self._witness = witness
        self._arrivals = arrivals
        self._codes = codes
        self._before = self._troubles()
        self._tasks = tasks()

    async def arrived(self) -> list[bytes]:
        """The payloads that the server has got since it was last asked."""
        await self.nc.flush()
        await self._witness.flush()
        return [(await self._arrivals.receive()).payload for _ in range(self._arrivals.pending_messages)]

    def seen(self) -> tuple[dict[str, int], Counter[str]]:
        """By how much the counters of trouble have moved, and the codes logged, since it was last asked."""
        now = self._troubles()
        moved = {name: count - self._before[name] for name, count in now.items() if count != self._before[name]}
        self._before = now
        codes, self._codes.seen = Counter(self._codes.seen), []
        codes.pop("NATS_RECONNECT_ATTEMPT", None)
        return moved, codes

    def _troubles(self) -> dict[str, int]:
        statistics = attrs.asdict(self.nc.stats())
        found: dict[str, int] = {}
        for name in _TROUBLES:
            value = statistics[name]
            if isinstance(value, dict):
                found.update({f"{name}.{label}": count for label, count in value.items()})
            else:
                found[name] = value
        return found

    async def connected(self) -> None:
        """Wait until the client is connected."""
        await until(lambda: self.nc.state is State.CONNECTED)

    async def healthy(self) -> None:
        """The fault is undone: everything works, nothing moves, nobody is missing."""
        await self.connected()
        await self.arrived()
        self.seen()
        for number in range(3):
            assert await self.nc.publish("orders.7", b"healthy %d" % number, confirm=True) is Outcome.SENT
        async with self.nc.subscribe("orders.*.new") as sub:
            await sub.confirmed()
            await self.nc.publish("orders.7.new", b"new")
            assert (await sub.receive()).payload == b"new"
        assert await self.arrived() == [b"healthy 0", b"healthy 1", b"healthy 2", b"new"]
        assert self.seen() == ({}, Counter())
        assert self.nc.ledger().balanced
        assert self.nc.ledger().open == 0
        assert tasks() == self._tasks
        assert self.faults.unframed == 0


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


@asynccontextmanager
async def proving(stage: Stage) -> AsyncGenerator[Proof]:
    """A client under test, audited at every step; healthy at the end."""
    audit = Audit()
    trio.lowlevel.add_instrument(audit)
    try:
        with trio.fail_after(LIMIT_SECONDS), _codes() as codes:
            async with (
                open_client(stage.url, dialer=stage.plain) as witness,
                witness.subscribe("orders.>") as arrivals,
            ):
                await arrivals.confirmed()
                async with open_tested(stage) as nc:
                    audit.watch(nc)
                    await nc.flush()
                    proof = Proof(stage, nc, witness, arrivals, codes)
                    proof.seen()
                    yield proof
                    await proof.healthy()
    finally:
        trio.lowlevel.remove_instrument(audit)
    audit.check()


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
