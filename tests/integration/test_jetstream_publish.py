"""Streams and publishes on the real server: what it really answers."""

from __future__ import annotations

import attrs
import pytest

from beamline_trio import (
    APIError,
    ConsumerConfig,
    ConsumerNotFoundError,
    JetStream,
    JetStreamNotEnabledError,
    NoStreamResponseError,
    PublishRetry,
    StreamConfig,
    StreamExistsError,
    StreamNotFoundError,
    WrongLastSequenceError,
    open_client,
)
from beamline_trio.jetstream import WrongLastMessageIdError, WrongStreamError
from beamline_trio.server_process import open_server


async def test_streams_and_publishes() -> None:
    """Create, look, publish with every expectation, update without loss of unknown keys, purge, delete."""
    async with open_server(jetstream=True) as server, open_client(server.url) as nc:
        js = JetStream(nc)
        assert await js.api_level() >= 5
        config = StreamConfig(name="S", subjects=["s.>"], storage="memory", allow_msg_ttl=True, max_age_seconds=3600)
        info = await js.create_stream(config)
        assert (info.config.max_age_seconds, info.config.duplicate_window_seconds) == (3600, 120)
        assert (await js.create_stream(config)).created == info.created
        with pytest.raises(StreamExistsError):
            await js.create_stream(attrs.evolve(config, subjects=["t.>"]))
        first = await js.publish("s.a", b"1", message_id="1", expected_last_sequence=0, ttl_seconds=60)
        assert (first.sequence, first.duplicate) == (1, False)
        assert (await js.publish("s.a", b"1", message_id="1")).duplicate
        second = await js.publish("s.b", b"2", expected_last_message_id="1", expected_stream="S", retry=PublishRetry())
        assert second.sequence == 2
        await js.publish("s.b", b"3", expected_last_subject_sequence=2)
        with pytest.raises(WrongLastSequenceError):
            await js.publish("s.b", b"x", expected_last_sequence=1)
        with pytest.raises(WrongLastSequenceError):
            await js.publish("s.b", b"x", expected_last_subject_sequence=9)
        with pytest.raises(WrongLastMessageIdError):
            await js.publish("s.b", b"x", expected_last_message_id="1")
        with pytest.raises(WrongStreamError):
            await js.publish("s.b", b"x", expected_stream="T")
        with pytest.raises(NoStreamResponseError):
            await js.publish("nobody", b"x")
        changed = await js.update_stream(attrs.evolve(info.config, max_msgs=100))
        assert changed.config.max_msgs == 100
        assert await js.purge_stream("S", subject="s.b", keep=1) == 1
        assert (await js.stream_info("S")).state.messages == 2
        await js.delete_stream("S")
        for call in (js.stream_info, js.delete_stream, js.purge_stream, js.consumer_names):
            with pytest.raises(StreamNotFoundError):
                await call("S")


async def test_consumers_through_the_api() -> None:
    """Names come in pages of the server's size; a consumer that is not there is told apart from a stream."""
    async with open_server(jetstream=True) as server, open_client(server.url) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=["s.>"], storage="memory"))
        with pytest.raises(ConsumerNotFoundError):
            await js.consumer_info("S", "c")
        with pytest.raises(ConsumerNotFoundError):
            await js.delete_consumer("S", "c")
        with pytest.raises(ConsumerNotFoundError):
            await js.update_consumer("S", ConsumerConfig(durable_name="c"))
        assert await js.consumer_names("S") == []
        assert await js.stream_names(subject="s.a") == ["S"]
        assert await js.stream_names(subject="t.a") == []


async def test_domains_and_servers_without_jetstream() -> None:
    """A domain is in the subjects; a domain that is not there, and a server without JetStream, are told."""
    async with (
        open_server(config="jetstream { domain: hub }", jetstream=True) as server,
        open_client(server.url) as nc,
    ):
        js = JetStream(nc, domain="hub")
        await js.create_stream(StreamConfig(name="S", subjects=["s"], storage="memory"))
        assert (await js.publish("s")).domain == "hub"
        assert (await JetStream(nc, api_prefix="$JS.hub.API").account_info()).streams == 1
        with pytest.raises(JetStreamNotEnabledError):
            await JetStream(nc, domain="elsewhere").account_info()
    async with open_server() as server, open_client(server.url) as nc:
        with pytest.raises(JetStreamNotEnabledError):
            await JetStream(nc).account_info()


async def test_a_stream_that_is_full() -> None:
    """With discard new the stream refuses, with the server's number."""
    async with open_server(jetstream=True) as server, open_client(server.url) as nc:
        js = JetStream(nc)
        config = StreamConfig(name="S", subjects=["s"], storage="memory", max_msgs=1, discard="new")
        await js.create_stream(config)
        await js.publish("s")
        with pytest.raises(APIError) as caught:
            await js.publish("s")
        assert caught.value.err_code == 10077
