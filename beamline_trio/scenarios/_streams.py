"""The streams of the load.

What is acked is deleted, so that a run of hours needs no more room than one of minutes. The message ids are remembered
for longer than any outage of the scenarios lasts.

Must not create anything.
"""

from __future__ import annotations

from typing import Final

from ..jetstream import Placement, StreamConfig
from ._scenario import Scenario, Topology
from ._subjects import DEAD, DONE, ONCE, WORK, stream_name, subject_prefix

REMEMBERED_SECONDS: Final = 600.0
# What was given up stays in its work queue; it is gone after so long.
_KEPT_SECONDS: Final = 1_800.0


def streams_of(scenario: Scenario, topology: Topology, region: str) -> list[StreamConfig]:
    """The configurations of the streams that are at home in a region; empty = there are no regions."""
    placement = Placement(cluster=region) if region else None
    kinds = (WORK, DONE, DEAD, ONCE) if scenario.once_per_second else (WORK, DONE, DEAD)
    return [
        StreamConfig(
            name=stream_name(kind, region),
            subjects=(f"{subject_prefix(kind, region)}.>",),
            retention="workqueue",
            num_replicas=topology.replicas,
            placement=placement,
            max_age_seconds=_KEPT_SECONDS,
            duplicate_window_seconds=REMEMBERED_SECONDS,
        )
        for kind in kinds
    ]
