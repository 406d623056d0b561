"""Routes with `idempotent_by`: the work of a key is done once."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from beamline_trio import JetStream, Message, OptionsError, open_client
from beamline_trio.router import (
    Breaker,
    Claim,
    DeadLetter,
    Delivery,
    KVIdempotence,
    MemoryIdempotence,
    Publish,
    Retry,
    Router,
)
from beamline_trio.simulation import World
from tests.router._keys import QUICK, FailingStore, by_payload, copying
from tests.router._streams import contents, ended, fill, running, streams


async def test_of_two_messages_with_one_key_one_is_handled(nats_world: World) -> None:
    """The other is acked, and counted as a duplicate and a hit; what is confirmed is not released behind it."""
    store = FailingStore()
    released: list[str] = []
    store.before["release"] = lambda: released.append("again")
    router = Router("r", idempotence=store)
    copying(router)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 5)
        await fill(jetstream, 5)
        async with running(router, nc):
            await trio.sleep(5)
        assert await contents(jetstream, "OUT") == [b"0", b"1", b"2", b"3", b"4"]
        assert (await jetstream.consumer_info("IN", "copy")).num_ack_pending == 0
    statistics = router.routes["copy"].statistics()
    assert ended(router.routes["copy"]) == {"ok": 5, "duplicate": 5}
    assert (statistics.idempotency_hits, statistics.idempotency_misses) == (5, 5)
    assert released == []


async def test_keys_of_routes_are_apart(nats_world: World) -> None:
    """Two routes that share store and keys do their work both."""
    router = Router("r", idempotence=MemoryIdempotence())
    copying(router, name="one")
    copying(router, name="two")
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(2)
    assert [ended(route) for route in router.routes.values()] == [{"ok": 1}, {"ok": 1}]


async def test_work_that_was_not_done_leaves_its_key_free(nats_world: World) -> None:
    """After an error, a retry and a dead letter the next one with the key is handled: also what is replayed."""
    router = Router("r", idempotence=MemoryIdempotence())
    answers: list[Any] = [ValueError("no"), Retry(), DeadLetter("no"), None]

    @router.route("in.*", stream="IN", idempotent_by=by_payload, retry=QUICK, dead_letter="dead.in")
    async def work(payload: bytes, delivery: Delivery) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(10)
            await jetstream.publish("in.again", b"0")
            await trio.sleep(10)
    assert ended(router.routes["work"]) == {"retried": 2, "dead_lettered": 1, "ok": 1}
    assert router.routes["work"].statistics().idempotency_hits == 0


async def test_an_effect_that_is_not_confirmed_leaves_its_key_free(nats_world: World) -> None:
    """Its message comes again, and is handled again."""
    router = Router("r", idempotence=MemoryIdempotence())
    subjects = iter(["nowhere.a", "out.a"])

    @router.route("in.*", stream="IN", idempotent_by=by_payload, retry=QUICK, deadline_seconds=15)
    async def copy(message: Message) -> Publish:
        return Publish(next(subjects), message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(60)
        assert await contents(jetstream, "OUT") == [b"0"]
    assert ended(router.routes["copy"]) == {"retried": 1, "ok": 1}


@pytest.mark.parametrize("lapses", [True, False])
async def test_a_last_delivery_waits_for_its_key_until_its_deadline(lapses: bool, nats_world: World) -> None:
    """When whoever had it is done with it or dead, the message is handled; if not, it is given up, and not lost."""
    store = MemoryIdempotence(claim_seconds=15 if lapses else 1_000)
    router = Router("r", idempotence=store)
    copying(router, retry=Retry(max_deliver=1), dead_letter="dead.in", deadline_seconds=13.5)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        assert await store.claim("r.copy:0") is Claim.NEW
        await trio.sleep(10)
        async with running(router, nc):
            await trio.sleep(30)
        if not lapses:
            assert (await jetstream.get_message("DEAD", sequence=1)).headers["Beamline-Cause"] == "processing_timeout"
    assert ended(router.routes["copy"]) == ({"ok": 1} if lapses else {"dead_lettered": 1})


async def test_a_message_waits_for_another_of_its_key_as_for_a_retry(nats_world: World) -> None:
    """It is given back meanwhile, so that no worker waits, and is a duplicate when the other is done."""
    router = Router("r", idempotence=MemoryIdempotence())

    @router.route("in.*", stream="IN", idempotent_by=lambda message: "one", retry=QUICK, concurrency=2)
    async def work(message: Message) -> None:
        await trio.sleep(0.5)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 2)
        async with running(router, nc):
            await trio.sleep(3)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert ended(router.routes["work"]) == {"returned": 1, "ok": 1, "duplicate": 1}


async def test_a_drain_that_cuts_short_gives_the_key_back(nats_world: World) -> None:
    """The grace is over, the message goes back, and its key with it."""
    store = MemoryIdempotence()
    router = Router("r", idempotence=store, grace_seconds=1)
    hang = True

    @router.route("in.*", stream="IN", idempotent_by=by_payload)
    async def work(message: Message) -> None:
        if hang:
            await trio.sleep_forever()

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(1)
        hang = False
        async with running(router, nc):
            await trio.sleep(1)
    assert ended(router.routes["work"]) == {"returned": 1, "ok": 1}


async def test_core_messages_are_told_that_it_is_done_or_being_done(nats_world: World) -> None:
    """409 for what was done, 503 for what is being done; both at once, and the handler is not called again."""
    router = Router("r", idempotence=MemoryIdempotence())
    go_on = trio.Event()

    @router.route("ask", idempotent_by=by_payload, concurrency=2)
    async def ask(message: Message) -> bytes:
        await go_on.wait()
        return b"done"

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        async with trio.open_nursery() as nursery:

            async def first() -> None:
                assert (await nc.request("ask", b"k")).payload == b"done"

            nursery.start_soon(first)
            await trio.sleep(1)
            assert (await nc.request("ask", b"k")).headers["Nats-Service-Error-Code"] == "503"
            go_on.set()
        assert (await nc.request("ask", b"k")).headers["Nats-Service-Error-Code"] == "409"
        await nc.publish("ask", b"k", confirm=True)
    assert ended(router.routes["ask"]) == {"ok": 1, "unavailable": 1, "duplicate": 2}


@pytest.mark.parametrize("key", ["", 7])
async def test_a_key_that_is_none_fails_its_message(key: Any, nats_world: World) -> None:
    """As if the handler had raised: retried, and given up at last."""
    router = Router("r", idempotence=MemoryIdempotence())

    @router.route("in.*", stream="IN", idempotent_by=lambda message: key, retry=QUICK)
    async def work(message: Message) -> None:
        raise AssertionError("not called")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(10)
    assert ended(router.routes["work"]) == {"retried": 4, "terminated": 1}


async def test_a_store_in_a_stream_is_opened_for_each_run(nats_world: World) -> None:
    """By a function of the client; another instance knows what the first has done."""

    def router() -> Router:
        made = Router("r", idempotence=lambda nc: KVIdempotence.open(JetStream(nc)))
        copying(made)
        return made

    first, second = router(), router()
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 3)
        async with running(first, nc):
            await trio.sleep(5)
        await fill(jetstream, 3)
        async with running(second, nc):
            await trio.sleep(5)
        assert len(await contents(jetstream, "OUT")) == 3
    assert ended(first.routes["copy"]) == {"ok": 3}
    assert ended(second.routes["copy"]) == {"duplicate": 3}


def test_claims_that_lapse_while_a_handler_may_work_are_refused() -> None:
    """Where the route is declared."""
    with pytest.raises(OptionsError, match="lapse after 20 s"):
        copying(Router("r", idempotence=MemoryIdempotence(claim_seconds=20)), deadline_seconds=20)


async def test_order_holds_where_keys_and_a_breaker_refuse(nats_world: World) -> None:
    """What is refused waits here with its order's key, as what failed does, and each is handled once, in order."""
    router = Router("r", idempotence=MemoryIdempotence())
    done: list[bytes] = []
    failed: set[bytes] = set()

    @router.route(
        "in.*",
        stream="IN",
        concurrency=4,
        ordered_by=lambda message: message.subject,
        idempotent_by=by_payload,
        breaker=Breaker(failures=1, successes=1, open_seconds=2),
        retry=Retry(delays_seconds=(1,), max_deliver=50),
    )
    async def work(message: Message) -> None:
        if message.payload not in failed:
            failed.add(message.payload)
            raise ValueError("the first time")
        done.append(message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 6)
        await fill(jetstream, 6)
        async with running(router, nc):
            await trio.sleep(120)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert done == [b"%d" % number for number in range(6)]
    assert ended(router.routes["work"]) == {"ok": 6, "duplicate": 6}
