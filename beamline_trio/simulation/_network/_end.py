"""One end of a connection: what a kernel keeps for a socket, whoever owns it.

    open -> closed (FIN behind what was sent; what still comes is answered with a reset)
         -> dead   (reset, timed out, or its host lost power: nothing is sent or handed over any more)

The owner (a stream of a task, or a machine) reads; what it has not read yet is here, and fills the peer's window.

Must not wait, and must not know conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

if TYPE_CHECKING:
    from ._connection import Connection
    from ._host import Host
    from ._pipe import Pipe

RESET_BY_PEER: Final = "connection reset by peer"
TIMED_OUT: Final = "connection timed out"
POWER_OFF: Final = "its host lost power"


class Owner(Protocol):
    """Who holds an end. Called synchronously, and never again once it has closed its end or was told of a break."""

    def opened(self, end: End) -> None:
        """The connection is established."""
        ...

    def arrived(self, data: bytes) -> None:
        """Bytes came in: take them (`inward.took`), or leave them in `end.unread`."""
        ...

    def ended(self) -> None:
        """The peer's FIN came in."""
        ...

    def broken(self, reason: str) -> None:
        """The connection is gone."""
        ...

    def has_room(self) -> None:
        """There is room again, after `end.wants_room` was set."""
        ...


class _Nobody:
    """The owner of an end on which nothing can happen any more."""

    def opened(self, end: End) -> None: ...

    def arrived(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def broken(self, reason: str) -> None: ...

    def has_room(self) -> None: ...


NOBODY: Final = _Nobody()


class End:
    """One end.

    Attributes:
        outward, inward: the pipes; they are set when the connection is made.
        unread: what has come in and the owner has not taken.
        closed: the owner has let go of it.
        eof_sent, eof_received: FINs.
        dead: why nothing goes any more; "" while it does.
        wants_room: the owner waits for room to send.
        told_at: when this end first knew that the connection ends, by the peer's FIN, a break or its owner; or None.
        left_at: when the owner let go of it, or it died; or None.
    """

    __slots__ = (
        "closed",
        "connection",
        "dead",
        "eof_received",
        "eof_sent",
        "host",
        "inward",
        "left_at",
        "number",
        "outward",
        "owner",
        "peer",
        "port",
        "told_at",
        "unread",
        "wants_room",
    )

    outward: Pipe
    inward: Pipe
    peer: End

    def __init__(self, connection: Connection, host: Host, port: int, owner: Owner) -> None:
        self.connection = connection
        self.number = connection.number
        self.host = host
        self.port = port
        self.owner = owner
        self.unread = bytearray()
        self.closed = False
        self.eof_sent = False
        self.eof_received = False
        self.dead = ""
        self.wants_room = False
        self.told_at: float | None = None
        self.left_at: float | None = None

    # What the owner does

    def send(self, data: bytes) -> None:
        """Hand bytes to the network; the owner has looked for room, and whether the end can send."""
        trace = self.connection.network.trace
        if not trace.stopped:
            trace.add(self.host.name, "write", link=self.number, size=len(data), crc=crc32(data))
        self.outward.put(data)

    def take(self, size_max: int) -> bytes:
        """Read what there is, up to so many bytes."""
        unread = self.unread
        data = bytes(unread[:size_max])
        del unread[:size_max]
        self.inward.took(len(data))
        return data

    def send_eof(self) -> None:
        """FIN, behind what was sent."""
        if not (self.eof_sent or self.dead):
            self.eof_sent = True
            self._note("fin")
            self.outward.put_fin()

    def close(self) -> None:
        """Let go: FIN, or a reset when something that came in was not read."""
        if self.closed or self.dead:
            self.closed = True
            return
        self.closed = True
        self._know(leaves=True)
        if self.unread:
            self._die("closed with unread bytes")
            self.outward.put_reset()
        else:
            self.connection.ends("closed")
            self.send_eof()
        self.connection.settle()

    def reset(self) -> None:
        """Let go at once: the peer gets a reset."""
        self.closed = True
        if not self.dead:
            self._die("reset")
            self.outward.put_reset()
            self.connection.settle()

    # What the network does

    def arrive(self, data: bytes) -> None:
        """Bytes came in."""
        network = self.connection.network
        if not network.trace.stopped:
            network.trace.add(self.host.name, "arrive", link=self.number, size=len(data))
        if self.dead or self.closed:
            self._refuse("bytes for a closed socket")
        else:
            if network.tap_arrived is not None and self is self.connection.dialler:
                network.tap_arrived(self.number, data)
            self.owner.arrived(data)

    def fin(self) -> None:
        """The peer sends no more."""
        self.eof_received = True
        self._know()
        if self.dead:
            self._refuse("a FIN for a closed socket")
        elif not self.closed:
            self.owner.ended()
        self.connection.settle()

    def break_off(self, reason: str) -> None:
        """The connection is gone for this end; nothing is sent."""
        if self.dead:
            return
        self._die(reason)
        if not self.closed:
            self.owner.broken(reason)
        self.connection.settle()

    def answer_reset(self) -> None:
        """Answer what came in for a dead end."""
        self.outward.put_reset()

    def _refuse(self, reason: str) -> None:
        if not self.dead:
            self._die(reason)
        self.outward.put_reset()
        self.inward.refused()
        self.connection.settle()

    def _die(self, reason: str) -> None:
        self.dead = reason
        # What had arrived before a reset can still be read, as on Linux: the -ERR before it is not lost.
        if self.closed or reason == POWER_OFF:
            self.inward.discarded(len(self.unread))
            self.unread.clear()
        self._know(leaves=True)
        self.outward.sender_died()
        self._note("reset", reason=reason)
        self.connection.ends(reason)

    def _know(self, *, leaves: bool = False) -> None:
        now = self.connection.network.events.now()
        if self.told_at is None:
            self.told_at = now
        if leaves and self.left_at is None:
            self.left_at = now

    def _note(self, kind: str, **fields: str) -> None:
        self.connection.network.trace.add(self.host.name, kind, link=self.number, **fields)
