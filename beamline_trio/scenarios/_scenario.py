"""What a scenario is: phases, faults in them, a load, and what must hold. Data; each file of `_catalogue/` has one.

Lengths are those of the full run. Must not know how a fault is carried out, nor on what a scenario runs.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs


class Kind(enum.StrEnum):
    """What goes wrong."""

    SERVER_KILL = "server_kill"
    SERVER_STOP = "server_stop"
    SERVER_PAUSE = "server_pause"
    SERVER_LAME_DUCK = "server_lame_duck"
    QUORUM_LOSS = "quorum_loss"
    PARTITION = "partition"
    REGION_CUT = "region_cut"
    ROUTER_DRAIN = "router_drain"
    ROUTER_KILL = "router_kill"
    HANDLERS_FAIL = "handlers_fail"
    HANDLERS_HANG = "handlers_hang"
    ACKS_LOST = "acks_lost"


class Lasting(enum.StrEnum):
    """What throughput may do while a fault lasts."""

    STOPS = "stops"
    GOES_ON = "goes_on"


@attrs.frozen
class Phase:
    """A part of a run.

    Attributes:
        name: unique in its scenario.
        minutes: in the full run.
        seconds_min: also where a run is compressed, if the full one is no shorter.
    """

    name: str
    minutes: float
    seconds_min: float = 0.0


@attrs.frozen(kw_only=True)
class Cycle:
    """Faults of a phase.

    Attributes:
        phase: in which they happen.
        kinds: what they are, in turns.
        every_seconds: from the beginning of one to that of the next; 0 = one, for the whole phase.
        seconds: how long each lasts; without `every_seconds` it lasts as long as the phase.
        targets: whom they meet, in turns: a server, an instance or a region; empty = the first there is, or all.
        share: of the messages that it meets.
        after_seconds: from the beginning of the phase to the first.
        seconds_min: how long each lasts also where a run is compressed.
    """

    phase: str
    kinds: tuple[Kind, ...]
    every_seconds: float = 0.0
    seconds: float = 0.0
    targets: tuple[str, ...] = ()
    share: float = 1.0
    after_seconds: float = 0.0
    seconds_min: float = 2.0


@attrs.frozen(kw_only=True)
class Topology:
    """What it runs on.

    Attributes:
        cluster: its name; its servers are name-1, name-2 and so on.
        nodes: servers of a cluster, or of each region; 1 = a single server.
        quorum: so many of them must run for anything to be stored.
        regions: their names; none = no gateways.
        replicas: of each stream.
        instances: of the router.
    """

    cluster: str = "east"
    nodes: int = 1
    quorum: int = 1
    regions: tuple[str, ...] = ()
    replicas: int = 1
    instances: int = 1


@attrs.frozen(kw_only=True)
class Expectations:
    """What must hold beside the laws and limits that hold in every scenario.

    Attributes:
        dead_letters_min: so many messages must have been given up, at 100 messages a second.
        never_idle_seconds: while faults last, something ends at least so often; None = it may stop.
        always_ready: at every moment an instance is ready.
        steady_recovery: the last recovery takes no longer than the first, give or take.
        alerts: phase -> the alert that is raised in it, and over by the end of the run.
    """

    dead_letters_min: int = 0
    never_idle_seconds: float | None = None
    always_ready: bool = False
    steady_recovery: bool = False
    alerts: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Scenario:
    """One of the production-scale scenarios.

    Attributes:
        number: as in `beamline scenario run 2.1`.
        title: in a line.
        about: what it shows.
        phases: one after the other; the first is the base, the last the recovery.
        cycles: the faults.
        topology: what it runs on.
        expectations: what must hold beside what always must.
        keys: messages are of so many keys; of each they are published one after the other.
        max_deliver: deliveries of a message at the most.
        client: options of its clients.
        requests_per_second: that are asked of the instances, beside the messages; each is to be answered.
        once_per_second: messages that are published twice, 30 s apart and under two ids, and are to be done once.
    """

    number: str
    title: str
    about: str
    phases: tuple[Phase, ...]
    cycles: tuple[Cycle, ...] = ()
    topology: Topology = Topology()
    expectations: Expectations = Expectations()
    keys: int = 40
    max_deliver: int = 4
    client: Mapping[str, Any] = attrs.field(factory=dict)
    requests_per_second: float = 0.0
    once_per_second: float = 0.0

    @property
    def minutes(self) -> float:
        """How long the full run is."""
        return sum(phase.minutes for phase in self.phases)
