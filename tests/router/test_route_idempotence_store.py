"""A store of keys that fails, hangs or is away, and what dies beside it: no message is lost, and none is done twice."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import Message, open_client
from beamline_trio.router import (
    Retry,
    Router,
)
from beamline_trio.simulation import World
from tests.router._keys import QUICK, FailingStore, by_payload, copying, fails, hangs_once
from tests.router._streams import contents, ended, fill, running, streams


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_server_that_dies_at_the_confirmation(when: str, nats_world: World) -> None:
    """The effect is stored once, and the message is acked when the server is back."""
    store = FailingStore()
    router = Router("r", idempotence=store)
    copying(router, retry=Retry(ack_wait_seconds=5), deadline_seconds=4)
    async with streams(nats_world) as (server, nc, jetstream):
        await fill(jetstream, 1)
        getattr(store, when)["confirm"] = server.kill
        async with running(router, nc):
            await trio.sleep(20)
            server.start()
            await trio.sleep(30)
        assert await contents(jetstream, "OUT") == [b"0"]
        info = await jetstream.consumer_info("IN", "copy")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
    assert router.routes["copy"].statistics().effects == 1
    assert ended(router.routes["copy"])["ok"] == 1


async def test_a_process_that_dies_between_confirmation_and_ack(nats_world: World) -> None:
    """Its message comes to another, which acks it as a duplicate, without another effect."""
    store = FailingStore()
    first, second = Router("r", idempotence=store), Router("r", idempotence=store)
    for router in (first, second):
        copying(router, retry=Retry(ack_wait_seconds=5), deadline_seconds=4)
    async with streams(nats_world) as (server, nc, jetstream):
        await fill(jetstream, 1)
        async with open_client(server.url, dialer=nats_world.dialer("dies")) as dying, trio.open_nursery() as nursery:
            store.after["confirm"] = dying.connection.close
            await nursery.start(first.run, dying)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        store.after.clear()
        async with running(second, nc):
            await trio.sleep(10)
        assert await contents(jetstream, "OUT") == [b"0"]
        assert (await jetstream.consumer_info("IN", "copy")).num_ack_pending == 0
    assert ended(first.routes["copy"]) == {"unknown": 1}
    assert ended(second.routes["copy"]) == {"duplicate": 1}


@pytest.mark.parametrize("operation", ["claim", "confirm"])
async def test_while_the_store_is_away_messages_wait(operation: str, nats_world: World) -> None:
    """One at a time asks, no try is used up within the deadline, and all are done when it is back."""
    store = FailingStore(claim_seconds=200)
    router = Router("r", idempotence=store)
    copying(router, concurrency=8, deadline_seconds=100)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 50)
        store.before[operation] = fails(OSError("gone"))
        async with running(router, nc):
            await trio.sleep(60)
            assert router.routes["copy"].gate.doubtful
            assert router.routes["copy"].statistics().taken <= 8
            del store.before[operation]
            await trio.sleep(20)
            assert not router.routes["copy"].gate.doubtful
        assert len(await contents(jetstream, "OUT")) == 50
    assert ended(router.routes["copy"]) == {"ok": 50}


@pytest.mark.parametrize("operation", ["claim", "confirm"])
async def test_a_store_that_stays_away_is_a_failed_try(operation: str, nats_world: World) -> None:
    """At the deadline the message goes back, at its last delivery to the dead letters: it is acked nowhere else."""
    store = FailingStore()
    store.before[operation] = fails(OSError("gone"))
    router = Router("r", idempotence=store)
    copying(router, deadline_seconds=5, retry=Retry(max_deliver=2), dead_letter="dead.in")
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(60)
        assert (await jetstream.get_message("DEAD", sequence=1)).headers["Beamline-Cause"] == "publish_error"
    assert ended(router.routes["copy"]) == {"retried": 1, "dead_lettered": 1}


@pytest.mark.parametrize("operation", ["claim", "handler", "confirm", "release"])
async def test_a_store_that_hangs_is_left_at_the_deadline(operation: str, nats_world: World) -> None:
    """As a handler that hangs: it is cancelled with its try, and the next one does the work."""
    store = FailingStore(claim_seconds=20)
    store.before[operation] = hangs_once()
    router = Router("r", idempotence=store)
    first = iter([True])

    @router.route("in.*", stream="IN", idempotent_by=by_payload, retry=QUICK, deadline_seconds=5)
    async def work(message: Message) -> None:
        await store.do("handler", store.before)
        if operation == "release" and next(first, False):
            raise ValueError("no")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(60)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    outcomes = ended(router.routes["work"])
    assert (outcomes["ok"], outcomes["retried"]) == (1, 1)
    assert set(outcomes) - {"returned"} == {"ok", "retried"}


@pytest.mark.parametrize("operation", ["claim", "confirm"])
async def test_an_error_that_no_waiting_mends_fails_the_try(operation: str, nats_world: World) -> None:
    """At once, and the message comes again."""
    store = FailingStore()
    store.before[operation] = fails(RuntimeError("a bug"), times=1)
    router = Router("r", idempotence=store)
    copying(router)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(10)
        assert await contents(jetstream, "OUT") == [b"0"]
    assert ended(router.routes["copy"]) == {"retried": 1, "ok": 1}


async def test_a_release_that_fails_is_told_and_lapses(nats_world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The message comes again while its key is claimed, waits until the claim lapses, and is done."""
    store = FailingStore(claim_seconds=21)
    store.before["release"] = fails(RuntimeError("a bug"))
    router = Router("r", idempotence=store)
    tries: list[float] = []

    @router.route("in.*", stream="IN", idempotent_by=by_payload, retry=QUICK)
    async def work(message: Message) -> None:
        tries.append(trio.current_time())
        if len(tries) == 1:
            raise ValueError("no")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(60)
    assert ended(router.routes["work"]) == {"retried": 1, "returned": 1, "ok": 1}
    assert tries[1] - tries[0] == pytest.approx(22, abs=0.5)
    assert "ROUTER_IDEMPOTENCE_ERROR" in caplog.text


@pytest.mark.parametrize("where", ["claim", "handler", "confirm"])
async def test_cancelling_the_router_gives_message_and_key_back(where: str, nats_world: World) -> None:
    """Wherever its delivery is: another instance with the same store does the work at once."""
    store = FailingStore()
    first, second = Router("r", idempotence=store), Router("r", idempotence=store)
    store.before[where] = hangs_once()
    done: list[bytes] = []

    async def work(message: Message) -> None:
        if where == "handler":
            await store.do("handler", store.before)
        done.append(message.payload)

    for router in (first, second):
        router.route("in.*", stream="IN", idempotent_by=by_payload, retry=QUICK)(work)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run, nc)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        async with running(second, nc):
            await trio.sleep(2)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert ended(first.routes["work"]) == {"returned": 1}
    assert ended(second.routes["work"]) == {"ok": 1}
    assert len(done) == (2 if where == "confirm" else 1)


@pytest.mark.parametrize("operation, code", [("claim", "500"), ("confirm", None)])
async def test_a_core_message_does_not_wait_for_a_store(operation: str, code: str | None, nats_world: World) -> None:
    """Not claimed, it is an error at once; not confirmed, its answer has gone out all the same."""
    store = FailingStore()
    store.before[operation] = fails(OSError("gone"))
    router = Router("r", idempotence=store)

    @router.route("ask", idempotent_by=by_payload)
    async def ask(message: Message) -> bytes:
        return b"done"

    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, running(router, nc):
        began = trio.current_time()
        answer = await nc.request("ask", b"k")
        assert trio.current_time() - began < 0.1
        assert answer.headers.get("Nats-Service-Error-Code") == code
    assert ended(router.routes["ask"]) == ({"error": 1} if code else {"ok": 1})
