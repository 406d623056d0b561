"""4.1: four hours in which nothing happens.

Base 10 min, 220 min more, and 10 min that are compared with the base.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Expectations, Phase, Scenario

SCENARIO: Final = Scenario(
    number="4.1",
    title="Long-run stability",
    about="Nothing grows, nothing slows down, nothing stops.",
    phases=(Phase("base", 10), Phase("steady", 220), Phase("recovery", 10)),
    expectations=Expectations(never_idle_seconds=2.0, always_ready=True),
)
