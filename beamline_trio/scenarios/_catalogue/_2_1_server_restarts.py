"""2.1: the server restarts.

Base 5 min, for 60 min a restart every 5 min, killed and stopped in turns, away for 5 s; recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="2.1",
    title="Server restarts",
    about="Clients reconnect, publishers go on under the same message ids, consumers go on where they were.",
    phases=(Phase("base", 5), Phase("fault", 60), Phase("recovery", 10)),
    cycles=(
        Cycle(
            phase="fault", kinds=(Kind.SERVER_KILL, Kind.SERVER_STOP), every_seconds=300, seconds=5, after_seconds=30
        ),
    ),
)
