"""A run from the first process to the account: server, receiver, router, publisher, the outage, the orderly end.

Must not judge messages, and must not draw.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import attrs
import trio

from ...client import open_client
from ...server_process import Server, open_server
from ...transport import TCPDialer
from ._account import Evidence, Kill, close_account
from ._books import Hop
from ._gate import GatedDialer
from ._metrics import Metrics
from ._outage import run_outage
from ._publisher import Publisher
from ._receiver_process import Receiver, ReceiverBook, open_receiver
from ._report import Result
from ._routes import make_router
from ._sender import Sender
from ._view import ClientSnapshot, Snapshot, View

KILL_AT: Final = 1 / 3  # of the time
LATE_SECONDS_MAX: Final = 15.0
_RATE_SECONDS: Final = 1.0


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a run is like.

    Attributes:
        rate: messages per second.
        seconds: how long it publishes.
        metrics_port: where /metrics is; 0 = any free port.
        drop_one: let the receiver throw one confirmed message away.
    """

    rate: float
    seconds: float
    metrics_port: int
    drop_one: bool


async def run_demo(options: RunOptions, view: View) -> Result:
    """Run it. SIGINT and SIGTERM end it early, in order; the second one ends it at once.

    Raises (the errors come within exception groups):
        ListenError: the metrics port cannot be had; PortInUseError if somebody has it.
        ServerProcessError: there is no nats-server, or it does not start.
        ReceiverError: the receiver process failed.
        KeyboardInterrupt: it was interrupted twice.
    """
    publisher_gate, router_gate = GatedDialer(TCPDialer()), GatedDialer(TCPDialer())
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            metrics = Metrics()
            metrics_url = await metrics.start(nursery, options.metrics_port)
            async with (
                open_server() as server,
                open_receiver(server.url, drop_one=options.drop_one, on_log=view.log) as receiver,
                open_client(server.url, name="publisher", dialer=publisher_gate) as publisher,
                open_client(server.url, name="router", dialer=router_gate) as router,
            ):
                view.note(f"nats-server {publisher.server_info.version} at {server.url}; metrics at {metrics_url}")
                senders = {
                    Hop.TO_ROUTER: Sender(publisher, publisher_gate),
                    Hop.TO_RECEIVER: Sender(router, router_gate),
                }
                result = await Run(options, view, server, receiver, senders).conduct(metrics, signals)
            nursery.cancel_scope.cancel()
    return result


class Run:
    """One run under way.

    Args:
        options: what it is like.
        view: where it is shown.
        server: runs.
        receiver: runs.
        senders: connected, by the hop on which they send.
    """

    def __init__(
        self, options: RunOptions, view: View, server: Server, receiver: Receiver, senders: dict[Hop, Sender]
    ) -> None:
        self._options = options
        self._view = view
        self._server = server
        self._receiver = receiver
        self._senders = senders
        sender = senders[Hop.TO_ROUTER]
        self._publisher = Publisher(sender.nc, sender.book, options.rate)
        self._kills: list[Kill] = []
        self._phase = "starting"
        self._stopped = trio.Event()
        self._in_time = trio.CancelScope()
        self._began_at = self._published_until = trio.current_time()
        self._recent: deque[tuple[float, int]] = deque()

    async def conduct(self, metrics: Metrics, signals: AsyncIterator[int]) -> Result:
        """Everything from the receiver's first word to the account."""
        publisher, forwarder = self._senders[Hop.TO_ROUTER], self._senders[Hop.TO_RECEIVER]
        router = make_router(forwarder.nc, forwarder.book)
        metrics.show((publisher.nc, forwarder.nc), router, forwarder.nc)
        async with publisher.nc.events() as events, forwarder.nc.events() as more, trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, signals)
            nursery.start_soon(publisher.watch, events)
            nursery.start_soon(forwarder.watch, more)
            await self._receiver.wait_confirmed()
            await nursery.start(router.run, forwarder.nc)
            self._began_at = trio.current_time()
            nursery.start_soon(self._show_regularly)
            await self._publish()
            book = await self._drain()
            nursery.cancel_scope.cancel()
        self._show()
        return self._result(book)

    async def _publish(self) -> None:
        """The traffic and the outage; returns when the fate of every message is told, or it has become too late."""
        self._set_phase("publishing")
        seconds = self._options.seconds
        self._end_by(self._began_at + seconds + LATE_SECONDS_MAX)
        with self._in_time:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outage)
                nursery.start_soon(self._publisher.run, seconds)

    async def _outage(self) -> None:
        with trio.move_on_at(self._began_at + self._options.seconds * KILL_AT):
            await self._stopped.wait()
        if not self._stopped.is_set():
            await run_outage(
                self._server,
                self._receiver,
                [self._senders[Hop.TO_RECEIVER], self._senders[Hop.TO_ROUTER]],
                stopped=self._stopped,
                on_kill=self._kills.append,
                on_phase=self._set_phase,
            )

    async def _drain(self) -> ReceiverBook:
        """The orderly end: publisher, router, receiver. A client without a connection has nothing to wait for."""
        self._set_phase("draining")
        if not self._in_time.cancelled_caught:
            await self._senders[Hop.TO_ROUTER].nc.drain()
            await self._senders[Hop.TO_RECEIVER].nc.drain()
        return await self._receiver.finish()

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            if self._stopped.is_set():
                raise KeyboardInterrupt
            self._stopped.set()
            self._publisher.stop()
            self._end_by(trio.current_time() + LATE_SECONDS_MAX)
            self._view.note("interrupted: draining for the account; interrupt again to end at once")

    def _end_by(self, deadline: float) -> None:
        self._in_time.deadline = min(self._in_time.deadline, deadline)

    def _set_phase(self, phase: str) -> None:
        self._phase = phase

    # What is shown

    async def _show_regularly(self) -> None:
        due = trio.current_time()
        while True:
            due += self._view.interval_seconds
            await trio.sleep_until(due)
            self._show()

    def _show(self) -> None:
        now = trio.current_time()
        self._view.show(
            Snapshot(
                elapsed_seconds=now - self._began_at,
                seconds=self._options.seconds,
                phase=self._phase,
                rate=self._rate(now),
                published=self._publisher.published,
                replied=self._publisher.replied,
                received=len(self._receiver.receipts),
                clients=(*(sender.snapshot() for sender in self._senders.values()), self._receiver_snapshot()),
            )
        )

    def _rate(self, now: float) -> float:
        """Messages per second, over the last second."""
        recent = self._recent
        recent.append((now, self._publisher.published))
        while len(recent) > 2 and recent[1][0] <= now - _RATE_SECONDS:
            recent.popleft()
        since, published = recent[0] if len(recent) > 1 else (self._began_at, 0)
        return (self._publisher.published - published) / max(now - since, 1e-3)

    def _receiver_snapshot(self) -> ClientSnapshot:
        status = self._receiver.status
        return ClientSnapshot(
            name="receiver",
            state=status.state,
            reconnect_attempts=status.reconnect_attempts,
            reconnects=status.restored,
            pending=status.pending,
        )

    # The end

    def _result(self, book: ReceiverBook) -> Result:
        evidence = Evidence(
            books={hop: sender.book for hop, sender in self._senders.items()},
            received=book.received,
            receipts=self._receiver.receipts,
            interest=self._receiver.confirmed,
            duplicates=book.duplicates,
            kills=tuple(self._kills),
            losses={hop: tuple(sender.losses) for hop, sender in self._senders.items()},
            ledgers={hop: sender.nc.ledger() for hop, sender in self._senders.items()},
            drained=not self._in_time.cancelled_caught,
        )
        restored = {sender.nc.name: sender.nc.stats().restored for sender in self._senders.values()}
        return Result(
            account=close_account(evidence),
            reconnects=restored | {"receiver": self._receiver.status.restored},
            seconds=trio.current_time() - self._began_at,
            publishing_seconds=self._publisher.ended_at - self._began_at,
            kills=len(self._kills),
            problems=tuple(self._problems(book)),
        )

    def _problems(self, book: ReceiverBook) -> list[str]:
        problems = []
        if self._in_time.cancelled_caught:
            problems.append(f"not everybody was connected again {LATE_SECONDS_MAX:g} s after the end of the run")
        if not book.ledger.balanced:
            problems.append(f"the receiver's ledger does not add up: {book.ledger}")
        return problems
