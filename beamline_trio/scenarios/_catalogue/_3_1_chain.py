"""3.1: six faults, one behind the other.

Base 5 min, six parts of 15 min each (partition, restart, MaxDeliver, router restart, hang, partition with restart),
recovery 10 min.
"""

from __future__ import annotations

from typing import Final

from .._scenario import Cycle, Kind, Phase, Scenario

SCENARIO: Final = Scenario(
    number="3.1",
    title="A chain of six faults",
    about="None of them leaves anything behind that makes the next one worse.",
    phases=(
        Phase("base", 5),
        Phase("partition", 15),
        Phase("server restart", 15),
        Phase("max deliver", 15),
        Phase("router restart", 15),
        Phase("hang", 15),
        Phase("partition and restart", 15),
        Phase("recovery", 10),
    ),
    cycles=(
        Cycle(phase="partition", kinds=(Kind.PARTITION,), seconds=120, after_seconds=60),
        Cycle(phase="server restart", kinds=(Kind.SERVER_KILL,), seconds=10, after_seconds=60),
        Cycle(phase="max deliver", kinds=(Kind.HANDLERS_FAIL,), seconds=180, after_seconds=60, share=0.5),
        Cycle(phase="router restart", kinds=(Kind.ROUTER_KILL,), seconds=10, after_seconds=60),
        Cycle(phase="hang", kinds=(Kind.HANDLERS_HANG,), seconds=60, after_seconds=60),
        Cycle(phase="partition and restart", kinds=(Kind.PARTITION,), seconds=120, after_seconds=60),
        Cycle(phase="partition and restart", kinds=(Kind.SERVER_STOP,), seconds=10, after_seconds=90),
    ),
)
