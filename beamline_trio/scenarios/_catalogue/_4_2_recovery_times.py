"""4.2: how long recovery takes, for each of five faults.

Base 5 min, then server killed, server paused, partition, router killed and handlers hanging, for 30 s each and 8 min
apart; recovery 5 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="4.2",
    title="Recovery times",
    about="From the end of each fault until all that waited is done and throughput is back: the report has the table.",
    phases=(Phase("base", 5), Phase("faults", 40), Phase("recovery", 5)),
    cycles=(
        Cycle(
            phase="faults",
            kinds=(
                Kind.SERVER_KILL,
                Kind.SERVER_PAUSE,
                Kind.PARTITION,
                Kind.ROUTER_KILL,
                Kind.HANDLERS_HANG,
            ),
            every_seconds=480,
            seconds=30,
        ),
    ),
)
