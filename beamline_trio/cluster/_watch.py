"""A watch over the cluster behind a client: looks again and again, and tells what has changed.

A look asks all its probes at once, and what they have seen is judged in one step. While the own link is down nothing is
looked for and nothing is given up: the connection's own events, metrics and alerts tell of that.

Must not read JSON, and must not decide what is down.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import trio

from ..client import Client
from ..connection import OptionsError, State
from ..jetstream import JetStream
from ._events import (
    LeaderChanged,
    NodeDown,
    NodeForgotten,
    NodeUp,
    QuorumLost,
    QuorumRestored,
    RegionCut,
    RegionHealed,
    WatchEvent,
)
from ._options import WatchOptions
from ._probes import Fetch, InstancesProbe, JetStreamProbe, MonitorProbe, Probe, SystemProbe
from ._records import GroupStatus, NodeStatus, RegionStatus, Sighting
from ._state import ClusterState
from ._statistics import ClusterStatistics


def _check_names(streams: Iterable[str], consumers: Iterable[tuple[str, str]]) -> None:
    """A text is a list of its letters, none of which is a stream that anybody would miss."""
    if isinstance(streams, str):
        raise OptionsError(f"streams is {streams!r}; it must be a list, as [{streams!r}]")
    for one in consumers:
        if isinstance(one, str) or len(one) != 2:
            raise OptionsError(f"consumers has {one!r}; each must be a pair, as ('ORDERS', 'worker')")


class ClusterWatch:
    """Nodes, quorum, leaders and regions, as seen from a client: `await nursery.start(watch.run)`.

    A region is a cluster of a supercluster, by its name. What is seen depends on who may be asked: streams and
    consumers tell of their own servers; the system account or the monitoring endpoints of all.

    Its word counts while it looks. Before the first look of `run()`, and when that has ended, it knows of no trouble:
    `quorum` is True, `lacking()` empty, `is_cut()` False, and no gauge is shown. `nodes`, `groups` and `regions` stay
    as they were last seen, with the times of that, and the counters stay.

    Args:
        client: whose events tell what changes, and that asks the JetStream API.
        streams: whose groups are watched.
        consumers: stream and name of each whose group is watched.
        jetstream: asks instead of `JetStream(client)`.
        system: a client of the system account, which asks all servers for their status.
        monitor: name of a server -> its monitoring endpoint, as `http://10.0.0.1:8222`.
        fetch: gets a URL of `monitor` and returns the body; an OSError says that nobody is there, and so does any other
            error, which is told.
        instances_of: the name of the service whose instances are counted, as that of a router.
        options: how often, and how patient.

    Attributes:
        client: it.
        options: they.
        instances_of: the service.
        state: what is known, and judged.

    Raises:
        OptionsError: nothing is to be watched, or `monitor` and `fetch` are not given together; streams are no list, or
            consumers no list of pairs.
        InvalidSubjectError: a name breaks the rules.

    Example:
        watch = ClusterWatch(nc, streams=["ORDERS"])
        await nursery.start(watch.run)
    """

    def __init__(
        self,
        client: Client,
        *,
        streams: Sequence[str] = (),
        consumers: Sequence[tuple[str, str]] = (),
        jetstream: JetStream | None = None,
        system: Client | None = None,
        monitor: Mapping[str, str] | None = None,
        fetch: Fetch | None = None,
        instances_of: str | None = None,
        options: WatchOptions | None = None,
    ) -> None:
        self.client = client
        self.options = options if options is not None else WatchOptions()
        self.instances_of = instances_of
        self._probes: list[Probe] = []
        if (monitor is None) is not (fetch is None):
            raise OptionsError("monitor and fetch are given together: where the endpoints are, and what reads them")
        if streams or consumers:
            _check_names(streams, consumers)
            asks = jetstream if jetstream is not None else JetStream(client)
            self._probes.append(JetStreamProbe(asks, streams, consumers))
        if system is not None:
            self._probes.append(SystemProbe(system))
        if monitor and fetch is not None:
            self._probes.append(MonitorProbe(monitor, fetch))
        if instances_of is not None:
            self._probes.append(InstancesProbe(client, instances_of))
        if not self._probes:
            raise OptionsError("nothing is to be watched; give streams, consumers, system, monitor or instances_of")
        self._clock = trio.lowlevel.current_clock()
        groups = [group for probe in self._probes for group in probe.groups]
        self.state = ClusterState(self.options, groups, self._clock.current_time())
        self._refusals: dict[str, str] = {}
        self._instances = 0
        self._link = client.stats().established
        self._running = False

    # What is known

    @property
    def current(self) -> bool:
        """Whether it looks: `run()` has looked and goes on, and the client is not closed. Any thread may ask."""
        return self.state.current and self.client.state is not State.CLOSED

    @property
    def nodes(self) -> Mapping[str, NodeStatus]:
        """Name -> a server that was seen or told of."""
        return self.state.nodes

    @property
    def groups(self) -> Mapping[str, GroupStatus]:
        """Name -> a group: `_meta_`, streams, consumers as `STREAM > CONSUMER`."""
        return self.state.groups

    @property
    def regions(self) -> Mapping[str, RegionStatus]:
        """Name -> a region."""
        return self.state.regions

    @property
    def quorum(self) -> bool:
        """Whether every group has one, as far as it can be seen from here; any thread may ask."""
        return not self.current or all(group.quorum for group in list(self.groups.values()))

    @property
    def instances(self) -> int:
        """How many instances of `instances_of` answered at the last look."""
        return self._instances

    def lacking(self, streams: Iterable[str]) -> list[str]:
        """Why messages of some streams cannot be had just now, in words; those that are not watched are left out.

        Raises:
            OptionsError: a text is given, and no list.
        """
        _check_names(streams, ())
        if not self.current:
            return []
        found: list[str] = []
        for name in streams:
            group = self.groups.get(name)
            region = None if group is None else self.regions.get(group.region)
            if region is not None and not region.connected:
                found.append(f"region {region.name} of stream {name} is cut off")
            elif group is not None and not group.quorum:
                found.append(f"stream {name} has no quorum")
        return found

    def is_cut(self, region: str) -> bool:
        """Whether a region is cut off, by a look at it that is not too old.

        A watch that cannot look any more, or does not run, has no say: what it saw last may be over.
        """
        known, options = self.regions.get(region), self.options
        if known is None or known.connected or not self.current:
            return False
        age = self._clock.current_time() - known.looked_at
        return age <= options.interval_seconds + options.answer_seconds + options.region_cut_after_seconds

    def partition_seconds(self, region: str) -> float:
        """For how long a region has not been seen; 0 while it is connected, or nobody looks. Any thread may ask."""
        known = self.regions.get(region)
        if known is None or known.cut_at is None or not self.current:
            return 0.0
        return self._clock.current_time() - known.cut_at

    def statistics(self) -> ClusterStatistics:
        """What it has counted by now."""
        return self.state.counters.snapshot()

    # Looking

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until the client is closed; started after the first look.

        When it ends, cancelled or not, nothing runs on, and what was seen last is no word any more (see the class). It
        may be run again: what was good has its whole time anew, and what was down is so until it is seen.

        Raises:
            RuntimeError: it runs already.
        """
        if self._running:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("this watch runs already; one task runs it, and any number may read it")
        self._running = True
        self.state.resume(trio.current_time())
        try:
            await self._run(task_status)
        finally:
            self._running = False
            self.state.end()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        started = False
        while self.client.state is not State.CLOSED:
            began = trio.current_time()
            await self._look()
            if not started:
                task_status.started()
                started = True
            await trio.sleep_until(began + self.options.interval_seconds)
        if not started:
            task_status.started()

    async def _look(self) -> None:
        if not self._same_link():
            await trio.lowlevel.checkpoint()
            return
        seen: dict[int, Sighting] = {}
        async with trio.open_nursery() as nursery:
            for place, probe in enumerate(self._probes):
                nursery.start_soon(self._ask, probe, partial(seen.__setitem__, place))
        if self._same_link():
            self._take([seen[place] for place in sorted(seen)])

    async def _ask(self, probe: Probe, seen: partial[None]) -> None:
        sighting = await probe.look(self.options.answer_seconds, self._refuse)
        if sighting is not None:
            seen(sighting)

    def _same_link(self) -> bool:
        """Whether the link is up, and has been since the last time; if it is another one, all begins anew."""
        if not self.client.connection.link_is_up:
            self._link = -1
            return False
        established = self.client.stats().established
        if established != self._link:
            self._link = established
            self.state.resume(trio.current_time())
            return False
        return True

    def _take(self, sightings: list[Sighting]) -> None:
        counted = [one.instances for one in sightings if one.instances is not None]
        self._instances = counted[0] if counted else self._instances
        home = self.client.server_info.cluster
        complete = len(sightings) == len(self._probes)
        for event in self.state.take(sightings, home, trio.current_time(), complete=complete):
            self._tell(event)
            self.client.connection.emit(event)

    def _refuse(self, asked: str, error: Exception) -> None:
        """Counted each time, and logged when it is another refusal than the last."""
        self.state.counters.failures += 1
        if self._refusals.get(asked) != str(error):
            self._refusals[asked] = str(error)
            self._log(logging.WARNING, "CLUSTER_WATCH_ERROR", asked=asked, reason=str(error))

    def _log(self, level: int, event: str, **fields: str | float) -> None:
        self.client.connection.log(level, event, words="", exc_info=None, **fields)

    def _tell(self, event: WatchEvent) -> None:
        match event:
            case NodeDown(node, region, seconds):
                self._log(logging.WARNING, "CLUSTER_NODE_DOWN", node=node, region=region, seconds=round(seconds, 3))
            case NodeUp(node, region, seconds):
                self._log(logging.INFO, "CLUSTER_NODE_UP", node=node, region=region, seconds=round(seconds, 3))
            case NodeForgotten(node, region, seconds):
                self._log(logging.INFO, "CLUSTER_NODE_FORGOTTEN", node=node, region=region, seconds=round(seconds, 3))
            case LeaderChanged(group, before, leader):
                self._log(logging.INFO, "CLUSTER_LEADER_CHANGED", group=group, before=before, leader=leader)
            case QuorumLost(group, region, seconds):
                self._log(logging.ERROR, "CLUSTER_QUORUM_LOST", group=group, region=region, seconds=round(seconds, 3))
            case QuorumRestored(group, region, seconds):
                self._log(
                    logging.INFO, "CLUSTER_QUORUM_RESTORED", group=group, region=region, seconds=round(seconds, 3)
                )
            case RegionCut(region, seconds):
                self._log(logging.ERROR, "REGION_CUT", region=region, seconds=round(seconds, 3))
            case RegionHealed(region, seconds):
                self._log(logging.INFO, "REGION_HEALED", region=region, seconds=round(seconds, 3))
