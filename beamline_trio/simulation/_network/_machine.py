"""Machines: what answers without a task. The events' task calls them, and they act on their links at once.

Must not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ._end import End


class LinkHandler(Protocol):
    """What a machine implements for one connection; called by the events' task, synchronously.

    Nothing is called any more once the machine has closed or reset the link, or was told that it broke.
    """

    def received(self, data: bytes) -> None:
        """Bytes came in."""
        ...

    def ended(self) -> None:
        """The peer's FIN: no more will come. The link can still be written to."""
        ...

    def broken(self, reason: str) -> None:
        """Reset or timed out; nothing more will be called."""
        ...

    def writable(self) -> None:
        """There is room again after `write` took less than it was given."""
        ...


class Machine(Protocol):
    """What listens."""

    def accept(self, link: MachineLink) -> LinkHandler | None:
        """Somebody has connected; None = hang up at once."""
        ...


class MachineLink:
    """A machine's end of one connection.

    Attributes:
        number: of the connection, unique in the network, from 1.
        local_host, local_address, local_port: of this end.
        remote_host, remote_address, remote_port: of the other.
    """

    __slots__ = (
        "_accept",
        "_end",
        "_handler",
        "_paused",
        "_told_end",
        "local_address",
        "local_host",
        "local_port",
        "number",
        "remote_address",
        "remote_host",
        "remote_port",
    )

    _end: End
    number: int
    local_host: str
    local_address: str
    local_port: int
    remote_host: str
    remote_address: str
    remote_port: int

    def __init__(self, accept: Callable[[MachineLink], LinkHandler | None]) -> None:
        self._accept = accept
        self._handler: LinkHandler | None = None
        self._paused = False
        self._told_end = False

    # What the machine does

    @property
    def written(self) -> int:
        """Bytes taken by `write` so far."""
        return self._end.outward.sent

    def write(self, data: bytes) -> int:
        """Send what the window has room for; returns how many bytes that was.

        When it is less than all, `writable` is called once there is room again. When the link is closed or broken it
        is 0, and nothing is called.
        """
        end = self._end
        if end.dead or end.eof_sent:
            return 0
        size = len(data)
        room = end.outward.room()
        if room < size:
            end.wants_room = True
            size = room
            data = data[:room]
        if size:
            end.send(data)
        return size

    def close(self) -> None:
        """FIN behind what was written. What comes in afterwards is answered with a reset.

        Where bytes have come in that were not read (reading is paused), it is a reset at once, as with a kernel.
        """
        self._end.close()
        self._handler = None

    def reset(self) -> None:
        """Break it; the peer sees a reset behind what is under way."""
        self._end.reset()
        self._handler = None

    def pause_reading(self) -> None:
        """Leave what comes in in the window, which fills: in the end the peer has to wait."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read again; what has come in meanwhile is handed over at this instant, in a call of its own."""
        if self._paused:
            self._paused = False
            self._end.connection.network.events.call_soon(self._hand_over)

    # What the end does

    def opened(self, end: End) -> None:
        """See `Owner`."""
        self._end = end
        self.number = end.number
        self.local_host, self.local_address, self.local_port = end.host.name, end.host.address, end.port
        peer = end.peer
        self.remote_host, self.remote_address, self.remote_port = peer.host.name, peer.host.address, peer.port
        handler = self._accept(self)
        if handler is None:
            end.close()
        elif not (end.closed or end.dead):
            self._handler = handler

    def arrived(self, data: bytes) -> None:
        """See `Owner`."""
        end, handler = self._end, self._handler
        if self._paused or end.unread or handler is None:
            end.unread += data
        else:
            end.inward.took(len(data))
            handler.received(data)

    def ended(self) -> None:
        """See `Owner`."""
        if self._handler is not None and not (self._paused or self._told_end or self._end.unread):
            self._told_end = True
            self._handler.ended()

    def broken(self, reason: str) -> None:
        """See `Owner`."""
        # Not now: a fault may have been started by an application's task, and machines act in the events' task only.
        self._end.connection.network.events.call_soon(self._tell_broken, reason)

    def has_room(self) -> None:
        """See `Owner`."""
        # Not now: whoever has read is in the middle of something.
        self._end.connection.network.events.call_soon(self._tell_writable)

    def _tell_writable(self) -> None:
        if self._handler is not None and not self._end.dead:
            self._handler.writable()

    def _tell_broken(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.broken(reason)

    def _hand_over(self) -> None:
        end, handler = self._end, self._handler
        if handler is not None and end.unread and not self._paused:
            handler.received(end.take(len(end.unread)))
        # It may have paused, closed or reset the link.
        if end.eof_received and not (end.closed or end.dead):
            self.ended()
