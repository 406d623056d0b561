"""The view for terminals: one picture that is drawn again and again by rich.

It is drawn when a snapshot comes and by nobody else: no refresh thread beside trio's.

Must not print past rich while it is up.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._view import LogTally, Snapshot

_LINES_MAX: Final = 10
_STYLES: Final = {"connected": "green", "closed": "dim", "exhausted": "bold red"}


class LiveView:
    """A live picture: `with LiveView() as view`.

    Args:
        console: where to draw.
    """

    interval_seconds = 0.2

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._tally = LogTally()
        self._lines: deque[str] = deque(maxlen=_LINES_MAX)
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, snapshot: Snapshot) -> None:
        """Draw it."""
        self._snapshot = snapshot
        counted = self._tally.take()
        if counted:
            self._lines.append(f"logged {counted}")
        self._live.update(_picture(snapshot, self._lines), refresh=True)

    def note(self, text: str) -> None:
        """Add a line to the picture."""
        self._lines.append(text)

    def log(self, level: int, code: str, text: str) -> None:
        """Add a turn of a connection to the picture."""
        line = self._tally.add(level, code, text)
        if line is not None:
            self._lines.append(line)


def _picture(snapshot: Snapshot, lines: deque[str]) -> RenderableType:
    return Group(
        _clients(snapshot),
        Text.assemble(
            (f"{snapshot.rate:.0f} msg/s", "bold"),
            f"   published {snapshot.published}   replied {snapshot.replied}   received {snapshot.received}",
            f"   pending {snapshot.pending}   reconnect attempts {snapshot.reconnect_attempts}",
        ),
        _progress(snapshot),
        *(Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in lines),
    )


def _clients(snapshot: Snapshot) -> Table:
    table = Table(title="beamline demo", title_justify="left", title_style="bold", expand=False)
    table.add_column("client")
    table.add_column("connection", min_width=12)
    for heading in ("pending", "reconnect attempts", "reconnects"):
        table.add_column(heading, justify="right")
    for client in snapshot.clients:
        style = _STYLES.get(client.state, "yellow")
        counts = (client.pending, client.reconnect_attempts, client.reconnects)
        table.add_row(client.name, Text(client.state, style=style), *map(str, counts))
    return table


def _progress(snapshot: Snapshot) -> Table:
    done = min(snapshot.elapsed_seconds, snapshot.seconds)
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=snapshot.seconds, completed=done, width=40)
    grid.add_row(bar, f"{snapshot.elapsed_seconds:4.1f} / {snapshot.seconds:g} s", Text(snapshot.phase, style="bold"))
    return grid
