"""2.2: the one instance of the router restarts.

Base 5 min, for 60 min a restart every 3 min, drained and killed in turns, away for 2 s; recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="2.2",
    title="Router restarts",
    about="What a killed instance had in hand comes again and has its effect once; a drained one leaves nothing.",
    phases=(Phase("base", 5), Phase("fault", 60), Phase("recovery", 10)),
    cycles=(
        Cycle(
            phase="fault", kinds=(Kind.ROUTER_DRAIN, Kind.ROUTER_KILL), every_seconds=180, seconds=2, after_seconds=30
        ),
    ),
)
