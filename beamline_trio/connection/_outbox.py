"""What is on its way out while a link is up: frames that the writer has not taken, and those the server has not
confirmed.

Publishing is the hot path, and three integers carry it: `room` is what may be appended before a publisher has to look
closer (it is 0 or less when the writer is idle, the outbox is full, or there is no link), `free` is how many publishes
may follow before the publisher must check for cancellation, and each publish costs one `append`. The writer takes all
frames at once; a PING goes behind them when somebody waits for confirmation, so that one PING serves all of them.

A frame that was taken and not confirmed when the link dies is unknown; one that was not taken is handed back. The
place of the publish that was appended last is `top - free`: whoever hears its answer tells the coverage.

Must not do I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from ..protocol import PING, PONG, frozen
from ._coverage import Coverage
from ._pace import CALLS_PER_CHECK
from ._pongs import Pongs
from ._waiters import NEVER, Lot, Waiter


@frozen
class Detached:
    """What a link leaves behind.

    Attributes:
        unwritten: frames that were never written, in order, with who waits for them; empty ones are bare waiters.
        waiters: who waits for the answer to something that was written.
        unknown: publishes that were written and neither confirmed nor refused.
        counted: how many of the unknown have been counted as failed before.
    """

    unwritten: list[tuple[bytes, Waiter | None]]
    waiters: list[Waiter]
    unknown: int
    counted: int


class Outbox:
    """Frames of one logical connection, over all its links.

    Args:
        bytes_max: the high-water mark, above which publishers wait.

    Attributes:
        room: see the module.
        free: see the module.
        top: see the module.
        coverage: what the server is known to have.
        pongs: the PONGs that have to come, and who waits for them.
        payload_max: the most bytes of a payload that may take the fast path.
        stamped_at: when a frame with a waiter was last taken; its reader sets it back to NEVER.
        direct: writes to the socket of the present link at once, if it can; see `transport.direct_write`.
        append: adds a frame; whoever uses it takes its length from `room`.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._frames: list[bytes] = []
        self._controls: list[bytes] = []
        self._again = 0
        self._writer: trio.lowlevel.Task | None = None
        self._unwritten: list[Waiter] = []
        self._lot = Lot()
        self._taken = Lot()
        self._pong_due = False
        self._tail = b""
        self._closed = self._resting = self._at_rest = False
        self.direct: Callable[[bytes], int] | None = None
        self.append = self._frames.append
        self.coverage = Coverage()
        self.pongs = Pongs(self.coverage)
        self.room = 0
        self.free = 0
        self.top = 0
        self.payload_max = 0
        self.is_open = False
        self.stamped_at = NEVER

    # What publishers use

    @property
    def accepted(self) -> int:
        """Publishes appended so far: what was granted to the fast path and used, and what came otherwise."""
        return self.place - self._again

    @property
    def place(self) -> int:
        """The place of the publish that was appended last."""
        return self.top - self.free

    def grant(self) -> None:
        """Refill `free` after a look at cancellation."""
        self.top += CALLS_PER_CHECK - self.free
        self.free = CALLS_PER_CHECK

    def spend(self) -> None:
        """A call that is not accepted here (queued, skipped) counts for the next look at cancellation all the same."""
        self.free -= 1
        self.top -= 1

    def try_room(self) -> bool:
        """Whether a publish may be put now: there is room, or the writer is idle, and `put` wakes it."""
        if self.room > 0:
            return True
        return self.is_open and self._writer is not None

    async def wait_room(self) -> None:
        """Wait until the writer has taken the frames, or the link is gone. Cancelled: nothing has happened.

        Who used only a part of the room, or none of it, calls `pass_room_on`.
        """
        await self._lot.wait()

    def pass_room_on(self) -> None:
        """Let the next in if there is room left."""
        if self.room > 0 and self._lot:
            self._lot.wake_one()

    async def wait_taken(self) -> None:
        """Wait until the writer has taken what is here, or the link is gone: look which."""
        await self._taken.wait()

    def put(self, frame: bytes, waiter: Waiter | None = None, *, accepted_before: bool = False) -> None:
        """Append a publish that does not come by the fast path, or a waiter without a frame."""
        if frame:
            if accepted_before:
                self._again += 1
                self.top += 1
            else:
                self.free -= 1
            self.append(frame)
            self.room -= len(frame)
        if waiter is not None:
            waiter.place = self.place if frame else 0
            self._unwritten.append(waiter)
        self.wake()

    def write_now(self, frame: bytes, waiter: Waiter) -> bool:
        """Write a publish past the idle writer, at once; False when that cannot be done, and nothing has happened.

        What the socket does not take goes first when the writer writes next.
        """
        if self.direct is None or self._writer is None or not self.is_open:
            return False
        try:
            count = self.direct(frame)
        except OSError:  # full, or broken: the writer finds out
            return False
        self.free -= 1
        self.coverage.written += 1
        waiter.place = self.place
        self.stamped_at = waiter.written_at = trio.current_time()
        if count < len(frame):
            self._tail = frame[count:]
            self.wake()
        return True

    def put_control(self, frame: bytes) -> None:
        """Append an operation of the link's own, which no other link inherits; it needs no room."""
        self.append(frame)
        self._controls.append(frame)
        self.room -= len(frame)
        self.wake()

    def put_pong(self) -> None:
        """Answer a PING. One PONG per write is enough, and a flood of PINGs fills no buffer."""
        if not self._pong_due:
            self._pong_due = True
            self.put_control(PONG)

    def withdraw(self, waiter: Waiter) -> bool:
        """Take back what was never written; False when it is too late."""
        if waiter not in self._unwritten:
            return False
        self._unwritten.remove(waiter)
        if waiter.frame:
            index = next(i for i, frame in enumerate(self._frames) if frame is waiter.frame)
            del self._frames[index]
            self.coverage.withdraw(waiter.place)
            if self.is_open:
                self.room += len(waiter.frame)
        return True

    # What the link uses

    def wake(self) -> None:
        """Start the writer if it is idle."""
        task = self._writer
        if task is not None:
            trio.lowlevel.reschedule(task)
            self._writer = None  # only now: from a wrong thread the line above raises
            if self.is_open:
                self.room += self._bytes_max

    async def wait_frames(self) -> None:
        """The writer's wait: returns when there is something to take. At rest it does not return."""
        if self._resting:
            self._at_rest = True
            await trio.sleep_forever()
        if self.has_work:
            return

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.room = 0
        self._writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def take(self) -> bytes:
        """Everything that is to be written now, as one chunk; a PING goes behind if somebody waits for a PONG."""
        frames = self._frames
        self.coverage.written += len(frames) - len(self._controls)
        self._controls.clear()
        self._resting = self._closed
        self._pong_due = False
        if self._unwritten:
            self.stamped_at = now = trio.current_time()
            pongs = []
            for waiter in self._unwritten:
                waiter.written_at = now
                if waiter.wants_pong:
                    pongs.append(waiter)
            self._unwritten = []
            if pongs:
                frames.append(PING)
                self.pongs.expect(self.coverage.written, pongs, now)
        if self._tail:
            frames.insert(0, self._tail)
            self._tail = b""
        chunk = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        if self.is_open:
            self.room = self._bytes_max
            self._lot.wake_one()
        if self._taken:
            self._taken.wake_all()
        return chunk

    @property
    def has_work(self) -> bool:
        """Whether the writer has something to take."""
        return bool(self._frames or self._unwritten or self._tail)

    @property
    def at_rest(self) -> bool:
        """Whether it was closed, the writer has written the last chunk, and the server has confirmed everything."""
        return self._at_rest and not self.pongs and not self.coverage.unconfirmed

    @property
    def open_operations(self) -> int:
        """Publishes appended that are neither confirmed nor refused."""
        return self.coverage.unconfirmed + len(self._frames) - len(self._controls)

    # Turns of the connection

    def attach(self, controls: Iterable[bytes]) -> None:
        """A link is up: these operations go first. Publishers stay out until `open`."""
        for frame in controls:
            self.append(frame)
            self._controls.append(frame)

    def open(self) -> None:
        """Publishers may append."""
        self.is_open = True
        self.room = 0 if self._writer is not None else self._bytes_max - sum(map(len, self._frames))
        self._lot.wake_all()

    def close(self) -> None:
        """Come to rest, while the link goes on: what is here is written as one last chunk, and what comes then stays.

        Publishers stay out: those that come, and those that wait for room, queue.
        """
        self.is_open = False
        self._closed = True
        self.room = 0
        self._lot.wake_all()

    def carry_over(self, controls: Iterable[bytes]) -> None:
        """At rest, another link goes on: these operations go first, then the acks and waiters that came meanwhile.

        What came of other controls was for the old link; these operations say the same to the new one.
        """
        kept = [frame for frame in self._frames if frame.startswith((b"PUB ", b"HPUB "))]
        self._frames.clear()
        self._controls.clear()
        self._closed = self._resting = self._at_rest = self._pong_due = False
        self.coverage.begin(self.place)
        self.direct = None
        self.attach([*controls, *kept])

    def detach(self) -> Detached:
        """The link is gone: what is left of it."""
        self.is_open = self._closed = self._resting = self._at_rest = False
        self.room = 0
        self.direct = None
        self._tail = b""
        lost, counted = self.pongs.lose()
        unknown = self.coverage.lose(self.place)
        by_frame = {id(waiter.frame): waiter for waiter in self._unwritten if waiter.frame}
        controls = set(map(id, self._controls))
        left: list[tuple[bytes, Waiter | None]] = [
            (frame, by_frame.get(id(frame))) for frame in self._frames if id(frame) not in controls
        ]
        left.extend((b"", waiter) for waiter in self._unwritten if not waiter.frame and not waiter.keepalive)
        self._unwritten = []
        self._frames.clear()
        self._controls.clear()
        self._pong_due = False
        self._lot.wake_all()
        self._taken.wake_all()
        return Detached(left, lost, unknown, min(counted, unknown))
