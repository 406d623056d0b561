"""What provokes each way in which a message of a route can end, and each reason for it.

Must not judge what is seen.
"""

from __future__ import annotations

import trio

from beamline_trio import JetStream, Message, Router, StreamConfig
from beamline_trio.router import Breaker, DeadLetter, Delivery, Publish, Reject, Retry, RetryLater
from beamline_trio.simulation import ServerConfig, World
from tests.metrics._watch import Watch
from tests.router._keys import FailingStore, fails

SINGLE = Retry(max_deliver=1, ack_wait_seconds=5)


def subject_of(message: Message) -> str:
    return message.subject


async def at_most_once(world: World, watch: Watch) -> None:
    """Core messages: done, done before, and whatever else their sender can be told."""
    router = Router("contract", grace_seconds=0)

    @router.route("ask.*", concurrency=4, deadline_seconds=1, idempotent_by=subject_of, breaker=Breaker(by=subject_of))
    async def ask(payload: int, delivery: Delivery) -> None:
        await behave(delivery.subject)

    server = await world.start_server("a")
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        for name in ("ok", "ok", "error", "rejected", "later", "hangs"):
            await nc.publish(f"ask.{name}", b"1")
        await nc.publish("ask.bad", b"no number")
        await trio.sleep(2)
        await nc.publish("ask.hangs", b"1", confirm=True)
        await router.drain()


async def at_least_once(world: World, watch: Watch) -> None:
    """Messages of a stream: a dead letter for each reason, and none; given back by a breaker; an ack without answer."""
    router = Router("contract")
    common = {"stream": "IN", "deadline_seconds": 1.0, "retry": SINGLE, "concurrency": 8}

    @router.route("in.*", dead_letter="dead.a", breaker=Breaker(by=subject_of, failures=1, open_seconds=5), **common)  # type: ignore[arg-type]
    async def dead(payload: int, delivery: Delivery) -> object:
        return await behave(delivery.subject)

    @router.route("in.*", stream="IN", breaker=Breaker(by=subject_of, failures=1))
    async def back(payload: int, delivery: Delivery) -> object:
        return await behave("a.error")

    @router.route("in.ok", double_ack=True, **common)  # type: ignore[arg-type]
    async def unknown(message: Message) -> None:
        server.pause()

    server = await world.start_server("a", ServerConfig(jetstream=True))
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        jetstream = JetStream(nc)
        await jetstream.create_stream(StreamConfig(name="IN", subjects=["in.*"]))
        for name in ("error", "error", "rejected", "requested", "hangs", "blocked"):
            await jetstream.publish(f"in.{name}", b"1")
        await jetstream.publish("in.bad", b"no number")
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        await trio.sleep(5)  # without a stream for dead letters: the server gives up on them
        await jetstream.create_stream(StreamConfig(name="DEAD", subjects=["dead.*"]))
        await trio.sleep(10)
        for name in ("error", "error", "rejected", "requested", "hangs", "blocked"):
            await jetstream.publish(f"in.{name}", b"1")
        await jetstream.publish("in.bad", b"no number")
        await trio.sleep(30)
        await jetstream.publish("in.ok", b"1")
        await trio.sleep(2)
        server.resume()
        await router.drain()


async def behave(subject: str) -> object:
    """As the last token says."""
    match subject.rpartition(".")[2]:
        case "error":
            raise ValueError("on purpose")
        case "rejected":
            raise Reject("on purpose")
        case "later":
            raise RetryLater
        case "requested":
            return DeadLetter("on purpose")
        case "hangs":
            await trio.sleep_forever()
        case "blocked":
            return Publish("nowhere.a")
        case _:
            return None


async def keys(world: World, watch: Watch) -> None:
    """A key that is new, one that was done before, and a store that does not let one go."""
    store = FailingStore()
    store.before["release"] = fails(OSError("on purpose"))
    router = Router("contract", idempotence=store)

    @router.route("in.*", stream="IN", idempotent_by=subject_of, retry=SINGLE)
    async def once(message: Message) -> object:
        return await behave(message.subject)

    server = await world.start_server("a", ServerConfig(jetstream=True))
    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        jetstream = JetStream(nc)
        await jetstream.create_stream(StreamConfig(name="IN", subjects=["in.*"]))
        for name in ("ok", "ok", "error"):
            await jetstream.publish(f"in.{name}")
        watch.add_router(router, nc)
        await nursery.start(router.run, nc)
        await trio.sleep(3)
        await router.drain()


PROVOCATIONS = (at_most_once, at_least_once, keys)
