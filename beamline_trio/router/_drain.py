"""The end of a router: intake stopped, work finished within the grace, acks flushed, the rest given back and counted.

The client's own drain ends the router's sources too; then only the grace is the router's to keep. Either way what is
still in hand when it is over is cancelled, and goes back to its stream at once.

Must not close the client.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import trio

from ..client import Client
from ..protocol import frozen
from ._route_run import Account, RouteRun

# Of the drain of a client: 25 of 30 seconds.
FLUSH_FROM: Final = 5 / 6


@frozen(kw_only=True)
class DrainReport:
    """How a router's run ended.

    Attributes:
        unfinished: messages that were in hand when the grace was over; those of streams were given back.
        unknown: acks of which it is not known whether the server has them: their messages may come again.
    """

    unfinished: int = 0
    unknown: int = 0


class RouterDrain:
    """The drain of one run of a router.

    Args:
        client: that it runs on.
        runs: its routes at work.
        grace_seconds: how long handlers may go on.

    Attributes:
        account: what its routes leave behind.
        report: how it ended, once `ended` is set.
    """

    def __init__(self, client: Client, runs: Sequence[RouteRun], grace_seconds: float) -> None:
        self._client = client
        self._log = client.connection.log
        self._runs = runs
        self._grace_seconds = grace_seconds
        self._requested = trio.Event()
        self.account = Account()
        self.ended = trio.Event()
        self.report = DrainReport()

    @property
    def requested(self) -> bool:
        """Whether the router ends, by its own drain or its client's."""
        return self._requested.is_set()

    def request(self) -> None:
        """Begin, if that was not done."""
        self._requested.set()

    async def run(self) -> None:
        """Wait until it, or the client's drain, is asked for; then end the routes. Cancelled when they have ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_client)
            await self._requested.wait()
            nursery.cancel_scope.cancel()
        self._log(logging.INFO, "ROUTER_DRAIN_STARTED")
        self.account.ending = True
        runs = tuple(self._runs)
        async with trio.open_nursery() as nursery:
            for run in runs:
                run.end_intake()
                if not self._client.drainer.requested:
                    nursery.start_soon(run.drain_source)
            await trio.sleep(self._grace())
            nursery.cancel_scope.cancel()
        for run in tuple(self._runs):
            run.cut()

    def _grace(self) -> float:
        """The client's own drain needs the rest of its time to flush."""
        if not self._client.drainer.requested:
            return self._grace_seconds
        return min(self._grace_seconds, FLUSH_FROM * self._client.connection.options.drain_deadline_seconds)

    async def _watch_client(self) -> None:
        await self._client.drainer.wait_requested()
        self._requested.set()

    def end(self) -> None:
        """All routes have ended."""
        account = self.account
        self.report = DrainReport(unfinished=account.unfinished, unknown=account.unknown)
        if self.requested:
            self._log(logging.INFO, "ROUTER_DRAINED", unfinished=account.unfinished, unknown=account.unknown)
