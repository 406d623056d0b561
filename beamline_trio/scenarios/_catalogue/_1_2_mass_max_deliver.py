"""1.2: what handlers need is down, and every message is given up.

Base 3 min, all handlers fail for 5 min, recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="1.2",
    title="Mass MaxDeliver exhaustion",
    about="A thousand messages and more use up their deliveries: each is a dead letter, and none is lost.",
    phases=(Phase("base", 3), Phase("fault", 5), Phase("recovery", 10)),
    cycles=(Cycle(phase="fault", kinds=(Kind.HANDLERS_FAIL,)),),
    expectations=Expectations(dead_letters_min=1_000),
)
