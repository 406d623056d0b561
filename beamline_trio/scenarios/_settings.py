"""How a scenario is to be run: from arguments and from the environment, checked before anything starts.

Must not run anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ._errors import ScenarioError

SIMULATION: Final = "simulation"
REAL: Final = "real"
PLACES: Final = (SIMULATION, REAL)
PIPELINE: Final = "pipeline"
DECISIONS: Final = "decisions"
LOADS: Final = (PIPELINE, DECISIONS)
RATE_PER_SECOND: Final = 100.0
_NODES_MAX: Final = 9
_REGIONS_MAX: Final = 5
_INSTANCES_MAX: Final = 20
_YES: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@attrs.frozen(kw_only=True)
class Settings:
    """What is asked for.

    Attributes:
        on: `simulation`, or `real` nats-servers.
        load: `pipeline`, or the `decisions` of the example.
        seed: of all chance.
        rate: messages a second.
        full: in the full length; else on real servers it is compressed. A simulated run is full unless it is told a
            length.
        duration_minutes: of the whole run, instead of its own length (EXTENDED_TEST_DURATION_MIN).
        fault_interval_seconds: from fault to fault, instead of the scenario's (EXTENDED_TEST_FAULT_INTERVAL_SEC).
        speedup: all is so much shorter (EXTENDED_TEST_SPEEDUP).
        nodes: of a cluster, or of each region (JETSTREAM_CLUSTER_NODES); None = as the scenario has it.
        quorum: see `Topology` (JETSTREAM_QUORUM_SIZE).
        regions: how many (REGION_COUNT); those that are not enabled are left out.
        region_a, region_b: whether it is there (REGION_A_ENABLED, REGION_B_ENABLED).
        instances: of the router (ROUTER_INSTANCE_COUNT).
        load_balancer: whether clients reach real servers through one (ROUTER_LOAD_BALANCER_ENABLED).
    """

    on: str = SIMULATION
    load: str = "pipeline"
    seed: int = 1
    rate: float = RATE_PER_SECOND
    full: bool = False
    duration_minutes: float | None = None
    fault_interval_seconds: float | None = None
    speedup: float | None = None
    nodes: int | None = None
    quorum: int | None = None
    regions: int | None = None
    region_a: bool = True
    region_b: bool = True
    instances: int | None = None
    load_balancer: bool = False

    def __attrs_post_init__(self) -> None:
        if self.on not in PLACES:
            raise ScenarioError(f"on is {self.on!r}; it must be one of {', '.join(PLACES)}")
        if self.load not in LOADS:
            raise ScenarioError(f"load is {self.load!r}; it must be one of {', '.join(LOADS)}")
        if self.seed < 0:
            raise ScenarioError(f"seed is {self.seed}; it must be 0 or more")
        for name, limits in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not limits[0] <= value <= limits[1]:
                raise ScenarioError(f"{name} is {value:g}; it must be {limits[0]:g} to {limits[1]:g}")
        if self.nodes is not None and self.quorum is not None and not self.nodes / 2 < self.quorum <= self.nodes:
            raise ScenarioError(
                f"quorum is {self.quorum} of {self.nodes} nodes; it must be more than half, and at most all"
            )
        if self.duration_minutes is not None and (self.full or self.speedup is not None):
            raise ScenarioError(
                "duration_minutes gives the length, and so does full or speedup; leave one of the two out"
            )


_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "rate": (0.1, 10_000),
    "duration_minutes": (2, 100_000),
    "fault_interval_seconds": (5, 86_400),
    "speedup": (1, 1_000),
    "nodes": (1, _NODES_MAX),
    "quorum": (1, _NODES_MAX),
    "regions": (1, _REGIONS_MAX),
    "instances": (1, _INSTANCES_MAX),
}
# Variable -> the setting, and what its text is.
_VARIABLES: Final[Mapping[str, tuple[str, type]]] = {
    "JETSTREAM_CLUSTER_NODES": ("nodes", int),
    "JETSTREAM_QUORUM_SIZE": ("quorum", int),
    "REGION_COUNT": ("regions", int),
    "REGION_A_ENABLED": ("region_a", bool),
    "REGION_B_ENABLED": ("region_b", bool),
    "ROUTER_INSTANCE_COUNT": ("instances", int),
    "ROUTER_LOAD_BALANCER_ENABLED": ("load_balancer", bool),
    "EXTENDED_TEST_DURATION_MIN": ("duration_minutes", float),
    "EXTENDED_TEST_MESSAGE_RATE": ("rate", float),
    "EXTENDED_TEST_FAULT_INTERVAL_SEC": ("fault_interval_seconds", float),
    "EXTENDED_TEST_SPEEDUP": ("speedup", float),
}


def settings_from(environment: Mapping[str, str], **given: Any) -> Settings:
    """Settings from arguments, which win, and from the environment.

    Args:
        environment: such as os.environ; what is not a scenario's, and what is empty, is left alone.
        given: fields of `Settings`; None = not given.

    Raises:
        ScenarioError: a value cannot work; the text names the variable or the field.
    """
    values = {
        field: _read(name, environment[name], kind)
        for name, (field, kind) in _VARIABLES.items()
        if environment.get(name)
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    # A length that was given as an argument takes the place of every length of the environment.
    if arguments.get("full") or {"duration_minutes", "speedup"} & arguments.keys():
        values = {name: value for name, value in values.items() if name not in ("duration_minutes", "speedup")}
    return Settings(**{**values, **arguments})


def _read(name: str, text: str, kind: type) -> Any:
    try:
        value = _YES[text.strip().lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ScenarioError(f"{name} is {text!r}; it must be {wanted}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ScenarioError(f"{name} is {text!r}; it must be a number")
    return value
