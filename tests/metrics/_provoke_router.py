"""What provokes what the stage `router` promises.

Must not judge what is seen.
"""

from __future__ import annotations

import trio

from beamline_trio import Client, JetStream, Message, Router, StreamConfig
from beamline_trio.operation.route_file import build_router, read_route_file
from beamline_trio.router import Backpressure, Breaker, DeadLetter, KillSwitch, KVIdempotence, MemoryIdempotence
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

    @router.route("keys.*", name="keys", breaker=Breaker(by=lambda message: message.payload, failures=1, keys_max=1))
    async def keys(message: Message) -> None:
        raise ValueError(message.payload)

    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        for payload in (b"one", b"two"):  # the breaker of the first is open, and has no room beside it
            await nc.publish("keys.a", payload)
            await trio.sleep(1)
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


async def overflown(world: World, watch: Watch) -> None:
    """A tenant floods a route whose handlers answer nobody; a durable is deleted, and its route stops."""
    server = await world.start_server("a", ServerConfig(jetstream=True))
    router = Router("contract")

    @router.route("in.*", name="tenants", stream="IN", tenant_by=lambda message: "one", quota=1, queue_messages_max=4)
    async def tenants(message: Message) -> bytes:
        await trio.sleep(1)
        return b"to nobody"

    router.route("in.*", name="gone", stream="IN")(never)
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        jetstream = JetStream(nc)
        await jetstream.create_stream(StreamConfig(name="IN", subjects=["in.*"]))
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        for _ in range(6):
            await jetstream.publish("in.a")
        await jetstream.delete_consumer("IN", "gone")
        await trio.sleep(0.5)
        watch.sample()
        await trio.sleep(20)
        await router.drain()


async def stores(world: World, watch: Watch) -> None:
    """Stores of keys that have no room, whose claims run out, and that somebody has written into by hand."""
    server = await world.start_server("a", ServerConfig(jetstream=True))
    memory = MemoryIdempotence(keys_max=1, claim_seconds=1)
    first, second = Router("contract", idempotence=memory), Router("contract", idempotence=opened)
    second.route("orders.*", name="orders")(nothing)
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(first, nc)
        watch.add_router(second, nc)
        for key in ("one", "two"):  # the second finds no room
            await memory.claim(key)
        await trio.sleep(2)
        for key in ("one", "two"):  # its claim has run out; and the first one has to go for the second
            await memory.confirm(await claimed(memory, key))
        await nursery.start(second.run, nc)
        await JetStream(nc).publish("$KV.idempotence.a", b"whatever")
        await OPENED[-1].claim("a")
        watch.sample()
        await second.drain()


OPENED: list[KVIdempotence] = []


async def opened(nc: Client) -> KVIdempotence:
    """A store in a bucket, for a run."""
    OPENED.append(await KVIdempotence.open(JetStream(nc)))
    return OPENED[-1]


async def claimed(store: MemoryIdempotence, key: str) -> str:
    """The key, claimed."""
    await store.claim(key)
    return key


async def nothing(message: Message) -> None:
    return


ROUTES = """
[router]
name = "contract"
[[routes]]
name = "orders"
subject = "orders.*"
[[routes.filter]]
path = "payload.total"
above = 0
[routes.target]
subject = "bills.{payload.total}"
"""


async def filtered(world: World, watch: Watch) -> None:
    """A route from a file leaves a message out."""
    server = await world.start_server("a")
    router, _ = build_router(read_route_file(ROUTES))
    async with watch.open(server.url, world.dialer("app")) as (nc, _faults), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        await nc.publish("orders.a", b"{}")
        await trio.sleep(1)
        await router.drain()


PROVOCATIONS = (breakers, pressed, given_up, overflown, stores, filtered)
