"""What the client puts on the wire, byte for byte, as a proxy before a real server sees it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from functools import partial

import pytest
import trio

import beamline_trio
from beamline_trio import (
    Client,
    InvalidHeaderError,
    InvalidSubjectError,
    Message,
    NoRespondersError,
    PayloadTooLargeError,
    Reconnected,
    open_client,
)
from beamline_trio.server_process import Server

from ._recording_proxy import RecordingProxy, open_recording_proxy

LIMIT_SECONDS = 10.0


@pytest.fixture
async def proxy(nats_server: Server) -> AsyncGenerator[RecordingProxy]:
    """A recording proxy before a fresh server."""
    async with open_recording_proxy(nats_server.port) as open_proxy:
        yield open_proxy


def sent_after_handshake(proxy: RecordingProxy, link: int = 0) -> bytes:
    """What the client sent behind CONNECT and its PING."""
    return bytes(proxy.links[link].sent).split(b"\r\nPING\r\n", 1)[1]


async def sent_during(proxy: RecordingProxy, nc: Client) -> bytes:
    """What the client sent behind the handshake, up to the PING of a flush, which is not in it."""
    await nc.flush()
    sent = sent_after_handshake(proxy)
    assert sent.endswith(b"PING\r\n")
    return sent[: -len(b"PING\r\n")]


async def test_the_handshake_is_connect_and_ping(proxy: RecordingProxy) -> None:
    """One CONNECT, one PING, and nothing else until somebody wants something."""
    async with open_client(proxy.url, name='or"ders', user="u", password="p", echo=False) as nc:
        await trio.sleep(0.05)  # for what should not come
        assert nc.server_info.connect_info
        sent = bytes(proxy.links[0].sent)
    line, rest = sent.split(b"\r\n", 1)
    assert line.startswith(b"CONNECT {")
    assert json.loads(line.removeprefix(b"CONNECT ")) == {
        "verbose": False,
        "pedantic": False,
        "tls_required": False,
        "echo": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python-trio",
        "version": beamline_trio.__version__,
        "name": 'or"ders',
        "user": "u",
        "pass": "p",
    }
    assert rest == b"PING\r\n"


async def test_sub_and_unsub_are_exact(proxy: RecordingProxy) -> None:
    """SUB has subject, queue group and a sid of its own; UNSUB the sid and the count; an ended one gets no UNSUB."""
    async with open_client(proxy.url) as nc:
        async with (
            nc.subscribe("a.*"),
            nc.subscribe("b.>", queue_group="g"),
            nc.subscribe("c", max_messages=7),
            nc.subscribe("d", max_messages=1) as spent,
            nc.subscribe("e") as later,
        ):
            await later.unsubscribe(after=3)
            await nc.publish("d", b"x")
            assert [message.payload async for message in spent] == [b"x"]
        assert await sent_during(proxy, nc) == (
            b"SUB a.* 1\r\nSUB b.> g 2\r\nSUB c 3\r\nUNSUB 3 7\r\nSUB d 4\r\nUNSUB 4 1\r\nSUB e 5\r\nUNSUB 5 3\r\n"
            b"PUB d 1\r\nx\r\n"
            b"UNSUB 5\r\nUNSUB 3\r\nUNSUB 2\r\nUNSUB 1\r\n"
        )


async def test_publish_frames_are_exact(proxy: RecordingProxy) -> None:
    """PUB and HPUB say subject, reply and sizes in bytes, and the header block keeps order, case and every value."""
    async with open_client(proxy.url) as nc:
        await nc.publish("a", b"")
        await nc.publish("größe.1", "ü".encode(), reply="r.1")
        await nc.publish("a", b"x", headers=[("B", "1"), ("a", "2"), ("B", "")])
        await nc.publish("a", bytearray(b"\r\n"), reply="r", headers={"N": "ü"})
        nc.publish_nowait("a", memoryview(b"nowait"))
        for _ in range(3):
            await nc.publish("a", b"again")
        assert await sent_during(proxy, nc) == (
            b"PUB a 0\r\n\r\n"
            b"PUB gr\xc3\xb6\xc3\x9fe.1 r.1 2\r\n\xc3\xbc\r\n"
            b"HPUB a 29 30\r\nNATS/1.0\r\nB: 1\r\na: 2\r\nB: \r\n\r\nx\r\n"
            b"HPUB a r 19 21\r\nNATS/1.0\r\nN: \xc3\xbc\r\n\r\n\r\n\r\n"
            b"PUB a 6\r\nnowait\r\n" + b"PUB a 5\r\nagain\r\n" * 3
        )


async def test_bytes_are_those_of_the_wire(proxy: RecordingProxy) -> None:
    """`bytes_in` and `bytes_out` are what passed, from the first byte of the handshake on."""
    async with open_client(proxy.url) as nc, nc.subscribe("a"):
        for size in (0, 1, 1_000, 100_000):
            await nc.publish("a", bytes(size), headers={"A": "b"})
        with pytest.raises(NoRespondersError):
            await nc.request("nobody", b"?")
        await nc.flush()
        stats, link = nc.stats(), proxy.links[0]
        assert (stats.bytes_in, stats.bytes_out) == (len(link.received), len(link.sent))
        assert stats.messages_in == 5


async def test_plain_publishes_ask_for_nothing(proxy: RecordingProxy) -> None:
    """A publish without `confirm` sends no PING: thousands of them are one PING, that of the flush behind."""
    async with open_client(proxy.url) as nc:
        for number in range(3_000):
            await nc.publish("a", b"%d" % number)
        assert await sent_during(proxy, nc) == b"".join(
            b"PUB a %d\r\n%d\r\n" % (len(str(number)), number) for number in range(3_000)
        )
        assert nc.stats().confirmed_publishes == 0


async def test_one_ping_serves_all_that_wait(proxy: RecordingProxy) -> None:
    """A hundred publishes confirmed at once, and as many flushes, share one PING, or two where a write parted them."""
    async with open_client(proxy.url) as nc:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(partial(nc.publish, "a", b"%d" % number, confirm=True))
                nursery.start_soon(nc.flush)
        sent = sent_after_handshake(proxy)
        assert sent.count(b"PUB a ") == 100
        assert 1 <= sent.count(b"PING\r\n") <= 2
        assert sent.endswith(b"PING\r\n")
        assert nc.stats().confirmed_publishes == 100


async def test_nothing_is_sent_for_what_is_refused(proxy: RecordingProxy) -> None:
    """Of an operation that is refused here not a byte leaves."""
    too_much = bytes(1_048_577)
    async with open_client(proxy.url) as nc:
        for subject in ("", "a b", "a..b", "a\r\nPUB x 0\r\n", "a.*", "\udcff"):
            with pytest.raises(InvalidSubjectError):
                await nc.publish(subject, b"x")
            with pytest.raises(InvalidSubjectError):
                await nc.publish("a", b"x", reply=subject)
            with pytest.raises(InvalidSubjectError):
                await nc.publish(subject, b"x", confirm=True)
            with pytest.raises(InvalidSubjectError):
                await nc.request(subject, b"x")
        for headers in ({"a b": "c"}, {"": "c"}, {"a:": "c"}, {"a": "b\r\nPUB x 0"}, {"a": "b\n"}, {"a": "\udcff"}):
            with pytest.raises(InvalidHeaderError):
                await nc.publish("a", b"x", headers=headers)
            with pytest.raises(InvalidHeaderError):
                await nc.request("a", b"x", headers=headers)
        for payload in ("text", 7, None, [b"x"]):
            with pytest.raises(TypeError, match="payload must be bytes-like"):
                await nc.publish("a", payload)  # type: ignore[arg-type]  # what is tested
        with pytest.raises(PayloadTooLargeError):
            await nc.publish("a", too_much)
        with pytest.raises(PayloadTooLargeError):
            await nc.request("a", too_much)
        for queue_group in ("", "g h", "g\r\n"):
            with pytest.raises(InvalidSubjectError):
                nc.subscribe("a", queue_group=queue_group)
        assert await sent_during(proxy, nc) == b""
        assert nc.ledger().accepted == 0


async def test_requests_share_one_inbox(proxy: RecordingProxy) -> None:
    """The first request subscribes one wildcard inbox; every request has a reply subject of its own below it."""
    async with open_client(proxy.url) as nc:
        for _ in range(5):
            with pytest.raises(NoRespondersError):
                await nc.request("nobody", b"?")
        sent = await sent_during(proxy, nc)
    (inbox,) = re.findall(rb"SUB (_INBOX\.\w{22}\.)\* 1\r\n", sent)
    replies = re.findall(rb"PUB nobody (%b\w+) 1\r\n\?\r\n" % re.escape(inbox), sent)
    assert len(set(replies)) == 5
    assert sent.count(b"PUB") == 5
    assert sent.count(b"SUB") == 1
    assert b"PING" not in sent


async def test_a_new_link_is_told_what_is_in_force(proxy: RecordingProxy) -> None:
    """After a loss: the same sids in the same order, the remainder of each maximum, then what was pending."""
    async with (
        open_client(proxy.url) as nc,
        nc.events() as events,
        nc.subscribe("a", queue_group="g"),
        nc.subscribe("left"),
        nc.subscribe("five", max_messages=5) as five,
        nc.subscribe("one", max_messages=1) as one,
    ):
        async with nc.subscribe("gone"):
            for subject in ("five", "five", "one"):
                await nc.publish(subject, b"x")
            await one.receive()
            await five.receive()
            await five.receive()
        proxy.cut()
        with trio.fail_after(LIMIT_SECONDS):
            while nc.state == "connected":
                await trio.lowlevel.checkpoint()
            await nc.publish("pending", b"x")
            while not isinstance(await events.receive(), Reconnected):
                pass
            await nc.flush()
        # One PING tells what of the pending has arrived, another one is the flush's: together or one by one.
        assert re.fullmatch(
            rb"SUB a g 1\r\nSUB left 2\r\nSUB five 3\r\nUNSUB 3 3\r\nPUB pending 1\r\nx\r\n(PING\r\n){1,2}",
            sent_after_handshake(proxy, 1),
        )
    assert len(proxy.links) == 2


async def test_a_clean_exit_says_goodbye_in_order(proxy: RecordingProxy) -> None:
    """Leaving with a subscription open sends UNSUB and flushes; nothing is repeated and nothing comes behind."""
    async with open_client(proxy.url) as nc, nc.subscribe("a"):
        await nc.publish("b", b"last")
        await nc.drain()
        sent = sent_after_handshake(proxy)
    await trio.sleep(0.02)
    assert sent_after_handshake(proxy) == sent
    assert re.fullmatch(rb"SUB a 1\r\nPUB b 4\r\nlast\r\nUNSUB 1\r\n(PING\r\n)+", sent), sent


@pytest.mark.server_options(config='ping_interval: "50ms"')
async def test_a_ping_is_answered_by_one_pong(proxy: RecordingProxy) -> None:
    """Each PING of the server's gets a PONG, and the client asks for none of its own."""
    async with open_client(proxy.url) as nc:
        await trio.sleep(0.4)
        link = proxy.links[0]
        pings = bytes(link.received).count(b"PING\r\n")
        assert pings >= 3
        assert pings - 1 <= sent_after_handshake(proxy).count(b"PONG\r\n") <= pings
        assert set(sent_after_handshake(proxy).split(b"\r\n")) == {b"PONG", b""}
        assert nc.stats().lost == 0


async def test_a_response_goes_to_the_reply_subject(proxy: RecordingProxy) -> None:
    """What a handler returns is one PUB to the reply subject; None is nothing; no reply subject, no answer."""

    async def handler(message: Message) -> bytes | None:
        return None if message.payload == b"quiet" else b"loud"

    async with open_client(proxy.url) as nc, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "s", handler)
        before = len(sent_after_handshake(proxy))
        await nc.publish("s", b"quiet", reply="r.1")
        await nc.publish("s", b"loud", reply="r.2")
        await nc.publish("s", b"loud")
        await nc.drain()
        sent = sent_after_handshake(proxy)[before:]
        assert sent.count(b"PUB r.") == 1
        assert b"PUB r.2 4\r\nloud\r\n" in sent
