"""The router of an instance that is a process of its own: `beamline run beamline_trio.scenarios._worker:router`.

What its handler was given it tells with the effect, since nobody else in its process would ask.

Must not be imported but by that command: it reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from random import Random
from typing import Final

from ..router import Router
from ._behaviour import Behaviour
from ._catalogue import find_scenario
from ._ledger import Ledger
from ._pipeline import Pipeline
from ._work import Ground

INSTANCE_VARIABLE: Final = "BEAMLINE_SCENARIO_INSTANCE"
NUMBER_VARIABLE: Final = "BEAMLINE_SCENARIO_NUMBER"
# So that a process that is killed has something in hand, which has to come again.
_WORK_SECONDS: Final = 0.15


def make_router(environment: Mapping[str, str]) -> Router:
    """The router of the instance and the scenario that the environment names."""
    scenario = find_scenario(environment.get(NUMBER_VARIABLE, "5.3"))
    ledger = Ledger(lambda: 0.0, scenario.max_deliver)
    behaviour = Behaviour(Random(0), work_seconds=_WORK_SECONDS)
    ground = Ground("", ("",), scenario.topology, scenario, ledger, behaviour)
    return Pipeline(ground, telling=True).make_router(environment.get(INSTANCE_VARIABLE, "router"))


router = make_router(os.environ)
