"""One connection: its two ends, and the record of it that stays.

It is remembered when it is over, and lets go of who owned its ends: a server that was killed would else stay for ever.

Must not know conditions or faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from ._end import NOBODY, End, Owner
from ._pipe import Pipe

if TYPE_CHECKING:
    from ._host import Host
    from ._network import Network


@attrs.frozen(kw_only=True)
class ConnectionRecord:
    """What a test sees of a connection. The source is who dialled.

    Attributes:
        number: unique in the network, from 1.
        source, target: hosts.
        source_port, target_port: of the two ends.
        sent: bytes that the source handed to the network.
        delivered: bytes of these that the target's owner has read.
        returned: bytes that the target handed to the network.
        received: bytes of these that the source's owner has read.
        opened_at: when the dial succeeded, in seconds.
        ended_at: when the first of the ends was closed or broke; None while neither is.
        told_at: when the source's end first knew of an end: by the target's FIN, by a break, or because its own owner
            closed it; None while it does not.
        left_at: when the source's owner closed its end, or that died; None while it has not.
        how: in what way it ended: "closed" or the reason of the break; "" while it has not.
        state: "open"; "closing" (one way is ended, or one end closed); "half-open" (one end is gone, and the other does
            not know); "over".
    """

    number: int
    source: str
    target: str
    source_port: int
    target_port: int
    sent: int
    delivered: int
    returned: int
    received: int
    opened_at: float
    ended_at: float | None
    told_at: float | None
    left_at: float | None
    how: str
    state: str


class Connection:
    """A connection; `Network` makes it when a dial has succeeded.

    Args:
        answers: makes the owner of the target's end, and is what must still listen when the handshake ends.
    """

    __slots__ = ("_answers", "dialler", "ended_at", "how", "listener", "network", "number", "opened_at", "over")

    def __init__(
        self,
        network: Network,
        number: int,
        source: tuple[Host, int, Owner],
        target: tuple[Host, int],
        answers: Callable[[], Owner],
    ) -> None:
        self.network = network
        self.number = number
        self.opened_at = network.events.now()
        self.ended_at: float | None = None
        self.how = ""
        self.over = False
        self._answers: Callable[[], Owner] | None = answers
        self.dialler = End(self, *source)
        self.listener = End(self, *target, answers())
        self._lay_pipes()

    def _lay_pipes(self) -> None:
        network, dialler, listener = self.network, self.dialler, self.listener
        forth, back = network.path(dialler.host, listener.host), network.path(listener.host, dialler.host)
        dialler.peer, listener.peer = listener, dialler
        dialler.outward = listener.inward = Pipe(network.events, network.random, dialler, listener, forth, back)
        listener.outward = dialler.inward = Pipe(network.events, network.random, listener, dialler, back, forth)

    def accept(self) -> None:
        """The handshake has ended at the target too."""
        listener, answers = self.listener, self._answers
        self._answers = None
        if answers is not None and listener.host.listeners.get(listener.port) is answers:
            listener.owner.opened(listener)
        else:
            listener.reset()

    def ends(self, how: str) -> None:
        """One end was closed or broke; the first one counts."""
        if self.ended_at is None:
            self.ended_at = self.network.events.now()
            self.how = how

    def settle(self) -> None:
        """Take it down when nothing can happen on it any more."""
        dialler, listener = self.dialler, self.listener
        both_ended = dialler.eof_received and listener.eof_received
        if not self.over and (both_ended or (_is_done(dialler) and _is_done(listener))):
            self.over = True
            self._answers = None
            for end in (dialler, listener):
                end.outward.close()
                end.owner = NOBODY
            self.network.connection_over(self)

    def touches(self, a: Host, b: Host | None = None) -> bool:
        """Whether it is between these two hosts, or of this one."""
        ends = (self.dialler.host, self.listener.host)
        return a in ends if b is None else ends in ((a, b), (b, a))

    def record(self) -> ConnectionRecord:
        """What is true now."""
        dialler, listener = self.dialler, self.listener
        return ConnectionRecord(
            number=self.number,
            source=dialler.host.name,
            target=listener.host.name,
            source_port=dialler.port,
            target_port=listener.port,
            sent=dialler.outward.sent,
            delivered=dialler.outward.taken,
            returned=listener.outward.sent,
            received=listener.outward.taken,
            opened_at=self.opened_at,
            ended_at=self.ended_at,
            told_at=dialler.told_at,
            left_at=dialler.left_at,
            how=self.how,
            state=self._state(),
        )

    def _state(self) -> str:
        dialler, listener = self.dialler, self.listener
        if self.over:
            return "over"
        if dialler.dead or listener.dead:
            return "half-open"
        if dialler.eof_sent or listener.eof_sent:
            return "closing"
        return "open"


def _is_done(end: End) -> bool:
    return bool(end.dead) or (end.closed and end.peer.eof_received)
