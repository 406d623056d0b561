"""A test in a world: made before the run, run by it in the place of `trio.run`, and judged behind it.

Imported with the first test that uses it, since it brings the simulation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from ..simulation import LawBrokenError, Plan, World, laws_of, make_world, run_in, verdict_of
from ._verdict_text import tell_run, tell_verdict

T = TypeVar("T")


class SimulatedRun:
    """One run of one test.

    Args:
        function: the test's, which has its laws.
        seed: of its world.
        plan: the fault plan; None = the drawn one, if the test asks for one.
        replay: the command that shows it again.

    Attributes:
        world: what the test is given.
    """

    def __init__(self, function: object, seed: int, plan: Plan | None, replay: str) -> None:
        self._wanted = laws_of(function)
        self._replay = replay
        self.world: World = make_world(self._wanted, seed, plan)

    def __call__(
        self,
        async_fn: Callable[..., Awaitable[T]],
        *args: Any,
        clock: trio.abc.Clock | None = None,
        instruments: Sequence[trio.abc.Instrument] = (),
    ) -> T:
        """Run the test as `trio.run` would, then hold the laws against what happened.

        Raises:
            LawBrokenError: one does not hold.
            Exception: what the test raises, as it is.
        """
        __tracebackhide__ = True
        limit = self._wanted.ends_within_seconds
        value = run_in(self.world, async_fn, *args, clock=clock, instruments=instruments, ends_within_seconds=limit)
        verdict = verdict_of(self.world, self._wanted)
        if not verdict.holds:
            raise LawBrokenError(tell_verdict(verdict, self._replay), verdict)
        return value

    def tell(self) -> str:
        """What a test that raised was in: the seed, the faults, the end of the trace, how to see it again."""
        world = self.world
        return f"seed {world.seed}, {world.now():.6f} s\n{tell_run(world.plan, world.trace, self._replay)}"
