"""The entry: one call, one run of one scenario, one report.

Must not print.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..simulation import World, run
from ._conductor import Evidence, conduct
from ._plan import Plan, make_plan
from ._real import open_real_rig
from ._report import report_of
from ._rig import Rig
from ._sampling import Sample
from ._scenario import Scenario
from ._settings import SIMULATION, Settings
from ._simulated import SimulatedRig


def run_scenario(
    scenario: Scenario, settings: Settings, tell: Callable[[Plan, Sample], object] = lambda plan, sample: None
) -> dict[str, Any]:
    """Run a scenario; it may be called from anywhere but from inside `trio.run`.

    Args:
        scenario: which.
        settings: how.
        tell: called once a second of the run, with its plan and what is to be seen then.

    Returns:
        The report: data that `json.dumps` takes.

    Raises:
        ScenarioError: it cannot be run so.
    """
    plan = make_plan(scenario, settings)

    async def on(rig: Rig) -> Evidence:
        return await conduct(rig, scenario, settings, plan, lambda sample: tell(plan, sample))

    async def simulated(world: World) -> Evidence:
        rig = SimulatedRig(world, plan.topology)
        await rig.open()
        return await on(rig)

    async def real() -> Evidence:
        async with open_real_rig(plan.topology, settings.seed) as rig:
            return await on(rig)

    return report_of(run(simulated, seed=settings.seed) if settings.on == SIMULATION else trio.run(real))
