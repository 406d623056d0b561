"""What waits to be written to one connection, and for how long it may.

Whatever one event queues is written in one go at its end (`Process.flush`). What the link does not take stays here, up
to a limit of bytes and, once a write is stuck, up to a deadline: beyond either the peer is a slow consumer.

Must not know what the bytes mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ._texts import SLOW_CONSUMER_DEADLINE, SLOW_CONSUMER_PENDING

if TYPE_CHECKING:
    from ._process import Process
    from ._surroundings import Link, Timer

_WRITE_BYTES_MAX: Final = 262_144
# Of what may wait.
_CROWDED: Final = 0.75


class Outbound:
    """The writing half of a connection.

    Args:
        process: of the server; it calls `flush`.
        link: what is written to.
        too_slow: told why, when the peer has not read for too long or too much waits for it; it must close this.
        limited: whether too much may wait, as for clients; a route's peer only has to keep the deadline.

    Attributes:
        crowded: so much waits that those who send to it are made to wait a little.
        pending: bytes that wait.
        queued: bytes that were ever queued.
        done: nothing is written any more.
    """

    __slots__ = (
        "_batch_end",
        "_chunks",
        "_closing",
        "_deadline",
        "_deadline_seconds",
        "_dirty",
        "_link",
        "_pending_max",
        "_process",
        "_reset",
        "_stall_above",
        "_too_slow",
        "crowded",
        "done",
        "pending",
        "queued",
    )

    def __init__(self, process: Process, link: Link, too_slow: Callable[[str], None], *, limited: bool = True) -> None:
        self._process = process
        self._link = link
        self._too_slow = too_slow
        self._pending_max: float = process.config.max_pending_bytes if limited else float("inf")
        self._deadline_seconds = process.config.write_deadline_seconds
        self._stall_above = self._pending_max * _CROWDED
        self._chunks: deque[bytes] = deque()
        self._dirty = False
        self._closing = False
        self._reset = False
        self._deadline: Timer | None = None
        self._batch_end = 0
        self.crowded = False
        self.pending = 0
        self.queued = 0
        self.done = False

    def add(self, data: bytes) -> None:
        """Queue bytes, to be written at the end of this event."""
        if self._closing or self.done:
            return
        size = len(data)
        self._chunks.append(data)
        self.pending += size
        self.queued += size
        if not self._dirty:
            self._dirty = True
            self._process.dirty.append(self)
        if self.pending > self._stall_above:
            self._fill()

    def flush(self) -> None:
        """Write what the link takes."""
        self._dirty = False
        if self.done:
            return
        while self._chunks:
            data = self._next()
            taken = self._link.write(data)
            self.pending -= taken
            self.crowded = self.crowded and self.pending > self._stall_above
            if taken < len(data):
                self._chunks.appendleft(data[taken:])
                self._watch()
                return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._closing:
            self._finish()

    def close(self, *, flush: bool, reset: bool = False) -> None:
        """Close the link, behind what is pending if that is wanted and within the deadline.

        Args:
            flush: whether what is pending is written first.
            reset: whether bytes were read from the link that nobody looked at; a kernel would not have handed them out.
        """
        if self._closing or self.done:
            return
        self._closing, self._reset = True, reset
        if flush:
            self.flush()
        else:
            self._finish()
        if not self.done:
            self._process.closing[self] = None
            self._link.pause_reading()

    def cut_off(self) -> None:
        """The process ends: what the link has not taken is lost."""
        if not self.done:
            self._finish()

    def abandon(self) -> None:
        """The link is gone: forget everything."""
        self.done = True
        self._process.closing.pop(self, None)
        self._chunks.clear()
        self.pending = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _finish(self) -> None:
        self.abandon()
        if self._reset:
            self._link.reset()
        else:
            self._link.close()

    def _fill(self) -> None:
        self.flush()
        self.crowded = self.pending > self._stall_above
        if self.pending > self._pending_max:
            self._too_slow(SLOW_CONSUMER_PENDING)

    def _next(self) -> bytes:
        chunks = self._chunks
        if len(chunks) == 1:
            return chunks.popleft()
        parts, size = [], 0
        while chunks and size < _WRITE_BYTES_MAX:
            part = chunks.popleft()
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _watch(self) -> None:
        """A write is stuck: what is queued by now has to be gone by the deadline, then the rest gets another one."""
        written = self.queued - self.pending
        if self._deadline is not None:
            if written < self._batch_end:
                return
            self._deadline.cancel()
        self._batch_end = self.queued
        self._deadline = self._process.call_later(self._deadline_seconds, self._overdue)

    def _overdue(self) -> None:
        self._deadline = None
        if self._closing:
            self._finish()
        else:
            self._too_slow(SLOW_CONSUMER_DEADLINE)
