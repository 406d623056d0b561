"""What is known of a cluster, and what a look changes in it. Pure and synchronous.

Silence is judged, absence is not: a node, a region or a group is given up only when it was looked for and not seen for
its time. What nobody was asked about stays as it was, but for a server that nobody has seen or counted as a member of
anything for long: it was removed, and is forgotten. After an outage of the own link everything that was good begins
its time anew, since nothing could have been seen meanwhile, and so do the groups of a region that was cut off. What is
known is current from a look on until the looks end.

A group has lost its quorum when it was seen without a leader for its time, or when most of its members are down; not
while its region is cut off from here, which is told as such. The time begins with the first look that found none: from
the last that found one, the looks' own interval would be counted to the election. A region that is known by its groups
alone has their time: nobody answers for a group until its members notice that the leader is gone. Where nobody could
look for longer than two looks take, the time begins anew.

Must not ask, wait or log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs

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
from ._records import GroupSeen, GroupStatus, NodeSeen, NodeStatus, RegionStatus, Sighting
from ._statistics import ClusterCounters


class ClusterState:
    """What is known.

    Attributes:
        nodes: name -> a server.
        groups: name -> a group.
        regions: name -> a region.
        counters: of transitions.
        current: whether there was a look, and there will be more.

    Args:
        options: after how long what is given up.
        groups: that are asked about, known from the start.
        now: by `trio.current_time()`.
    """

    def __init__(self, options: WatchOptions, groups: Iterable[str], now: float) -> None:
        self._options = options
        self._nodes: dict[str, NodeStatus] = {}
        self._groups = {name: GroupStatus(name=name, led_at=now, asked_at=now) for name in groups}
        self._regions: dict[str, RegionStatus] = {}
        self.counters = ClusterCounters()
        self.current = False

    @property
    def nodes(self) -> Mapping[str, NodeStatus]:
        """Name -> a server."""
        return MappingProxyType(self._nodes)

    @property
    def groups(self) -> Mapping[str, GroupStatus]:
        """Name -> a group."""
        return MappingProxyType(self._groups)

    @property
    def regions(self) -> Mapping[str, RegionStatus]:
        """Name -> a region."""
        return MappingProxyType(self._regions)

    def resume(self, now: float) -> None:
        """Nobody could look, and now somebody can: what was good is so until it was looked for anew."""
        for name, node in self._nodes.items():
            seen_at, looked_at = (now, now) if node.up else (node.seen_at, node.looked_at)
            self._nodes[name] = attrs.evolve(node, seen_at=seen_at, looked_at=looked_at, expected_at=now)
        for name, region in self._regions.items():
            if region.cut_at is None:
                self._regions[name] = attrs.evolve(region, seen_at=now, looked_at=now)
        self._give_time(self._groups.values(), now)

    def end(self) -> None:
        """Nobody looks any more: what is known may be over."""
        self.current = False

    def take(self, sightings: Iterable[Sighting], home: str, now: float, *, complete: bool = True) -> list[WatchEvent]:
        """One look: what all who look have seen; returns what has changed.

        Args:
            sightings: of this moment.
            home: the region of the own link, which is up; empty where its server names none.
            now: by `trio.current_time()`.
            complete: whether all could look who do.
        """
        self.counters.looks += 1
        self.current = True
        sightings = list(sightings)
        events: list[WatchEvent] = []
        for sighting in sightings:
            for node in sighting.nodes:
                self._see_node(node, now)
            if sighting.all_nodes:
                self._nodes = {name: self._sought(node, now) for name, node in self._nodes.items()}
        for group in (group for sighting in sightings for group in sighting.groups):
            events += self._see_group(group, now)
        events += self._forget_nodes(sightings, now, complete=complete)
        self._look_at_regions(sightings, home, now)
        return [*events, *self._judge_nodes(now), *self._judge_regions(now), *self._judge_groups(now)]

    # What was seen

    def _see_node(self, seen: NodeSeen, now: float) -> None:
        heard_at = _heard_at(seen, now)
        known = self._nodes.get(seen.name)
        if known is None:  # the time of one that nobody has heard yet begins now
            since = now if heard_at is None else heard_at
            known = NodeStatus(name=seen.name, region=seen.region, seen_at=since, looked_at=now, expected_at=now)
        if heard_at is not None:
            known = attrs.evolve(known, seen_at=max(known.seen_at, heard_at), looked_at=now)
        elif seen.age_seconds is not None or seen.sought_seconds > self._options.node_down_after_seconds:
            known = self._sought(known, now)
        self._nodes[seen.name] = attrs.evolve(
            known,
            region=seen.region or known.region,
            memory_bytes=known.memory_bytes if seen.memory_bytes is None else seen.memory_bytes,
            connections=known.connections if seen.connections is None else seen.connections,
        )

    def _sought(self, node: NodeStatus, now: float) -> NodeStatus:
        """It was looked for; when that was not done for a while, one that is up has its time anew."""
        anew = node.up and self._was_interrupted(node.looked_at, now)
        return attrs.evolve(node, looked_at=now, seen_at=max(node.seen_at, now) if anew else node.seen_at)

    def _forget_nodes(self, sightings: list[Sighting], now: float, *, complete: bool) -> list[WatchEvent]:
        """Those that nobody misses any more, and of too many those that were seen longest ago."""
        expected = {name for sighting in sightings for name in sighting.expected}
        expected.update(member for group in self._groups.values() for member in group.members)
        nobody_could_say = not complete or any(sighting.some_unnamed for sighting in sightings)
        nobody_could_say |= not all(region.connected for region in self._regions.values())
        nobody_could_say |= not all(group.quorum for group in self._groups.values())
        for name, node in self._nodes.items():
            if nobody_could_say or name in expected:
                self._nodes[name] = attrs.evolve(node, expected_at=now)
        since = now - self._options.forgotten_after_seconds
        missed_by_nobody = [name for name, node in self._nodes.items() if max(node.seen_at, node.expected_at) < since]
        excess = max(0, len(self._nodes) - len(missed_by_nobody) - self._options.nodes_max)
        left = sorted(self._nodes.keys() - set(missed_by_nobody), key=lambda name: (self._nodes[name].seen_at, name))
        forgotten = [self._nodes.pop(name) for name in (*missed_by_nobody, *left[:excess])]
        self.counters.nodes_forgotten += len(forgotten)
        return [NodeForgotten(node.name, node.region, now - node.seen_at) for node in forgotten]

    def _see_group(self, seen: GroupSeen, now: float) -> list[WatchEvent]:
        known = self._groups.get(seen.name)
        if known is None:
            known = GroupStatus(name=seen.name, led_at=now, asked_at=now)
        leaderless_at = None if seen.led else known.leaderless_at
        if not seen.led and (leaderless_at is None or self._was_interrupted(known.asked_at, now)):
            leaderless_at = now
        self._groups[seen.name] = attrs.evolve(
            known,
            region=seen.region or known.region,
            leader=seen.leader or known.leader,
            members=seen.members if seen.led else seen.members or known.members,
            led_at=now if seen.led else known.led_at,
            asked_at=now,
            leaderless_at=leaderless_at,
        )
        if not seen.leader or not known.leader or seen.leader == known.leader:
            return []
        self.counters.leader_changes += 1
        return [LeaderChanged(seen.name, known.leader, seen.leader)]

    def _look_at_regions(self, sightings: list[Sighting], home: str, now: float) -> None:
        """A region is seen by who was heard of it, and looked for by whoever asked for its nodes or groups.

        One that nothing is in any more is forgotten: a cluster without a name of its own has another at each start.
        """
        seen = {home: now} if home else {}
        looked = {node.region for node in self._nodes.values() if node.looked_at == now}
        for node in (node for sighting in sightings for node in sighting.nodes):
            heard_at = _heard_at(node, now)
            if heard_at is not None and node.region:
                seen[node.region] = max(seen.get(node.region, heard_at), heard_at)
        for group in (group for sighting in sightings for group in sighting.groups):
            if group.region:  # a member has answered
                seen[group.region] = now
            elif not group.led:
                looked.add(self._groups[group.name].region)
        for name in sorted((looked | seen.keys()) - {""}):
            known = self._regions.get(name, RegionStatus(name=name, seen_at=now, looked_at=now))
            anew = now if known.connected and self._was_interrupted(known.looked_at, now) else -math.inf
            seen_at = max(known.seen_at, seen.get(name, anew))
            self._regions[name] = attrs.evolve(known, seen_at=seen_at, looked_at=now)
        of_nodes, of_groups = self._nodes.values(), self._groups.values()
        known_to = {home, *(node.region for node in of_nodes), *(group.region for group in of_groups)}
        self._regions = {name: region for name, region in self._regions.items() if name in known_to}

    def _was_interrupted(self, looked_at: float, now: float) -> bool:
        """Whether nobody could look for longer than two looks take: then nobody knows how it was meanwhile."""
        return now - looked_at > 2 * (self._options.interval_seconds + self._options.answer_seconds)

    # What it means

    def _judge_nodes(self, now: float) -> list[WatchEvent]:
        events: list[WatchEvent] = []
        for name, node in sorted(self._nodes.items()):
            unseen = node.looked_at - node.seen_at
            missing = unseen > self._options.node_down_after_seconds
            if missing and node.down_at is None:
                self.counters.nodes_down += 1
                self._nodes[name] = attrs.evolve(node, down_at=node.seen_at)
                events.append(NodeDown(name, node.region, unseen))
            elif not missing and node.down_at is not None:
                self._nodes[name] = attrs.evolve(node, down_at=None)
                events.append(NodeUp(name, node.region, now - node.down_at))
        return events

    def _judge_regions(self, now: float) -> list[WatchEvent]:
        events: list[WatchEvent] = []
        for name, region in sorted(self._regions.items()):
            unseen = region.looked_at - region.seen_at
            missing = unseen > self._options.region_cut_after_seconds
            if missing and region.cut_at is None and self._is_no_election(name, now):
                self.counters.regions_cut += 1
                self._regions[name] = attrs.evolve(region, cut_at=region.seen_at)
                events.append(RegionCut(name, unseen))
            elif not missing and region.cut_at is not None:
                self._regions[name] = attrs.evolve(region, cut_at=None)
                self._give_time((group for group in self._groups.values() if group.region == name), now)
                events.append(RegionHealed(name, now - region.cut_at))
        return events

    def _give_time(self, groups: Iterable[GroupStatus], now: float) -> None:
        """Groups that could not be seen, and may now choose a leader first."""
        for group in [group for group in groups if group.lost_at is None]:
            self._groups[group.name] = attrs.evolve(group, led_at=now, asked_at=now, leaderless_at=None)

    def _judge_groups(self, now: float) -> list[WatchEvent]:
        events: list[WatchEvent] = []
        for name, group in sorted(self._groups.items()):
            region = self._regions.get(group.region)
            if region is not None and not region.connected:
                continue
            leaderless = group.leaderless_seconds
            since = group.leaderless_at if self._has_no_quorum(group) else None
            if since is None and self._most_are_down(group):
                since = now
            if since is not None and group.lost_at is None:
                self.counters.quorums_lost += 1
                self._groups[name] = attrs.evolve(group, lost_at=since)
                events.append(QuorumLost(name, group.region, leaderless))
            elif since is None and group.leaderless_at is None and group.lost_at is not None:
                self._groups[name] = attrs.evolve(group, lost_at=None)
                events.append(QuorumRestored(name, group.region, now - group.lost_at))
        return events

    def _has_no_quorum(self, group: GroupStatus) -> bool:
        """Whether it has been without a leader for longer than an election takes."""
        return group.leaderless_seconds > self._options.quorum_lost_after_seconds

    def _is_no_election(self, region: str, now: float) -> bool:
        """Whether a region's silence is more than that of groups which choose a leader: all its servers were asked."""
        nodes = [node for node in self._nodes.values() if node.region == region]
        if nodes and all(node.looked_at == now for node in nodes):
            return True
        return any(group.region == region and self._has_no_quorum(group) for group in self._groups.values())

    def _most_are_down(self, group: GroupStatus) -> bool:
        down = sum(not self._nodes[name].up for name in group.members if name in self._nodes)
        return 2 * down >= len(group.members) > 0


def _heard_at(node: NodeSeen, now: float) -> float | None:
    """When who tells of a node has last heard it; None = never."""
    age = node.age_seconds
    return None if age is None or math.isinf(age) else now - age
