"""A scenario: an async function of a world, and the laws that must hold in it. One seed, one verdict.

Must not print: whoever sweeps seeds tells about them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from ..faults import Draw, Plan, shrink
from . import _laws
from ._errors import SimulationError
from ._laws import Evidence, Law, Violation, judge
from ._run import run_in
from ._trace import Trace
from ._world import QUIET_SECONDS, World

_MARK: Final = "__beamline_laws__"
_DEFAULT: Final = Draw()
ENDS_WITHIN_SECONDS: Final = 86_400.0
# What makes a law when it is called: as a law of its own it would return one, and look like one that holds or breaks.
_FACTORIES: Final = (
    _laws.at_most, _laws.bounded_calls, _laws.delivered_until_acked, _laws.each_input_ends, _laws.fails_only_by,
    _laws.no_ack_precedes_its_effect, _laws.notices_end, _laws.notices_silence, _laws.one_at_a_time, _laws.one_of,
    _laws.order_by, _laws.paced_dials, _laws.recovers, _laws.settles, _laws.strands_nothing, _laws.told_at_loss,
)  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])
# What a run comes to, by name: whole numbers that can be added up over many runs.
Figures: TypeAlias = Callable[[Evidence], Mapping[str, int]]


@attrs.frozen
class Laws:
    """What a function is decorated with.

    Attributes:
        laws: what must hold.
        faults: what kind of plan is drawn for each seed; None = none.
        quiet_seconds: how long behind the last fault `World.quiet` waits.
        ends_within_seconds: of virtual time; a day, also where nothing was decorated: who waits in vain would wait for
            ever, since the pings of clients and servers let time go on.
        figures: what is counted in each run, for a sweep to add up.
    """

    laws: tuple[Law, ...] = ()
    faults: Draw | None = None
    quiet_seconds: float = QUIET_SECONDS
    ends_within_seconds: float = ENDS_WITHIN_SECONDS
    figures: Figures | None = None


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
        figures: what was counted in it; empty where nothing was to be, and where the scenario raised.
    """

    seed: int
    error: BaseException | None
    broken: tuple[Violation, ...]
    plan: Plan | None
    trace: Trace
    virtual_seconds: float
    events: int
    figures: Mapping[str, int] = attrs.field(factory=dict)

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
    ends_within_seconds: float = ENDS_WITHIN_SECONDS,
    figures: Figures | None = None,
) -> Callable[[F], F]:
    """Ask for laws to be checked after a test or scenario, and for faults while it runs.

    Args:
        laws: what must hold.
        faults: what kind of plan is drawn for each seed; None = none.
        quiet_seconds: how long behind the last fault `World.quiet` waits.
        ends_within_seconds: of virtual time; beyond it the run is given up, so that a sweep does not hang with it.
        figures: what is counted in each run, such as `account`: from the evidence to whole numbers by name, which
            `beamline simulate` adds up.

    Raises:
        SimulationError: an argument cannot work, or the function has laws already.
    """
    for law in laws:
        _check_law(law)
    if faults is not None and not isinstance(faults, Draw):
        raise SimulationError(f"faults is {faults!r}; write faults=Draw(seconds=60, count=4), or None for no faults")
    for name, value in (("quiet_seconds", quiet_seconds), ("ends_within_seconds", ends_within_seconds)):
        if not value >= 0:  # NaN is not either
            raise SimulationError(f"{name} is {value!r}; it must be at least 0 s")

    def decorate(function: F) -> F:
        if hasattr(function, _MARK):
            raise SimulationError(f"{function.__qualname__} has @laws already; write all laws into one of them")
        setattr(function, _MARK, Laws(laws, faults, quiet_seconds, ends_within_seconds, figures))
        return function

    return decorate


def _check_law(law: object) -> None:
    name = getattr(law, "__name__", repr(law))
    if inspect.iscoroutinefunction(law):
        raise SimulationError(f"@laws needs parentheses: write @laws(no_loss) above `async def {name}`")
    if any(law is factory for factory in _FACTORIES):
        raise SimulationError(f"{name} makes a law when it is called; write {name}(...) in @laws")
    if not callable(law):
        raise SimulationError(f"{law!r} is no law; a law is a function that takes Evidence and yields (seconds, text)")


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

    So is a SimulationError, unless it is about the arguments. What a law raises is a bug of it, and raised.

    Raises:
        SimulationError: seed or plan cannot work.
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
    """Judge a world whose run has ended.

    Faults that were asked for and had no time to happen are the first broken law: else a test that ends too early would
    hold under all seeds.
    """
    ended_at = world.now()
    faults_end_at = min(world.faults_end_at, ended_at)
    evidence = Evidence(world.journal, world.network, world.plan, faults_end_at, ended_at, world.servers)
    # A scenario that broke off has not kept its side of the laws: only its error counts.
    broken: list[Violation] = []
    figures: Mapping[str, int] = {}
    if error is None:
        try:
            broken = [*_without_faults(world, wanted), *judge(wanted.laws, evidence)]
            figures = {} if wanted.figures is None else dict(wanted.figures(evidence))
        except Exception as bug:
            bug.add_note(f"a law raised this when it judged the run of seed {world.seed}")
            raise
    return Verdict(world.seed, error, tuple(broken), world.plan, world.trace, ended_at, world.events.count, figures)


def _without_faults(world: World, wanted: Laws) -> list[Violation]:
    asked = wanted.faults is not None and wanted.faults.count > 0 and (world.plan is None or bool(world.plan.faults))
    if not asked or world.plan_began:
        return []
    text = (
        f"the run was over at {world.now():.6f} s, and the faults would have begun one second after the first "
        "connection of a client; await world.quiet(), or ask for none by faults=None"
    )
    return [Violation("faults_happen", text, world.now())]


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
