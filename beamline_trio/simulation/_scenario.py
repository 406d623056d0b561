"""A scenario: an async function of a world, and the laws that must hold in it. One seed, one verdict.

Must not print: whoever sweeps seeds tells about them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from ..faults import Draw, Plan, shrink
from ._laws import Evidence, Law, Violation, judge
from ._run import run_in
from ._trace import Trace
from ._world import QUIET_SECONDS, World

_MARK: Final = "__beamline_laws__"
_DEFAULT: Final = Draw()

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class Laws:
    """What a function is decorated with.

    Attributes:
        laws: what must hold.
        faults: what kind of plan is drawn for each seed; None = none.
        quiet_seconds: how long behind the last fault `World.quiet` waits.
        ends_within_seconds: of virtual time.
    """

    laws: tuple[Law, ...] = ()
    faults: Draw | None = None
    quiet_seconds: float = QUIET_SECONDS
    ends_within_seconds: float = math.inf


@attrs.frozen
class Verdict:
    """What came of one seed.

    Attributes:
        seed: which.
        error: what the scenario raised, or None.
        broken: laws that were broken, the first one first.
        plan: the faults there were.
        trace: closed; its digest and tail can be read.
        virtual_seconds: how long the run was.
        events: how much happened in it.
    """

    seed: int
    error: BaseException | None
    broken: tuple[Violation, ...]
    plan: Plan | None
    trace: Trace
    virtual_seconds: float
    events: int

    @property
    def holds(self) -> bool:
        """Whether every law held and nothing was raised."""
        return self.error is None and not self.broken

    @property
    def reason(self) -> str:
        """The first thing that went wrong, in a line; empty when nothing did."""
        if self.broken:
            first = self.broken[0]
            return f"{first.law} at {first.at:.6f} s: {first.text}"
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}".split("\n", 1)[0]
        return ""


class LawBrokenError(AssertionError):
    """A law does not hold in a run. The text has the seed, the law and the trace's tail.

    Attributes:
        verdict: all that is known.
    """

    def __init__(self, text: str, verdict: Verdict) -> None:
        super().__init__(text)
        self.verdict = verdict


def laws(
    *laws: Law,
    faults: Draw | None = _DEFAULT,
    quiet_seconds: float = QUIET_SECONDS,
    ends_within_seconds: float = 86_400.0,
) -> Callable[[F], F]:
    """Ask for laws to be checked after a test or scenario, and for faults while it runs.

    Args:
        laws: what must hold.
        faults: what kind of plan is drawn for each seed; None = none.
        quiet_seconds: how long behind the last fault `World.quiet` waits.
        ends_within_seconds: of virtual time; beyond it the run is given up, so that a sweep does not hang with it.
    """

    def decorate(function: F) -> F:
        setattr(function, _MARK, Laws(laws, faults, quiet_seconds, ends_within_seconds))
        return function

    return decorate


def laws_of(function: object) -> Laws:
    """What a function was decorated with; nothing when it was not."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Laws) else Laws()


def make_world(wanted: Laws, seed: int, plan: Plan | None = None, trace_file: Path | None = None) -> World:
    """A world as the laws ask for it; a plan that is given takes the place of a drawn one."""
    draw = wanted.faults if plan is None else None
    return World(seed, draw=draw, plan=plan, quiet_seconds=wanted.quiet_seconds, trace_file=trace_file)


def run_scenario(
    scenario: Callable[[World], Any], seed: int, *, plan: Plan | None = None, trace_file: Path | None = None
) -> Verdict:
    """Run a scenario under one seed and judge it. What the scenario raises is part of the verdict.

    Raises:
        SimulationError: the simulation itself failed.
        KeyboardInterrupt: as ever.
    """
    wanted = laws_of(scenario)
    world = make_world(wanted, seed, plan, trace_file)
    error: BaseException | None = None
    try:
        run_in(world, partial(scenario, world), ends_within_seconds=wanted.ends_within_seconds)
    except Exception as raised:  # noqa: BLE001 - whatever it is, it is the verdict's
        error = raised
    return verdict_of(world, wanted, error)


def verdict_of(world: World, wanted: Laws, error: BaseException | None = None) -> Verdict:
    """Judge a world whose run has ended."""
    ended_at = world.now()
    evidence = Evidence(world.journal, world.network, world.plan, min(world.faults_end_at, ended_at), ended_at)
    # A scenario that broke off has not kept its side of the laws: only its error counts.
    broken = judge(wanted.laws, evidence) if error is None else []
    return Verdict(world.seed, error, tuple(broken), world.plan, world.trace, ended_at, world.events.count)


def shrink_plan(
    scenario: Callable[[World], Any],
    verdict: Verdict,
    *,
    tries_max: int = 200,
    progress: Callable[[Plan], None] | None = None,
) -> Verdict:
    """Drop faults from the plan of a failure while it stays the same one.

    Returns:
        The verdict under the smallest plan that was found: a law is broken that was, or the same kind of error raised.
    """
    if verdict.plan is None:
        return verdict
    best = verdict

    def fails(plan: Plan) -> bool:
        nonlocal best
        if progress is not None:
            progress(plan)
        again = run_scenario(scenario, verdict.seed, plan=plan)
        same = bool(_kinds(again) & _kinds(verdict))
        if same:
            best = again
        return same

    shrink(verdict.plan, fails, tries_max)
    return best


def _kinds(verdict: Verdict) -> set[str]:
    """What failed, by its name."""
    names = {violation.law for violation in verdict.broken}
    return names if verdict.error is None else {*names, type(verdict.error).__name__}
