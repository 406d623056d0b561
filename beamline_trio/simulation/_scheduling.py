"""trio made repeatable: its order of tasks comes from a seed, and nothing outside of virtual time can be reached.

trio shuffles the tasks that can run. Its switch for a repeatable order and the PRNG of the shuffle are private; this is
the one module that touches them. It looks first whether they are what it knows, and else raises, since a switch that is
silently without effect would make every seed a lie. Both are put back afterwards.

What the switch does not reach is the order in which trio cancels: tasks of one scope by a set of them, and scopes of
one deadline by their ids, so by addresses. It shows where the abort function of one task does something for another. So
inside the run both have the order in which they came.

The clock is trio's MockClock with an autojump threshold of 0. Its jump is replaced, which is private too: it goes to
the next event of the world or the next deadline of trio, whichever comes first, and has the events run, without a task
and without statistics that nobody reads. Where neither is left every task waits for ever, and that is told: the
original would turn in circles.

Under an autojumping clock a thread looks idle and the clock jumps past it; a socket and a DNS look-up likewise. So all
three raise while a simulation runs.

Must not know what is simulated.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections.abc import Callable, Generator, Sized
from contextlib import contextmanager
from heapq import heappush
from typing import Any, Final, NoReturn

import trio
import trio._core._run as trio_run
import trio.testing
from trio._core._thread_cache import ThreadCache

from ._errors import ForbiddenError, SimulationError, UnknownTrioError
from ._events import Events

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
_PRNG: Final = "_r"
# Instants whose events wake no task run behind each other, which spares a turn of trio's loop for each. Not for ever: a
# turn is where Ctrl-C is noticed.
_INSTANTS_MAX: Final = 64
# What the entry queue waits for.
_OWN_DESCRIPTORS: Final = 1
# What is changed here is the process's: two runs at once would share the order, and put back each other's changes.
_ONE_AT_A_TIME: Final = threading.Lock()


@contextmanager
def repeatable(order: random.Random) -> Generator[None]:
    """Inside, a `trio.run` takes its order of tasks from this PRNG, and starts no thread.

    Raises:
        UnknownTrioError: this trio is not the one this module knows.
        SimulationError: a simulation runs already, in this thread or another one.
    """
    check_layout()
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise SimulationError(
            "a simulation runs in this process already, and trio has one order of tasks for all; run one behind the "
            "other, or in processes of their own"
        )
    try:
        prng: random.Random = getattr(trio_run, _PRNG)
        switch, state = getattr(trio_run, _SWITCH), prng.getstate()
        prng.setstate(order.getstate())
        setattr(trio_run, _SWITCH, True)
        try:
            with _no_threads(), _ordered_cancellation():
                yield
        finally:
            setattr(trio_run, _SWITCH, switch)
            prng.setstate(state)
    finally:
        _ONE_AT_A_TIME.release()


def check_layout() -> None:
    """Raise UnknownTrioError unless trio's scheduler reads the switch and the PRNG where they are expected."""
    loop = getattr(trio_run, "unrolled_run", None)
    names = loop.__code__.co_names if loop is not None else ()
    switch, prng = getattr(trio_run, _SWITCH, None), getattr(trio_run, _PRNG, None)
    known = isinstance(switch, bool) and isinstance(prng, random.Random) and _SWITCH in names and _PRNG in names
    clock = vars(trio.testing.MockClock(autojump_threshold=0))
    known = known and "_autojump" in names and {"_virtual_base", "_real_clock"} <= clock.keys()
    status, deadlines = getattr(trio_run, "CancelStatus", None), getattr(trio_run, "Deadlines", None)
    known = known and {"_children", "_tasks", "__attrs_post_init__"} <= set(dir(status))
    known = known and {"_heap", "_active", "add"} <= set(dir(deadlines))
    if not known or not callable(getattr(ThreadCache, "start_thread_soon", None)):
        raise UnknownTrioError(
            f"the simulation does not know the scheduler of trio {trio.__version__}, so one seed would not give one "
            "trace; use a trio that this version of beamline_trio was tested with"
        )


class _InOrder(dict[Any, None]):
    """What trio needs of a set, in the order of adding. It has one for each cancel scope, so most is done in C."""

    __slots__ = ()

    add = dict.setdefault  # with None, which is the default of its default
    remove = dict.pop

    def discard(self, element: object) -> None:
        self.pop(element, None)


@contextmanager
def _ordered_cancellation() -> Generator[None]:
    """What is cancelled at once is cancelled in the order in which it came."""
    status: Any = trio_run.CancelStatus
    deadlines: Any = trio_run.Deadlines
    post_init, add = status.__attrs_post_init__, deadlines.add
    count = itertools.count()

    def with_order(self: Any) -> None:
        self._children = _InOrder()
        self._tasks = _InOrder()
        post_init(self)

    def add_in_order(self: Any, deadline: float, scope: trio.CancelScope) -> None:
        heappush(self._heap, (deadline, next(count), scope))
        self._active += 1

    status.__attrs_post_init__, deadlines.add = with_order, add_in_order
    try:
        yield
    finally:
        status.__attrs_post_init__, deadlines.add = post_init, add


def driving_clock(events: Events) -> trio.testing.MockClock:
    """A mock clock that jumps whenever no task can run, and drives these events (see `Events.guard`)."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    def jump() -> None:
        runner: Any = trio_run.GLOBAL_RUN_CONTEXT.runner  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(_INSTANTS_MAX):
            deadline = runner.deadlines.next_deadline()
            event = events.next_at
            if event > deadline or event == math.inf:
                break
            clock._virtual_base = max(event, clock._virtual_base)
            events.run_due()
            if runner.runq:
                return
        else:
            return
        if deadline != math.inf:
            clock._virtual_base = max(deadline, clock._virtual_base)
        else:
            error = _stuck()
            # With the guard gone, what waits is a shielded cleanup, and nobody is left to be told.
            if not events.fail(error):
                raise error

    clock._real_clock = float  # the rate is 0: nothing needs to be measured, nor reckoned
    clock.current_time = lambda: clock._virtual_base  # type: ignore[method-assign]
    clock._autojump = jump  # type: ignore[method-assign]
    return clock


def _stuck() -> SimulationError:
    main = trio_run.GLOBAL_RUN_CONTEXT.runner.main_task  # pyright: ignore[reportAttributeAccessIssue]
    names: list[str] = []
    waiting: list[trio.lowlevel.Task] = [main] if main is not None else []
    while waiting:
        task = waiting.pop()
        names.append(task.name)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return SimulationError(
        "every task waits and nothing is left that could happen, so time stands still for ever; the tasks are: "
        + ", ".join(sorted(names))
    )


def skip_polls() -> None:
    """From now on the system is asked for events only when it could know one; call it inside the run.

    Trio asks at each turn of its loop, which is a system call for each instant. But nothing waits for a descriptor
    here, and what wakes the loop (a signal, `TrioToken.run_sync_soon`) is in the entry queue before. It changes nothing
    but the time that a run takes; with a manager that is not known (Windows has another) trio asks as ever.
    """
    runner: Any = trio_run.GLOBAL_RUN_CONTEXT.runner  # pyright: ignore[reportAttributeAccessIssue]
    manager, entries = runner.io_manager, runner.entry_queue
    if hasattr(manager, "_registered") and hasattr(entries, "queue") and hasattr(entries, "idempotent_queue"):
        runner.io_manager = _SparingManager(manager, entries)


class _SparingManager:
    """Trio's own, but for `skip_polls`."""

    def __init__(self, manager: Any, entries: Any) -> None:
        self._manager = manager
        self._waited_for: Sized = manager._registered
        self._queue: Sized = entries.queue
        self._idempotent_queue: Sized = entries.idempotent_queue

    def get_events(self, timeout: float) -> Any:
        if len(self._waited_for) > _OWN_DESCRIPTORS or self._queue or self._idempotent_queue or timeout > 0:
            return self._manager.get_events(timeout)
        return ()

    def process_events(self, events: Any) -> None:
        if events:
            self._manager.process_events(events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


def forbid_sockets() -> None:
    """From now on `trio.socket` of this run resolves no names and makes no sockets; call it inside the run."""
    trio.socket.set_custom_hostname_resolver(_NoResolver())
    trio.socket.set_custom_socket_factory(_NoSockets())


class _NoResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise _forbidden(f"the DNS look-up of {host!r}")

    async def getnameinfo(self, sockaddr: Any, flags: Any) -> NoReturn:
        raise _forbidden(f"the DNS look-up of {sockaddr!r}")


class _NoSockets(trio.abc.SocketFactory):
    def socket(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _forbidden("a real socket")


@contextmanager
def _no_threads() -> Generator[None]:
    """This thread starts no thread; others may."""
    ours = threading.get_ident()

    def guarded(start: Callable[..., None]) -> Callable[..., None]:
        def start_unless_simulated(*args: Any, **kwargs: Any) -> None:
            if threading.get_ident() == ours:
                raise _forbidden("a thread")
            start(*args, **kwargs)

        return start_unless_simulated

    start_thread, start_soon = threading.Thread.start, ThreadCache.start_thread_soon
    threading.Thread.start = guarded(start_thread)  # type: ignore[method-assign]
    ThreadCache.start_thread_soon = guarded(start_soon)  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start_thread  # type: ignore[method-assign]
        ThreadCache.start_thread_soon = start_soon  # type: ignore[method-assign]


def _forbidden(what: str) -> ForbiddenError:
    return ForbiddenError(
        f"{what} was asked for inside a simulation, whose clock would jump past it; let the code under test use the "
        "simulated network (World.dialer), or do this before or after the run"
    )
