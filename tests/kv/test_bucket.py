"""What a bucket refuses before it sends, what cancellation leaves, and what it does when others are always first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from beamline_trio import Client, ClientClosedError, JetStream, open_client
from beamline_trio.jetstream import statistics_of
from beamline_trio.kv import (
    Bucket,
    BucketConfig,
    InvalidKeyError,
    KeyExistsError,
    NotStoredError,
    WrongRevisionError,
    bucket_names,
    create_bucket,
    delete_bucket,
    open_bucket,
)
from beamline_trio.kv._configuration import stream_config
from beamline_trio.simulation import ServerConfig, SimulatedServer, World

Call = Callable[[Bucket], Awaitable[Any]]
CONFIG = BucketConfig(bucket="b", limit_marker_seconds=60)
CALLS: dict[str, Call] = {
    "get": lambda bucket: bucket.get("there"),
    "get of a revision": lambda bucket: bucket.get("there", revision=1),
    "keys": lambda bucket: bucket.keys(),
    "history": lambda bucket: bucket.history("there"),
    "status": lambda bucket: bucket.status(),
    "put": lambda bucket: bucket.put("new", b"x"),
    "create": lambda bucket: bucket.create("new", b"x"),
    "update": lambda bucket: bucket.update("there", b"x", 1),
    "delete": lambda bucket: bucket.delete("there"),
    "purge": lambda bucket: bucket.purge("there"),
    "create_bucket": lambda bucket: create_bucket(bucket.js, CONFIG),
    "open_bucket": lambda bucket: open_bucket(bucket.js, "b"),
    "bucket_names": lambda bucket: bucket_names(bucket.js),
    "delete_bucket": lambda bucket: delete_bucket(bucket.js, "b"),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@asynccontextmanager
async def opened(world: World, **options: Any) -> AsyncGenerator[tuple[SimulatedServer, Client, Bucket]]:
    """A server, a client and a bucket in which the key `there` has the revision 1."""
    server = await world.start_server("nats", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=world.dialer("app"), **options) as nc:
        bucket = await create_bucket(JetStream(nc), CONFIG)
        await bucket.put("there", b"x")
        yield server, nc, bucket


def stored(server: SimulatedServer) -> int:
    """How many messages the bucket's stream has taken; -1 when there is no stream."""
    return next((view.last_sequence for view in server.streams), -1)


@each_call
async def test_cancelled_before_and_while_waiting(call: Call, nats_world: World) -> None:
    """Cancelled before, nothing is sent; cancelled while waiting, nothing waits any more, and the client goes on."""
    async with opened(nats_world) as (server, nc, bucket):
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(bucket)
        await nc.flush()
        assert scope.cancelled_caught
        assert stored(server) == 1
        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, bucket)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        server.resume()
        await nc.flush()
        assert nc.stats().requests_inflight == 0


@each_call
async def test_checkpoints(call: Call, nats_world: World) -> None:
    """Every operation is a checkpoint where it succeeds."""
    async with opened(nats_world) as (_, _nc, bucket):
        with assert_checkpoints():
            await call(bucket)


@each_call
async def test_closed_by_another_task(call: Call, nats_world: World) -> None:
    """Whoever waits is told that the client was closed."""
    async with opened(nats_world) as (server, nc, bucket):
        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed, call, bucket)
            await wait_all_tasks_blocked()
            nc.connection.close()
        server.resume()


async def closed(call: Call, bucket: Bucket) -> None:
    with pytest.raises(ClientClosedError):
        await call(bucket)


REFUSED: dict[str, tuple[type[Exception], str, Call]] = {
    "get": (InvalidKeyError, "the key", lambda bucket: bucket.get("a b")),
    "get of a revision": (ValueError, "sequence is 0", lambda bucket: bucket.get("a", revision=0)),
    "put": (InvalidKeyError, "the key", lambda bucket: bucket.put("a..b", b"")),
    "put for no time": (ValueError, "at least 1", lambda bucket: bucket.put("a", b"", ttl_seconds=0.5)),
    "create": (InvalidKeyError, "the key", lambda bucket: bucket.create("", b"")),
    "update": (InvalidKeyError, "the key", lambda bucket: bucket.update("*", b"", 1)),
    "update of no revision": (ValueError, "sequence is -1", lambda bucket: bucket.update("a", b"", -1)),
    "delete": (InvalidKeyError, "the key", lambda bucket: bucket.delete("_kv.a")),
    "purge": (TypeError, "the key must be a str", lambda bucket: bucket.purge(3)),  # type: ignore[arg-type]
    "history": (InvalidKeyError, "the key", lambda bucket: bucket.history("a.*")),
    "keys": (InvalidKeyError, "the filter", lambda bucket: bucket.keys("a>")),
    "open_bucket": (InvalidKeyError, "the bucket", lambda bucket: open_bucket(bucket.js, "a.b")),
    "delete_bucket": (InvalidKeyError, "the bucket", lambda bucket: delete_bucket(bucket.js, "a b")),
    "create_bucket": (TypeError, "BucketConfig", lambda bucket: create_bucket(bucket.js, "b")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("error, text, call", REFUSED.values(), ids=REFUSED)
async def test_refused_before_a_byte_is_sent(error: type[Exception], text: str, call: Call, nats_world: World) -> None:
    """What cannot be is refused in a checkpoint, and the server sees nothing."""
    async with opened(nats_world) as (_, nc, bucket):
        before = nc.stats().bytes_out
        with assert_checkpoints(), pytest.raises(error, match=text):
            await call(bucket)
        assert nc.stats().bytes_out == before


async def test_times_to_live_need_a_bucket_for_them(nats_world: World) -> None:
    """Without markers no key has a time to live; with a history only what has nothing before it."""
    async with opened(nats_world) as (_, nc, _bucket):
        js = JetStream(nc)
        plain = await create_bucket(js, BucketConfig(bucket="plain"))
        for call in (plain.put, plain.create):
            with pytest.raises(ValueError, match="made without limit_marker_seconds"):
                await call("a", b"", ttl_seconds=5)
        with pytest.raises(ValueError, match="made without limit_marker_seconds"):
            await plain.purge("a", ttl_seconds=5)
        deep = await create_bucket(js, BucketConfig(bucket="deep", history=3, limit_marker_seconds=5))
        with pytest.raises(ValueError, match="keeps 3 revisions"):
            await deep.put("a", b"", ttl_seconds=5)
        with pytest.raises(ValueError, match="keeps 3 revisions"):
            await deep.update("a", b"", 0, ttl_seconds=5)
        await deep.create("a", b"", ttl_seconds=5)
        await deep.purge("a", ttl_seconds=5)


@pytest.mark.parametrize(
    "field, value",
    [
        ("history", None),
        ("history", 0),
        ("history", 65),
        ("history", True),
        ("ttl_seconds", 0),
        ("limit_marker_seconds", 0.5),
    ],
)
def test_bad_configurations(field: str, value: object) -> None:
    """A value out of its bounds is refused with its name."""
    with pytest.raises((TypeError, ValueError), match=field):
        BucketConfig(bucket="b", **{field: value})  # type: ignore[arg-type]  # the point of the test


def test_the_stream_of_a_bucket() -> None:
    """The stream is what ADR-8 says: named, with its subjects, its history, discarding new, and never deleting."""
    config = stream_config(BucketConfig(bucket="b", history=5, ttl_seconds=60, compressed=True))
    assert (config.name, list(config.subjects or ())) == ("KV_b", ["$KV.b.>"])
    assert (config.max_msgs_per_subject, config.max_age_seconds, config.duplicate_window_seconds) == (5, 60, 60)
    assert (config.discard, config.compression, config.allow_msg_ttl) == ("new", "s2", None)
    assert (config.deny_delete, config.allow_rollup_hdrs, config.allow_direct) == (True, True, True)
    assert stream_config(BucketConfig(bucket="b")).duplicate_window_seconds == 120


async def test_a_prefix_is_before_the_keys_too(nats_world: World) -> None:
    """Where the API is another account's, writes go through it (ADR-19)."""
    async with opened(nats_world) as (_, nc, bucket), nc.subscribe("acme.js.$KV.b.a") as written:
        foreign = Bucket(JetStream(nc, api_prefix="acme.js"), bucket.status_when_opened)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(foreign.put, "a", b"x")
            assert (await written.receive()).payload == b"x"
            nursery.cancel_scope.cancel()


async def test_what_is_skipped_is_no_write(nats_world: World) -> None:
    """A client that fails open does not pretend to have stored something: no revision, no exclusive creation."""
    async with opened(nats_world, fail_open=True) as (server, nc, bucket):
        server.kill()
        while nc.connection.link_is_up:  # noqa: ASYNC110  # events tell of turns, and the turn may be over
            await trio.sleep(0.001)
        with pytest.raises(NotStoredError):
            await bucket.create("a", b"")
        server.start()


@pytest.mark.parametrize("fail_open", [False, True])
async def test_whoever_was_not_first_is_told(fail_open: bool, nats_world: World) -> None:
    """Also a client that fails open learns that somebody was first; it is no failed publish."""
    async with opened(nats_world, fail_open=fail_open) as (_, nc, bucket):
        with pytest.raises(KeyExistsError) as caught:
            await bucket.create("there", b"y")
        assert caught.value.entry == await bucket.get("there")
        with pytest.raises(WrongRevisionError):
            await bucket.update("there", b"y", 7)
        assert not any(statistics_of(nc).publish_failures.values())
        assert statistics_of(nc).publish_expectations_unmet == 2


async def test_one_who_is_never_first_is_told_that_the_key_exists(nats_world: World) -> None:
    """Between its reading and its writing somebody creates and deletes the key, again and again: create ends."""
    async with opened(nats_world) as (_, _nc, bucket):
        other = await open_bucket(bucket.js, "b")
        read = bucket._read

        async def outrun(key: str, revision: int | None, *, direct: bool) -> Any:
            entry = await read(key, revision, direct=direct)
            await other.put(key, b"")
            await other.delete(key)
            return entry

        bucket._read = outrun  # type: ignore[method-assign]  # the race that no chance finds
        await other.delete("there")
        with pytest.raises(KeyExistsError):
            await bucket.create("there", b"mine")
