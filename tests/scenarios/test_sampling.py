"""Looks at readiness: how often, and what they find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import trio

from beamline_trio.scenarios import find_scenario
from beamline_trio.scenarios._ledger import Ledger
from beamline_trio.scenarios._sampling import READINESS_SECONDS, Sampler
from beamline_trio.scenarios._simulated import SimulatedRig
from beamline_trio.simulation import World


async def test_each_look_is_at_every_site_and_none_comes_after_the_end(nats_world: World) -> None:
    """A site without an instance that is ready is seen while that is so, though another has one; ten looks a second."""
    rig = SimulatedRig(nats_world, find_scenario("4.1").topology)
    load: Any = SimpleNamespace(ready_by_site=[1, 2], balancer=None)
    sampler = Sampler(nats_world.now, rig, load, Ledger(nats_world.now, 1), lambda _: None)
    with trio.move_on_after(1.05 - READINESS_SECONDS / 10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.watch_readiness)
            await trio.sleep(0.35)
            assert (sampler.looks, sampler.least, sampler.unready) == (4, 3, [])
            load.ready_by_site = [3, 0]
            await trio.sleep(0.4)
            load.ready_by_site = [1, 1]
    assert (sampler.looks, sampler.least, sampler.unserved) == (11, 2, [])
    ((begins, ends),) = sampler.unready
    assert (round(begins, 3), round(ends, 3)) == (0.4, 0.8)
    await trio.sleep(5)
    assert sampler.looks == 11
