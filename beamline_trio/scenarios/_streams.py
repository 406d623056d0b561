"""The streams of the load.

What is acked is deleted, so that a run of hours needs no more room than one of minutes. The message ids are remembered
for longer than any outage of the scenarios lasts.

Must not create anything.
"""

from __future__ import annotations

from typing import Final

from ..jetstream import StreamConfig
from ._scenario import Topology
from ._subjects import DEAD, DONE, WORK

REMEMBERED_SECONDS: Final = 600.0
# What was given up stays in its work queue; it is gone after so long.
_KEPT_SECONDS: Final = 1_800.0


def streams_of(topology: Topology) -> list[StreamConfig]:
    """The configurations of the streams."""
    return [
        StreamConfig(
            name=name,
            subjects=(f"{name.lower()}.>",),
            retention="workqueue",
            num_replicas=topology.replicas,
            max_age_seconds=_KEPT_SECONDS,
            duplicate_window_seconds=REMEMBERED_SECONDS,
        )
        for name in (WORK, DONE, DEAD)
    ]
