"""What a watch has counted: plain integers where it happens, a frozen snapshot for readers.

Must not hold what is known of the cluster now.
"""

from __future__ import annotations

import attrs

from ..protocol import frozen


@frozen(kw_only=True)
class ClusterStatistics:
    """The counters of a `ClusterWatch` at one moment.

    Attributes:
        looks: how often it has looked.
        failures: questions that were refused, or answered with what cannot be read; silence is none.
        nodes_down: times that a server went down.
        leader_changes: times that a group had another leader.
        quorums_lost: times that a group lost its quorum.
        regions_cut: times that a region was cut off.
        nodes_forgotten: servers that were not remembered any longer, being too many, or missed by nobody.
    """

    looks: int = 0
    failures: int = 0
    nodes_down: int = 0
    leader_changes: int = 0
    quorums_lost: int = 0
    regions_cut: int = 0
    nodes_forgotten: int = 0


@attrs.define
class ClusterCounters:
    """The numbers themselves, changed in place."""

    looks: int = 0
    failures: int = 0
    nodes_down: int = 0
    leader_changes: int = 0
    quorums_lost: int = 0
    regions_cut: int = 0
    nodes_forgotten: int = 0

    def snapshot(self) -> ClusterStatistics:
        """The numbers at this moment."""
        return ClusterStatistics(**attrs.asdict(self))
