"""What is changed while a route runs holds from the next message on, and loses none."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from beamline_trio import Message
from beamline_trio.router import Retry, Router
from beamline_trio.simulation import World
from tests.router._streams import ended, fill, running, streams


async def test_the_concurrency_can_be_changed(nats_world: World) -> None:
    """More begin at once; of fewer, those too many finish what they have. No message is lost or cut."""
    router = Router("r")
    working = most = 0

    @router.route("in.*", stream="IN", concurrency=2)
    async def work(message: Message) -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await trio.sleep(0.5)
        working -= 1

    route = router.routes["work"]
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 400)
        async with running(router, nc):
            for concurrency in (2, 8, 1, 5):
                route.concurrency = concurrency
                await trio.sleep(0.6)
                most = 0
                await trio.sleep(5)
                assert most == concurrency
            route.concurrency = 64
            await trio.sleep(10)
    assert ended(route) == {"ok": 400}
    with pytest.raises(ValueError, match="at least 1"):
        route.concurrency = 0
    assert route.concurrency == 64


@pytest.mark.parametrize("laned", [False, True])
async def test_a_paused_route_takes_nothing_and_keeps_what_it_has(laned: bool, nats_world: World) -> None:
    """What is in hand is finished; what waits stays here, however long, and is delivered to nobody else."""
    router = Router("r")
    done: list[bytes] = []

    @router.route(
        "in.*", stream="IN", concurrency=2, retry=Retry(ack_wait_seconds=2), tenant_by=(lambda m: 1) if laned else None
    )
    async def work(message: Message) -> None:
        await trio.sleep(0.1)
        done.append(message.payload)

    route = router.routes["work"]
    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc):
            route.pause()
            route.hold("other")
            await fill(jetstream, 20)
            await trio.sleep(10)
            assert (done, route.waiting, route.paused, route.consuming, router.ready) == ([], 20, True, False, False)
            route.resume()
            await trio.sleep(1)
            assert done == []
            route.release("other")
            assert (route.paused, router.ready) == (False, True)
            await trio.sleep(0.25)
            route.pause()
            await trio.sleep(1)
            assert len(done) == 6
            route.resume()
            await trio.sleep(5)
        assert (await jetstream.consumer_info("IN", "work")).num_redelivered == 0
    assert ended(route) == {"ok": 20}
    assert len(set(done)) == 20


async def test_a_paused_route_gives_back_at_a_drain(nats_world: World) -> None:
    """It does not handle what it was told to leave."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def work(message: Message) -> None:
        raise AssertionError("not called")

    async with streams(nats_world) as (_, nc, jetstream):
        router.routes["work"].pause()
        async with running(router, nc):
            await fill(jetstream, 5)
            await trio.sleep(1)
            began = trio.current_time()
        assert trio.current_time() - began < 1
        consumer = await jetstream.consumer("IN", "work")
        assert len(await consumer.fetch(10, expires_seconds=1)) == 5
    assert ended(router.routes["work"]) == {}


async def test_a_handler_whose_tasks_raise_when_they_are_cancelled_ends_no_router(nats_world: World) -> None:
    """At its deadline, and when the router is cancelled: what else they raise is logged."""
    router = Router("r", grace_seconds=1)

    @router.route("in.*", stream="IN", deadline_seconds=1, retry=Retry(delays_seconds=(1,)))
    async def work(message: Message) -> None:
        async def bad() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("on purpose")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bad)
            await trio.sleep_forever()

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(2.5)
            nursery.cancel_scope.cancel()
    assert ended(router.routes["work"]) == {"retried": 1, "returned": 1}


async def test_a_router_runs_once_at_a_time(nats_world: World) -> None:
    """A second run says so; a drain of one that does not run is no error."""
    router = Router("r")

    @router.route("a")
    async def work(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, _js):
        assert not router.ready
        async with running(router, nc):
            assert router.ready
            with pytest.raises(RuntimeError, match="runs already"):
                await router.run(nc)
        with trio.testing.assert_checkpoints():
            report = await router.drain()
        assert (report.unfinished, report.unknown) == (0, 0)


async def test_a_drain_that_is_cancelled_goes_on(nats_world: World) -> None:
    """Cancelled before or while it waits, the router ends all the same."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def work(message: Message) -> None:
        await trio.sleep(2)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 2)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(1)
            with trio.move_on_after(0.5) as scope:
                await router.drain()
            assert scope.cancelled_caught
    assert ended(router.routes["work"]) == {"ok": 2}


@pytest.mark.parametrize("after", [0.0, 0.0005, 0.001, 0.002, 0.004, 0.01])
async def test_a_drain_while_the_router_begins_ends_it(after: float, nats_world: World) -> None:
    """Also the routes whose sources are not open yet: none is left running."""
    router = Router("r", grace_seconds=5)

    async def work(message: Message) -> None:
        return

    for name in ("a", "b", "c"):
        router.route("in.*", stream="IN", name=name)(work)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.run, nc)
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(after)
            began = trio.current_time()
            await router.drain()
            assert trio.current_time() - began < 1
