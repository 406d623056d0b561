"""What others may send, and numbers that nobody can mean: refused by a typed error, never a broken link."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import InvalidSubjectError, JetStream, ProtocolError
from beamline_trio.jetstream._metadata import deliveries_of, read_metadata
from tests._memory import ToyServer, lose_link, opened, wait_connected
from tests.jetstream._pulls import PullServer, consumer_on, settle
from tests.jetstream._script import answer
from tests.jetstream.test_acks import take

HUGE = 10**400
REPLIES = [
    b"$JS.ACK.S.c.1.1",
    b"$JS.ACK.S.c.1.1.1.1.0.x",
    b"$JS.ACK.\xff.c.1.1.1.1.0",
    b"$JS.ACK.S.c." + b"9" * 30 + b".1.1.1.0",
    b"$JS.ACK.S.c." + b"9" * 3000 + b".1.1.1.0",
    b"$JS.ACK.S.c.-1.1.1.1.0",
]


@pytest.mark.parametrize("reply", REPLIES)
async def test_ack_subjects_that_are_none(reply: bytes, autojump_clock: MockClock) -> None:
    """Naked, given back, or come too late: where deliveries are counted, it is one of an unknown number of them."""
    server = PullServer(max_deliver=3)
    async with consumer_on(server) as (nc, consumer):
        async with consumer.messages(10) as messages:
            await settle()
            server.give(2, reply=reply)
            await settle()
            await (await messages.receive()).nak()
            server.pongs_held = True
        server.give(reply=reply)
        await settle()
        server.release_pongs()
        await nc.flush()
        assert nc.connection.counters.established == 1
        assert nc.connection.interests.routes.keys() == {nc.connection.inbox.interest.sid}  # type: ignore[union-attr]


@pytest.mark.parametrize("reply", REPLIES)
def test_deliveries_of_what_is_no_ack_subject(reply: bytes) -> None:
    """Metadata raise, a count is 0; 2**64 - 1 is still a number."""
    if reply == REPLIES[2]:
        assert deliveries_of(reply) == read_metadata(reply).delivered == 1
        return
    with pytest.raises(ProtocolError, match="no ack subject"):
        read_metadata(reply)
    assert deliveries_of(reply) == 0
    assert read_metadata(b"$JS.ACK.S.c.1.1.1.18446744073709551615.0").timestamp.year == 2554


async def test_what_no_consumer_has_sent(autojump_clock: MockClock) -> None:
    """A message without an ack subject, to the inbox of a session, is counted as one that nobody takes."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10):
        await settle()
        server.give(2, reply=b"somebody.else")
        await settle()
        assert nc.connection.counters.unroutable == 2


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e30])
async def test_times_that_cannot_be_sent(seconds: float, autojump_clock: MockClock) -> None:
    """More than the server counts is refused with its name before anything happens, with and without a link."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        sent = len(server.pulls)
        with pytest.raises(ValueError, match="delay_seconds"):
            await message.nak(seconds)
        assert not message.settled
        with pytest.raises(ValueError, match="expires_seconds"):
            consumer.messages(expires_seconds=seconds)
        with trio.testing.assert_checkpoints(), pytest.raises(ValueError, match="expires_seconds"):
            await consumer.fetch(1, expires_seconds=seconds)
        await lose_link(server)
        with pytest.raises(ValueError, match="expires_seconds"):
            await consumer.fetch(1, expires_seconds=seconds)
        server.come_up()
        await wait_connected(nc)
        assert len(server.pulls) == sent


@pytest.mark.parametrize("names", ["abc", 5, {"a": 1}, [5], [None]])
async def test_lists_that_are_none(names: Any, autojump_clock: MockClock) -> None:
    """A list of names that is something else is a ProtocolError."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.NAMES", {"total": 1, "streams": names})
    async with opened(server) as nc:
        with pytest.raises(ProtocolError, match=r"STREAM\.NAMES"):
            await JetStream(nc).stream_names()


@pytest.mark.parametrize("total", ["x", None, [], math.inf])
async def test_a_total_that_is_none(total: Any, autojump_clock: MockClock) -> None:
    """So is a total that is no whole number."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.NAMES", {"total": total, "streams": ["S"]})
    async with opened(server) as nc:
        with pytest.raises(ProtocolError, match=r"STREAM\.NAMES"):
            await JetStream(nc).stream_names()


@pytest.mark.parametrize("purged", ["x", None, []])
async def test_a_purge_that_does_not_say_how_much(purged: Any, autojump_clock: MockClock) -> None:
    """The purge has happened; how much went is not told."""
    server = ToyServer()
    answer(server, "$JS.API.STREAM.PURGE.S", {"purged": purged})
    async with opened(server) as nc:
        assert await JetStream(nc).purge_stream("S") == 0


@pytest.mark.parametrize("value", ["x", HUGE, 1e300, True, [], {}, [HUGE], None])
@pytest.mark.parametrize("key", ["ack_wait", "max_deliver", "backoff", "max_ack_pending", "filter_subject", "metadata"])
async def test_configurations_that_are_none(key: str, value: Any, autojump_clock: MockClock) -> None:
    """A value of the wrong kind is the default: messages can be fetched and naked all the same."""
    server = PullServer(**{key: value})
    async with consumer_on(server) as (nc, consumer):
        (message,) = await take(server, consumer)
        await message.nak()
        await nc.flush()
        assert server.acks == [(1, b"-NAK")]


@pytest.mark.parametrize(
    "name", ["stream_info", "delete_stream", "purge_stream", "consumer_names", "stream_names", "delete_consumer"]
)
async def test_refused_names_are_checkpoints(name: str, autojump_clock: MockClock) -> None:
    """What is refused before anything is sent is a checkpoint all the same."""
    async with opened(ToyServer()) as nc:
        call = getattr(JetStream(nc), name)
        arguments = {"stream_names": {"subject": "a b"}, "delete_consumer": {"stream": "S", "name": "a b"}}
        with trio.testing.assert_checkpoints(), pytest.raises(InvalidSubjectError):
            await call(**arguments[name]) if name in arguments else await call("a b")
