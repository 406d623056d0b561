"""A server of a cluster has started: its JetStream goes on with what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._golang import SECOND
from .._storage import Storage
from ._api import ClusterAPI
from ._jetstream import ClusteredJetStream

if TYPE_CHECKING:
    from ..._process import Process


def open_clustered(
    process: Process,
    storage: Storage,
    epoch_seconds: float,
    peers: Sequence[str],
    slow_disk_seconds: Callable[[], float],
) -> ClusteredJetStream:
    """JetStream of a process of a cluster that has just started.

    Args:
        process: of the server.
        storage: what is on disk.
        epoch_seconds: the wall clock at virtual time 0.
        peers: all servers of the meta group.
        slow_disk_seconds: what a write takes at the moment.
    """
    jetstream = ClusteredJetStream(process, storage, round(epoch_seconds * SECOND), peers, slow_disk_seconds)
    jetstream.api = ClusterAPI(jetstream)
    jetstream.api_counts = jetstream.api.counts
    return jetstream
