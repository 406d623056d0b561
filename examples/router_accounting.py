"""Every input of a route from a stream ends once: `beamline simulate examples/router_accounting.py --seeds 1:1000`.

    shop            publishes orders to the stream ORDERS, of a few keys
    left, right     run the same router, one after the other, and end each run in one of four ways: drained, left (its
                    client drains), cancelled, or killed: its host loses its power

    billing         publishes up to three effects to OUT, with retries and dead letters, four at a time
    audit           one at a time, with double acks and without dead letters: what it gives up is terminated
    recent          in the order of each customer, four customers at a time

What a handler does with an order is drawn from the order's identity, and partly from the delivery's number: it accepts
with effects, fails, asks for a later try, rejects, or takes longer than its deadline.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any

import trio

from beamline_trio import Client, JetStream, Message, NatsError, UndeliveredError, open_client
from beamline_trio.jetstream import PublishRetry, StreamConfig
from beamline_trio.router import DeadLetter, Delivery, Publish, Reject, Retry, RetryLater, Router
from beamline_trio.testing import (
    Draw,
    Evidence,
    ServerConfig,
    World,
    each_input_ends,
    keeps_what_it_acked,
    laws,
    no_ack_precedes_its_effect,
    one_at_a_time,
    routes_balance,
    settled_once,
)

OPTIONS: dict[str, Any] = {
    "reconnect_delay_max_seconds": 1.0,
    "connect_timeout_seconds": 2.0,
    "operation_timeout_seconds": 4.0,
    "ping_interval_seconds": 3.0,
    "pong_timeout_seconds": 2.0,
    "pending_timeout_seconds": 3.0,
    "drain_deadline_seconds": 6.0,
    "retry_first_connect": True,
}
RETRY = Retry(delays_seconds=(0.5, 1.0, 2.0), max_deliver=3, ack_wait_seconds=6.0)
DEADLINE_SECONDS = 8.0
GRACE_SECONDS = 2.0
CUSTOMERS = ("ada", "bob", "cleo")
STREAMS = (
    StreamConfig(name="ORDERS", subjects=("orders.>",)),
    StreamConfig(name="OUT", subjects=("out.>",), duplicate_window_seconds=600.0),
    StreamConfig(name="DLQ", subjects=("dlq.billing",), duplicate_window_seconds=600.0),
    StreamConfig(name="LATE", subjects=("dlq.recent",), duplicate_window_seconds=600.0),
)
QUIET_SECONDS = 10.0
HEALTHY_SECONDS = 3.0
WORKED_OFF_SECONDS = 180.0


def customer_of(identity: str) -> str | None:
    """The key of an order: whoever published it."""
    return identity.partition("/")[2].partition("/")[0]


def by_customer(message: Message) -> str | None:
    return customer_of(message.headers["Sim-Id"])


def figures(evidence: Evidence) -> dict[str, int]:
    """Outcomes of all routes, and what else shows that much happened."""
    journal = evidence.journal
    sums: dict[str, int] = {"inputs": sum(one.stream == "ORDERS" for one in journal.stored)}
    for books in journal.routes:
        numbers = books.statistics
        for outcome, count in numbers.outcomes.items():
            sums[outcome] = sums.get(outcome, 0) + count
        sums["by advisories"] = sums.get("by advisories", 0) + numbers.dead_letters["maxdeliver_exhausted"]
    sums["redelivered"] = sum(one.deliveries > 1 for one in journal.handed_out)
    return sums


@laws(
    no_ack_precedes_its_effect("DLQ", "LATE"), settled_once, routes_balance, keeps_what_it_acked,
    each_input_ends("ORDERS", "billing", max_deliver=RETRY.max_deliver, dead_letters="DLQ"),
    each_input_ends("ORDERS", "audit", max_deliver=RETRY.max_deliver),
    each_input_ends("ORDERS", "recent", max_deliver=RETRY.max_deliver, dead_letters="LATE"),
    one_at_a_time("ORDERS", "recent", customer_of),
    faults=Draw(seconds=15, count=5, longest_seconds=10), quiet_seconds=QUIET_SECONDS, figures=figures,
)  # fmt: skip
async def scenario(world: World) -> None:
    crashes = world.random("shape").random() < 0.3
    await world.start_server("a", ServerConfig(jetstream=True, jetstream_sync_interval_seconds=0 if crashes else 120))
    await make_streams(world)
    done, worked_off = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        for host in ("left", "right"):
            nursery.start_soon(run_routers, world, host, done, worked_off)
        if crashes:
            nursery.start_soon(crash, world)
        async with trio.open_nursery() as shops:
            shops.start_soon(keep_shop, world, done)
            await world.quiet()
            await trio.sleep(HEALTHY_SECONDS)
            done.set()
        await wait_until_worked_off(world)
        worked_off.set()


async def make_streams(world: World) -> None:
    async with client(world, "setup") as nc:
        js = JetStream(nc)
        for config in STREAMS:
            await js.create_stream(config)


async def crash(world: World) -> None:
    """The machine loses its power, some time while the faults happen."""
    await trio.sleep(world.random("crash").uniform(2.0, 15.0))
    world.servers["a"].crash()
    await trio.sleep(0.5)
    world.servers["a"].start()


@asynccontextmanager
async def client(world: World, who: str) -> AsyncGenerator[Client]:
    """A client on a host of its own."""
    dialer = world.dialer(who.partition("/")[0])
    with suppress(UndeliveredError):
        async with open_client("nats://a:4222", name=who, dialer=dialer, **OPTIONS) as nc:
            yield nc


# The orders


async def keep_shop(world: World, done: trio.Event) -> None:
    async with client(world, "shop") as nc, trio.open_nursery() as nursery:
        for customer in CUSTOMERS:
            nursery.start_soon(order, world, JetStream(nc), f"shop/{customer}")
        await done.wait()
        nursery.cancel_scope.cancel()


async def order(world: World, js: JetStream, who: str) -> None:
    """One by one, and again until the stream has it: its identity is its message id."""
    chance = world.random(who)
    retry = PublishRetry(attempts=4, attempt_timeout_seconds=1.0)
    while True:
        await world.journal.publish_by(
            lambda header: js.publish("orders.new", b"book", headers=header, message_id=header["Sim-Id"], retry=retry),
            "orders.new",
            publisher=who,
            stream="ORDERS",
        )
        await trio.sleep(chance.uniform(0.2, 1.0))


# The routers


async def run_routers(world: World, host: str, done: trio.Event, worked_off: trio.Event) -> None:
    """One run after the other while there are faults; the last one lasts until all is worked off."""
    chance = world.random(host)
    number = 0
    while not done.is_set():
        number += 1
        how = chance.choice(("drained", "left", "cancelled", "killed"))
        await run_router(world, f"{host}/{number}", how, chance.uniform(1.0, 8.0), done)
        await trio.sleep(chance.choice((0.0, 0.5, 2.0)))
    await run_router(world, f"{host}/last", "drained", math.inf, worked_off)


async def run_router(world: World, who: str, how: str, seconds: float, until: trio.Event) -> None:
    """Run a router for so long, or until an event; then end it in one of the ways."""
    router = make_router(world, who)
    drained = False
    with trio.CancelScope() as killed:
        async with client(world, who) as nc, trio.open_nursery() as nursery:
            with trio.move_on_after(seconds):
                await start(nursery, router, nc)
                await until.wait()
            if how == "killed":
                power = world.network.power_off(who.partition("/")[0])
                world.events.call_later(0.5, power.stop)
                power.start()
                killed.cancel()
            elif how == "cancelled":
                nursery.cancel_scope.cancel()
            elif how == "left":
                with suppress(UndeliveredError):  # of effects and dead letters whose inputs come again
                    await nc.drain()
            else:
                drained = (await router.drain()).unknown == 0
                note_routes(world, who, router, drained=drained)
                nursery.cancel_scope.cancel()
    if how != "drained":
        note_routes(world, who, router)


def note_routes(world: World, who: str, router: Router, *, drained: bool = False) -> None:
    for route in router.routes.values():
        world.journal.note_route(who, route, drained=drained)


async def start(nursery: trio.Nursery, router: Router, nc: Client) -> None:
    """Run it; a server that cannot be asked for its consumers now is asked again."""
    while True:
        try:
            await nursery.start(router.run, nc)
        except NatsError:
            await trio.sleep(0.5)
        else:
            return


def make_router(world: World, who: str) -> Router:
    router = Router("accounting", grace_seconds=GRACE_SECONDS)
    handle = partial(Handler, world, who)
    options: dict[str, Any] = {"stream": "ORDERS", "retry": RETRY, "deadline_seconds": DEADLINE_SECONDS}
    router.route("orders.>", name="billing", concurrency=4, dead_letter="dlq.billing", **options)(handle("billing", 3))
    router.route("orders.>", name="audit", double_ack=True, **options)(handle("audit", 1))
    in_order = router.route(
        "orders.>", name="recent", concurrency=4, ordered_by=by_customer, dead_letter="dlq.recent", **options
    )
    in_order(handle("recent", 1))
    return router


class Handler:
    """What a route does with an order: much of it goes wrong, and for each reason some of it does so at every delivery.

    Args:
        world: that it is in.
        who: the router.
        route: its name.
        effects_max: it publishes so many at the most.
    """

    def __init__(self, world: World, who: str, route: str, effects_max: int) -> None:
        self._world = world
        self._who = who
        self._route = route
        self._effects_max = effects_max

    async def __call__(self, payload: bytes, delivery: Delivery) -> list[Publish] | Retry | DeadLetter:
        identity = delivery.headers["Sim-Id"]
        fate = self._world.random(f"{self._route}/{identity}")
        chance = self._world.random(f"{self._route}/{identity}/{delivery.number}")
        began_at = self._world.now()
        effects = [self._effect(identity, index) for index in range(fate.randint(0, self._effects_max))]
        # Every tenth order fails as it did before, each time it comes.
        outcome = self._choose(fate if fate.random() < 0.1 else chance)
        await trio.sleep(0.0 if outcome == "at once" else chance.expovariate(1 / 0.3))
        if outcome == "too long":
            await trio.sleep(2 * DEADLINE_SECONDS)
        accepted = outcome in ("accept", "at once")
        names = [effect.headers["Sim-Id"] for effect in effects if effect.headers is not None]
        self._world.journal.handled_by(self._who, delivery, names if accepted else None, began_at=began_at)
        if accepted:
            return effects
        if outcome == "dead letter":
            return DeadLetter("cannot be done", effects=effects)
        return self._refuse(outcome, chance)

    def _effect(self, identity: str, index: int) -> Publish:
        return Publish(f"out.{self._route}", b"done", headers={"Sim-Id": f"{identity}+{self._route}{index}"})

    def _choose(self, chance: Random) -> str:
        ends = ("accept", "at once", "fail", "retry", "raise retry", "reject", "dead letter", "too long")
        return chance.choices(ends, weights=(40, 25, 10, 5, 5, 3, 3, 2))[0]

    def _refuse(self, outcome: str, chance: Random) -> Retry:
        if outcome == "reject":
            raise Reject("never")
        if outcome == "raise retry":
            raise RetryLater(chance.choice((None, 0.3)), "not now")
        if outcome == "retry":
            return Retry(chance.choice((None, 0.0, 1.0)), "not now")
        raise RuntimeError("failed")


async def wait_until_worked_off(world: World) -> None:
    """Wait until the consumers have nothing left."""
    with trio.move_on_after(WORKED_OFF_SECONDS):
        while True:
            consumers = [one for stream in world.servers["a"].streams for one in stream.consumers]
            if consumers and not any(one.pending or one.undelivered for one in consumers):
                return
            await trio.sleep(0.5)
