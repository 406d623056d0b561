"""A scenario and its settings -> when which phase begins, and when which fault begins and ends. Pure.

A compressed run has the same phases and cycles, shorter. A fault is not made shorter than its `seconds_min`, nor a
cycle than `CYCLE_SECONDS_MIN`: an election takes about 5 seconds, and shorter cycles would measure nothing but
elections; so a compressed phase has fewer cycles.

Must not wait, or know how faults are carried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from ._errors import ScenarioError
from ._scenario import Cycle, Kind, Scenario, Topology
from ._settings import REAL, Settings

# Twice that is no multiple of the ack wait, either: what a kill has left comes again between two kills.
CYCLE_SECONDS_MIN: Final = 20.0
# Throughput and resources cannot be compared over less; and what was in hand of an instance that died comes again only
# when the ack wait is over.
BASE_SECONDS_MIN: Final = 20.0
RECOVERY_SECONDS_MIN: Final = 60.0
# How long a run on real servers is, unless it is told.
COMPRESSED_MINUTES: Final = 4.0
_INSTANT_SECONDS: Final = 5.0


@attrs.frozen
class Span:
    """A phase in a run: from `begins` to `ends`, seconds since its start."""

    name: str
    begins: float
    ends: float


@attrs.frozen(kw_only=True)
class PlannedFault:
    """A fault in a run.

    Attributes:
        kind: what goes wrong.
        phase: in which it begins.
        begins, ends: seconds since the start of the run; ends = when it is healed.
        target: whom it meets; empty = the first there is, or all.
        share: of the messages.
    """

    kind: Kind
    phase: str
    begins: float
    ends: float
    target: str = ""
    share: float = 1.0


@attrs.frozen
class Plan:
    """A run as it is to be.

    Attributes:
        spans: the phases.
        faults: by their beginning.
        topology: what it runs on.
        scale: how long it is, as a part of the full run.
    """

    spans: tuple[Span, ...]
    faults: tuple[PlannedFault, ...]
    topology: Topology
    scale: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.spans[-1].ends

    @property
    def base(self) -> Span:
        """The phase that the others are measured by."""
        return self.spans[0]

    @property
    def recovery(self) -> Span:
        """The last phase."""
        return self.spans[-1]


def make_plan(scenario: Scenario, settings: Settings) -> Plan:
    """The plan of a run.

    Raises:
        ScenarioError: the settings leave nothing to run on.
    """
    scale = _scale(scenario, settings)
    spans: list[Span] = []
    begins = 0.0
    for phase, seconds in zip(scenario.phases, _lengths(scenario, scale), strict=True):
        spans.append(Span(phase.name, begins, begins + seconds))
        begins += seconds
    by_name = {span.name: span for span in spans}
    topology = _topology(scenario, settings)
    # A longer run has more faults, not longer ones.
    part = min(1.0, scale)
    missing = _names(scenario.topology) - _names(topology)
    cycles = [_met(cycle, missing, topology) for cycle in scenario.cycles]
    faults = [fault for cycle in cycles for fault in _faults(cycle, by_name[cycle.phase], part, settings)]
    faults.sort(key=lambda fault: fault.begins)
    return Plan(tuple(spans), tuple(faults), topology, scale)


def _scale(scenario: Scenario, settings: Settings) -> float:
    if settings.duration_minutes is not None:
        return settings.duration_minutes / scenario.minutes
    if settings.speedup is not None:
        return 1 / settings.speedup
    if settings.on == REAL and not settings.full:
        return min(1.0, COMPRESSED_MINUTES / scenario.minutes)
    return 1.0


def _lengths(scenario: Scenario, scale: float) -> list[float]:
    """The phases in seconds; those that may be shorter make room for those that may not."""
    first, last = scenario.phases[0], scenario.phases[-1]
    least = {phase.name: phase.seconds_min for phase in scenario.phases}
    least[first.name] = max(least[first.name], BASE_SECONDS_MIN)
    least[last.name] = max(least[last.name], RECOVERY_SECONDS_MIN)
    fixed = {name: min(least[name], phase.minutes * 60) for name, phase in zip(least, scenario.phases, strict=True)}
    raised = {
        phase.name: fixed[phase.name] for phase in scenario.phases if phase.minutes * 60 * scale < fixed[phase.name]
    }
    others = sum(phase.minutes * 60 for phase in scenario.phases if phase.name not in raised)
    left = max(scenario.minutes * 60 * scale - sum(raised.values()), min(others, CYCLE_SECONDS_MIN))
    part = left / others if others else 1.0
    return [raised.get(phase.name, max(phase.minutes * 60 * part, fixed[phase.name])) for phase in scenario.phases]


def _names(topology: Topology) -> set[str]:
    """Its servers, instances and regions."""
    places = topology.regions or (topology.cluster,)
    servers = {f"{place}-{number + 1}" for place in places for number in range(topology.nodes)}
    prefixes = [f"{region}-" for region in topology.regions] or [""]
    instances = {f"{prefix}router-{number + 1}" for prefix in prefixes for number in range(topology.instances)}
    return servers | instances | set(topology.regions)


def _met(cycle: Cycle, missing: set[str], topology: Topology) -> Cycle:
    """The cycle without those that a smaller topology lacks; where none of its regions is left it meets the others."""
    left = tuple(one for one in cycle.targets if one not in missing)
    return attrs.evolve(cycle, targets=left or topology.regions if cycle.targets else ())


def _faults(cycle: Cycle, span: Span, scale: float, settings: Settings) -> Iterator[PlannedFault]:
    if not cycle.every_seconds:
        begins = span.begins + cycle.after_seconds * scale
        seconds = max(min(cycle.seconds, cycle.seconds_min), cycle.seconds * scale)
        yield _fault(cycle, 0, begins, begins + seconds if cycle.seconds else span.ends)
        return
    interval = settings.fault_interval_seconds or max(CYCLE_SECONDS_MIN, cycle.every_seconds * scale)
    # As long a part of its cycle as in the full run, but for what is over at once.
    seconds = cycle.seconds
    if seconds > _INSTANT_SECONDS:
        seconds = max(min(seconds, cycle.seconds_min), seconds * min(1.0, interval / cycle.every_seconds))
    seconds = min(seconds, interval / 2 if seconds <= _INSTANT_SECONDS else interval)
    number, begins = 0, span.begins + cycle.after_seconds * scale
    # A short phase has one all the same: else the run would show nothing.
    while begins + seconds <= span.ends or not number:
        yield _fault(cycle, number, begins, min(begins + seconds, max(span.ends, begins + cycle.seconds_min)))
        number, begins = number + 1, begins + interval


def _fault(cycle: Cycle, number: int, begins: float, ends: float) -> PlannedFault:
    target = cycle.targets[number % len(cycle.targets)] if cycle.targets else ""
    kind = cycle.kinds[number % len(cycle.kinds)]
    return PlannedFault(kind=kind, phase=cycle.phase, begins=begins, ends=ends, target=target, share=cycle.share)


def _topology(scenario: Scenario, settings: Settings) -> Topology:
    """The scenario's, where it is a cluster as large as the environment has it."""
    topology = scenario.topology
    changed: dict[str, Any] = {}
    if topology.nodes > 1:
        nodes = topology.nodes if settings.nodes is None else settings.nodes
        if nodes < 2:
            raise ScenarioError(f"nodes is {nodes}; {scenario.number} is about a cluster, which has 2 servers or more")
        quorum = settings.quorum if settings.quorum is not None else nodes // 2 + 1
        if not nodes / 2 < quorum <= nodes:
            raise ScenarioError(f"quorum is {quorum} of {nodes} nodes; it must be more than half, and at most all")
        changed |= {"nodes": nodes, "quorum": quorum, "replicas": min(topology.replicas, nodes)}
    if topology.instances > 1 and settings.instances is not None:
        changed["instances"] = settings.instances
    if topology.regions:
        regions = changed["regions"] = _regions(topology, settings)
        if len(regions) < 2 and any(Kind.REGION_CUT in cycle.kinds for cycle in scenario.cycles):
            raise ScenarioError(
                f"there is one region, {', '.join(regions)}, and {scenario.number} cuts regions off from each other; "
                "let REGION_COUNT be 2 or more, and enable both"
            )
    return attrs.evolve(topology, **changed)


def _regions(topology: Topology, settings: Settings) -> tuple[str, ...]:
    count = len(topology.regions) if settings.regions is None else settings.regions
    names = [*topology.regions, *(f"region-{number}" for number in range(len(topology.regions) + 1, count + 1))][:count]
    enabled = [settings.region_a, settings.region_b]
    left = tuple(name for number, name in enumerate(names) if number >= len(enabled) or enabled[number])
    if not left:
        raise ScenarioError("no region is enabled; set REGION_A_ENABLED or REGION_B_ENABLED to true")
    return left
