"""What provokes what the stage `router` promises.

Must not judge what is seen.
"""

from __future__ import annotations

import trio

from beamline_trio import JetStream, Message, Router, StreamConfig
from beamline_trio.router import Backpressure, Breaker, DeadLetter, KillSwitch
from beamline_trio.router._guards import RouterGuards
from beamline_trio.simulation import ServerConfig, World
from tests.metrics._watch import Watch
from tests.router._guarded import StandInRoute


async def breakers(world: World, watch: Watch) -> None:
    """A breaker opens, refuses, fails its trial, and closes at the next one."""
    server = await world.start_server("a")
    router = Router("contract")

    @router.route("orders.*", name="orders", breaker=Breaker(failures=1, successes=1))
    async def orders(message: Message) -> None:
        if message.payload:
            raise ValueError(message.payload)

    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        for payload, seconds in ((b"fails", 1), (b"refused", 60), (b"fails", 61), (b"", 1)):
            await nc.publish("orders.a", payload)
            await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def pressed(world: World, watch: Watch) -> None:
    """A router under load that fails: both levels, and the kill switch."""
    server = await world.start_server("a")
    router = guarded_router()
    route = StandInRoute(next(iter(router.routes.values())).counters)
    guards = router.guards = RouterGuards("contract", KillSwitch(messages_min=5, pause_seconds=5.0), Backpressure())
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        nursery.start_soon(guards.run, nc, {"orders": route})
        await trio.sleep(1)
        route.waiting = 1000
        await trio.sleep(1)
        for _ in range(500):
            route.counters.take(1)
        route.handle(5, failed=True)
        await trio.sleep(1)
        route.waiting, route.counters.in_flight = 0, 0
        await trio.sleep(20)
        nursery.cancel_scope.cancel()


def guarded_router() -> Router:
    """With a route named `orders`."""
    router = Router("contract")

    @router.route("orders.*", name="orders")
    async def orders(message: Message) -> None:
        return

    return router


async def given_up(world: World, watch: Watch) -> None:
    """Messages of a stream that can never be done: a dead letter, one that no stream takes, and none; then a drain."""
    server = await world.start_server("a", ServerConfig(jetstream=True))
    router = Router("contract")
    for name, target in (("dead", "dead.a"), ("lost", "lost.a"), ("never", None)):
        router.route("in.*", name=name, stream="IN", dead_letter=target)(never)
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        jetstream = JetStream(nc)
        for name in ("IN", "DEAD"):
            await jetstream.create_stream(StreamConfig(name=name, subjects=[f"{name.lower()}.*"]))
        overlapping = "$JS.EVENT.ADVISORY.*.MAX_DELIVERIES.OTHER.>"  # no stream can capture the router's beside it
        await jetstream.create_stream(StreamConfig(name="OTHER", subjects=[overlapping]))
        await jetstream.publish("in.a")
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        await trio.sleep(3)
        await router.drain()


async def never(message: Message) -> DeadLetter:
    return DeadLetter("on purpose")


PROVOCATIONS = (breakers, pressed, given_up)
