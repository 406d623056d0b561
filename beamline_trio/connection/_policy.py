"""When and where the next attempt to reconnect is made: what the user's callbacks say, if it can be used; else the
library's own backoff and order.

Whatever a callback raises or gives, the supervisor goes on: it is logged, counted and told by an event, and the
library's own policy decides this time.

Must not wait or dial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from ..protocol import NatsError, frozen
from ._backoff import next_delay
from ._connection import Connection
from ._pool import KnownServer, PoolServer

Answer = TypeVar("Answer")

# The least that `reconnect_delay_seconds` may be, from the second pass on: attempts without a pause are a busy loop.
LEAST_SECONDS: Final = 0.001


@frozen
class Turn:
    """What comes next.

    Attributes:
        delay: seconds to wait first.
        server: the one to try then; None = a pass over the pool.
    """

    delay: float
    server: KnownServer | None = None


class UnusableAnswerError(NatsError):
    """A callback of the options gave something that cannot be used. It is told by an event, never raised."""


class Policy:
    """The policy of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_turn(self, passes: int, outage_seconds: float) -> Turn:
        """What to do next.

        Args:
            passes: how many passes this outage has seen.
            outage_seconds: how long it has lasted.
        """
        chosen = self._ask("choose_server", self._choose)
        turn = chosen if chosen is not None else Turn(self._delay(passes, outage_seconds))
        return turn if passes == 0 else attrs.evolve(turn, delay=max(turn.delay, LEAST_SECONDS))

    def _delay(self, passes: int, outage_seconds: float) -> float:
        connection = self._connection
        callback = connection.options.reconnect_delay_callback
        if callback is not None:
            given = self._ask("reconnect_delay_callback", lambda: _seconds(callback(passes)))
            if given is not None:
                return given
        rng = connection.environment.random
        return next_delay(passes, outage_seconds, connection.options, rng, tls=self._expects_tls)

    @property
    def _expects_tls(self) -> bool:
        """Whether the next server is reached over TLS, as far as can be known before."""
        connection = self._connection
        secure = connection.origin is not None and connection.origin.secure
        following = connection.pool.one_pass()[:1]
        return secure or bool(connection.options.tls) or any(server.address.wants_tls for server in following)

    def _choose(self) -> Turn | None:
        connection = self._connection
        callback = connection.options.choose_server
        if callback is None:
            return None
        turn = self._read(callback(connection.pool.snapshot(), connection.info))
        if isinstance(turn, str):
            raise UnusableAnswerError(f"choose_server gave {turn}")
        return turn

    def _read(self, answer: Any) -> Turn | str | None:
        """The turn, or what is wrong with an answer, which is not repeated: its URL may hold a password."""
        if not isinstance(answer, tuple) or len(answer) != 2:
            return f"a {type(answer).__name__}; it must give a tuple of (server or None, seconds)"
        wanted, delay = answer
        if wanted is None:
            return None
        server = self._connection.pool.find(wanted.url if isinstance(wanted, PoolServer) else wanted)
        if server is None:
            return "what is no server of the pool; give one of those it was called with, or the URL of one"
        return Turn(_seconds(delay), server) if _is_delay(delay) else f"{_DELAY}, not {delay!r}"

    def _ask(self, option: str, question: Callable[[], Answer]) -> Answer | None:
        """The answer, or None when there is none that can be used."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001  # whatever the user's function raises: the supervisor must live
            self._connection.incidents.callback_failed(option, error)
            return None


_DELAY: Final = "a delay that cannot be used; it must be a number of seconds, 0 or more"


def _is_delay(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _seconds(value: Any) -> float:
    if not _is_delay(value):
        raise UnusableAnswerError(f"reconnect_delay_callback gave {_DELAY}, not {value!r}")
    return float(value)
