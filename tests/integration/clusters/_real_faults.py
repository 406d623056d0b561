"""What is done to a real cluster to measure it, and how each is undone.

Must not measure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from beamline_trio.server_process import NamespaceLinks, Node, RealCluster, RealSupercluster

LAME_DUCK = 'lame_duck_grace_period: "2s"\nlame_duck_duration: "30s"'
"""For each server's configuration: its own times are longer than a measurement should be."""


@attrs.frozen
class Scene:
    """What a fault has to do with: the servers under load, and who leads the stream just now."""

    cluster: RealCluster
    world: RealSupercluster
    links: NamespaceLinks | None
    leader: Node
    follower: Node


Act = Callable[[Scene], Awaitable[None]]


@attrs.frozen
class Fault:
    """Something that is done to a cluster, and undone after a while."""

    name: str
    title: str
    seconds: float
    begin: Act
    end: Act
    needs_links: bool = False
    regions: int = 1


async def _start(node: Node) -> None:
    await node.server.wait_exit()
    await node.server.start()


async def _kill(*nodes: Node) -> None:
    for node in nodes:
        node.server.kill()
    await trio.lowlevel.checkpoint()


async def _stop(node: Node) -> None:
    await node.server.stop()


async def _pause(node: Node) -> None:
    node.server.pause()
    await trio.lowlevel.checkpoint()


async def _resume(node: Node) -> None:
    node.server.resume()
    await trio.lowlevel.checkpoint()


async def _lame_duck(node: Node) -> None:
    node.server.lame_duck()
    await trio.lowlevel.checkpoint()


async def _start_both(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_start, scene.leader)
        nursery.start_soon(_start, scene.follower)


def _links(scene: Scene) -> NamespaceLinks:
    assert scene.links is not None
    return scene.links


async def _cut_leader(scene: Scene) -> None:
    others = [node.name for node in scene.cluster.nodes if node is not scene.leader]
    await _links(scene).cut([scene.leader.name], others)


async def _cut_regions(scene: Scene) -> None:
    names = [[node.name for node in region.nodes] for region in scene.world.regions.values()]
    await _links(scene).cut(names[0], names[1])


FAULTS = (
    Fault("leader_killed", "the leader is killed (SIGKILL)", 15, lambda s: _kill(s.leader), lambda s: _start(s.leader)),
    Fault(
        "leader_stopped", "the leader shuts down (SIGTERM)", 15, lambda s: _stop(s.leader), lambda s: _start(s.leader)
    ),
    Fault(
        "leader_lame_duck",
        "the leader is a lame duck (SIGUSR2)",
        15,
        lambda s: _lame_duck(s.leader),
        lambda s: _start(s.leader),
    ),
    Fault(
        "leader_paused", "the leader is paused (SIGSTOP)", 15, lambda s: _pause(s.leader), lambda s: _resume(s.leader)
    ),
    Fault(
        "leader_link_down",
        "the leader's link is down",
        15,
        lambda s: _links(s).link_down(s.leader.name),
        lambda s: _links(s).link_up(s.leader.name),
        needs_links=True,
    ),
    Fault(
        "leader_cut",
        "the leader is cut off from the other servers, not from clients",
        15,
        _cut_leader,
        lambda s: _links(s).heal(),
        needs_links=True,
    ),
    Fault(
        "follower_killed",
        "a follower is killed (SIGKILL)",
        8,
        lambda s: _kill(s.follower),
        lambda s: _start(s.follower),
    ),
    Fault(
        "follower_paused",
        "a follower is paused (SIGSTOP)",
        8,
        lambda s: _pause(s.follower),
        lambda s: _resume(s.follower),
    ),
    Fault(
        "follower_link_down",
        "a follower's link is down",
        8,
        lambda s: _links(s).link_down(s.follower.name),
        lambda s: _links(s).link_up(s.follower.name),
        needs_links=True,
    ),
    Fault(
        "two_killed",
        "two of three are killed (SIGKILL), the leader among them",
        5,
        lambda s: _kill(s.leader, s.follower),
        _start_both,
    ),
    Fault(
        "region_cut",
        "the regions are cut off from each other",
        12,
        _cut_regions,
        lambda s: _links(s).heal(),
        needs_links=True,
        regions=2,
    ),
)
