"""Subjects that other clients may legally use and this one only echoes: bytes that are not UTF-8."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from beamline_trio import InvalidSubjectError, NatsError

from ._server import LIMIT_SECONDS, Connect, RawConnect, settle, take

ODD = b"odd.\xff\xfe\x80x"


async def test_a_subject_that_is_not_utf8_arrives(connect: Connect, raw: RawConnect) -> None:
    """It is delivered with surrogate escapes in `subject` and as it came in `subject_bytes`; others are as ever."""
    async with connect() as nc, raw() as other, nc.subscribe("odd.*") as sub:
        await sub.confirmed()
        await other.send(b"PUB odd.plain 1\r\na\r\nPUB %b 1\r\nb\r\n" % ODD)
        await other.send(b"HPUB %b 22 23\r\nNATS/1.0\r\nName: v\xff\r\n\r\nc\r\nPUB odd.plain 1\r\nd\r\n" % ODD)
        messages = await take(sub, 4)
        assert [message.payload for message in messages] == [b"a", b"b", b"c", b"d"]
        assert [message.subject_bytes for message in messages] == [b"odd.plain", ODD, ODD, b"odd.plain"]
        assert messages[1].subject == ODD.decode("utf-8", "surrogateescape")
        assert messages[1].subject.encode("utf-8", "surrogateescape") == ODD
        assert messages[2].headers["name"] == "v\udcff"
        assert nc.stats().malformed == 0


async def test_such_a_subject_is_refused_on_publish(connect: Connect, raw: RawConnect) -> None:
    """Publishing, requesting or subscribing to what arrived with surrogates is a typed error, and nothing is sent."""
    async with connect() as nc, raw() as other, nc.subscribe("odd.*") as sub:
        await sub.confirmed()
        await other.send(b"PUB %b 0\r\n\r\n" % ODD)
        (message,) = await take(sub, 1)
        before = nc.stats().bytes_out
        for publish in (nc.publish, nc.request):
            with pytest.raises(InvalidSubjectError, match="not valid UTF-8"):
                await publish(message.subject)
        with pytest.raises(InvalidSubjectError, match="not valid UTF-8"):
            nc.publish_nowait(message.subject)
        with pytest.raises(InvalidSubjectError, match="not valid UTF-8"):
            await nc.publish("fine", reply=message.subject)
        with pytest.raises(InvalidSubjectError, match="not valid UTF-8"):
            nc.subscribe(message.subject)
        await nc.flush()
        assert nc.stats().bytes_out == before + len(b"PING\r\n")
        assert nc.ledger().accepted == 0
        assert nc.stats().server_errors == 0


async def test_such_a_reply_subject_is_answered_in_its_own_bytes(connect: Connect, raw: RawConnect) -> None:
    """`respond` goes to the bytes of the reply subject as they came."""
    reply = b"_r.\xfe\xe9.1"
    async with connect() as nc, raw() as other, nc.subscribe("q") as sub:
        await sub.confirmed()
        await other.send(b"SUB _r.> 7\r\nPUB q %b 1\r\n?\r\n" % reply)
        (message,) = await take(sub, 1)
        assert (message.reply_bytes, message.reply) == (reply, reply.decode("utf-8", "surrogateescape"))
        await message.respond(b"first")
        await message.respond(b"second", headers={"A": "b"})
        await settle(nc)
        assert await other.sync() == (
            b"MSG %b 7 5\r\nfirst\r\n" % reply
            + b"HMSG %b 7 18 24\r\nNATS/1.0\r\nA: b\r\n\r\nsecond\r\nPONG\r\n" % reply
        )


@pytest.mark.parametrize("subject", ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB b 0\r\n", "a\n", "a\f"])
async def test_no_subject_becomes_another_operation(connect: Connect, subject: str) -> None:
    """A subject, reply or queue group that would change the framing is refused, and the connection is untouched."""
    async with connect() as nc:
        before = nc.stats().bytes_out
        with pytest.raises(InvalidSubjectError):
            await nc.publish(subject, b"x")
        with pytest.raises(InvalidSubjectError):
            await nc.publish("a", b"x", reply=subject)
        with pytest.raises(InvalidSubjectError):
            await nc.request(subject)
        with pytest.raises(InvalidSubjectError):
            nc.subscribe(subject)
        if not subject or not subject.isprintable() or " " in subject:  # dots are nothing special in a queue group
            with pytest.raises(InvalidSubjectError):
                nc.subscribe("a", queue_group=subject)
        await nc.flush()
        assert nc.stats().bytes_out == before + len(b"PING\r\n")
        assert (nc.stats().server_errors, nc.stats().lost, nc.ledger().accepted) == (0, 0, 0)


async def test_a_subject_too_long_for_the_server_harms_only_itself(connect: Connect) -> None:
    """The server hangs up on a line of more than 4,096 bytes: such a subject ends its operation, not the client."""
    long = "x" * 5_000
    async with connect(reconnect_delay_max_seconds=0.1) as nc, nc.subscribe("a") as sub, AsyncExitStack() as stack:
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(NatsError):
            await nc.publish(long, confirm=True)
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(NatsError):
            refused = await stack.enter_async_context(nc.subscribe(long))
            await refused.receive()
        with trio.fail_after(LIMIT_SECONDS):
            await nc.flush()
            await nc.publish("a", b"alive", confirm=True)
        assert [message.payload for message in await take(sub, 1)] == [b"alive"]
        assert nc.stats().lost <= 2


@pytest.mark.parametrize("subject", ["*", "a.*", "a.>", ">", "a.>.b"])
async def test_nothing_is_published_to_a_wildcard(connect: Connect, subject: str) -> None:
    """A wildcard is no subject to publish to: the server would take it as it is, so it is refused here."""
    async with connect() as nc, nc.subscribe(">") as sub:
        with pytest.raises(InvalidSubjectError):
            await nc.publish(subject)
        await settle(nc)
        assert sub.delivered == 0
