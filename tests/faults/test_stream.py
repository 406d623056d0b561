"""Laws of the fault dialer on the wire: what is passed on, held, swallowed, put in, and in which order."""

from __future__ import annotations

import math
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, cast

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from beamline_trio import NameResolutionError, ServerUnreachableError, TLSError
from beamline_trio.faults import (
    FaultDialer,
    InjectionError,
    OperationFault,
    _incoming,
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from beamline_trio.faults._incoming import ANSWER_BYTES_MAX, HOLDS_MAX, SWALLOWED_MAX, Incoming
from tests.faults._link import Link, PairDialer, opened

REFUSED_A = b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"


@pytest.mark.parametrize("injected", [False, True])
async def test_it_is_a_stream(injected: bool, autojump_clock: MockClock) -> None:
    """It passes the conformance suite of trio, with faults in force or without: conflicts, cancellation, closing."""
    faults = FaultDialer(PairDialer(lockstep=True))
    with ExitStack() as stack:
        if injected:
            stack.enter_context(faults.inject("publish", error()))

        async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            ours, theirs = trio.testing.lockstep_stream_pair()
            return faults._links.wrap(ours), theirs

        async def make_clogged() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            return await make()

        await trio.testing.check_two_way_stream(make, make_clogged)


async def test_without_faults_everything_passes_as_it_comes(autojump_clock: MockClock) -> None:
    """Half a line, half a payload: what one side writes, the other can read at once."""
    async with opened() as link:
        for part in (b"PU", b"B a 5\r\nhe", b"llo\r", b"\nPIN", b"G\r\n"):
            await link.client.send_all(part)
            assert await link.arrived() == part
        for part in (b"MS", b"G a 1 5\r\nhel", b"lo\r\nPO", b"NG\r\n"):
            await link.server.send_all(part)
            assert await link.answered() == part


async def test_a_refused_publish_does_not_reach_the_server(autojump_clock: MockClock) -> None:
    """Its -ERR comes instead; what was before and behind it in the same write passes."""
    async with opened() as link:
        with link.faults.inject("publish", error(), subjects="a") as injection:
            await link.client.send_all(
                b"PUB b 1\r\nx\r\nPUB a 3\r\nPUB\r\nHPUB a r 12 13\r\nNATS/1.0\r\n\r\ny\r\nPING\r\n"
            )
            assert await link.arrived() == b"PUB b 1\r\nx\r\nPING\r\n"
            assert await link.answered() == REFUSED_A * 2
            assert injection.hits == 2
        await link.client.send_all(b"PUB a 0\r\n\r\n")
        assert await link.arrived() == b"PUB a 0\r\n\r\n"
        assert injection.hits == 2


async def test_a_refusal_comes_in_its_turn(autojump_clock: MockClock) -> None:
    """Behind the PONGs of the PINGs in front of the publish, before those behind it, however late they come."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\nPING\r\nPUB a 0\r\n\r\n")
            assert await link.answered() == b""
            await link.server.send_all(b"MSG b 1 0\r\n\r\n")
            assert await link.answered() == b"MSG b 1 0\r\n\r\n"
        await link.server.send_all(b"PONG\r\nMSG b 1 0\r\n\r\nPONG\r\n+OK\r\n")
        assert await link.answered() == b"PONG\r\n" + REFUSED_A + b"MSG b 1 0\r\n\r\nPONG\r\n" + REFUSED_A + b"+OK\r\n"


@pytest.mark.parametrize("begun", [b"MSG b 1 5\r\nhe", b"MSG b 1 5\r\nhello", b"INFO {", b"PO"])
async def test_a_refusal_stands_between_frames(begun: bytes, autojump_clock: MockClock) -> None:
    """Never inside a message or line that has begun to come."""
    rest = {b"MSG b 1 5\r\nhe": b"llo\r\n", b"INFO {": b"}\r\n", b"PO": b"NG\r\n"}.get(begun, b"\r\n")
    async with opened() as link:
        await link.server.send_all(begun)
        assert await link.answered() == begun
        with link.faults.inject("publish", error()):
            await link.client.send_all(b"PUB a 0\r\n\r\n")
            assert await link.answered() == b""
            await link.server.send_all(rest)
            assert await link.answered() == rest + REFUSED_A


async def test_a_refusal_wakes_who_is_receiving(autojump_clock: MockClock) -> None:
    """The server is silent, and somebody waits for it."""
    got: list[bytes] = []
    async with opened() as link, trio.open_nursery() as nursery:

        async def read() -> None:
            got.append(bytes(await link.client.receive_some()))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with link.faults.inject("publish", error()):
            await link.client.send_all(b"PUB a 0\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()
        assert got == [REFUSED_A]


async def test_a_publish_that_had_begun_is_left_alone(autojump_clock: MockClock) -> None:
    """The fault comes while it is on the wire already: all of it reaches the server."""
    async with opened() as link:
        await link.client.send_all(b"PUB a ")
        with link.faults.inject("publish", error()) as injection:
            await link.client.send_all(b"3\r\nabc\r\n")
            assert await link.arrived() == b"PUB a 3\r\nabc\r\n"
            assert injection.hits == 0


async def test_a_refused_payload_may_come_in_parts(autojump_clock: MockClock) -> None:
    """All of it is dropped, and what comes behind it is not."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            for part in (b"PU", b"B a 4", b"\r\nPI", b"NG", b"\r", b"\nPING\r\n"):
                await link.client.send_all(part)
            assert await link.arrived() == b"PING\r\n"


async def test_subscriptions_are_refused_with_their_queue_group(autojump_clock: MockClock) -> None:
    """In the server's words; without one those of a plain subscription."""
    async with opened() as link:
        with link.faults.inject("subscribe", error()) as injection:
            await link.client.send_all(b"SUB orders.* 1\r\nSUB orders.* workers 2\r\nUNSUB 1\r\n")
            assert await link.answered() == (
                b"-ERR 'Permissions Violation for Subscription to \"orders.*\"'\r\n"
                b'-ERR \'Permissions Violation for Subscription to "orders.*" using queue "workers"\'\r\n'
            )
            assert await link.arrived() == b"UNSUB 1\r\n"
            assert injection.hits == 2


async def test_a_refused_connect_ends_the_link(autojump_clock: MockClock) -> None:
    """-ERR and the end of the stream; neither CONNECT nor what stood behind it reaches the server."""
    async with opened() as link:
        await link.server.send_all(b"INFO {}\r\n")
        assert await link.answered() == b"INFO {}\r\n"
        with link.faults.inject("connect", error()):
            await link.client.send_all(b"CONNECT {}\r\nPING\r\n")
            assert await link.client.receive_some(7) == b"-ERR 'A"
            assert await link.client.receive_some() == b"uthorization Violation'\r\n"
            assert await link.client.receive_some() == b""
        assert await link.client.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await link.client.send_all(b"PING\r\n")
        assert await link.arrived() == b""


@pytest.mark.parametrize("reason,ends", [("Maximum Payload Violation", True), ("Invalid Subject", False)])
async def test_a_reason_is_the_text_and_some_end_the_link(reason: str, ends: bool, autojump_clock: MockClock) -> None:
    """As from a server: what it hangs up after ends the stream, behind what was due before."""
    async with opened() as link:
        with link.faults.inject("publish", error(reason)):
            await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\n")
        await link.server.send_all(b"PONG\r\n")
        assert await link.answered() == b"PONG\r\n-ERR '%b'\r\n" % reason.encode()
        if ends:
            assert await link.client.receive_some() == b""
        else:
            await link.client.send_all(b"PING\r\n")


async def test_an_end_of_the_server_does_not_swallow_a_refusal(autojump_clock: MockClock) -> None:
    """What was to come behind a PONG comes before the end of the stream."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\n")
        await link.server.send_eof()
        assert await link.answered() == REFUSED_A
        assert await link.client.receive_some() == b""


@pytest.mark.parametrize("operation", [b"PUB a 0\r\n\r\n", b"SUB a 1\r\n"])
async def test_a_timeout_holds_the_pong_and_all_behind_it(operation: bytes, autojump_clock: MockClock) -> None:
    """The operation reaches the server; everything in front of its PONG passes, the rest comes late, in order."""
    name = "publish" if operation.startswith(b"PUB") else "subscribe"
    async with opened() as link:
        await link.client.send_all(b"PING\r\n")
        with link.faults.inject(name, timeout()) as injection:
            await link.client.send_all(operation + b"PING\r\n")
            assert await link.arrived() == b"PING\r\n" + operation + b"PING\r\n"
            await link.server.send_all(b"PONG\r\nMSG b 1 0\r\n\r\nPONG\r\nMSG b 1 1\r\nx\r\n")
            assert await link.answered() == b"PONG\r\nMSG b 1 0\r\n\r\n"
            await link.server.send_all(b"PING\r\n")
            await trio.sleep(3600)
            assert await link.answered() == b""
        assert await link.answered() == b"PONG\r\nMSG b 1 1\r\nx\r\nPING\r\n"
        assert injection.hits == 1


async def test_a_timeout_of_some_seconds_ends_by_itself(autojump_clock: MockClock) -> None:
    """Each operation's answer is late by as much, and the next is held from its own moment."""
    async with opened() as link:
        with link.faults.inject("publish", timeout(10)):
            await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            await trio.sleep(6)
            await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            await link.server.send_all(b"PONG\r\nPONG\r\n")
            await trio.sleep(3.9)
            assert await link.answered() == b""
            await trio.sleep(0.2)
            assert await link.answered() == b"PONG\r\n"
            await trio.sleep(5.8)
            assert await link.answered() == b""
            await trio.sleep(0.2)
            assert await link.answered() == b"PONG\r\n"


async def test_a_pong_that_comes_in_parts_is_held_too(autojump_clock: MockClock) -> None:
    """Not a byte of it passes."""
    async with opened() as link:
        with link.faults.inject("publish", timeout()):
            await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            await link.server.send_all(b"P")
            assert await link.answered() == b""
            await link.server.send_all(b"ONG\r\n")
            assert await link.answered() == b""
        assert await link.answered() == b"PONG\r\n"


async def test_a_held_connect_is_answered_late(autojump_clock: MockClock) -> None:
    """CONNECT reaches the server; nothing comes back, whatever it is, until the end."""
    async with opened() as link:
        with link.faults.inject("connect", timeout()):
            await link.client.send_all(b"CONNECT {}\r\nPING\r\n")
            assert await link.arrived() == b"CONNECT {}\r\nPING\r\n"
            await link.server.send_all(b"-ERR 'Authentication Timeout'\r\n")
            assert await link.answered() == b""
        assert await link.answered() == b"-ERR 'Authentication Timeout'\r\n"


async def test_the_reply_to_a_request_is_swallowed(autojump_clock: MockClock) -> None:
    """Only that; PONGs and other messages pass, and so do replies to what is requested later."""
    async with opened() as link:
        with link.faults.inject("publish", timeout()):
            await link.client.send_all(b"PUB price _INBOX.1 0\r\n\r\nHPUB price _INBOX.2 12 12\r\nNATS/1.0\r\n\r\n\r\n")
            await link.client.send_all(b"PING\r\n")
            replies = b"MSG _INBOX.1 7 2\r\nno\r\nHMSG _INBOX.2 7 12 12\r\nNATS/1.0\r\n\r\n\r\n"
            await link.server.send_all(replies + b"MSG _INBOX.3 7 3\r\nyes\r\nPONG\r\nMSG _INBOX.1 7 2\r\nno\r\n")
            assert await link.answered() == b"MSG _INBOX.3 7 3\r\nyes\r\nPONG\r\n"
        await link.client.send_all(b"PUB price _INBOX.1 0\r\n\r\n")
        await link.server.send_all(b"MSG _INBOX.1 7 3\r\nyes\r\n")
        assert await link.answered() == b"MSG _INBOX.1 7 3\r\nyes\r\n"


ACK = b"$JS.ACK.ORDERS.w.1.1.1.1.0"
FULL = b'{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"","seq":0}'


async def test_a_stream_refuses_on_the_reply_subject(autojump_clock: MockClock) -> None:
    """Under the sid of the client's own subscription, in its turn; the publish does not reach the server."""
    async with opened() as link:
        await link.client.send_all(b"SUB _INBOX.a.* 7\r\n")
        with link.faults.inject("publish_with_ack", error()) as injection:
            await link.client.send_all(b"PING\r\nPUB orders.1 _INBOX.a.1 2\r\nhi\r\nPUB orders.1 2\r\nhi\r\n")
            assert await link.arrived() == b"SUB _INBOX.a.* 7\r\nPING\r\nPUB orders.1 2\r\nhi\r\n"
            assert await link.answered() == b""
            await link.server.send_all(b"MSG b 1 5\r\nhe")
            await link.server.send_all(b"llo\r\nPONG\r\n")
            answer = b"MSG _INBOX.a.1 7 %d\r\n%b\r\n" % (len(FULL), FULL)
            assert await link.answered() == b"MSG b 1 5\r\nhello\r\nPONG\r\n" + answer
            assert injection.hits == 1


async def test_no_stream_is_there(autojump_clock: MockClock) -> None:
    """The status 503 of a server that has no responder; without a subscription for it nobody hears of it."""
    async with opened() as link:
        with link.faults.inject("publish_with_ack", error("no responders")):
            await link.client.send_all(b"SUB _INBOX.a.* 7\r\nPUB a _INBOX.a.1 0\r\n\r\n")
            assert await link.answered() == b"HMSG _INBOX.a.1 7 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n"
            await link.client.send_all(b"UNSUB 7\r\nPUB a _INBOX.a.1 0\r\n\r\n")
            assert await link.answered() == b""
            assert await link.arrived() == b"SUB _INBOX.a.* 7\r\nUNSUB 7\r\n"


async def test_a_refused_subscription_hears_no_answer(autojump_clock: MockClock) -> None:
    """It is not in force, so nothing is delivered under its sid."""
    async with opened() as link:
        with link.faults.inject("subscribe", error("No")), link.faults.inject("publish_with_ack", error()):
            await link.client.send_all(b"SUB _INBOX.a.* 7\r\nPUB a _INBOX.a.1 0\r\n\r\n")
            assert await link.answered() == b"-ERR 'No'\r\n"


async def test_a_fault_for_acked_publishes_is_for_its_subjects(autojump_clock: MockClock) -> None:
    """Requests to other subjects, acks, the API of JetStream and what asks for no reply do not meet it."""
    others = [b"PUB price _INBOX.1 0\r\n\r\n", b"PUB $JS.API.INFO _INBOX.1 0\r\n\r\n", b"PUB orders.1 0\r\n\r\n"]
    others.append(b"PUB %b _INBOX.1 4\r\n+ACK\r\n" % ACK)
    async with opened() as link:
        with link.faults.inject("publish_with_ack", error(), subjects="orders.>") as injection:
            await link.client.send_all(b"PUB orders.1 _INBOX.1 0\r\n\r\n" + b"".join(others))
            assert await link.arrived() == b"".join(others)
        assert injection.hits == 1
        with link.faults.inject("publish_with_ack", error()) as injection:
            await link.client.send_all(b"".join(others))
            assert await link.arrived() == b"".join(others[1:])
        assert injection.hits == 1


async def test_a_pub_ack_is_swallowed(autojump_clock: MockClock) -> None:
    """The publish reaches the stream, and other answers the client."""
    async with opened() as link:
        with link.faults.inject("publish_with_ack", timeout(), subjects="orders.>"):
            sent = b"PUB orders.1 _INBOX.1 0\r\n\r\nPUB price _INBOX.2 0\r\n\r\nPING\r\n"
            await link.client.send_all(sent)
            assert await link.arrived() == sent
            await link.server.send_all(b"MSG _INBOX.1 7 2\r\nno\r\nMSG _INBOX.2 7 3\r\nyes\r\nPONG\r\n")
            assert await link.answered() == b"MSG _INBOX.2 7 3\r\nyes\r\nPONG\r\n"


@pytest.mark.parametrize("operation,body", [("ack", b"+ACK"), ("ack", b""), ("ack", b"+TERM no"), ("nak", b"-NAK 5")])
async def test_acks_and_naks_are_told_apart(operation: str, body: bytes, autojump_clock: MockClock) -> None:
    """By the body, wherever it is cut; each is refused on its own subject, and +WPI is neither."""
    frame = b"PUB %b %d\r\n%b\r\n" % (ACK, len(body), body)
    other = b"PUB %b 4\r\n%b\r\n" % (ACK, b"-NAK" if operation == "ack" else b"+ACK")
    working = b"PUB %b 4\r\n+WPI\r\n" % ACK
    refused = b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % ACK
    async with opened() as link:
        with link.faults.inject(operation, error()) as injection, link.faults.inject("publish", error()) as publish:
            for point in range(len(frame)):
                await link.client.send_all(frame[:point])
                await link.client.send_all(frame[point:] + other + working)
                assert await link.arrived() == other + working
                assert await link.answered() == refused
            assert injection.hits == len(frame)
            assert publish.hits == 0


async def test_a_consumer_is_gone(autojump_clock: MockClock) -> None:
    """Whoever waits for the answer to an ack gets the status 503, whoever does not hears nothing."""
    async with opened() as link:
        with link.faults.inject("ack", error("no responders")):
            await link.client.send_all(b"SUB _INBOX.a.* 7\r\nPUB %b 0\r\n\r\n" % ACK)
            assert await link.answered() == b""
            await link.client.send_all(b"PUB %b _INBOX.a.1 4\r\n+ACK\r\n" % ACK)
            assert (await link.answered()).startswith(
                b"HMSG _INBOX.a.1 7 58 58\r\nNATS/1.0 503\r\nNats-Subject: $JS.ACK"
            )


async def test_the_answer_to_an_ack_is_swallowed_or_held(autojump_clock: MockClock) -> None:
    """Swallowed where there is a reply subject; else its PONG is held, and all behind it. The acks reach the server."""
    async with opened() as link:
        with link.faults.inject("ack", timeout()), link.faults.inject("nak", timeout()):
            acked = b"PUB %b _INBOX.1 4\r\n+ACK\r\nPING\r\n" % ACK
            await link.client.send_all(acked)
            await link.server.send_all(b"MSG _INBOX.1 7 0\r\n\r\nPONG\r\n")
            assert await link.answered() == b"PONG\r\n"
            await link.client.send_all(b"PUB %b 4\r\n-NAK\r\nPING\r\n" % ACK)
            await link.server.send_all(b"MSG b 1 0\r\n\r\nPONG\r\nMSG b 1 0\r\n\r\n")
            assert await link.answered() == b"MSG b 1 0\r\n\r\n"
            assert await link.arrived() == acked + b"PUB %b 4\r\n-NAK\r\nPING\r\n" % ACK
        assert await link.answered() == b"PONG\r\nMSG b 1 0\r\n\r\n"


@pytest.mark.parametrize("subjects,hits", [(None, 2), ("$JS.ACK.ORDERS.>", 1), ("$JS.*.OTHERS.>", 1), (">", 2)])
async def test_a_fault_for_acks_may_be_for_a_stream(subjects: str | None, hits: int, autojump_clock: MockClock) -> None:
    """Acks say their stream in their subject."""
    async with opened() as link:
        with link.faults.inject("ack", error(), subjects=subjects) as injection:
            for stream in (b"ORDERS", b"OTHERS"):
                await link.client.send_all(b"PUB $JS.ACK.%b.w.1.1.1.1.0 0\r\n\r\n" % stream)
            assert (await link.answered()).count(b"-ERR") == hits
        assert injection.hits == hits


async def test_a_connection_breaks_behind_an_ack(autojump_clock: MockClock) -> None:
    """All of it has reached the server, though its body came in parts."""
    async with opened() as link:
        with link.faults.inject("ack", close_connection(after=True)):
            for part in (b"PUB %b 4\r\n+A" % ACK, b"C"):
                await link.client.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BrokenResourceError):
                await link.client.send_all(b"K\r\nPING\r\n")
        assert await link.arrived() == b"PUB %b 4\r\n+ACK\r\n" % ACK


async def test_a_swallowed_reply_may_come_in_parts(autojump_clock: MockClock) -> None:
    """All of it goes, and nothing else."""
    async with opened() as link:
        with link.faults.inject("publish", timeout()):
            await link.client.send_all(b"PUB price _INBOX.1 0\r\n\r\n")
            for part in (b"MS", b"G _INBOX.1 7 4\r\nMS", b"G ", b"\r\nPO", b"NG\r\n"):
                await link.server.send_all(part)
            assert await link.answered() == b"PONG\r\n"


async def test_a_connection_breaks_at_the_operation(autojump_clock: MockClock) -> None:
    """What was before it reached the server, it did not; both directions fail, and the server sees the end."""
    async with opened() as link:
        await link.server.send_all(b"MSG b 1 1\r\nx\r\n")
        with link.faults.inject("publish", close_connection()) as injection:
            async with trio.open_nursery() as nursery:
                assert await link.client.receive_some() == b"MSG b 1 1\r\nx\r\n"

                async def read() -> None:
                    with pytest.raises(trio.BrokenResourceError):
                        await link.client.receive_some()

                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await link.client.send_all(b"PING\r\nPUB a 1\r\nx\r\nPING\r\n")
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert await link.server.receive_some() == b"PING\r\n"
        assert await link.server.receive_some() == b""
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await link.client.send_all(b"")
            with pytest.raises(trio.BrokenResourceError):
                await link.client.receive_some()
        assert injection.hits == 1


async def test_a_connection_breaks_behind_the_operation(autojump_clock: MockClock) -> None:
    """All of it has reached the server, in however many parts, and nothing behind it."""
    async with opened() as link:
        with link.faults.inject("publish", close_connection(after=True)):
            await link.client.send_all(b"PUB a 4\r\nPI")
            with pytest.raises(trio.BrokenResourceError):
                await link.client.send_all(b"NG\r\nPING\r\n")
        assert await link.server.receive_some() == b"PUB a 4\r\nPING\r\n"
        assert await link.server.receive_some() == b""


class _Prompt(trio.abc.Stream):
    """A server that answers within the write."""

    def __init__(self) -> None:
        self._answered = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._answered.set()
        await trio.testing.wait_all_tasks_blocked()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._answered.wait()
        return b"PONG\r\n"

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_an_answer_does_not_overtake_the_break(autojump_clock: MockClock) -> None:
    """However fast the server is: what it says to the operation that the connection breaks behind is not received."""
    faults = FaultDialer(PairDialer())
    stream = faults._links.wrap(_Prompt())
    with faults.inject("publish", close_connection(after=True)):
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"PUB a 0\r\n\r\nPING\r\n")


async def test_a_delay_holds_the_operation_and_all_behind_it(autojump_clock: MockClock) -> None:
    """What was before it goes at once, the other direction is not delayed."""
    async with opened() as link, trio.open_nursery() as nursery:
        with link.faults.inject("publish", delay(10)):
            nursery.start_soon(link.client.send_all, b"PING\r\nPUB a 0\r\n\r\nPING\r\nPUB a 0\r\n\r\n")
            await trio.sleep(9.9)
            assert await link.arrived() == b"PING\r\n"
            await link.server.send_all(b"PONG\r\n")
            assert await link.answered() == b"PONG\r\n"
            await trio.sleep(0.2)
            assert await link.arrived() == b"PUB a 0\r\n\r\nPING\r\n"
            await trio.sleep(9.7)
            assert await link.arrived() == b""
            await trio.sleep(0.3)
            assert await link.arrived() == b"PUB a 0\r\n\r\n"


async def test_a_delay_ends_with_its_injection(autojump_clock: MockClock) -> None:
    """Undone on exit: what waited goes on at that moment."""
    async with opened() as link, trio.open_nursery() as nursery:
        with link.faults.inject("subscribe", delay(10)):
            nursery.start_soon(link.client.send_all, b"SUB a 1\r\n")
            await trio.sleep(1)
            assert await link.arrived() == b""
        assert await link.arrived() == b"SUB a 1\r\n"


async def test_faults_add_up_in_the_order_in_which_they_began(autojump_clock: MockClock) -> None:
    """A delay and then an error: a late error. Whatever keeps the operation back is the last it meets."""
    async with opened() as link, trio.open_nursery() as nursery:
        with (
            link.faults.inject("publish", delay(5)) as slow,
            link.faults.inject("publish", timeout()) as held,
            link.faults.inject("publish", error("No")) as first,
            link.faults.inject("publish", error("Never")) as second,
            link.faults.inject("subscribe", error()) as other,
        ):
            nursery.start_soon(link.client.send_all, b"PUB a 0\r\n\r\n")
            await trio.sleep(4)
            assert await link.answered() == b""
            await trio.sleep(2)
            assert await link.answered() == b"-ERR 'No'\r\n"
        assert [one.hits for one in (slow, held, first, second, other)] == [1, 1, 1, 0, 0]


async def test_an_operation_meets_no_fault_that_ended_while_it_waited(autojump_clock: MockClock) -> None:
    """It was delayed; when it goes on, the other fault is undone."""
    async with opened() as link, trio.open_nursery() as nursery:
        with link.faults.inject("publish", delay(5)):
            with link.faults.inject("publish", error()) as injection:
                nursery.start_soon(link.client.send_all, b"PUB a 0\r\n\r\n")
                await trio.sleep(1)
            await trio.sleep(5)
            assert await link.arrived() == b"PUB a 0\r\n\r\n"
            assert injection.hits == 0


async def test_each_injection_is_undone_alone(autojump_clock: MockClock) -> None:
    """The end of one leaves the others in force, in whatever order they end."""
    async with opened() as link:
        inner, outer = link.faults.inject("publish", error("Inner")), link.faults.inject("publish", error("Outer"))
        with ExitStack() as stack:
            stack.enter_context(outer)
            with inner:
                await link.client.send_all(b"PUB a 0\r\n\r\n")
                assert await link.answered() == b"-ERR 'Outer'\r\n"
                stack.close()
                await link.client.send_all(b"PUB a 0\r\n\r\n")
                assert await link.answered() == b"-ERR 'Inner'\r\n"
            await link.client.send_all(b"PUB a 0\r\n\r\n")
        assert await link.arrived() == b"PUB a 0\r\n\r\n"
        with inner:
            await link.client.send_all(b"PUB a 0\r\n\r\n")
            assert inner.hits == 2
            with pytest.raises(RuntimeError, match="in force already"):
                inner.__enter__()


async def test_two_timeouts_hold_until_the_last_ends(autojump_clock: MockClock) -> None:
    """The PONG of one and the PONG of another: each waits for its own."""
    async with opened() as link, trio.open_nursery():
        with link.faults.inject("publish", timeout(), subjects="a"):
            with link.faults.inject("publish", timeout(), subjects="b"):
                await link.client.send_all(b"PUB b 0\r\n\r\nPING\r\nPUB a 0\r\n\r\nPING\r\n")
                await link.server.send_all(b"PONG\r\nPONG\r\n")
                assert await link.answered() == b""
            assert await link.answered() == b"PONG\r\n"
        assert await link.answered() == b"PONG\r\n"


async def test_an_intermittent_fault_draws_for_each_operation(autojump_clock: MockClock) -> None:
    """The same seed meets the same operations; the hits are those that were met."""
    expected = random.Random(7)
    async with opened() as link:
        with link.faults.inject("publish", intermittent(error(), 0.3, random.Random(7))) as injection:
            for number in range(50):
                await link.client.send_all(b"SUB a 1\r\nPUB %d 0\r\n\r\n" % number)
                refused = b'"%d"' % number in await link.answered()
                assert refused is (expected.random() < 0.3)
            met = await link.arrived()
        assert injection.hits == 50 - met.count(b"PUB")
        assert 5 < injection.hits < 25


@pytest.mark.parametrize(
    "subjects,met",
    [
        (None, "a orders.7 orders.*.new orders.> > orders"),
        (">", "a orders.7 orders.*.new orders.> > orders $JS.API.INFO"),
        ("orders.>", "orders.7 orders.*.new orders.>"),
        ("orders.*", "orders.7"),
        ("*", "a orders"),
        ("orders.*.new", "orders.*.new"),
        (["a", "orders.7"], "a orders.7"),
        (["$JS.>"], "$JS.API.INFO"),
    ],
)
async def test_faults_are_for_some_subjects(
    subjects: str | list[str] | None, met: str, autojump_clock: MockClock
) -> None:
    """Of a subscription all that it means must be within a pattern."""
    everything = ["a", "orders.7", "orders.*.new", "orders.>", ">", "orders", "$JS.API.INFO"]
    async with opened() as link:
        with link.faults.inject("subscribe", error(), subjects=subjects):
            for subject in everything:
                await link.client.send_all(b"SUB %b 1\r\n" % subject.encode())
            answered = (await link.answered()).decode()
            found = [subject for subject in everything if f'"{subject}"' in answered]
            assert found == met.split()
            arrived = (await link.arrived()).decode()
            assert len(arrived.splitlines()) == len(everything) - len(found)


async def test_a_client_that_sends_no_frames_is_let_go(autojump_clock: MockClock) -> None:
    """From there on its bytes pass unchanged, nothing is held or refused; what was refused before is told. Counted."""
    async with opened() as link:
        with link.faults.inject("publish", timeout(), subjects="b"), link.faults.inject("publish", error()):
            await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\n")
            assert await link.arrived() == b"PING\r\n"
            await link.client.send_all(b"HELLO ")
            await link.client.send_all(b"PUB x 3\r\n")
            assert await link.arrived() == b"HELLO PUB x 3\r\n"
            await link.server.send_all(b"PONG\r\nPONG\r\n")
            assert await link.answered() == b"PONG\r\n" + REFUSED_A + b"PONG\r\n"
        assert link.faults.unframed == 1


async def test_a_refusal_is_not_put_into_what_is_no_frame(autojump_clock: MockClock) -> None:
    """It is not known where one could stand: not even at the end."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\n")
            await link.server.send_all(b"HTTP/1.1 PONG\r\n")
            await link.server.send_eof()
            assert await link.answered() == b"HTTP/1.1 PONG\r\n"
            assert await link.client.receive_some() == b""


@pytest.mark.parametrize("text", [b"HTTP/1.1 ", b"MSG a\r\n", b"MSG a 1 1\r\nx\rPONG\r\n"])
async def test_a_server_that_sends_no_frames_is_let_go(text: bytes, autojump_clock: MockClock) -> None:
    """From there on its bytes pass unchanged, and its client's operations too; it is counted once."""
    async with opened() as link:
        with link.faults.inject("publish", timeout()):
            await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            await link.server.send_all(text + b"PONG\r\n")
            assert await link.answered() == text + b"PONG\r\n"
            await link.arrived()
            with link.faults.inject("publish", error()):
                await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            assert await link.arrived() == b"PUB a 0\r\n\r\nPING\r\n"
            await link.server.send_all(b"PONG\r\n")
            assert await link.answered() == b"PONG\r\n"
        assert link.faults.unframed == 1


async def test_what_is_held_is_let_go_with_the_link(autojump_clock: MockClock) -> None:
    """A client that breaks the framing while its PONG is held gets it, and the replies to its requests too."""
    reply = b"MSG _INBOX.1 7 2\r\nok\r\n"
    async with opened() as link:
        with link.faults.inject("publish", timeout()) as injection:
            await link.client.send_all(b"PUB a _INBOX.1 0\r\n\r\nPUB a 0\r\n\r\nPING\r\n")
            await link.server.send_all(reply + b"PONG\r\n")
            assert await link.answered() == b""
            await link.client.send_all(b"HELLO ")
            await link.server.send_all(reply)
            assert await link.answered() == b"PONG\r\n" + reply
            assert injection.hits == 2


async def test_a_line_without_end_is_not_kept(autojump_clock: MockClock) -> None:
    """With a fault in force heads are kept until they are known, but no longer than a line may be."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            for _ in range(40):
                await link.client.send_all(b"PUB " + b"a" * 4_000)
            assert len(await link.arrived()) == 40 * 4_004
        assert link.faults.unframed == 1


@pytest.mark.parametrize("_again", range(20))  # the order of tasks is drawn
async def test_refusals_that_nobody_reads_make_the_sender_wait(
    _again: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """They pile up to a bound, and then the client waits as before any server that it does not listen to."""
    assert ANSWER_BYTES_MAX == 1_048_576
    monkeypatch.setattr(_incoming, "ANSWER_BYTES_MAX", 1_000)
    async with opened() as link, trio.open_nursery() as nursery:
        with link.faults.inject("publish", error()) as injection:
            await link.client.send_all(b"PING\r\n")
            nursery.start_soon(link.client.send_all, b"PUB a 0\r\n\r\n" * 200)
            await trio.testing.wait_all_tasks_blocked()
            waits_at = 1 + 1_000 // len(REFUSED_A)
            assert injection.hits == waits_at + 1
            await link.server.send_all(b"PONG\r\n")
            answers = b""
            while answers.count(b"-ERR '") < 200:
                answers += await link.client.receive_some(10)
                assert injection.hits <= answers.count(b"-ERR '") + 2 * waits_at + 2
            assert injection.hits == 200


def test_what_is_remembered_has_bounds() -> None:
    """Millions of operations under a timeout: reply subjects and held PONGs do not pile up."""
    scope = FaultDialer(PairDialer()).inject("publish", timeout())
    incoming = Incoming()
    for number in range(SWALLOWED_MAX + 1_000):
        incoming.swallow(scope, b"r%d" % number, math.inf)
        incoming.hold(scope, number + 1, 10.0 + number)
    assert len(incoming._swallowed) == SWALLOWED_MAX
    assert len(incoming._holds[scope]) == HOLDS_MAX
    forever = Incoming()
    for number in range(1_000):
        forever.hold(scope, number + 1, math.inf)
    assert len(forever._holds[scope]) == 1


@pytest.mark.parametrize("steps", range(3, 9))  # the memory stream itself needs two steps
async def test_a_cancelled_receive_loses_nothing(steps: int, autojump_clock: MockClock) -> None:
    """Cancelled at any step, before something comes, while it is held or when it is there: the next one gets it all."""
    got = bytearray()
    async with opened() as link:
        with link.faults.inject("publish", timeout(5)), link.faults.inject("publish", error(), subjects="x"):
            await link.client.send_all(b"PUB x 0\r\n\r\nPUB a 0\r\n\r\nPING\r\n")
            async with trio.open_nursery() as nursery:

                async def feed() -> None:
                    for byte in b"MSG b 1 3\r\nabc\r\nPONG\r\nMSG b 1 2\r\nde\r\n":
                        await link.server.send_all(bytes([byte]))
                        await trio.sleep(0.01)

                nursery.start_soon(feed)
                done = False
                while not done:
                    with trio.CancelScope() as scope:
                        nursery.start_soon(cancel_after, scope, steps)
                        got += await link.client.receive_some(3)
                    await trio.sleep(0.003)
                    done = got.endswith(b"de\r\n")
    refused = REFUSED_A.replace(b'"a"', b'"x"')
    assert bytes(got) == refused + b"MSG b 1 3\r\nabc\r\nPONG\r\nMSG b 1 2\r\nde\r\n"


async def cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_cancelled_delay_leaves_what_was_before_it(autojump_clock: MockClock) -> None:
    """What stood in front of the delayed operation was passed on, once; the operation was not sent."""
    async with opened() as link:
        with link.faults.inject("publish", delay(10)):
            with trio.move_on_after(1):
                await link.client.send_all(b"PING\r\nPUB a 0\r\n\r\n")
        await link.client.send_all(b"PONG\r\n")
        assert await link.arrived() == b"PING\r\nPONG\r\n"


async def test_closing_wakes_both_sides(autojump_clock: MockClock) -> None:
    """A sender that is delayed and a receiver that is held end at once when the stream is closed."""
    async with opened() as link:
        with link.faults.inject("publish", delay(10), subjects="b"), link.faults.inject("publish", timeout()):
            await link.client.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            await link.server.send_all(b"PONG\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_closed, lambda: link.client.send_all(b"PUB b 0\r\n\r\n"))
                nursery.start_soon(expect_closed, link.client.receive_some)
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                await link.client.aclose()
            assert trio.current_time() == began
    with pytest.raises(trio.ClosedResourceError):
        await link.client.send_all(b"")


async def expect_closed(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await call()


async def test_leaving_the_dialer_wakes_both_sides(autojump_clock: MockClock) -> None:
    """The link's owner ends it: nobody stays inside."""
    async with trio.open_nursery() as nursery:
        async with opened() as link:
            link.faults.inject("publish", delay(10)).__enter__()
            link.faults.inject("publish", timeout()).__enter__()
            nursery.start_soon(expect_closed, lambda: link.client.send_all(b"PUB b 0\r\n\r\n"))
            nursery.start_soon(expect_closed, link.client.receive_some)
            await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
    assert trio.current_time() == began
    assert not link.faults._links.streams


async def test_a_second_task_is_refused_while_the_first_waits(autojump_clock: MockClock) -> None:
    """Also where the wait is the fault's and the wrapped stream is idle."""
    async with opened() as link, trio.open_nursery() as nursery:
        with link.faults.inject("publish", delay(10)), link.faults.inject("publish", timeout()):
            nursery.start_soon(link.client.send_all, b"PUB b 0\r\n\r\n")
            nursery.start_soon(link.client.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: link.client.send_all(b""),
                link.client.wait_send_all_might_not_block,
                link.client.receive_some,
            ]
            for call in calls:
                with pytest.raises(trio.BusyResourceError):
                    await call()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("data", [b"", b"PUB a 0\r\n\r\n", b"SUB a 1\r\n", b"PU"])
async def test_every_call_is_a_checkpoint(data: bytes, autojump_clock: MockClock) -> None:
    """Also when nothing is passed on, and when something is ready."""
    async with opened() as link:
        with link.faults.inject("publish", error()):
            with trio.testing.assert_checkpoints():
                await link.client.send_all(data)
            await link.server.send_all(b"PONG\r\nPONG\r\n")
            for _ in range(2):
                with trio.testing.assert_checkpoints():
                    await link.client.receive_some(6)


async def test_it_has_no_task_of_its_own(autojump_clock: MockClock) -> None:
    """Held, delayed, swallowed: all of it happens in the tasks of the client."""
    root = trio.lowlevel.current_root_task()
    assert root is not None

    def count(task: trio.lowlevel.Task) -> int:
        return 1 + sum(count(child) for nursery in task.child_nurseries for child in nursery.child_tasks)

    before = count(root)
    async with opened() as link:
        with link.faults.inject("publish", timeout()), link.faults.inject("publish", error(), subjects="b"):
            await link.client.send_all(b"PUB a 0\r\n\r\nPUB b 0\r\n\r\nPUB a i 0\r\n\r\nPING\r\n")
            await link.server.send_all(b"PONG\r\n")
            await link.answered()
            assert count(root) == before


@pytest.mark.parametrize("reason,expected", [("refused", ServerUnreachableError), ("dns", NameResolutionError)])
async def test_a_dial_can_fail(reason: str, expected: type[Exception], autojump_clock: MockClock) -> None:
    """The network's own errors, without a dial; afterwards dials succeed."""
    network = PairDialer()
    faults = FaultDialer(network)
    with faults.inject("connect", error(reason)) as injection:
        with trio.testing.assert_checkpoints(), pytest.raises(expected, match="toy:4222"):
            async with opened(faults, network):
                raise AssertionError("nobody answers")
        assert injection.hits == 1
        assert network.servers == []
    async with opened(faults, network) as link:
        await link.client.send_all(b"CONNECT {}\r\n")
        assert await link.arrived() == b"CONNECT {}\r\n"
    with faults.inject("connect", intermittent(error(reason), 0, random.Random(1))) as injection:
        async with opened(faults, network):
            assert injection.hits == 0


async def test_faults_act_inside_tls(autojump_clock: MockClock) -> None:
    """After the upgrade operations are seen in plain text, and the upgrade itself is left alone."""
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(ours)
    authority.issue_cert("toy").configure_cert(theirs)
    network = PairDialer()
    network._ssl_context = ours
    faults = FaultDialer(network)
    with (
        faults.inject("publish", timeout(), subjects="b"),
        faults.inject("publish", error(), subjects="a") as injection,
    ):
        async with trio.open_nursery() as outer, opened(faults, network) as link:
            await link.server.send_all(b"INFO {}\r\n")
            assert await link.answered() == b"INFO {}\r\n"
            secured_server = trio.SSLStream(link.server, theirs, server_side=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(secured_server.do_handshake)
                secured = await faults.start_tls(link.client, "toy")
            tls = Link(faults, secured, secured_server)  # type: ignore[arg-type]
            await secured.send_all(b"PUB a 0\r\n\r\nPING\r\n")
            assert await tls.answered() == REFUSED_A
            assert await tls.arrived() == b"PING\r\n"
            await secured_server.send_all(b"PONG\r\n")
            assert await tls.answered() == b"PONG\r\n"
            assert injection.hits == 1
            await secured.send_all(b"PUB b 0\r\n\r\nPING\r\n")
            await secured_server.send_all(b"PONG\r\n")
            outer.start_soon(expect_closed, secured.receive_some)
            await trio.testing.wait_all_tasks_blocked()
    assert faults.unframed == 0
    assert not faults._links.streams


async def test_plaintext_before_tls_is_not_carried_over(autojump_clock: MockClock) -> None:
    """What came behind INFO and was not read would be lost in the upgrade: it fails instead."""
    async with opened() as link:
        await link.server.send_all(b"INFO {}\r\nMSG a 1 0\r\n\r\n")
        with link.faults.inject("publish", error()):
            assert await link.client.receive_some(9) == b"INFO {}\r\n"
            await link.client.send_all(b"PUB x 0\r\n\r\n")
            await link.client.receive_some(1)
            with pytest.raises(TLSError, match="more than INFO"):
                await link.faults.start_tls(link.client, "toy")


@pytest.mark.parametrize(
    "make",
    [
        lambda faults: faults.inject("in_progress", error()),
        lambda faults: faults.inject("ack", error(), subjects="orders.>"),
        lambda faults: faults.inject("nak", error(), subjects=["$JS.ACK.>", "$JS.API.>"]),
        lambda faults: faults.inject("ack", error(), subjects="$JS.ACK"),
        lambda faults: faults.inject("ack", error("refused")),
        lambda faults: faults.inject("subscribe", intermittent(error("no responders"), 1, random.Random())),
        lambda faults: faults.inject("connect", error("no responders")),
        lambda faults: faults.inject("connect", error(), subjects="a"),
        lambda faults: faults.inject("publish", error(), subjects="a b"),
        lambda faults: faults.inject("publish", error(), subjects=[]),
        lambda faults: faults.inject("publish", error(), subjects=[7]),
        lambda faults: faults.inject("publish", error("refused")),
        lambda faults: faults.inject("publish", intermittent(error("dns"), 1, random.Random())),
        lambda faults: faults.inject("publish", "error"),
        lambda faults: error("it's\r\nPING"),
        lambda faults: error(""),
        lambda faults: timeout(0),
        lambda faults: delay(-1),
        lambda faults: delay(math.nan),
        lambda faults: intermittent(error(), 1.5, random.Random()),
        lambda faults: intermittent(error(), 0.5, cast("random.Random", None)),
        lambda faults: intermittent(cast("OperationFault", None), 0.5, random.Random()),
    ],
)
def test_what_cannot_be_injected_is_an_error(make: Callable[[FaultDialer], Any]) -> None:
    """When it is asked for, not when an operation would have met it."""
    with pytest.raises(InjectionError):
        make(FaultDialer(PairDialer()))


def test_an_injection_prints_what_it_is() -> None:
    """For the message of a failed assertion."""
    injection = FaultDialer(PairDialer()).inject("publish", intermittent(error(), 0.5, random.Random(1)))
    assert "publish" in repr(injection)
    assert "0 hits" in repr(injection)
