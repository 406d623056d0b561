"""What is done to a cluster to measure it, and how each is undone.

Must not measure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from ._stage import Stage


@attrs.frozen
class Scene:
    """What a fault has to do with: the servers under load, and who leads the stream just now."""

    stage: Stage
    leader: str
    followers: Sequence[str]

    @property
    def follower(self) -> str:
        """One of those who do not lead."""
        return self.followers[0]


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


async def _kill_two(scene: Scene) -> None:
    await scene.stage.kill(scene.leader)
    await scene.stage.kill(scene.follower)


async def _start_two(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.stage.start, scene.leader)
        nursery.start_soon(scene.stage.start, scene.follower)


async def _cut_regions(scene: Scene) -> None:
    these, those = scene.stage.regions.values()
    await scene.stage.cut(these, those)


async def _heal(scene: Scene) -> None:
    await scene.stage.heal()


FAULTS = (
    Fault(
        "leader_killed",
        "the leader is killed (SIGKILL)",
        15,
        lambda s: s.stage.kill(s.leader),
        lambda s: s.stage.start(s.leader),
    ),
    Fault(
        "leader_stopped",
        "the leader shuts down (SIGTERM)",
        15,
        lambda s: s.stage.stop(s.leader),
        lambda s: s.stage.start(s.leader),
    ),
    Fault(
        "leader_lame_duck",
        "the leader is a lame duck (SIGUSR2)",
        15,
        lambda s: s.stage.lame_duck(s.leader),
        lambda s: s.stage.start(s.leader),
    ),
    Fault(
        "leader_paused",
        "the leader is paused (SIGSTOP)",
        15,
        lambda s: s.stage.pause(s.leader),
        lambda s: s.stage.resume(s.leader),
    ),
    Fault(
        "leader_link_down",
        "the leader's link is down",
        15,
        lambda s: s.stage.link_down(s.leader),
        _heal,
        needs_links=True,
    ),
    Fault(
        "leader_cut",
        "the leader is cut off from the other servers, not from clients",
        15,
        lambda s: s.stage.cut([s.leader], s.followers),
        _heal,
        needs_links=True,
    ),
    Fault(
        "follower_killed",
        "a follower is killed (SIGKILL)",
        8,
        lambda s: s.stage.kill(s.follower),
        lambda s: s.stage.start(s.follower),
    ),
    Fault(
        "follower_stopped",
        "a follower shuts down (SIGTERM)",
        8,
        lambda s: s.stage.stop(s.follower),
        lambda s: s.stage.start(s.follower),
    ),
    Fault(
        "follower_paused",
        "a follower is paused (SIGSTOP)",
        8,
        lambda s: s.stage.pause(s.follower),
        lambda s: s.stage.resume(s.follower),
    ),
    Fault(
        "follower_link_down",
        "a follower's link is down",
        8,
        lambda s: s.stage.link_down(s.follower),
        _heal,
        needs_links=True,
    ),
    Fault(
        "two_killed",
        "two of three are killed (SIGKILL), the leader among them",
        5,
        _kill_two,
        _start_two,
    ),
    Fault(
        "region_cut",
        "the regions are cut off from each other",
        12,
        _cut_regions,
        _heal,
        needs_links=True,
        regions=2,
    ),
)
