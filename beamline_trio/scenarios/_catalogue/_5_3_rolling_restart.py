"""5.3: the instances of the router restart, one behind the other.

Base 5 min, for 40 min one of three instances is drained or killed every 2 min and away for 20 s, recovery 10 min.
Readiness is looked at every 100 ms. Twice a second the instances are asked something, and once a second a message comes
that comes again 30 s later under another id, and is known then by whichever instance has it.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario, Topology

SCENARIO: Final = Scenario(
    number="5.3",
    title="Rolling restart",
    about="An instance is ready at every moment, throughput is kept, and nothing that was done is forgotten.",
    phases=(Phase("base", 5), Phase("rolling", 40), Phase("recovery", 10)),
    cycles=(
        Cycle(
            phase="rolling",
            kinds=(Kind.ROUTER_DRAIN, Kind.ROUTER_KILL),
            every_seconds=120,
            seconds=20,
            after_seconds=30,
            targets=("router-1", "router-2", "router-3"),
        ),
    ),
    topology=Topology(instances=3),
    expectations=Expectations(always_ready=True, never_idle_seconds=5.0),
    requests_per_second=2.0,
    once_per_second=1.0,
)
