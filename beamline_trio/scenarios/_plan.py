"""A scenario and its settings -> when which phase begins, and when which fault begins and ends. Pure.

A compressed run has the same phases and cycles, shorter. A fault is not made shorter than `FAULT_SECONDS_MIN`, nor a
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

FAULT_SECONDS_MIN: Final = 2.0
CYCLE_SECONDS_MIN: Final = 15.0
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
    faults = [fault for cycle in scenario.cycles for fault in _faults(cycle, by_name[cycle.phase], scale, settings)]
    faults.sort(key=lambda fault: fault.begins)
    return Plan(tuple(spans), tuple(faults), _topology(scenario, settings), scale)


def _scale(scenario: Scenario, settings: Settings) -> float:
    if settings.duration_minutes is not None:
        return settings.duration_minutes / scenario.minutes
    if settings.speedup is not None:
        return 1 / settings.speedup
    if settings.on == REAL and not settings.full:
        return min(1.0, COMPRESSED_MINUTES / scenario.minutes)
    return 1.0


def _lengths(scenario: Scenario, scale: float) -> list[float]:
    """The phases in seconds; what is between base and recovery makes room for them where they cannot be shorter."""
    full = [phase.minutes * 60 for phase in scenario.phases]
    base = max(min(full[0], BASE_SECONDS_MIN), full[0] * scale)
    recovery = max(min(full[-1], RECOVERY_SECONDS_MIN), full[-1] * scale)
    left = max(sum(full) * scale - base - recovery, CYCLE_SECONDS_MIN)
    between = sum(full[1:-1])
    return [base, *(seconds * min(1.0, left / between) for seconds in full[1:-1]), recovery]


def _faults(cycle: Cycle, span: Span, scale: float, settings: Settings) -> Iterator[PlannedFault]:
    if not cycle.every_seconds:
        begins = span.begins + cycle.after_seconds * scale
        seconds = max(min(cycle.seconds, FAULT_SECONDS_MIN), cycle.seconds * scale)
        yield _fault(cycle, 0, begins, begins + seconds if cycle.seconds else span.ends)
        return
    interval = settings.fault_interval_seconds or max(CYCLE_SECONDS_MIN, cycle.every_seconds * scale)
    # As long a part of its cycle as in the full run, but for what is over at once.
    seconds = cycle.seconds
    if seconds > _INSTANT_SECONDS:
        seconds = max(min(seconds, FAULT_SECONDS_MIN), seconds * min(1.0, interval / cycle.every_seconds))
    seconds = min(seconds, interval / 2 if seconds <= _INSTANT_SECONDS else interval)
    number, begins = 0, span.begins + cycle.after_seconds * scale
    # A short phase has one all the same: else the run would show nothing.
    while begins + seconds <= span.ends or not number:
        yield _fault(cycle, number, begins, min(begins + seconds, max(span.ends, begins + FAULT_SECONDS_MIN)))
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
        quorum = settings.quorum if settings.quorum is not None else nodes // 2 + 1
        if not nodes / 2 < quorum <= nodes:
            raise ScenarioError(f"quorum is {quorum} of {nodes} nodes; it must be more than half, and at most all")
        changed |= {"nodes": nodes, "quorum": quorum, "replicas": min(topology.replicas, nodes)}
    if topology.instances > 1 and settings.instances is not None:
        changed["instances"] = settings.instances
    if topology.regions:
        changed["regions"] = _regions(topology, settings)
    return attrs.evolve(topology, **changed)


def _regions(topology: Topology, settings: Settings) -> tuple[str, ...]:
    count = len(topology.regions) if settings.regions is None else settings.regions
    names = [*topology.regions, *(f"region-{number}" for number in range(len(topology.regions) + 1, count + 1))][:count]
    enabled = [settings.region_a, settings.region_b]
    left = tuple(name for number, name in enumerate(names) if number >= len(enabled) or enabled[number])
    if not left:
        raise ScenarioError("no region is enabled; set REGION_A_ENABLED or REGION_B_ENABLED to true")
    return left
