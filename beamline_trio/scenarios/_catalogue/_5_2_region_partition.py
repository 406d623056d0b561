"""5.2: one of two regions is cut off from the other.

Base 5 min, for 60 min one region is cut off for 3 min in every 8 min, in turns, and at last for 6 min, longer than the
alert of a partition waits, which is to be raised then and only then; recovery 10 min. Each region has three
servers, streams with three replicas that are at home there, a router and a source; a quarter of what a source
publishes is for the other region. Clients keep up to 50,000 operations and 64 MiB while they have no connection, for as
long as it takes.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario, Topology

SCENARIO: Final = Scenario(
    number="5.2",
    title="Cross-region partition",
    about="What is at home goes on, what is for the other region waits, and after healing all of it arrives once.",
    phases=(
        Phase("base", 5),
        Phase("regions cut", 50),
        Phase("cut for long", 10, seconds_min=55),
        Phase("recovery", 10),
    ),
    cycles=(
        Cycle(
            phase="regions cut",
            kinds=(Kind.REGION_CUT,),
            every_seconds=480,
            seconds=180,
            after_seconds=60,
            targets=("east", "west"),
        ),
        Cycle(
            phase="cut for long",
            kinds=(Kind.REGION_CUT,),
            seconds=360,
            seconds_min=40,
            after_seconds=60,
            targets=("west",),
        ),
    ),
    topology=Topology(nodes=3, quorum=2, replicas=3, regions=("east", "west"), instances=1),
    expectations=Expectations(
        never_idle_seconds=15.0, always_ready=True, alerts={"cut for long": "RouterRegionPartition"}
    ),
    client={
        "pending_operations_max": 50_000,
        "pending_bytes_max": 64 * 1024 * 1024,
        "pending_timeout_seconds": None,
    },
)
