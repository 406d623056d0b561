"""The slots that all routes of a router share: never more at once, none lost, and no route has them all."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from beamline_trio import Message
from beamline_trio.router import Router
from beamline_trio.router._slots import Slots
from beamline_trio.simulation import World
from tests.router._streams import ended, fill, running, streams


async def test_no_more_handlers_run_at_once_than_the_router_may(nats_world: World) -> None:
    """Those of three routes together; each message is handled, and a route that is slow keeps none from its own."""
    router = Router("r", concurrency_max=4)
    working: Counter[str] = Counter()
    most = 0

    async def work(message: Message) -> None:
        nonlocal most
        name = message.subject
        working[name] += 1
        most = max(most, working.total())
        await trio.sleep(5 if name == "in.slow" else 0.1)
        working[name] -= 1

    for name in ("slow", "one", "two"):
        router.route(f"in.{name}", stream="IN", concurrency=8, name=name)(work)
    async with streams(nats_world) as (_, nc, jetstream):
        for name in ("slow", "one", "two"):
            await fill(jetstream, 20, f"in.{name}")
        async with running(router, nc):
            await trio.sleep(8)
            assert [ended(router.routes[name]) for name in ("one", "two")] == [{"ok": 20}, {"ok": 20}]
            assert ended(router.routes["slow"])["ok"] < 20
            await trio.sleep(60)
    assert most == 4
    assert ended(router.routes["slow"]) == {"ok": 20}


@pytest.mark.parametrize("deadline", [1.0, 30.0])
async def test_waiting_for_a_slot_is_no_time_of_the_handler(deadline: float, nats_world: World) -> None:
    """A deadline counts from when the handler could begin; cut short, whoever waits goes back too."""
    router = Router("r", concurrency_max=1, grace_seconds=1)

    @router.route("in.*", stream="IN", concurrency=4, deadline_seconds=deadline)
    async def work(message: Message) -> None:
        await trio.sleep(0.9)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 10)
        async with running(router, nc):
            await trio.sleep(5)
    route = router.routes["work"]
    outcomes = ended(route)
    assert outcomes["ok"] == 6
    assert outcomes["returned"] == 4
    assert route.counters.duration_seconds == pytest.approx(6 * 0.9, abs=1)


async def test_who_waits_and_is_cancelled_leaves_its_place() -> None:
    """Its slot is another's; what was given just before is kept, and can be given back."""
    slots = Slots(1)
    one, two = slots.join("one", 1), slots.join("two", 1)
    await one.acquire()
    with trio.move_on_after(0.01) as scope:
        await two.acquire()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.acquire)
        await trio.testing.wait_all_tasks_blocked()
        one.release()
        nursery.cancel_scope.cancel()  # together with the slot
    two.release()
    await one.acquire()
    one.release()
    one.leave()
    two.leave()
