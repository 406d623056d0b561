"""Buckets of keys and values, on the simulated and on the real server: who is first, what is lost, what comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from beamline_trio import Client, JetStream, State, StreamConfig, open_client
from beamline_trio.kv import (
    Bucket,
    BucketConfig,
    BucketExistsError,
    BucketNotFoundError,
    InvalidEntryError,
    KeyExistsError,
    KeyNotFoundError,
    NotABucketError,
    Operation,
    WrongRevisionError,
    bucket_names,
    create_bucket,
    delete_bucket,
    open_bucket,
)
from beamline_trio.testing import EitherServer

pytestmark = pytest.mark.nats_config(jetstream=True)
LIMIT_SECONDS = 20.0
# The server looks for what has expired at most 1.25 s late.
LATE_SECONDS = 1.5
CONFIG = BucketConfig(bucket="jobs")


@asynccontextmanager
async def bucket_of(
    nats: EitherServer, config: BucketConfig = CONFIG, host: str = "app"
) -> AsyncGenerator[tuple[Client, JetStream, Bucket]]:
    """A client and its bucket."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer(host)) as nc:
            js = JetStream(nc)
            yield nc, js, await create_bucket(js, config)


async def test_a_value_is_what_was_put_last(nats: EitherServer) -> None:
    """Values come back as they were put, with the revision that the write told; a revision can be read by itself."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", history=3)) as (_, _js, bucket):
        first = await bucket.put("a.b", b"one")
        second = await bucket.put("a.b", bytearray(b"two"))
        await bucket.put("c", b"")
        entry = await bucket.get("a.b")
        assert (entry.key, entry.value, entry.revision, entry.operation) == ("a.b", b"two", second, Operation.PUT)
        assert entry.created is not None
        assert (await bucket.get("c")).value == b""
        assert (await bucket.get("a.b", revision=first)).value == b"one"
        for key, revision in (("c", first), ("a.b", 99), ("x", None)):
            with pytest.raises(KeyNotFoundError):
                await bucket.get(key, revision=revision)
        assert [one.value for one in await bucket.history("a.b")] == [b"one", b"two"]
        for number in range(5):
            await bucket.put("a.b", b"%d" % number)
        assert [one.value for one in await bucket.history("a.b")] == [b"2", b"3", b"4"]


async def test_of_those_who_race_one_creates(nats: EitherServer) -> None:
    """`create` of many clients at once succeeds once, for a new key, a deleted and a purged one."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", history=3)) as (_, _js, bucket):
        for before in (None, bucket.delete, bucket.purge):
            if before is not None:
                await before("key")
            winners: list[bytes] = []

            async def race(who: bytes, winners: list[bytes]) -> None:
                async with open_client(nats.url, dialer=nats.dialer("app")) as nc:
                    mine = await open_bucket(JetStream(nc), "jobs")
                    try:
                        await mine.create("key", who)
                    except KeyExistsError:
                        pass
                    else:
                        winners.append(who)

            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(race, b"%d" % number, winners)
            assert len(winners) == 1
            assert (await bucket.get("key")).value == winners[0]


async def test_an_update_by_revision_loses_no_write(nats: EitherServer) -> None:
    """Read, add one, update by the revision, again where somebody was first: every addition is in the result."""
    async with bucket_of(nats) as (_, js, bucket):
        await bucket.create("sum", b"0")

        async def add() -> None:
            mine = await open_bucket(js, "jobs")
            done = 0
            while done < 4:
                entry = await mine.get("sum")
                try:
                    await mine.update("sum", b"%d" % (int(entry.value) + 1), entry.revision)
                except WrongRevisionError:
                    pass
                else:
                    done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(add)
        assert (await bucket.get("sum")).value == b"16"


async def test_deleted_and_purged(nats: EitherServer) -> None:
    """A deletion hides the value and keeps its history, a purge leaves nothing else; both may expect a revision."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", history=5)) as (_, _js, bucket):
        first = await bucket.put("a", b"1")
        with pytest.raises(WrongRevisionError):
            await bucket.delete("a", revision=first + 5)
        await bucket.delete("a", revision=first)
        with pytest.raises(KeyNotFoundError) as caught:
            await bucket.get("a")
        assert caught.value.revision == first + 1
        assert [one.operation for one in await bucket.history("a")] == [Operation.PUT, Operation.DELETE]
        second = await bucket.create("a", b"2")
        with pytest.raises(KeyExistsError):
            await bucket.create("a", b"3")
        with pytest.raises(WrongRevisionError):
            await bucket.purge("a", revision=first)
        await bucket.purge("a", revision=second)
        assert [one.operation for one in await bucket.history("a")] == [Operation.PURGE]
        await bucket.purge("never.there")
        await bucket.update("a", b"4", second + 1)
        assert (await bucket.get("a")).value == b"4"
        assert await bucket.history("nothing") == []


async def test_keys_are_those_with_a_value(nats: EitherServer) -> None:
    """Listed are keys with a value, each once, by filter; not the deleted ones. Many pages are read as one."""
    async with bucket_of(nats) as (_, js, bucket):
        assert await bucket.keys() == []
        for key in ("a.1", "a.2", "b.1", "gone"):
            await bucket.put(key, b"x")
        await bucket.put("a.1", b"y")
        await bucket.delete("gone")
        assert await bucket.keys() == ["a.2", "b.1", "a.1"]
        assert await bucket.keys("a.*") == ["a.2", "a.1"]
        assert await bucket.keys("*.1") == ["b.1", "a.1"]
        assert await bucket.keys("z.>") == []
        async with js.publisher() as publisher:
            for number in range(600):
                await publisher.publish(f"$KV.jobs.many.{number}", b"")
        assert await bucket.keys("many.*") == [f"many.{number}" for number in range(600)]
        assert await js.consumer_names("KV_jobs") == []


async def test_a_time_to_live(nats: EitherServer) -> None:
    """What has expired is not there, leaves a deletion behind for its time, and can be created again; then nothing."""
    config = BucketConfig(bucket="jobs", limit_marker_seconds=3)
    async with bucket_of(nats, config) as (_, _js, bucket):
        await bucket.create("claim", b"x", ttl_seconds=1)
        await bucket.put("put", b"x", ttl_seconds=1)
        await bucket.update("put", b"y", 2, ttl_seconds=1)
        await bucket.put("stays", b"x")
        await bucket.purge("purged", ttl_seconds=1)
        with pytest.raises(KeyExistsError):
            await bucket.create("claim", b"y", ttl_seconds=1)
        await trio.sleep(1 + LATE_SECONDS)
        for key in ("claim", "put"):
            with pytest.raises(KeyNotFoundError) as caught:
                await bucket.get(key)
            assert caught.value.revision
        assert [one.operation for one in await bucket.history("put")] == [Operation.PURGE]
        assert await bucket.history("purged") == []
        assert await bucket.keys() == ["stays"]
        await bucket.create("claim", b"again")
        await trio.sleep(3 + LATE_SECONDS)
        assert (await bucket.get("claim")).value == b"again"
        assert await bucket.history("put") == []


async def test_entries_of_a_bucket_with_a_time_to_live(nats: EitherServer) -> None:
    """Where the bucket has a time to live all its entries go by it."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", ttl_seconds=1)) as (_, _js, bucket):
        await bucket.put("a", b"x")
        await trio.sleep(1 + LATE_SECONDS)
        with pytest.raises(KeyNotFoundError):
            await bucket.get("a")
        await bucket.create("a", b"y")


async def test_what_is_no_entry_is_passed_over(nats: EitherServer) -> None:
    """Keys and operations that ADR-8 does not know are passed over and counted, and can be written over."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", history=2)) as (_, js, bucket):
        await bucket.put("good", b"x")
        for key, operation in (("bäd", None), ("_kv.reserved", None), ("a+b", "PUT"), ("odd", "EXPLODE")):
            await js.publish(f"$KV.jobs.{key}", b"x", headers={"KV-Operation": operation} if operation else None)
        await js.publish("$KV.jobs.marked", b"", headers={"Nats-Marker-Reason": "Nobody knows"})
        await js.publish(
            "$KV.jobs.spoofed", b"x", headers=[("Nats-Subject", "$KV.jobs.good"), ("Nats-Sequence", "1"), ("A", "b")]
        )
        assert await bucket.keys() == ["good", "spoofed"]
        assert bucket.skipped == 5
        assert await bucket.history("odd") == []
        assert bucket.skipped == 6
        with pytest.raises(InvalidEntryError, match="'EXPLODE', which is no operation"):
            await bucket.get("odd")
        with pytest.raises(KeyExistsError):
            await bucket.create("odd", b"y")
        entry = await bucket.get("spoofed")
        assert (entry.key, entry.revision) == ("spoofed", 7)
        await bucket.put("odd", b"y")
        assert (await bucket.get("odd")).value == b"y"


async def test_buckets_are_made_opened_listed_and_deleted(nats: EitherServer) -> None:
    """A bucket is there from its making to its deletion; the same again is no error, another configuration is."""
    async with bucket_of(nats, BucketConfig(bucket="jobs", history=4, ttl_seconds=600, description="d")) as (
        _,
        js,
        one,
    ):
        assert await bucket_names(js) == ["jobs"]
        await create_bucket(js, BucketConfig(bucket="jobs", history=4, ttl_seconds=600, description="d"))
        with pytest.raises(BucketExistsError):
            await create_bucket(js, BucketConfig(bucket="jobs", history=5))
        await one.put("a", b"x")
        status = await (await open_bucket(js, "jobs")).status()
        assert (status.bucket, status.entries, status.history, status.ttl_seconds) == ("jobs", 1, 4, 600)
        assert (status.limit_marker_seconds, status.compressed, status.stream.config.discard) == (None, False, "new")
        await js.create_stream(StreamConfig(name="KV_other", subjects=("other",)))
        with pytest.raises(NotABucketError):
            await open_bucket(js, "other")
        await delete_bucket(js, "jobs")
        for call in (one.status, lambda: one.get("a"), lambda: one.put("a", b""), one.keys, lambda: one.history("a")):
            with pytest.raises(BucketNotFoundError):
                await call()
        for gone in (open_bucket, delete_bucket):
            with pytest.raises(BucketNotFoundError):
                await gone(js, "jobs")


async def test_direct_reads_need_no_permission_of_the_stream(nats: EitherServer) -> None:
    """Where the stream does not allow direct gets, its leader is asked."""
    async with bucket_of(nats) as (_, js, bucket):
        await bucket.put("a", b"x")
        info = await js.stream_info("KV_jobs")
        await js.update_stream(attrs.evolve(info.config, allow_direct=False))
        assert (await bucket.get("a")).value == b"x"
        with pytest.raises(KeyNotFoundError):
            await bucket.get("b")


async def test_a_bucket_outlives_its_server(nats: EitherServer) -> None:
    """What was stored is there behind a kill; a time to live goes on, and what is asked meanwhile waits."""
    config = BucketConfig(bucket="jobs", limit_marker_seconds=30)
    async with bucket_of(nats, config) as (nc, _, bucket):
        await bucket.create("claim", b"x", ttl_seconds=2)
        revision = await bucket.put("stays", b"y")
        await nats.kill()
        while nc.state is State.CONNECTED:  # noqa: ASYNC110  # events tell of turns, and the turn may be over
            await trio.sleep(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.get, "stays")
            await nats.start()
        assert (await bucket.get("stays")).revision == revision
        await trio.sleep(2 + LATE_SECONDS)
        assert await bucket.create("claim", b"z") > revision
