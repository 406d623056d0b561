"""What one tenant's trouble costs the others, in virtual time, with a small pool of workers on the lanes."""

from __future__ import annotations

import random
import statistics
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from beamline_trio.router._lanes import Lanes

WORKERS: Final = 16
TENANTS: Final = 8
SECONDS: Final = 60.0
HANDLER_SECONDS: Final = 0.01


@attrs.define
class Pool:
    """Workers that take from the lanes; a slow tenant's handler hangs until its deadline."""

    lanes: Lanes[tuple[int, float]]
    slow_seconds: float
    parked: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    latencies: list[float] = attrs.field(factory=list)
    shed: int = 0

    async def work(self) -> None:
        while True:
            item = self.lanes.take(trio.current_time())
            if item is None:
                await self.parked.park()
                continue
            tenant, put_at = item.value
            await trio.sleep(HANDLER_SECONDS if tenant else self.slow_seconds)
            if tenant:
                self.latencies.append(trio.current_time() - put_at)
            self.lanes.done(item)
            self.parked.unpark()

    async def feed(self, rng: random.Random) -> None:
        """Each tenant sends 20 messages a second, at random moments."""
        end = trio.current_time() + SECONDS
        while (now := trio.current_time()) < end:
            tenant = rng.randrange(TENANTS)
            if self.lanes.full or not self.lanes.has_room(tenant):
                self.shed += 1
                assert not tenant, "a healthy tenant found no room"
            else:
                self.lanes.put((tenant, now), key=None, tenant=tenant, size=1)
                self.parked.unpark()
            await trio.sleep(rng.expovariate(20.0 * TENANTS))


def run(slow_seconds: float, quota: int | None) -> Pool:
    """What the healthy tenants saw while tenant 0's handlers took so long."""
    pool = Pool(Lanes(messages_max=200, quota=quota), slow_seconds)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(pool.work)
            await pool.feed(random.Random(7))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0.0))
    return pool


@pytest.mark.slow
def test_a_tenant_whose_handlers_hang_costs_the_others_less_than_five_percent() -> None:
    """With a quota, a tenant whose every handler hangs for 20 s raises the others' mean and 99 % latency by < 5 %."""
    healthy, troubled = run(HANDLER_SECONDS, quota=4), run(20.0, quota=4)
    assert troubled.shed > 0, "the tenant's backlog has not reached its part of the queue"
    assert not healthy.shed
    assert len(troubled.latencies) == len(healthy.latencies) > 5000
    assert statistics.mean(troubled.latencies) < 1.05 * statistics.mean(healthy.latencies)
    assert (
        statistics.quantiles(troubled.latencies, n=100)[98] < 1.05 * statistics.quantiles(healthy.latencies, n=100)[98]
    )


@pytest.mark.slow
def test_without_a_quota_it_takes_all_workers() -> None:
    """Turns alone do not part tenants: without a quota the hanging handlers come to hold every worker."""
    healthy = run(HANDLER_SECONDS, quota=None)
    pool = Pool(Lanes(messages_max=200), 20.0)
    for number in range(100):
        pool.lanes.put((number % 2, 0.0), key=None, tenant=number % 2, size=1)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(pool.work)
            await trio.sleep(15.0)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0.0))
    assert len(pool.latencies) < 50
    assert max(healthy.latencies) < 1.0
