"""What happened to the servers behind a client, for programs: records of transitions; `nc.events()` gives them.

Must not know what they are seen by.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..connection import StageEvent
from ..protocol import frozen


@frozen
class NodeDown(StageEvent):
    """A server of the cluster has not been seen for so long."""

    node: str
    region: str
    unseen_seconds: float


@frozen
class NodeUp(StageEvent):
    """A server that was down is seen again; for so long it was not."""

    node: str
    region: str
    down_seconds: float


@frozen
class NodeForgotten(StageEvent):
    """A server is watched no more: nobody has missed it for long, as one that was removed, or there are too many.

    It was last seen so long ago. One that was down has no `NodeUp` behind it.
    """

    node: str
    region: str
    unseen_seconds: float


@frozen
class LeaderChanged(StageEvent):
    """A group has another leader: the meta group, a stream, or a consumer as `STREAM > CONSUMER`."""

    group: str
    before: str
    leader: str


@frozen
class QuorumLost(StageEvent):
    """A group cannot decide anything: it has had no leader for so long, or most of its members are down."""

    group: str
    region: str
    leaderless_seconds: float


@frozen
class QuorumRestored(StageEvent):
    """A group has a leader and most of its members again; for so long it had not."""

    group: str
    region: str
    lost_seconds: float


@frozen
class RegionCut(StageEvent):
    """No server of a region has been seen for so long: it is cut off from here, or all of it is down."""

    region: str
    unseen_seconds: float


@frozen
class RegionHealed(StageEvent):
    """A region that was cut off is seen again; for so long it was not."""

    region: str
    partition_seconds: float


# What a watch tells.
WatchEvent: TypeAlias = (
    NodeDown | NodeUp | NodeForgotten | LeaderChanged | QuorumLost | QuorumRestored | RegionCut | RegionHealed
)


@frozen
class RegionLeft(StageEvent):
    """A publisher cannot reach its home region: publishes `wait`, or are `kept` in a local stream; and why."""

    region: str
    publishes: Literal["wait", "kept"]
    reason: str


@frozen
class RegionReturned(StageEvent):
    """A publisher reaches its home region again, and nothing is kept any more; for so long none went there."""

    region: str
    away_seconds: float
