"""A task's end of a connection: a `trio.abc.HalfCloseableStream` as trio's own `SocketStream` is one.

Bytes that arrive while a task waits in `receive_some` are handed to that task in the same step, so that neither a
cancellation nor a reset of the same instant can take them away; otherwise they stay in the end and fill the window.

Must not know paths or faults.
"""

from __future__ import annotations

import errno
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import (
    Abort,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from ._end import POWER_OFF, TIMED_OUT

if TYPE_CHECKING:
    from ._end import End

RECEIVE_BYTES: Final = 65_536
_ERRORS: Final = {TIMED_OUT: errno.ETIMEDOUT, POWER_OFF: errno.EHOSTDOWN}


class SimulatedStream(trio.abc.HalfCloseableStream):
    """A byte stream over the simulated network; `Network.connect` and `Network.listen_streams` give it.

    Errors are those of `trio.SocketStream`: BrokenResourceError, whose cause is the OSError, ClosedResourceError,
    BusyResourceError. What has arrived can still be read after a FIN and after a reset; what was under way when the
    reset happened cannot.

    Attributes:
        number: of the connection, unique in the network, from 1.
    """

    __slots__ = ("_accepted", "_end", "_handed", "_limit", "_receiver", "_receiving", "_sender", "_sending", "number")

    _end: End
    number: int

    def __init__(self, accepted: Callable[[SimulatedStream], object] | None = None) -> None:
        self._accepted = accepted
        self._receiving = False
        self._receiver: Task | None = None
        self._limit = RECEIVE_BYTES
        self._handed = b""
        self._sending = False
        self._sender: Task | None = None

    @property
    def sent(self) -> int:
        """Bytes handed to the network so far."""
        return self._end.outward.sent

    @property
    def received(self) -> int:
        """Bytes that `receive_some` has handed over so far."""
        return self._end.inward.taken

    # Sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all; waits while the window is full. Cancelled, it has sent a beginning of the data, perhaps nothing.

        Raises:
            trio.BrokenResourceError: the connection was reset or timed out.
            trio.ClosedResourceError: the stream was closed, or its sending side.
            trio.BusyResourceError: another task is sending.
        """
        self._begin_sending()
        try:
            if self._end.eof_sent or self._end.closed:
                raise trio.ClosedResourceError("cannot send on a stream that was closed, or after send_eof()")
            await checkpoint_if_cancelled()
            await self._send(data if type(data) is bytes else bytes(data))
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the window has room, or the stream is broken.

        Raises:
            trio.ClosedResourceError: the stream was closed.
            trio.BusyResourceError: another task is sending.
        """
        self._begin_sending()
        try:
            end = self._end
            if end.closed:
                raise trio.ClosedResourceError("this stream was closed")
            await checkpoint()
            while not (end.closed or end.dead or end.outward.room()):
                await self._wait_for_room()
            if end.closed:
                raise trio.ClosedResourceError("this stream was closed by another task")
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Send no more; the peer reads the end behind what was sent. Called again, it does nothing.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError: as for `send_all`.
        """
        self._begin_sending()
        try:
            await checkpoint()
            if self._end.closed:
                raise trio.ClosedResourceError("this stream was closed")
            if self._end.dead:
                raise self._broken()
            self._end.send_eof()
        finally:
            self._sending = False

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True

    async def _send(self, data: bytes) -> None:
        end = self._end
        while True:
            if end.closed or end.dead:
                self._tell_rest(data)
            if end.closed:
                raise trio.ClosedResourceError("this stream was closed by another task")
            if end.dead:
                raise self._broken()
            size, room = len(data), end.outward.room()
            if size <= room:
                if size:
                    self._hand_to_network(data)
                await cancel_shielded_checkpoint()
                return
            if room:
                self._hand_to_network(data[:room])
                data = data[room:]
            try:
                await self._wait_for_room()
            except trio.Cancelled:
                self._tell_rest(data)
                raise

    def _hand_to_network(self, data: bytes) -> None:
        end = self._end
        end.send(data)
        tap = end.connection.network.tap
        if tap is not None and end is end.connection.dialler:
            tap(end.number, data)

    def _tell_rest(self, data: bytes) -> None:
        """The end of what was to be sent never will be."""
        tap = self._end.connection.network.tap_cut
        if tap is not None and self._end is self._end.connection.dialler:
            tap(self._end.number, data)

    async def _wait_for_room(self) -> None:
        self._end.wants_room = True
        self._sender = current_task()
        await wait_task_rescheduled(self._abort_send)

    def _abort_send(self, _: object) -> Abort:
        self._sender = None
        return Abort.SUCCEEDED

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """All that is there, up to max_bytes (65536 if not given); b"" at the end. Cancelled, it has taken nothing.

        Raises:
            trio.BrokenResourceError: the connection was reset or timed out.
            trio.ClosedResourceError: the stream was closed.
            trio.BusyResourceError: another task is receiving.
        """
        limit = RECEIVE_BYTES if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError(f"max_bytes is {limit}; it must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            end = self._end
            if not (end.unread or end.eof_received or end.dead or end.closed):
                return await self._wait_for_bytes(limit)
            await checkpoint_if_cancelled()
            data = self._take(limit)
            await cancel_shielded_checkpoint()
            return data
        finally:
            self._receiving = False

    def _take(self, limit: int) -> bytes:
        end = self._end
        if end.closed:
            raise trio.ClosedResourceError("this stream was closed")
        if end.dead and not end.unread:
            raise self._broken()
        return end.take(limit)

    async def _wait_for_bytes(self, limit: int) -> bytes:
        self._limit = limit
        self._receiver = current_task()
        await wait_task_rescheduled(self._abort_receive)
        data, self._handed = self._handed, b""
        return data or self._take(limit)

    def _abort_receive(self, _: object) -> Abort:
        self._receiver = None
        return Abort.SUCCEEDED

    # Closing

    def close(self) -> None:
        """Close at once: FIN behind what was sent, or a reset where bytes came in that nobody has read."""
        self._end.close()
        self._wake()

    async def aclose(self) -> None:
        """`close`, and a checkpoint."""
        self.close()
        await checkpoint()

    def _broken(self) -> trio.BrokenResourceError:
        reason = self._end.dead
        cause = OSError(_ERRORS.get(reason, errno.ECONNRESET), reason)
        error = trio.BrokenResourceError(f"socket connection broken: {cause}")
        error.__cause__ = cause
        return error

    # What the end does

    def opened(self, end: End) -> None:
        """See `Owner`."""
        self._end = end
        self.number = end.number
        if self._accepted is not None:
            self._accepted(self)

    def arrived(self, data: bytes) -> None:
        """See `Owner`."""
        receiver, end = self._receiver, self._end
        if receiver is None:
            end.unread += data
            return
        if len(data) > self._limit:
            end.unread += data[self._limit :]
            data = data[: self._limit]
        self._handed = data
        self._receiver = None
        end.inward.took(len(data))
        reschedule(receiver)

    def ended(self) -> None:
        """See `Owner`."""
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            reschedule(receiver)

    def broken(self, reason: str) -> None:
        """See `Owner`."""
        self._wake()

    def has_room(self) -> None:
        """See `Owner`."""
        if self._sender is not None:
            sender, self._sender = self._sender, None
            reschedule(sender)

    def _wake(self) -> None:
        self.ended()
        self.has_room()
