"""A dial: SYN, answer, connection. It tries again as TCP does while nothing comes back, and fails with TCP's errors.

Each try is one SYN under way and one answer under way; when either is lost, the next SYN goes out at its moment.
Nothing of a dial is left behind when it is cancelled.

Must not know what the connection is for.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ._end import Owner
from ._retransmission import DIAL_GIVE_UP_SECONDS, SYN_MOMENTS_SECONDS

if TYPE_CHECKING:
    from .._events import Timer
    from ._host import Host
    from ._network import Network

UNKNOWN_NAME: Final = "Name or service not known"
REFUSED: Final = "Connection refused"
TIMED_OUT: Final = "Connection timed out"


class Dial:
    """One attempt to connect; it begins when it is made.

    Args:
        owner: of the end that dials; it is told when the connection is open.
        failed: called with the error otherwise, once.
    """

    __slots__ = (
        "_answers",
        "_arrives",
        "_back",
        "_deadline",
        "_failed",
        "_forth",
        "_network",
        "_owner",
        "_port",
        "_source",
        "_started",
        "_target",
        "_timer",
        "_tries",
    )

    def __init__(
        self,
        network: Network,
        source: Host,
        target: Host,
        port: int,
        owner: Owner,
        failed: Callable[[OSError], object],
    ) -> None:
        self._network = network
        self._source = source
        self._target = target
        self._port = port
        self._owner = owner
        self._failed = failed
        self._forth = network.path(source, target)
        self._back = network.path(target, source)
        self._forth.travellers[self] = None
        self._back.travellers[self] = None
        self._started = network.events.now()
        self._tries = 0
        # What is to be done when the way is released; None while nothing waits for that.
        self._arrives: Callable[[], None] | None = None
        self._answers: Callable[[], Owner] | None = None
        self._deadline: Timer = network.events.call_at(
            self._started + DIAL_GIVE_UP_SECONDS, self._fail, TimeoutError(errno.ETIMEDOUT, TIMED_OUT)
        )
        self._timer: Timer | None = None
        self._try()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._deadline.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._forth.travellers.pop(self, None)
        self._back.travellers.pop(self, None)

    def healed(self) -> None:
        """See `Traveller`: the next SYN will find out."""

    def released(self) -> None:
        """See `Traveller`."""
        arrives, self._arrives = self._arrives, None
        if arrives is not None:
            self._timer = self._network.events.call_soon(arrives)

    def _try(self) -> None:
        """Send the next SYN: at its moment, behind which it is under way."""
        if self._tries < len(SYN_MOMENTS_SECONDS):
            sent = self._started + SYN_MOMENTS_SECONDS[self._tries]
            self._tries += 1
            self._timer = self._network.events.call_at(sent + self._forth.delay(), self._syn_arrives)

    def _syn_arrives(self) -> None:
        if self._forth.held:
            self._arrives = self._syn_arrives
        elif self._forth.lost:
            self._try()
        else:
            target = self._target
            self._answers = None if target.refusing else target.listeners.get(self._port)
            self._timer = self._network.events.call_later(self._back.delay(), self._answer_arrives)

    def _answer_arrives(self) -> None:
        if self._back.held:
            self._arrives = self._answer_arrives
        elif self._back.lost:
            self._try()
        elif self._answers is None:
            self._fail(ConnectionRefusedError(errno.ECONNREFUSED, REFUSED))
        else:
            self.cancel()
            source = (self._source, self._source.next_port(), self._owner)
            self._network.establish(source, (self._target, self._port), self._answers)

    def _fail(self, error: OSError) -> None:
        self.cancel()
        self._failed(error)


def unknown_name() -> socket.gaierror:
    """What the resolver says of a name that it does not know."""
    return socket.gaierror(socket.EAI_NONAME, UNKNOWN_NAME)
