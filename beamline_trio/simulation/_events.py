"""Everything that happens by itself in a world, in one heap and one task: a callback at a time, nothing periodic.

What is due runs in the order of (time, order of adding), driven in one of two ways:

- A world's clock drives it (`_scheduling`): when no task can run, the clock goes to the next entry or the next deadline
  of trio, whichever comes first, and runs what is due there and then. The one task, `guard`, only waits for an error to
  raise. That spares a wake-up of a task for each instant, which is half of what an instant costs.
- On any other clock the task is `run`, which sleeps until the first entry is due. Whoever adds an entry that comes
  before it moves its deadline. A wake-up is one cancel scope whose deadline passes; the task is rescheduled instead of
  being cancelled, which spares an exception.

Must not know what the callbacks do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

import outcome
import trio

# Callbacks that may run at one instant; more are a loop that would never let time go on.
INSTANT_MAX: Final = 1_000_000
# Cancelled entries stay in the heap until they are its majority; below this many nobody looks.
_COMPACT_FROM: Final = 64


class Timer:
    """One entry: `Events.call_at` makes it."""

    __slots__ = ("_args", "_callback", "_events", "time")

    def __init__(self, events: Events, time: float, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._events = events
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self.time = time

    def cancel(self) -> None:
        """The callback will not run; nothing happens if it has run already, or was cancelled before."""
        if self._callback is not None:
            self._callback = None
            self._args = ()
            self._events._one_cancelled()

    @property
    def pending(self) -> bool:
        """Whether the callback is still to run."""
        return self._callback is not None


class Events:
    """The heap and its task. Entries may be added before `run` is started; they wait for it.

    Args:
        starts_at: what the time is until the task runs, for entries that are added outside of `trio.run`; None = they
            are added inside of it.
    """

    def __init__(self, *, starts_at: float | None = None) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._added = 0
        self._cancelled = 0
        self._count = 0
        self._task: trio.lowlevel.Task | None = None
        # What the task sleeps for; minus infinity while it is awake or does not run, so that nothing comes before it.
        self._sleeps_until = -math.inf
        self._scope: trio.CancelScope | None = None
        # The instant whose callbacks are being run.
        self._now = starts_at

    @property
    def count(self) -> int:
        """Callbacks run so far."""
        return self._count

    @property
    def running(self) -> bool:
        """Whether `run` is under way."""
        return self._task is not None

    def now(self) -> float:
        """The time of the run, in seconds."""
        now = self._now
        return trio.current_time() if now is None else now

    def call_at(self, time: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back at a time; a time that has passed is due at once.

        Args:
            time: of the run's clock, in seconds.
            callback: synchronous. An error in it ends `run` with that error.
            args: for the callback.
        """
        self._added = added = self._added + 1
        timer = Timer(self, time, callback, args)
        heappush(self._heap, (time, added, timer))
        if time < self._sleeps_until:
            self._wake_by(time)
        return timer

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after so many seconds; see `call_at`."""
        return self.call_at(self.now() + seconds, callback, *args)

    def call_soon(self, callback: Callable[..., object], *args: object) -> Timer:
        """Call back at this instant, from the events' task; see `call_at`."""
        return self.call_at(self.now(), callback, *args)

    @property
    def next_at(self) -> float:
        """When the first entry is due; infinity without any."""
        return self._heap[0][0] if self._heap else math.inf

    def run_due(self) -> None:
        """Run what is due now. An error ends `guard` with it, and nothing is run any more."""
        try:
            self._run_due()
        except BaseException as error:  # noqa: BLE001  # it is raised again, by `guard`
            self.fail(error)

    def fail(self, error: BaseException) -> bool:
        """End `guard` with this error, and forget what was to be run. Returns whether there was a guard to end."""
        self._heap.clear()
        if self._task is None:
            return False
        trio.lowlevel.reschedule(self._task, outcome.Error(error))
        self._task = None
        return True

    async def guard(self) -> None:
        """Wait, while a clock drives the events, for an error of a callback, and raise it.

        Raises:
            RuntimeError: it runs already, or one instant had more than a million callbacks.
            BaseException: the error of a callback, as it is.
        """
        self._begin()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _begin(self) -> None:
        if self._task is not None:
            raise RuntimeError("these events run already; start them once")
        self._task = trio.lowlevel.current_task()
        self._now = None

    async def run(self) -> None:
        """Sleep until something is due, run what is due, for ever. To end it, cancel it.

        Raises:
            RuntimeError: it runs already, or one instant had more than a million callbacks.
            Exception: the error of a callback, as it is.
        """
        self._begin()
        try:
            while True:
                until = self._run_due()
                with trio.CancelScope(deadline=until) as self._scope:
                    self._sleeps_until = until
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            self._task = self._scope = None
            self._sleeps_until = -math.inf

    def _run_due(self) -> float:
        """Run what is due, also what is added meanwhile for this instant; returns when the next entry is due."""
        heap = self._heap
        self._now = now = trio.current_time()
        limit = self._count + INSTANT_MAX
        try:
            while heap:
                time = heap[0][0]
                if time > now:
                    return time
                timer = heappop(heap)[2]
                callback = timer._callback
                if callback is None:
                    self._cancelled -= 1
                    continue
                timer._callback = None
                self._count = count = self._count + 1
                if count > limit:
                    raise RuntimeError(
                        f"{INSTANT_MAX} callbacks ran at {now:.6f} s, so time does not go on; "
                        "look for a callback that adds itself again without a delay"
                    )
                callback(*timer._args)
            return math.inf
        finally:
            self._now = None

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        # The deadline has passed: wake up without an exception. If somebody else cancels at the same time, the next
        # sleep meets that at once.
        if trio.current_time() < self._sleeps_until:
            return trio.lowlevel.Abort.SUCCEEDED
        self._wake()
        return trio.lowlevel.Abort.FAILED

    def _wake(self) -> None:
        assert self._task is not None
        self._sleeps_until = -math.inf
        trio.lowlevel.reschedule(self._task)

    def _wake_by(self, time: float) -> None:
        if time <= trio.current_time():
            self._wake()
        else:
            assert self._scope is not None
            self._sleeps_until = time
            self._scope.deadline = time

    def _one_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled >= _COMPACT_FROM and self._cancelled * 2 > len(self._heap):
            # In place: the task may be walking over it.
            self._heap[:] = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._cancelled = 0
