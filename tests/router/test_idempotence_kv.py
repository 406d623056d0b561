"""The names of keys in a bucket, the buckets that can hold them, and what cancellation leaves of a claim."""

from __future__ import annotations

import string
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from beamline_trio import Client, ClientClosedError, JetStream, NatsError, open_client
from beamline_trio.kv import Bucket, BucketConfig, WrongRevisionError, create_bucket
from beamline_trio.kv._names import is_key
from beamline_trio.router import Claim, Idempotence, IdempotenceStatistics, KVIdempotence, _idempotence_kv
from beamline_trio.router._idempotence_kv import name_of
from beamline_trio.simulation import ServerConfig, SimulatedServer, World

OPERATIONS = ("claim", "confirm", "release")
each_operation = pytest.mark.parametrize("operation", OPERATIONS)
TEXTS = st.text(min_size=1, max_size=100) | st.text(string.ascii_letters + "=_kv.-/", min_size=1, max_size=300)


@asynccontextmanager
async def opened(world: World, name: str = "nats") -> AsyncGenerator[tuple[SimulatedServer, Client, KVIdempotence]]:
    """A server, a client and its store."""
    server = await world.start_server(name, ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=world.dialer("app")) as nc:
        yield server, nc, await KVIdempotence.open(JetStream(nc), claim_seconds=30, ttl_seconds=100)


@given(TEXTS, TEXTS)
def test_every_text_is_a_key_of_its_own(one: str, other: str) -> None:
    """Any text becomes a key of the rule, and two texts never the same."""
    assert is_key(name_of(one))
    assert (name_of(one) == name_of(other)) == (one == other)


def test_readable_names() -> None:
    """What ADR-8 knows stays readable; the rest, and what is too long or reserved, does not."""
    assert name_of("order-17_A") == "order-17_A"
    assert name_of("tenant.a/7") == "tenant=2Ea=2F7"
    assert name_of("x" * 201).startswith("=sha256=")
    assert name_of("_kv1").startswith("=sha256=")


async def test_buckets_that_cannot_hold_them(nats_world: World) -> None:
    """A bucket with a history, without markers, or that forgets too soon is refused, and says what to do."""
    async with opened(nats_world) as (_, nc, _store):
        js = JetStream(nc)
        deep = await create_bucket(js, BucketConfig(bucket="deep", history=2, limit_marker_seconds=1))
        plain = await create_bucket(js, BucketConfig(bucket="plain"))
        for bucket in (deep, plain):
            with pytest.raises(ValueError, match=r"make it with KVIdempotence.open\(\)"):
                KVIdempotence(bucket)
        brief = await create_bucket(js, BucketConfig(bucket="brief", ttl_seconds=60, limit_marker_seconds=1))
        with pytest.raises(ValueError, match="lets everything go after 60 s"):
            KVIdempotence(brief, 61)
        KVIdempotence(brief, 60)
        with pytest.raises(ValueError, match="takes at least 1"):
            KVIdempotence(brief, 0.5)
        with pytest.raises(ValueError, match="claim_seconds is -1"):
            KVIdempotence(brief, 60, claim_seconds=-1)


@each_operation
async def test_checkpoints_and_refusals(operation: str, nats_world: World) -> None:
    """Every method is a checkpoint, also when it refuses what is no key, and when nothing has to be asked."""
    async with opened(nats_world) as (_, _nc, store):
        assert isinstance(store, Idempotence)
        method = getattr(store, operation)
        for _ in range(2):
            with assert_checkpoints():
                await method("a")
        with assert_checkpoints(), pytest.raises(TypeError, match="it must be a str, not int"):
            await method(1)
        with assert_checkpoints(), pytest.raises(ValueError, match="the key is empty"):
            await method("")


@each_operation
async def test_cancelled_before(operation: str, nats_world: World) -> None:
    """Cancelled before it began, nothing is sent; the key is claimed as if nothing had been."""
    async with opened(nats_world) as (server, nc, store):
        if operation != "claim":
            await store.claim("a")
        before = server.streams[0].last_sequence
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(store, operation)("a")
        assert scope.cancelled_caught
        await nc.flush()
        assert server.streams[0].last_sequence == before
        expected = Claim.DONE if operation == "confirm" else Claim.NEW
        assert await store.claim("a") is expected


@each_operation
async def test_cancelled_while_waiting(operation: str, nats_world: World) -> None:
    """Cancelled behind the write: the instance has its claim again at once, and what it knows to be done is done."""
    async with opened(nats_world) as (server, nc, store):
        if operation != "claim":
            await store.claim("a")
        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(store, operation), "a")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        server.resume()
        await nc.flush()
        assert await store.claim("a") is (Claim.DONE if operation == "confirm" else Claim.NEW)
        assert await store.claim("a") is (Claim.DONE if operation == "confirm" else Claim.BUSY)
        await store.confirm("a")
        other = await KVIdempotence.open(JetStream(nc), ttl_seconds=100)
        assert await other.claim("a") is Claim.DONE


@each_operation
async def test_closed_by_another_task(operation: str, nats_world: World) -> None:
    """Whoever waits is told that the client was closed."""
    async with opened(nats_world) as (server, nc, store):
        await store.claim("held")

        async def closed() -> None:
            with pytest.raises(ClientClosedError):
                await getattr(store, operation)("held" if operation == "release" else "a")

        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed)
            await wait_all_tasks_blocked()
            nc.connection.close()
        server.resume()


async def test_a_confirmation_that_failed_is_made_up_for(nats_world: World) -> None:
    """What this instance knows to be done it does not do again, and the others learn it with its next claim."""
    async with opened(nats_world) as (server, nc, store):
        await store.claim("a")
        server.kill()
        with suppress(NatsError), trio.move_on_after(1):
            await store.confirm("a")
        server.start()
        await nc.flush()
        other = await KVIdempotence.open(JetStream(nc), ttl_seconds=100)
        assert await other.claim("a") is Claim.BUSY
        assert await store.claim("a") is Claim.DONE
        assert await other.claim("a") is Claim.DONE
        assert store.statistics() == IdempotenceStatistics(hits=1, misses=1)


async def test_what_is_written_by_hand_is_written_over(nats_world: World) -> None:
    """An entry that nothing can be made of is counted and claimed, once."""
    async with opened(nats_world) as (_, nc, store):
        js = JetStream(nc)
        await js.publish("$KV.idempotence.a", b"whatever")
        await js.publish("$KV.idempotence.b", b"done", headers={"KV-Operation": "EXPLODE"})
        for key in ("a", "b"):
            assert await store.claim(key) is Claim.NEW
            assert await store.claim(key) is Claim.BUSY
        assert store.statistics() == IdempotenceStatistics(hits=2, misses=2, skipped=2)


async def test_what_could_not_be_written_is_bounded_and_forgotten(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmations that never reached the bucket are remembered up to a number, and for their time."""
    monkeypatch.setattr(_idempotence_kv, "_UNWRITTEN_MAX", 2)
    async with opened(nats_world) as (_, _nc, store):
        for key in ("a", "b", "c"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.confirm(key)
        assert store.statistics().evicted == 1
        assert await store.claim("a") is Claim.NEW
        assert await store.claim("b") is Claim.DONE
        await trio.sleep(101)
        assert await store.claim("c") is Claim.NEW


async def test_one_who_is_never_first_comes_later(nats_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that others write again and again while it is being taken up is busy; the claim leaves nothing behind."""
    async with opened(nats_world) as (_, nc, store):
        await JetStream(nc).publish("$KV.idempotence.a", b"whatever")

        async def outrun(*_: object, **__: object) -> int:
            raise WrongRevisionError("idempotence", "a", 1, "wrong last sequence: 2")

        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "update", outrun)
            assert await store.claim("a") is Claim.BUSY
        assert await store.claim("a") is Claim.NEW


async def test_a_claim_on_its_way_is_one(nats_world: World) -> None:
    """However long the server takes to answer a claim, also beyond claim_seconds: the key has one owner."""
    async with opened(nats_world) as (server, nc, _store):
        store = await KVIdempotence.open(JetStream(nc), claim_seconds=1, ttl_seconds=100)
        claims: list[Claim] = []

        async def claim() -> None:
            claims.append(await store.claim("a"))

        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim)
            await trio.sleep(2)
            nursery.start_soon(claim)
            await trio.sleep(1)
            server.resume()
        assert claims == [Claim.BUSY, Claim.NEW]
        assert await store.claim("a") is Claim.BUSY
