"""The synchronous entry: one call, one world, one `trio.run` on a mock clock.

Must not know scenarios and laws.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from ..faults import Draw, Plan
from ._chance import Chance
from ._errors import EndlessError, SimulationError
from ._scheduling import driving_clock, forbid_sockets, repeatable, skip_polls
from ._world import World

T = TypeVar("T")


def run(
    async_fn: Callable[[World], Awaitable[T]],
    *,
    seed: int,
    draw: Draw | None = None,
    plan: Plan | None = None,
    trace_file: Path | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
    ends_within_seconds: float = math.inf,
) -> T:
    """Run an async function in a world of its own, in virtual time; the same seed gives the same run.

    It may be called from anywhere but from inside `trio.run`, and so also from the body of a property test.

    Args:
        async_fn: is given the world.
        seed: of all chance: the order of tasks, the network's, the servers', the clients'.
        draw: what kind of fault plan is drawn; None = none.
        plan: this fault plan and no other.
        trace_file: where every line of the trace goes.
        instruments: of trio.
        ends_within_seconds: of virtual time. Give it where the function may wait in vain: the pings of clients and
            servers let time go on for ever.

    Returns:
        What the function returns.

    Raises:
        EndlessError: it did not end within that time, and was cancelled.
        ForbiddenError: the function used a thread, a socket or DNS.
        SimulationError: the simulation itself failed, an argument cannot work, this thread or another one runs a
            simulation already, or trio is one it does not know.
        Exception: what the function raises, as it is.
    """
    if not callable(async_fn):
        raise SimulationError(f"run() was given {async_fn!r}; pass the async function itself, as in run(main, seed=1)")
    world = World(seed, draw=draw, plan=plan, trace_file=trace_file)
    return run_in(world, partial(async_fn, world), instruments=instruments, ends_within_seconds=ends_within_seconds)


def run_in(
    world: World,
    async_fn: Callable[..., Awaitable[T]],
    *args: Any,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
    ends_within_seconds: float = math.inf,
) -> T:
    """`run` with a world that was made before: what a test runner calls in the place of `trio.run`.

    Args:
        world: a fresh one.
        async_fn: with its args, as for `trio.run`.
        clock: must be None: a world has its own.
        instruments: of trio.
        ends_within_seconds: of virtual time, which an application that waits in vain would spend for ever.

    Raises:
        EndlessError: it did not end within that time, and was cancelled.
        SimulationError: there is a clock; or see `run`.
    """
    if clock is not None:
        world.trace.close()
        raise SimulationError(
            "a simulated world has its own clock; do not ask for autojump_clock or mock_clock beside it"
        )
    if world.ended:
        raise SimulationError("a world lives for one run; make another one")

    async def inside() -> T:
        forbid_sockets()
        skip_polls()
        world.begin()
        trio.lowlevel.current_task().name = _name_of(async_fn)
        try:
            with trio.CancelScope(deadline=trio.current_time() + ends_within_seconds):
                return await async_fn(*args)
            raise EndlessError(ends_within_seconds)
        finally:
            world.end(trio.current_time())

    order = Chance(world.seed).stream("scheduling")
    virtual = driving_clock(world.events)
    try:
        with repeatable(order):
            return trio.run(inside, clock=virtual, instruments=tuple(instruments))
    except trio.TrioInternalError as error:
        cause = _innermost(error.__cause__ if error.__cause__ is not None else error)
        if isinstance(cause, SimulationError) or not isinstance(cause, Exception):
            raise cause from None  # a test that gives up in a callback (pytest.fail, pytest.skip) is no bug
        raise SimulationError(f"the simulation failed: {cause!r}; this is a bug in it, or in a callback") from cause
    finally:
        world.end(virtual.current_time())  # where trio itself broke off
        world.trace.close()


def _innermost(error: BaseException) -> BaseException:
    """What a system task raised, without the groups of trio's own nurseries."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _name_of(async_fn: Callable[..., object]) -> str:
    """How the application's first task is called, where tasks are told."""
    while isinstance(async_fn, partial):
        async_fn = async_fn.func
    return str(getattr(async_fn, "__qualname__", async_fn))
