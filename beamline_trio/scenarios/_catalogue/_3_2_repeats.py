"""3.2: the same fault twelve times.

Base 5 min, twelve times a partition of 2 min and 8 min to recover, recovery 5 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="3.2",
    title="Twelve repeats",
    about="The last recovery takes no longer than the first, and nothing has grown.",
    phases=(Phase("base", 5), Phase("repeats", 120), Phase("recovery", 5)),
    cycles=(Cycle(phase="repeats", kinds=(Kind.PARTITION,), every_seconds=600, seconds=120),),
    expectations=Expectations(steady_recovery=True),
)
