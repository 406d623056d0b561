"""2.3: the router cannot reach the server, and nobody is told.

Base 5 min, for 60 min a partition of 1 min in every 4 min, recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="2.3",
    title="Network partitions",
    about="The silence is noticed, what was in hand comes again elsewhere or later, and the queue is worked off.",
    phases=(Phase("base", 5), Phase("fault", 60), Phase("recovery", 10)),
    cycles=(Cycle(phase="fault", kinds=(Kind.PARTITION,), every_seconds=240, seconds=60, after_seconds=30),),
)
