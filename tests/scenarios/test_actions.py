"""How faults are carried out: instances go one after another, and one may take longer than planned."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.scenarios._actions import Ground, action_of
from beamline_trio.scenarios._conductor import Band, _carry_out
from beamline_trio.scenarios._instance import Leave
from beamline_trio.scenarios._load import Load
from beamline_trio.scenarios._plan import PlannedFault
from beamline_trio.scenarios._rig import Rig
from beamline_trio.scenarios._scenario import Kind


class FakeInstance:
    """An instance that ends after so long, and is ready again when it is told."""

    def __init__(self, name: str, leaving_seconds: float = 0.0) -> None:
        self.name = name
        self.ready = True
        self.left: list[Leave] = []
        self.back = 0
        self._leaving_seconds = leaving_seconds

    async def leave(self, how: Leave) -> None:
        self.ready = False
        self.left.append(how)
        await trio.sleep(self._leaving_seconds)

    def come_back(self) -> None:
        self.back += 1


class FakeRig:
    """Hosts that lose their power without anybody being the worse for it."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    @asynccontextmanager
    async def lose_host(self, host: str) -> AsyncGenerator[None]:
        self.lost.append(host)
        yield


class FakeLoad:
    """Nothing but instances."""

    def __init__(self, *instances: FakeInstance) -> None:
        self.instances = {one.name: one for one in instances}


def ground_of(*instances: FakeInstance) -> tuple[Ground, FakeRig]:
    rig = FakeRig()
    return Ground(cast(Rig, rig), cast(Load, FakeLoad(*instances))), rig


def fault_of(kind: Kind, target: str = "two", **times: Any) -> PlannedFault:
    return PlannedFault(kind=kind, phase="rolling", target=target, **{"begins": 0.0, "ends": 2.0, **times})


@pytest.mark.parametrize("kind", [Kind.ROUTER_DRAIN, Kind.ROUTER_KILL])
async def test_the_next_instance_goes_when_those_before_are_back(autojump_clock: MockClock, kind: Kind) -> None:
    """However long they take; its own host is lost when it is killed, and only then."""
    one, two = FakeInstance("one"), FakeInstance("two")
    ground, rig = ground_of(one, two)
    one.ready = False

    async def carry_out() -> None:
        async with action_of(kind)(ground, fault_of(kind)):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_out)
        await trio.sleep(30)
        assert two.left == []
        one.ready = True
    how = Leave.DRAIN if kind is Kind.ROUTER_DRAIN else Leave.KILL
    assert (one.left, two.left, two.back) == ([], [how], 1)
    assert rig.lost == (["two"] if how is Leave.KILL else [])


async def test_an_instance_goes_at_once_when_all_others_are_there() -> None:
    """Nothing is waited for."""
    one, two = FakeInstance("one"), FakeInstance("two")
    ground, _ = ground_of(one, two)

    async def carry_out() -> None:
        async with action_of(Kind.ROUTER_DRAIN)(ground, fault_of(Kind.ROUTER_DRAIN)):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_out)
        await wait_all_tasks_blocked()
        assert two.left == [Leave.DRAIN]
        nursery.cancel_scope.cancel()


async def test_what_takes_longer_than_planned_is_healed_when_it_is_over(autojump_clock: MockClock) -> None:
    """An instance that drains for 20 s of the 2 s that it was to be away comes back at once."""
    slow = FakeInstance("two", leaving_seconds=20.0)
    ground, _ = ground_of(slow)
    bands: list[Band] = []
    began = trio.current_time()
    fault = fault_of(Kind.ROUTER_DRAIN, begins=1.0, ends=3.0)
    await _carry_out(ground, fault, lambda: trio.current_time() - began, bands)
    assert bands == [Band(fault=fault, begins=1.0, healed=21.0)]
    assert slow.back == 1
