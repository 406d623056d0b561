"""The server's pings to one peer: the first soon, later ones when it was silent, and the end of one that is stale.

The first ping after CONNECT comes after some two seconds and measures the round trip; with nothing to measure, a ping
is left out while the peer has sent something else within the interval.

Must not know what kind of connection it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._process import Process
    from ._surroundings import Timer

_FIRST_SECONDS: Final = 2.0
_FIRST_SPREAD: Final = 0.2
_ROUND_TRIP_SECONDS: Final = 3600.0


class Liveness:
    """Pings of one connection.

    Args:
        process: of the server.
        ping: sends one.
        stale: what happens when too many were not answered.
        interval_max: ping also when the peer was heard of, and at least so often, as between servers.
        first_seconds: about when the first ping comes after the handshake.

    Attributes:
        heard: when the peer last sent more than PONG.
        measured: the round trip is known.
        round_trip: in seconds, of the last ping that was answered; infinite before.
    """

    __slots__ = (
        "_asked",
        "_first_seconds",
        "_interval_max",
        "_ping",
        "_process",
        "_stale",
        "_timer",
        "_unanswered",
        "heard",
        "measured",
        "round_trip",
    )

    def __init__(
        self,
        process: Process,
        ping: Callable[[], None],
        stale: Callable[[], None],
        *,
        interval_max: float | None = None,
        first_seconds: float = _FIRST_SECONDS,
    ) -> None:
        self._process = process
        self._ping = ping
        self._stale = stale
        self._interval_max = interval_max
        self._first_seconds = first_seconds
        self._asked: float | None = None
        self._unanswered = 0
        self._timer: Timer | None = None
        self.heard = float("-inf")
        self.measured = False
        self.round_trip = float("inf")

    def start(self) -> None:
        """The connection is there."""
        self._again(self._interval())

    def connected(self) -> None:
        """CONNECT has come: the next ping comes soon."""
        self.measured = True
        self.stop()
        seconds = min(self._interval(), self._first_seconds)
        self._again(seconds * (1 + _FIRST_SPREAD * self._process.random.random()))

    def pong(self) -> None:
        """The peer has answered."""
        self._unanswered = 0
        self.measured = True
        if self._asked is not None:
            self.round_trip = self._process.now() - self._asked

    def stop(self) -> None:
        """No more pings."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _interval(self) -> float:
        interval = self._process.config.ping_interval_seconds
        return interval if self._interval_max is None else min(interval, self._interval_max)

    def _again(self, seconds: float) -> None:
        self._timer = self._process.call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._process.now()
        measure = not self.measured or self._asked is None or now - self._asked > _ROUND_TRIP_SECONDS
        if self._interval_max is not None or measure or now - self.heard >= self._interval():
            if self._unanswered + 1 > self._process.config.ping_max:
                self._stale()
                return
            self._asked = now
            self._unanswered += 1
            self._ping()
        self._again(self._interval())
