"""One scenario under many seeds: the failures, and how fast it went.

Must not print; `_simulate` does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from ..simulation import Plan, Verdict, run_scenario, shrink_plan


@attrs.define
class Figures:
    """What a sweep has come to so far.

    Attributes:
        seeds: how many have been run.
        failures: in the order of their seeds.
        events: deliveries, timers and dials in all of them.
        virtual_seconds: of all of them.
        wall_seconds: of running and judging, without shrinking.
        counted: what the scenario counts in each run, added up by name.
    """

    seeds: int = 0
    failures: list[Failure] = attrs.field(factory=list)
    events: int = 0
    virtual_seconds: float = 0.0
    wall_seconds: float = 0.0
    counted: Counter[str] = attrs.field(factory=Counter)

    @property
    def events_per_second(self) -> float:
        """In a second of wall time."""
        return self.events / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def hours_per_second(self) -> float:
        """Simulated hours in a second of wall time."""
        return self.virtual_seconds / 3600 / self.wall_seconds if self.wall_seconds else 0.0


@attrs.define
class Failure:
    """A seed under which something does not hold.

    Attributes:
        verdict: under the plan that was drawn or given.
        shrunk: under the smallest plan that was found; None = no smaller one was looked for.
        tries: how many runs that took.
        plan_file: where the smallest plan was written.
    """

    verdict: Verdict
    shrunk: Verdict | None = None
    tries: int = 0
    plan_file: Path | None = None


@attrs.frozen
class Sweep:
    """How a scenario is to be swept.

    Attributes:
        scenario: an async function of a world.
        plan: of every seed, in the place of drawn ones.
        trace_file: of the one seed there is.
        stop_after: failures after which it ends.
        shrink: whether the plan of a failure is made smaller.
        tell_progress: called before every run; of the figures, and whether a failure is being shrunk.
        tell_failure: called with each failure.
    """

    scenario: Callable[..., Any]
    plan: Plan | None
    trace_file: Path | None
    stop_after: int
    shrink: bool
    tell_progress: Callable[[Figures, bool], object]
    tell_failure: Callable[[Failure], object]

    def run(self, seeds: Iterable[int], figures: Figures) -> None:
        """Run the scenario under each seed; the figures grow as it goes, so that Ctrl-C leaves what there was."""
        for seed in seeds:
            self.tell_progress(figures, False)
            began = time.perf_counter()
            verdict = run_scenario(self.scenario, seed, plan=self.plan, trace_file=self.trace_file)
            figures.wall_seconds += time.perf_counter() - began
            figures.seeds += 1
            figures.events += verdict.events
            figures.virtual_seconds += verdict.virtual_seconds
            figures.counted.update(verdict.figures)
            if verdict.holds:
                continue
            failure = Failure(verdict)
            figures.failures.append(failure)
            try:
                if self.shrink:
                    self._shrink(failure, figures)
            finally:
                self.tell_failure(failure)  # also when Ctrl-C ends the shrinking: the seed is known
            if len(figures.failures) >= self.stop_after:
                return

    def _shrink(self, failure: Failure, figures: Figures) -> None:
        def progress(_: Plan) -> None:
            failure.tries += 1
            self.tell_progress(figures, True)

        failure.shrunk = shrink_plan(self.scenario, failure.verdict, progress=progress)
