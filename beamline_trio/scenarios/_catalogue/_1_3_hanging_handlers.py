"""1.3: handlers hang now and then.

Base 5 min, for 30 min all handlers hang for 30 s in every 2 min, recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="1.3",
    title="Hanging handlers",
    about="Who hangs beyond its deadline is cancelled and its message tried again; what waits behind it is worked off.",
    phases=(Phase("base", 5), Phase("fault", 30), Phase("recovery", 10)),
    cycles=(Cycle(phase="fault", kinds=(Kind.HANDLERS_HANG,), every_seconds=120, seconds=30, after_seconds=30),),
)
