"""The receiver, a process of its own: `python -m beamline_trio.cli.demo._receiver URL [--drop-one]`.

It answers requests and takes forwarded messages, and tells what it knows in JSON lines on its stdout:

    {"event": "confirmed", "server": id}          its subscriptions are in force on this server process
    {"event": "disconnected", "reason": text}
    {"event": "received", "ids": ranges}          receipts, ten times a second
    {"event": "status", "state": ..., ...}
    {"event": "log", "level": n, "text": ...}
    {"event": "book", "ids": ranges, ...}         everything it has; the last line

`finish` on stdin makes it drain, tell its book and end. The end of stdin makes it end at once: it dies with its parent.

Must not know what was published.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from functools import partial
from typing import Any, Final

import attrs
import trio

from ...client import Client, Message, Subscription, open_client
from ...connection import Connected, Disconnected, EventStream, Reconnected
from ...protocol import NatsError
from ._messages import FINISH, RECEIVER_FORWARD_SUBJECT, RECEIVER_REQUEST_SUBJECT, decode_id, to_ranges

REPORT_SECONDS: Final = 0.1
CONCURRENCY: Final = 8
_LOG_LINES_MAX: Final = 100


class Reporter:
    """Writes whole lines to stdout, one after another."""

    def __init__(self) -> None:
        self._stdout = trio.lowlevel.FdStream(os.dup(1))
        self._lock = trio.StrictFIFOLock()

    async def tell(self, event: str, **fields: Any) -> None:
        """Write one line; whole, also when cancelled. A parent that never reads is gone soon, and stdin tells."""
        line = json.dumps({"event": event, **fields}, separators=(",", ":")) + "\n"
        with trio.CancelScope(shield=True):
            async with self._lock:
                await self._stdout.send_all(line.encode())


class LogLines(logging.Handler):
    """Keeps the last records for the next report."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: deque[logging.LogRecord] = deque(maxlen=_LOG_LINES_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)


class Receiver:
    """What the process has, and what it has told.

    Args:
        drop_one: throw the first forwarded message away: what a library that loses messages would do.
    """

    def __init__(self, *, drop_one: bool) -> None:
        self._drop_one = drop_one
        self._received: set[int] = set()
        self._untold: list[int] = []
        self._duplicates = 0
        self._reporter = Reporter()
        self._logs = LogLines()

    async def run(self, url: str) -> None:
        """Receive until the parent says `finish`."""
        logger = logging.getLogger("beamline_trio")
        logger.setLevel(logging.INFO)
        logger.addHandler(self._logs)
        logger.propagate = False
        finish = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, finish)
            async with open_client(url, name="receiver") as nc:
                await self._receive(nc, finish)
            await self._report(nc)
            ledger = attrs.asdict(nc.ledger())
            ids = to_ranges(self._received)
            await self._reporter.tell("book", ids=ids, duplicates=self._duplicates, ledger=ledger)
            nursery.cancel_scope.cancel()

    async def _receive(self, nc: Client, finish: trio.Event) -> None:
        """Both subscriptions, and the reports on them; returns when the client is drained."""
        async with (
            nc.events() as events,
            nc.subscribe(RECEIVER_FORWARD_SUBJECT, callback=self._on_forwarded) as forwarded,
            trio.open_nursery() as nursery,
        ):
            serve = partial(nc.serve, RECEIVER_REQUEST_SUBJECT, self._on_request, concurrency=CONCURRENCY)
            requests: Subscription = await nursery.start(serve)
            nursery.start_soon(self._report_regularly, nc)
            nursery.start_soon(self._report_confirmed, nc, (forwarded, requests))
            nursery.start_soon(self._watch, nc, events, (forwarded, requests), nursery)
            await finish.wait()
            await nc.drain()
            nursery.cancel_scope.cancel()

    def _on_forwarded(self, message: Message) -> None:
        if self._drop_one:
            self._drop_one = False
            return
        self._note(decode_id(message.payload))

    async def _on_request(self, message: Message) -> bytes:
        self._note(decode_id(message.payload))
        return message.payload

    def _note(self, identifier: int) -> None:
        if identifier in self._received:
            self._duplicates += 1
        self._received.add(identifier)
        self._untold.append(identifier)

    async def _watch(
        self, nc: Client, events: EventStream, subscriptions: tuple[Subscription, ...], nursery: trio.Nursery
    ) -> None:
        async for event in events:
            if isinstance(event, Disconnected):
                await self._reporter.tell("disconnected", reason=event.reason)
            elif isinstance(event, (Connected, Reconnected)):
                nursery.start_soon(self._report_confirmed, nc, subscriptions)

    async def _report_confirmed(self, nc: Client, subscriptions: tuple[Subscription, ...]) -> None:
        """Tell when the server has the subscriptions; a link that dies meanwhile is followed by another."""
        try:
            for subscription in subscriptions:
                await subscription.confirmed()
        except NatsError:
            return
        await self._reporter.tell("confirmed", server=nc.server_info.server_id)

    async def _report_regularly(self, nc: Client) -> None:
        while True:
            await self._report(nc)
            await trio.sleep(REPORT_SECONDS)

    async def _report(self, nc: Client) -> None:
        untold, self._untold = self._untold, []
        if untold:
            await self._reporter.tell("received", ids=to_ranges(untold))
        while self._logs.records:
            record = self._logs.records.popleft()
            event = getattr(record, "event", "")
            await self._reporter.tell("log", level=record.levelno, code=event, text=record.getMessage())
        stats = nc.stats()
        await self._reporter.tell(
            "status",
            state=str(nc.state),
            reconnect_attempts=stats.reconnect_attempts,
            pending=stats.pending_operations,
            restored=stats.restored,
        )


async def _obey(finish: trio.Event) -> None:
    """Read what the parent says; end with it."""
    stdin = trio.lowlevel.FdStream(os.dup(0))
    said = b""
    while chunk := await stdin.receive_some():
        said += chunk
        if said == FINISH:
            finish.set()
    os._exit(1)  # nobody is left to be told anything


def main() -> None:
    """Run the process."""
    _, url, *flags = sys.argv
    trio.run(Receiver(drop_one="--drop-one" in flags).run, url)


if __name__ == "__main__":
    main()
