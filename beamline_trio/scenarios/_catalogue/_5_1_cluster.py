"""5.1: a cluster of three servers loses one of them at a time, and once two.

Base 5 min, for 60 min one server in every 10 min is killed, stopped in order or paused for 2 min, in turns; in the 55th
minute two of three are killed for 2 min, longer than its alert waits, and meanwhile no instance is ready; recovery 10
min. Streams and consumers have three replicas. Clients ping every 5 s and wait 2 s for the answer: by the defaults they
would notice after 25 s only that their server is paused.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario, Topology

SCENARIO: Final = Scenario(
    number="5.1",
    title="Multi-node cluster",
    about="With a quorum nothing that was acked is lost, and throughput stops for no longer than an election.",
    phases=(Phase("base", 5), Phase("nodes fail", 54), Phase("quorum lost", 6, seconds_min=50), Phase("recovery", 10)),
    cycles=(
        Cycle(
            phase="nodes fail",
            kinds=(Kind.SERVER_KILL, Kind.SERVER_STOP, Kind.SERVER_PAUSE),
            every_seconds=600,
            seconds=120,
            seconds_min=22,  # longer than anything may stand still
            after_seconds=30,
            targets=("east-1", "east-2", "east-3"),
        ),
        Cycle(phase="quorum lost", kinds=(Kind.QUORUM_LOSS,), seconds=120, seconds_min=25, after_seconds=30),
    ),
    topology=Topology(cluster="east", nodes=3, quorum=2, replicas=3, instances=3),
    expectations=Expectations(never_idle_seconds=20.0, alerts={"quorum lost": "RouterQuorumLost"}),
    client={"ping_interval_seconds": 5.0, "pong_timeout_seconds": 2.0},
)
