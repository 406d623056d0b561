"""1.1: acks get lost, messages come again, and some of them too often.

Base 5 min, 30 % of the acks lost for 10 min, 30 % of the messages failing at each delivery for 5 min, recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Expectations, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="1.1",
    title="Gradual MaxDeliver exhaustion",
    about="What is handled and not acked comes again and is stored once; what fails to the last is a dead letter.",
    phases=(Phase("base", 5), Phase("acks lost", 10), Phase("exhaustion", 5), Phase("recovery", 10)),
    cycles=(
        Cycle(phase="acks lost", kinds=(Kind.ACKS_LOST,), share=0.3),
        Cycle(phase="exhaustion", kinds=(Kind.HANDLERS_FAIL,), share=0.3),
    ),
    expectations=Expectations(dead_letters_min=100),
)
