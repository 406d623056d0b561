"""The scenarios, one file each, by number.

Must not run anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .._errors import ScenarioError
from .._scenario import Scenario
from . import (
    _1_1_gradual_max_deliver,
    _1_2_mass_max_deliver,
    _1_3_hanging_handlers,
    _2_1_server_restarts,
    _2_2_router_restarts,
    _2_3_partitions,
    _3_1_chain,
    _3_2_repeats,
    _4_1_stability,
    _4_2_recovery_times,
    _5_1_cluster,
    _5_2_defaults,
    _5_2_region_partition,
    _5_3_rolling_restart,
)

_MODULES: Final = (
    _1_1_gradual_max_deliver,
    _1_2_mass_max_deliver,
    _1_3_hanging_handlers,
    _2_1_server_restarts,
    _2_2_router_restarts,
    _2_3_partitions,
    _3_1_chain,
    _3_2_repeats,
    _4_1_stability,
    _4_2_recovery_times,
    _5_1_cluster,
    _5_2_region_partition,
    _5_2_defaults,
    _5_3_rolling_restart,
)

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {module.SCENARIO.number: module.SCENARIO for module in _MODULES}
)


def find_scenario(number: str) -> Scenario:
    """A scenario by its number.

    Raises:
        ScenarioError: there is none.
    """
    if number not in SCENARIOS:
        raise ScenarioError(f"there is no scenario {number!r}; there are {', '.join(SCENARIOS)}")
    return SCENARIOS[number]
