"""Tasks that wait for the server's word on something they sent, and the sweeper that bounds how long.

A waiter is woken by rescheduling its task: no Event, no channel and no cancel scope per operation. It carries the frame
it is about, so that an operation that was never written can be withdrawn or moved, and the time of the write, from
which the operation timeout counts.

Must not write or read bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import outcome
import trio

NEVER: Final = float("inf")


class Waiter:
    """One task waiting for one answer.

    Attributes:
        frame: the operation's bytes, empty if it only waits for a PONG.
        subject: what a permission error may name, or None.
        wants_pong: resolved by the PONG of a PING behind the frame; otherwise by its owner (a request's reply).
        counted: its failure has moved a counter already, whatever becomes of the frame.
        keepalive: its owner keeps its own deadline and ends with the link: nobody else ends its wait.
        place: of its publish among all that were appended (`Coverage`); 0 before that.
        token: the end of a request's reply subject.
        written_at: when the frame was handed to the link, in trio's time; `NEVER` before that.
    """

    __slots__ = (
        "_abort",
        "_early",
        "_task",
        "counted",
        "frame",
        "keepalive",
        "place",
        "subject",
        "token",
        "wants_pong",
        "written_at",
    )

    def __init__(
        self,
        frame: bytes = b"",
        subject: bytes | None = None,
        *,
        wants_pong: bool = True,
        keepalive: bool = False,
        token: bytes = b"",
        on_cancel: Callable[[Waiter], object] | None = None,
    ) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._abort = on_cancel
        self._early: BaseException | None = None
        self.frame = frame
        self.subject = subject
        self.token = token
        self.keepalive = keepalive
        self.counted = False
        self.place = 0
        self.wants_pong = wants_pong
        self.written_at = NEVER

    def is_about(self, subject: bytes, reply: bytes) -> bool:
        """Whether its frame went to a subject, or asked for answers on a reply subject; an empty one is not asked."""
        if subject:
            return self.subject == subject
        parts = self.frame.split(b"\r\n", 1)[0].split(b" ")
        has_reply = len(parts) == (5 if parts[0] == b"HPUB" else 4)
        return bool(reply) and has_reply and parts[2] == reply

    @property
    def waiting(self) -> bool:
        """Whether its task still waits: neither answered nor cancelled."""
        return self._task is not None

    @property
    def written(self) -> bool:
        """Whether the frame was handed to a link."""
        return self.written_at != NEVER

    async def wait(self) -> Any:
        """Wait for `succeed` or `fail`. Cancelled: `on_cancel` runs, then Cancelled is raised."""
        if self._early is not None:
            await trio.lowlevel.checkpoint()
            raise self._early
        self._task = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self._on_abort)

    def succeed(self, value: object) -> None:
        """Wake the task with a value; without effect if it does not wait."""
        task = self._task
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(value))
            self._task = None  # only now: from a wrong thread the line above raises

    def fail(self, error: BaseException) -> None:
        """Wake the task with an error, or let it find the error when it begins to wait."""
        task = self._task
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Error(error))
            self._task = None
        else:
            self._early = error

    def _on_abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        if self._abort is not None:
            self._abort(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Sleeper:
    """A task that sleeps until the earliest of some deadlines, and can be told of an earlier one.

    Made for deadlines that nearly never strike: telling it costs one comparison while an earlier one is known.
    """

    def __init__(self) -> None:
        self._target = NEVER
        self._task: trio.lowlevel.Task | None = None

    def tell(self, deadline: float) -> None:
        """There is a deadline (trio's time)."""
        if deadline < self._target:
            self._target = deadline
            task = self._task
            if task is not None:
                trio.lowlevel.reschedule(task)
                self._task = None

    @trio.lowlevel.enable_ki_protection
    async def run(self, sweep: Callable[[float], float]) -> None:
        """Call `sweep(now)` at each deadline; it returns the next one (or NEVER). Runs until cancelled."""
        while True:
            if self._target == NEVER:
                await self._parked()
                continue
            target = self._target
            with trio.CancelScope(deadline=target):
                await self._parked()
            now = trio.current_time()
            if now >= self._target:
                self._target = NEVER
                self.tell(sweep(now))

    async def _parked(self) -> None:
        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)


class Bell:
    """Wakes one task that waits; rung before it waits, it does not wait."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Something has changed: look what."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait until it has been rung since the last time. Cancelled: it stays rung."""
        await self._rung.wait()
        self._rung = trio.Event()


class Lot:
    """Tasks waiting for room, in order. One is woken when there is some, and passes it on when there is more.

    Waking all of them for room that two can use would cost every one of them a turn, each time.
    """

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiters)

    async def wait(self) -> None:
        """Wait to be woken. Cancelled: it is as if the task had never waited."""
        waiter = Waiter(on_cancel=self._forget)
        self._waiters[waiter] = None
        await waiter.wait()

    def wake_one(self) -> None:
        """Wake the one that waits longest, if any."""
        for waiter in self._waiters:
            del self._waiters[waiter]
            waiter.succeed(None)
            return

    def wake_all(self) -> None:
        """Wake everybody."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.succeed(None)

    def _forget(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter, None)
