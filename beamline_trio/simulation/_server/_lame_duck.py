"""Lame duck mode: no new clients, a word to those that are there, then they are closed one by one, then the end.

Must not decide how clients are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ._texts import SERVER_SHUTDOWN

if TYPE_CHECKING:
    from ._connection import ClientConnection
    from ._process import Process

_INTERVAL_SECONDS_MAX: Final = 1.0
_DURATION_SECONDS_MIN: Final = 1.0


class LameDuck:
    """One server's way to its end.

    Args:
        process: of the server.
        stop_listening: takes no more clients.
        shut_down: ends what is left.
    """

    def __init__(
        self, process: Process, stop_listening: Callable[[], None], shut_down: Callable[[Process], None]
    ) -> None:
        self._process = process
        self._stop_listening = stop_listening
        self._shut_down = shut_down
        self._clients: list[ClientConnection] = []
        self._interval = 0.0

    def start(self) -> None:
        """Enter it. A server without clients ends at once."""
        process = self._process
        if process.lame_duck:
            return
        self._stop_listening()
        process.lame_duck = True
        if not process.clients:
            self._shut_down(process)
            return
        config = process.config
        seconds = config.lame_duck_duration_seconds - config.lame_duck_grace_seconds
        self._clients = list(process.clients.values())
        spread = (seconds if seconds > 0 else _DURATION_SECONDS_MIN) / len(self._clients)
        self._interval = min(spread, _INTERVAL_SECONDS_MAX)
        if process.cluster is not None:
            process.cluster.lame_duck()
        if process.jetstream is not None:
            process.jetstream.shut_down(telling=False)
        for client in self._clients:
            client.send_info(lame_duck=True)
        process.call_later(config.lame_duck_grace_seconds, self._close_next)

    def _close_next(self) -> None:
        self._clients.pop(0).close(SERVER_SHUTDOWN)
        if not self._clients:
            self._shut_down(self._process)
            return
        seconds = max(self._process.random.random(), 0.5) * self._interval
        self._process.call_later(seconds, self._close_next)
