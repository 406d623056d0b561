"""What the library itself sees of a cluster: a watch in each region, on a client of its own.

So a run shows whether a program would have been told what was done to its servers. Must not look at the servers in any
other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from ..client import Client
from ..cluster import ClusterWatch
from ._metering import Metering


@attrs.frozen
class Seen:
    """What the watches see now.

    Attributes:
        quorum: whether every group that is asked about has one, as far as each watch can see.
        leader: of the first region's stream of work; empty = none is known.
        regions: how many regions all watches see.
    """

    quorum: bool
    leader: str
    regions: int


class Lookout:
    """The watches of a run.

    Args:
        streams: region -> its stream; one empty name = there are no regions.
        open_client: opens a client by its host and region.
        metering: scrapes them.
    """

    def __init__(
        self,
        streams: Mapping[str, str],
        open_client: Callable[[str, str], AbstractAsyncContextManager[Client]],
        metering: Metering,
    ) -> None:
        self._streams = streams
        self._open_client = open_client
        self._metering = metering
        self._watches: list[ClusterWatch] = []

    @property
    def seen(self) -> Seen | None:
        """What they see; None before they look."""
        if not self._watches:
            return None
        home = self._watches[0].groups.get(next(iter(self._streams.values())))
        regions = [region for region in self._streams if region]
        return Seen(
            quorum=all(watch.quorum for watch in self._watches),
            leader="" if home is None or not home.quorum else home.leader,
            regions=sum(all(self._sees(watch, region) for watch in self._watches) for region in regions),
        )

    def watch_of(self, region: str) -> ClusterWatch | None:
        """The watch of a region, once it has looked."""
        return dict(zip(self._streams, self._watches, strict=False)).get(region)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until it is cancelled; started when all have looked once."""
        async with trio.open_nursery() as nursery:
            self._watches = [await nursery.start(self._watch, region) for region in self._streams]
            task_status.started()

    async def _watch(self, region: str, *, task_status: trio.TaskStatus[ClusterWatch]) -> None:
        """Watch from a region: its own stream, and those of the others to see whether they can be reached."""
        host = f"{region}-watch" if region else "watch"
        with self._metering.target(host) as collector:
            async with self._open_client(host, region) as client, trio.open_nursery() as nursery:
                watch = ClusterWatch(client, streams=list(self._streams.values()))
                await nursery.start(watch.run)
                collector.add_watch(watch)
                task_status.started(watch)

    def _sees(self, watch: ClusterWatch, region: str) -> bool:
        status = watch.regions.get(region)
        return status is None or status.connected
