"""Routes with a circuit breaker or with keys that are done once: what is refused or known never reaches the handler."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from beamline_trio import ConnectionLostError, Message
from beamline_trio.router import Breaker, Claim, MemoryIdempotence, Publish, Reject, Retry, RetryLater, Router
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, fill, running, streams


def key_of(message: Message) -> str:
    return message.headers["Key"]


async def test_a_key_is_handled_once_however_often_it_comes(nats_world: World) -> None:
    """From a stream and by core messages; a failed try is no doing, and its key is free for the next."""
    router = Router("r")
    tries: list[bytes] = []

    @router.route("in.*", stream="IN", concurrency=4, idempotent_by=key_of, retry=Retry(delays_seconds=(1,)))
    async def work(message: Message) -> Publish:
        tries.append(message.payload)
        number = len(tries)
        await trio.sleep(0.5)
        if number == 1:
            raise ValueError("no")
        return Publish("out.a", message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        for number in range(6):
            await jetstream.publish("in.a", b"%d" % number, headers={"Key": f"k{number % 2}"})
        async with running(router, nc):
            await trio.sleep(20)
        assert len(await contents(jetstream, "OUT")) == 2
    statistics = router.routes["work"].statistics()
    assert ended(router.routes["work"]) == {"ok": 2, "duplicate": 4, "retried": 1}
    assert (statistics.idempotency_misses, statistics.idempotency_hits) == (3, 4)
    assert len(tries) == 3


async def test_a_key_that_is_cut_short_is_free_again(nats_world: World) -> None:
    """At its deadline, and when the router is cancelled: the next delivery is handled."""
    keys = MemoryIdempotence()
    first, second = Router("r", idempotence=keys, grace_seconds=1), Router("r", idempotence=keys)
    tries = 0

    async def hangs(message: Message) -> None:
        nonlocal tries
        tries += 1
        await trio.sleep_forever()

    async def works(message: Message) -> None:
        return

    options: dict[str, Any] = {"stream": "IN", "durable": "d", "idempotent_by": key_of, "name": "work"}
    first.route("in.*", deadline_seconds=5, retry=Retry(delays_seconds=(1,), jitter=0), **options)(hangs)
    second.route("in.*", **options)(works)
    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.publish("in.a", headers={"Key": "k"})
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run, nc)
            await trio.sleep(8)
            nursery.cancel_scope.cancel()
        async with running(second, nc):
            await trio.sleep(1)
    assert tries == 2
    assert ended(first.routes["work"]) == {"retried": 1, "returned": 1}
    assert ended(second.routes["work"]) == {"ok": 1}


class LostStore:
    """A store that cannot be reached when a key is confirmed, or claimed."""

    def __init__(self, failing: str) -> None:
        self.failing = failing
        self.released: list[str] = []

    async def claim(self, key: str) -> Claim:
        if self.failing == "claim":
            raise ConnectionLostError("no link", sent="no")
        return Claim.NEW

    async def confirm(self, key: str) -> None:
        if self.failing == "confirm":
            raise ConnectionLostError("no link", sent="maybe")

    async def release(self, key: str) -> None:
        self.released.append(key)


@pytest.mark.parametrize("failing", ["claim", "confirm"])
async def test_what_cannot_be_kept_is_not_acked(failing: str, nats_world: World) -> None:
    """A store that does not answer is a failure of the try: the message comes again."""
    store = LostStore(failing)
    router = Router("r", idempotence=store)

    @router.route("in.*", stream="IN", idempotent_by=key_of, retry=Retry(delays_seconds=(1,)))
    async def work(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.publish("in.a", headers={"Key": "k"})
        async with running(router, nc):
            await trio.sleep(0.5)
            store.failing = ""
            await trio.sleep(5)
    assert ended(router.routes["work"]) == {"retried": 1, "ok": 1}
    assert store.released == (["k"] if failing == "confirm" else [])


async def test_a_key_function_that_raises_fails_its_message(nats_world: World) -> None:
    """As a handler that raises: for the keys, and for the breaker's."""
    router = Router("r")
    retry = Retry(max_deliver=1)

    @router.route("in.*", stream="IN", idempotent_by=key_of, retry=retry)
    async def once(message: Message) -> None:
        return

    @router.route("in.*", stream="IN", breaker=Breaker(by=key_of), retry=retry)
    async def broken(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(1)
    assert [ended(route) for route in router.routes.values()] == [{"terminated": 1}] * 2


@pytest.mark.parametrize("error", [ValueError("no"), RetryLater(), None])
async def test_an_open_breaker_keeps_messages_from_the_handler(error: Exception | None, nats_world: World) -> None:
    """After so many failures, time-outs among them; they come again when it may be half open, and close it."""
    router = Router("r")
    tries = 0
    works = False

    @router.route(
        "in.*",
        stream="IN",
        breaker=Breaker(failures=2, successes=1, open_seconds=10),
        deadline_seconds=1,
        retry=Retry(delays_seconds=(1,), max_deliver=5),
    )
    async def work(message: Message) -> None:
        nonlocal tries
        tries += 1
        if works:
            return
        if error is None:
            await trio.sleep_forever()
        else:
            raise error

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 6)
        async with running(router, nc):
            await trio.sleep(8)
            assert tries == 2
            works = True
            await trio.sleep(60)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    outcomes = ended(router.routes["work"])
    assert (outcomes["ok"], outcomes["retried"]) == (6, 2)
    assert outcomes["returned"] == router.routes["work"].statistics().breaker_refusals >= 4


async def test_a_breaker_does_not_open_for_messages_that_are_wrong(nats_world: World) -> None:
    """A rejection says nothing of what the handler depends on."""
    router = Router("r")

    @router.route("in.*", stream="IN", breaker=Breaker(failures=2))
    async def work(message: Message) -> None:
        raise Reject("no")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 6)
        async with running(router, nc):
            await trio.sleep(1)
    assert ended(router.routes["work"]) == {"terminated": 6}


async def test_a_request_that_a_breaker_refuses_is_answered(nats_world: World) -> None:
    """With the status 503."""
    router = Router("r")

    @router.route("a", breaker=Breaker(failures=1))
    async def work(message: Message) -> bytes:
        raise ValueError("no")

    async with streams(nats_world) as (_, nc, _js), running(router, nc):
        codes = [(await nc.request("a")).headers["Nats-Service-Error-Code"] for _ in range(3)]
    assert codes == ["500", "503", "503"]
    assert ended(router.routes["work"]) == {"error": 1, "unavailable": 2}
