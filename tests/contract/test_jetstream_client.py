"""What a client of JetStream relies on, on both servers: streams, PubAcks, pulls, acknowledgements, restarts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import pytest
import trio

from beamline_trio import Client, ConnectionLostError, open_client
from beamline_trio.jetstream import (
    ConsumerConfig,
    ConsumerNotFoundError,
    JetStream,
    JetStreamMessage,
    MessageNotFoundError,
    NoStreamResponseError,
    PublishRetry,
    StreamConfig,
    StreamNotFoundError,
    WrongLastSequenceError,
)
from beamline_trio.testing import EitherServer

pytestmark = pytest.mark.nats_config(jetstream=True)
LIMIT_SECONDS = 15.0
# A consumer's state is on disk within a tenth of a second.
WRITTEN_SECONDS = 0.3


@asynccontextmanager
async def connected(nats: EitherServer, host: str = "app") -> AsyncGenerator[tuple[Client, JetStream]]:
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer(host)) as nc:
            yield nc, JetStream(nc)


async def fill(js: JetStream, count: int, name: str = "S") -> None:
    for number in range(count):
        await js.publish(f"{name}.{number}", b"m%d" % number)


def payloads(messages: list[JetStreamMessage]) -> list[bytes]:
    return [message.payload for message in messages]


async def test_streams_are_made_changed_and_deleted(nats: EitherServer) -> None:
    """A stream is there from its creation to its deletion, and has the configuration that it was given last."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        await js.update_stream(StreamConfig(name="S", subjects=("S.>",), max_msgs=3))
        await fill(js, 5)
        info = await js.stream_info("S")
        assert (info.config.max_msgs, info.state.messages, info.state.first_seq, info.state.last_seq) == (3, 3, 3, 5)
        assert list(await js.stream_names()) == ["S"]
        await js.purge_stream("S")
        assert (await js.stream_info("S")).state.messages == 0
        await js.delete_stream("S")
        with pytest.raises(StreamNotFoundError):
            await js.stream_info("S")
        with pytest.raises(NoStreamResponseError):
            await js.publish("S.1", b"", retry=PublishRetry(attempts=1))


async def test_a_message_is_stored_once(nats: EitherServer) -> None:
    """A message id is taken once; what an expectation does not meet is not stored."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        first = await js.publish("S.1", b"x", message_id="1")
        again = await js.publish("S.1", b"x", message_id="1")
        assert (first.sequence, first.duplicate) == (1, False)
        assert (again.sequence, again.duplicate) == (1, True)
        with pytest.raises(WrongLastSequenceError):
            await js.publish("S.1", b"x", expected_last_sequence=5)
        assert (await js.publish("S.1", b"y", expected_last_sequence=1)).sequence == 2
        assert (await js.stream_info("S")).state.messages == 2


async def test_messages_are_fetched_and_acknowledged(nats: EitherServer) -> None:
    """What is acknowledged does not come again; the consumer's floor is behind it."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        await fill(js, 4)
        consumer = await js.create_consumer("S", ConsumerConfig(durable_name="C", ack_policy="explicit"))
        messages = await consumer.fetch(3)
        assert payloads(messages) == [b"m0", b"m1", b"m2"]
        assert [message.metadata.stream_sequence for message in messages] == [1, 2, 3]
        for message in messages:
            await message.ack_sync()
        info = await js.consumer_info("S", "C")
        assert (info.ack_floor.stream_seq, info.num_ack_pending, info.num_pending) == (3, 0, 1)
        await js.delete_consumer("S", "C")
        with pytest.raises(ConsumerNotFoundError):
            await js.consumer_info("S", "C")


async def test_a_message_that_is_refused_comes_again(nats: EitherServer) -> None:
    """Behind nak it comes at once, behind term not at all, and without a word when the wait for its ack is over."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        await fill(js, 3)
        config = ConsumerConfig(durable_name="C", ack_policy="explicit", ack_wait_seconds=1.0)
        consumer = await js.create_consumer("S", config)
        refused, ended, _ = await consumer.fetch(3)
        await ended.term("no use")
        await refused.nak()
        (again,) = await consumer.fetch(1)
        assert (again.payload, again.metadata.delivered) == (b"m0", 2)
        await again.ack_sync()
        (late,) = await consumer.fetch(1)
        assert (late.payload, late.metadata.delivered) == (b"m2", 2)


@pytest.mark.parametrize("storage", ["file", "memory"])
async def test_what_a_kill_leaves(nats: EitherServer, storage: Literal["file", "memory"]) -> None:
    """Behind SIGKILL a stream in a file has all its messages and its consumer's state; one in memory is gone."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",), storage=storage))
        await fill(js, 3)
        consumer = await js.create_consumer("S", ConsumerConfig(durable_name="C", ack_policy="explicit"))
        (first,) = await consumer.fetch(1)
        await first.ack_sync()
        await trio.sleep(WRITTEN_SECONDS)
    await nats.kill()
    await nats.start()
    async with connected(nats) as (_, js):
        if storage == "memory":
            assert list(await js.stream_names()) == []
            return
        assert (await js.stream_info("S")).state.messages == 3
        consumer = await js.consumer("S", "C")
        assert payloads(await consumer.fetch(2)) == [b"m1", b"m2"]


async def test_publishing_survives_a_restart(nats: EitherServer) -> None:
    """With a message id a publish can be repeated over a kill, and is stored once."""
    async with connected(nats) as (nc, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        await js.publish("S.1", b"x", message_id="1")
        await nats.kill()
        await nats.start()
        with suppress(ConnectionLostError):  # the client may not have noticed
            await nc.flush()
        await nc.flush()
        assert (await js.publish("S.1", b"x", message_id="1")).duplicate
        assert (await js.publish("S.1", b"y", message_id="2")).sequence == 2


async def test_a_work_queue_gives_each_message_to_one(nats: EitherServer) -> None:
    """Two clients of one consumer share the messages, which leave the stream when they are acknowledged."""
    async with connected(nats) as (_, js), connected(nats, "other") as (_, other):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",), retention="workqueue"))
        await fill(js, 4)
        await js.create_consumer("S", ConsumerConfig(durable_name="C", ack_policy="explicit"))
        here = await (await js.consumer("S", "C")).fetch(2)
        there = await (await other.consumer("S", "C")).fetch(2)
        assert payloads(here + there) == [b"m0", b"m1", b"m2", b"m3"]
        for message in here + there:
            await message.ack_sync()
        assert (await js.stream_info("S")).state.messages == 0


async def test_an_expired_message_is_gone(nats: EitherServer) -> None:
    """A message with a time to live leaves a stream that allows that, and the others stay."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",), allow_msg_ttl=True))
        await js.publish("S.1", b"x", ttl_seconds=1)
        await js.publish("S.2", b"y")
        await trio.sleep(2.6)
        state = (await js.stream_info("S")).state
        assert (state.messages, state.first_seq) == (1, 2)


async def test_stored_messages_are_read_and_deleted(nats: EitherServer) -> None:
    """By sequence, the last of a subject, the first of it from a place on; a deleted one is found no more."""
    async with connected(nats) as (_, js):
        await js.create_stream(StreamConfig(name="S", subjects=("S.>",)))
        await js.publish("S.a", b"one", headers={"Tenant": "t"}, message_id="m")
        await js.publish("S.b", b"two")
        await js.publish("S.a", b"three")
        first = await js.get_message("S", sequence=1)
        assert (first.stream, first.sequence, first.subject, first.payload) == ("S", 1, "S.a", b"one")
        assert first.headers.items() == [("Tenant", "t"), ("Nats-Msg-Id", "m")]
        assert first.time is not None
        assert (await js.get_message("S", subject="S.a")).payload == b"three"
        assert (await js.get_message("S", sequence=2, subject="S.*")).payload == b"two"
        assert (await js.get_message("S", sequence=2, subject="S.a")).sequence == 3
        await js.delete_message("S", 1)
        await js.delete_message("S", 2, erase=True)
        assert (await js.get_message("S", sequence=1, subject="S.>")).sequence == 3
        absences: list[dict[str, Any]] = [{"sequence": 1}, {"sequence": 4, "subject": "S.>"}, {"subject": "S.z"}]
        for absent in absences:
            with pytest.raises(MessageNotFoundError):
                await js.get_message("S", **absent)
        with pytest.raises(MessageNotFoundError):
            await js.delete_message("S", 1)
        with pytest.raises(StreamNotFoundError):
            await js.get_message("T", sequence=1)
