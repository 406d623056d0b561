"""What a run shows while it lasts: a snapshot several times a second, notes, and the library's log, kept short.

`LineView` prints a line a second, for logs and pipes; `_live` has the one for terminals. An outage makes one warning
per message under way: `LogTally` lets the turns of connections through and counts the rest.

Must not read clients: whoever runs the demo takes the snapshots.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Protocol

import attrs

TURNS: Final = frozenset(
    {
        "NATS_CONNECTION_LOST",
        "NATS_CONNECTION_RESTORED",
        "NATS_RECONNECT_EXHAUSTED",
        "NATS_SLOW_CONSUMER",
        "NATS_LAME_DUCK",
        "NATS_DRAIN_DEADLINE",
    }
)


@attrs.frozen(kw_only=True)
class ClientSnapshot:
    """A client at one moment."""

    name: str
    state: str
    reconnect_attempts: int
    reconnects: int
    pending: int


@attrs.frozen(kw_only=True)
class Snapshot:
    """The run at one moment.

    Attributes:
        elapsed_seconds: since the first message. `seconds`: how long it publishes.
        rate: messages published in the last second.
        received: messages of which the receiver has told.
        phase: what is going on.
    """

    elapsed_seconds: float
    seconds: float
    phase: str
    rate: float
    published: int
    replied: int
    received: int
    clients: tuple[ClientSnapshot, ...]

    @property
    def pending(self) -> int:
        """Operations that wait for a connection, of all clients."""
        return sum(client.pending for client in self.clients)

    @property
    def reconnect_attempts(self) -> int:
        """Of all clients."""
        return sum(client.reconnect_attempts for client in self.clients)

    @property
    def states(self) -> str:
        """The state that all clients have, or each one's."""
        states = {client.state for client in self.clients}
        if len(states) == 1:
            return states.pop()
        return ", ".join(f"{client.name} {client.state}" for client in self.clients)


class View(Protocol):
    """Where a run is shown.

    Attributes:
        interval_seconds: how often it wants a snapshot.
    """

    interval_seconds: float

    def show(self, snapshot: Snapshot) -> None:
        """The run as it is now."""

    def note(self, text: str) -> None:
        """Something happened."""

    def log(self, level: int, code: str, text: str) -> None:
        """The library logged something; `code` is its event code, or empty."""


class LogTally:
    """Sorts log records: turns of connections are worth a line, of the others there may be hundreds."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, level: int, code: str, text: str) -> str | None:
        """A line to show now, or None."""
        if code in TURNS:
            return text
        if level >= logging.WARNING:
            self._counts[code or text] += 1
        return None

    def take(self) -> str:
        """What was counted since the last time: `NATS_PUBLISH_ERROR x 37`, or nothing."""
        text = ", ".join(f"{code} x {count}" for code, count in sorted(self._counts.items()))
        self._counts.clear()
        return text


class LineView:
    """A line a second on stdout, and one for each note and each turn of a connection."""

    interval_seconds = 1.0

    def __init__(self) -> None:
        self._tally = LogTally()

    def show(self, snapshot: Snapshot) -> None:
        """Print the line."""
        counted = self._tally.take()
        self.note(
            f"{snapshot.elapsed_seconds:5.1f} s  {snapshot.phase}: {snapshot.states}; {snapshot.rate:.0f} msg/s, "
            f"published {snapshot.published}, replied {snapshot.replied}, received {snapshot.received}, "
            f"pending {snapshot.pending}, reconnect attempts {snapshot.reconnect_attempts}"
            + (f"; logged {counted}" if counted else "")
        )

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def log(self, level: int, code: str, text: str) -> None:
        """Print a turn of a connection."""
        line = self._tally.add(level, code, text)
        if line is not None:
            self.note(f"         {line}")


class _ViewHandler(logging.Handler):
    """Gives the library's records to a view."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.INFO)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        name = getattr(record, "client", "")
        text = f"{name}: {record.getMessage()}" if name else record.getMessage()
        try:
            self._view.log(record.levelno, getattr(record, "event", ""), text)
        except OSError:  # whoever logged is not to blame for a closed stdout; `show` will meet it too
            return


@contextmanager
def logging_to(view: View) -> Generator[None]:
    """The library's log goes to the view and nowhere else."""
    logger = logging.getLogger("beamline_trio")
    level, propagate = logger.level, logger.propagate
    handler = _ViewHandler(view)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
