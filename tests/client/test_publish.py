"""Publishing: whole or not at all, confirmed by a PONG of its own, refused before a byte leaves."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    InvalidHeaderError,
    InvalidSubjectError,
    NatsError,
    Outcome,
    PayloadTooLargeError,
)
from tests._memory import Steps, ToyServer, opened


async def test_what_was_published_arrives(autojump_clock: MockClock) -> None:
    """Subject, reply, headers and payload arrive as given, in order, over PUB and HPUB."""
    server = ToyServer()
    async with opened(server) as nc:
        assert await nc.publish("a.b", b"1") is Outcome.SENT
        await nc.publish("a.b", bytearray(b"2"), reply="r")
        await nc.publish("größe", memoryview(b"3"), headers={"One": ["1", "2"], "two": "3"})
        assert nc.publish_nowait("a.b", b"", reply="r", headers={"A": "b"}) is Outcome.SENT
        await nc.flush()
        assert (nc.ledger().accepted, nc.ledger().confirmed) == (4, 4)
    block = b"NATS/1.0\r\nOne: 1\r\nOne: 2\r\ntwo: 3\r\n\r\n"
    assert [(one.args[:-1], one.header, one.payload) for one in server.record if "PUB" in one.verb] == [
        ((b"a.b",), None, b"1"),
        ((b"a.b", b"r"), None, b"2"),
        (("größe".encode(), b"%d" % len(block)), block, b"3"),
        ((b"a.b", b"r", b"18"), b"NATS/1.0\r\nA: b\r\n\r\n", b""),
    ]


async def test_a_cancelled_publish_is_queued_whole_or_not_at_all(autojump_clock: MockClock) -> None:
    """The server gets exactly the messages whose publish returned, each publisher's in order.

    Twenty publishers into a server that stalls and resumes, cancelled anywhere.
    """
    server = ToyServer()
    chance = server.random
    returned: dict[int, list[bytes]] = {number: [] for number in range(20)}
    cancelled = 0
    scopes: dict[int, trio.CancelScope] = {}

    async def publisher(nc: Client, own: int) -> None:
        nonlocal cancelled
        for number in range(120):
            payload = b"%d:%d:" % (own, number) + b"x" * chance.choice((0, 10, 30_000, 60_000))
            headers = {"A": "b"} if number % 3 == 0 else None
            with trio.CancelScope() as scopes[own]:
                await nc.publish("a", payload, headers=headers)
                returned[own].append(payload)
            cancelled += scopes[own].cancelled_caught

    def cancel_some() -> None:
        for own in chance.sample(sorted(scopes), len(scopes) // 4):
            scopes[own].cancel()

    async def weather() -> None:
        while True:
            server.stall()
            if chance.random() < 0.5:
                await trio.testing.wait_all_tasks_blocked()
            cancel_some()
            server.resume()
            for _ in range(chance.randrange(8)):
                await trio.lowlevel.checkpoint()
            cancel_some()

    async with opened(server) as nc:
        async with trio.open_nursery() as outer:
            outer.start_soon(weather)
            async with trio.open_nursery() as nursery:
                for own in returned:
                    nursery.start_soon(publisher, nc, own)
            outer.cancel_scope.cancel()
        server.resume()
        await nc.flush()
        assert nc.ledger().confirmed == sum(map(len, returned.values()))
    assert cancelled > 50
    for own, payloads in returned.items():
        assert [payload for payload in server.payloads if payload.startswith(b"%d:" % own)] == payloads


@pytest.mark.parametrize("confirm", [False, True])
async def test_too_large_a_message_never_leaves(confirm: bool, autojump_clock: MockClock) -> None:
    """Headers and payload together over max_payload: refused with both numbers before a byte leaves."""
    server = ToyServer(max_payload=1_000)
    async with opened(server) as nc:
        header = b"NATS/1.0\r\nA: b\r\n\r\n"
        await nc.publish("a", b"x" * 1_000)
        await nc.publish("a", b"x" * (1_000 - len(header)), headers={"A": "b"})
        await nc.flush()
        before = bytes(server.received)
        publish = partial(nc.publish, confirm=confirm)
        for payload, headers in ((b"x" * 1_001, None), (b"x" * (1_001 - len(header)), {"A": "b"})):
            with pytest.raises(PayloadTooLargeError) as caught:
                await publish("a", payload, headers=headers)
            assert (caught.value.size, caught.value.limit) == (1_001, 1_000)
            with pytest.raises(PayloadTooLargeError):
                await nc.request("a", payload, headers=headers)
            with pytest.raises(PayloadTooLargeError):
                nc.publish_nowait("a", payload, headers=headers)
        await trio.testing.wait_all_tasks_blocked()
        assert bytes(server.received) == before
        assert (nc.state, nc.ledger().accepted) == ("connected", 2)


async def test_a_later_info_changes_max_payload(autojump_clock: MockClock) -> None:
    """The limit is that of the last INFO, also on the path that is taken by a subject published to before."""
    server = ToyServer(max_payload=1_000)
    async with opened(server) as nc:
        await nc.publish("a", b"x" * 1_000, confirm=True)
        server.send_info(max_payload=100)
        await trio.testing.wait_all_tasks_blocked()
        for publish in (nc.publish_nowait, partial(nc.publish_nowait, headers={"A": "b"})):
            with pytest.raises(PayloadTooLargeError):
                publish("a", b"x" * 101)
        with pytest.raises(PayloadTooLargeError):
            await nc.publish("a", b"x" * 101)
        nc.publish_nowait("a", b"x")  # from here on there is room, and the shortest path
        for _ in range(2):
            with pytest.raises(PayloadTooLargeError):
                nc.publish_nowait("a", b"x" * 101)
            with pytest.raises(PayloadTooLargeError):
                await nc.publish("a", b"x" * 101)
        server.send_info(max_payload=2_000)
        await trio.testing.wait_all_tasks_blocked()
        assert nc.server_info.max_payload == 2_000
        await nc.publish("a", b"x" * 2_000, confirm=True)


WHITE = ["a b", "a\tb", "a\r\nPUB x 0\r\n", "a\nb", "a\rb", " a", "a ", "a\x0cb"]
BAD_SUBJECTS = ["", ".", "a.", ".a", "a..b", "a.*", ">", "a.>", "caf\udce9", *WHITE]
BAD_QUEUE_GROUPS = ["", "caf\udce9", *WHITE]
BAD_HEADERS: list[dict[str, str]] = [
    {"A": "b\r\nC: d"},
    {"A": "b\nC: d"},
    {"A": "b\r"},
    {"A\r\nB": "c"},
    {"A:": "b"},
    {"A b": "c"},
    {"": "b"},
    {"Ä": "b"},
    {"A": "caf\udce9"},
]


async def test_injection_is_refused_and_nothing_is_written(autojump_clock: MockClock) -> None:
    """Through subject, reply, queue group, header name or value: a typed error, and not a byte."""
    server = ToyServer()
    async with opened(server) as nc:
        await nc.flush()
        before = bytes(server.received)
        for bad in BAD_SUBJECTS:
            calls: list[Callable[[], Awaitable[object]]] = [
                partial(nc.publish, bad, b"x"),
                partial(nc.publish, bad, b"x", confirm=True),
                partial(nc.publish, "a", b"x", reply=bad),
                partial(nc.request, bad, b"x"),
            ]
            for call in calls:
                with pytest.raises(InvalidSubjectError):
                    await call()
            with pytest.raises(InvalidSubjectError):
                nc.publish_nowait(bad, b"x")
        for bad in ["", "a.", ">.a", "a..b", "a b", "a\r\nb", "a\tb"]:
            with pytest.raises(InvalidSubjectError):
                nc.subscribe(bad)
        for bad in BAD_QUEUE_GROUPS:
            with pytest.raises(InvalidSubjectError):
                nc.subscribe("a", queue_group=bad)
        for headers in BAD_HEADERS:
            for call in (partial(nc.publish, "a", b"x", headers=headers), partial(nc.request, "a", headers=headers)):
                with pytest.raises(InvalidHeaderError):
                    await call()
        await trio.testing.wait_all_tasks_blocked()
        assert bytes(server.received) == before
        assert (nc.ledger().accepted, nc.state) == (0, "connected")


async def test_wrong_types_are_type_errors(autojump_clock: MockClock) -> None:
    """A str payload, a bytes subject, a number as a header value: TypeError, nothing written."""
    server = ToyServer()
    wrong_payloads: list[Any] = ["text", None, 7, ["x"]]
    wrong_subjects: list[Any] = [b"a", None, 7]
    wrong_headers: list[Any] = [{"A": 1}, {"A": [1]}, {1: "b"}]
    async with opened(server) as nc:
        before = bytes(server.received)
        for payload in wrong_payloads:
            with pytest.raises(TypeError):
                await nc.publish("a", payload)
            with pytest.raises(TypeError):
                await nc.publish("a", payload, confirm=True)
            with pytest.raises(TypeError):
                await nc.request("a", payload)
            with pytest.raises(TypeError):
                nc.publish_nowait("a", payload)
        for subject in wrong_subjects:
            with pytest.raises(TypeError):
                await nc.publish(subject, b"x")
            with pytest.raises(TypeError):
                nc.subscribe(subject)
        for headers in wrong_headers:
            with pytest.raises(TypeError):
                await nc.publish("a", b"x", headers=headers)
        await trio.testing.wait_all_tasks_blocked()
        assert bytes(server.received) == before


async def test_a_stalled_server_costs_no_more_than_the_outbox(autojump_clock: MockClock) -> None:
    """20 publishers of 60 KB: memory within the cap, cancel ends within one scheduler pass, others run on time."""
    server = ToyServer()
    payload = b"x" * 61_440
    async with opened(server, ping_interval_seconds=1_000) as nc:
        await nc.flush()
        server.stall()
        tracemalloc.start()
        base = tracemalloc.get_traced_memory()[0]
        ticks: list[float] = []

        async def publish() -> None:
            while True:
                await nc.publish("a", payload)

        async def tick() -> None:
            while True:
                ticks.append(trio.current_time())
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            for _ in range(20):
                nursery.start_soon(publish)
            await trio.sleep(15)
            # One write in flight and one outbox, each above its mark by less than a frame; besides, the stream's copy
            # of the write, and the frame that each caller holds while it waits.
            assert nc.ledger().open <= 2 * (131_072 // 61_440 + 1)
            assert tracemalloc.get_traced_memory()[0] - base < 3 * (131_072 + 61_440) + 20 * 61_500 + 100_000
            nursery.cancel_scope.cancel()
            steps = Steps()
        tracemalloc.stop()
        assert steps.count <= 2
        assert ticks == pytest.approx([number / 10 for number in range(len(ticks))], abs=1e-6)
        assert len(ticks) >= 150
        with pytest.raises(trio.WouldBlock):
            nc.publish_nowait("a", payload)
        accepted = nc.ledger().accepted
        server.resume()
        await nc.flush()
        assert len(server.payloads) == accepted


async def test_publish_nowait_would_block_when_full(autojump_clock: MockClock) -> None:
    """It raises WouldBlock, having appended nothing, and works again when there is room."""
    server = ToyServer()
    async with opened(server, outbox_bytes_max=1_000) as nc:
        server.stall()
        nc.publish_nowait("a", b"first")
        await trio.testing.wait_all_tasks_blocked()
        sent = 1
        with pytest.raises(trio.WouldBlock):
            while True:
                nc.publish_nowait("a", b"%d" % sent)
                sent += 1
        assert nc.ledger().accepted == sent
        server.resume()
        await trio.testing.wait_all_tasks_blocked()
        nc.publish_nowait("a", b"last")
        await nc.flush()
    assert server.payloads == [b"first", *(b"%d" % number for number in range(1, sent)), b"last"]


PLAIN: dict[str, Any] = {}
FORMS = {
    "plain": PLAIN,
    "headers": {"headers": {"A": "b"}},
    "reply": {"reply": "r"},
    "bytearray": {"payload": bytearray(b"x")},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("down", [False, True], ids=["connected", "down"])
async def test_publish_is_an_amortised_checkpoint(form: str, down: bool, autojump_clock: MockClock) -> None:
    """2,048 calls: cancellation noticed within 64, a schedule point at least every 1,024, nobody starved."""
    server = ToyServer()
    publish = partial(_publish, FORMS[form])
    limits: dict[str, Any] = {"outbox_bytes_max": 10_000_000, "pending_operations_max": 100_000}
    async with opened(server, **limits) as nc:
        await publish(nc)
        if down:
            server.go_down()
            await trio.testing.wait_all_tasks_blocked()
        await publish(nc)
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2_048):
                await publish(nc)
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            steps = Steps()
            for _ in range(2_048):
                await publish(nc)
            assert steps.count >= 2
            assert turns >= 1
            nursery.cancel_scope.cancel()
        steps = Steps()
        for _ in range(640):
            await publish(nc)
            autojump_clock.jump(0.0001)
        assert steps.count >= 10  # time is looked at every 64 calls, and 2 ms have passed each time
        server.come_up()
        await trio.sleep(10)


async def _publish(form: dict[str, Any], nc: Client) -> None:
    arguments: dict[str, Any] = {"payload": b"x"} | form
    await nc.publish("a", **arguments)


@pytest.mark.parametrize("failure", ["subject", "too large", "exhausted"])
async def test_publishes_that_fail_are_amortised_checkpoints_too(failure: str, autojump_clock: MockClock) -> None:
    """A loop that goes on over its errors notices its cancellation, and starves no task that would end them."""
    server = ToyServer(max_payload=1_000)
    arguments = ("a b", b"x") if failure == "subject" else ("a", b"x" * (1_001 if failure == "too large" else 1))
    async with opened(server, reconnect_attempts=1) as nc:
        await nc.publish("a", b"x")
        if failure == "exhausted":
            server.go_down()
            await trio.sleep(1)
            assert nc.state == "exhausted"
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2_048):
                with pytest.raises(NatsError):
                    await nc.publish(*arguments)
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64
        steps = Steps()
        for _ in range(2_048):
            with pytest.raises(NatsError):
                await nc.publish(*arguments)
        assert steps.count >= 2


async def test_publish_nowait_between_publishes_hides_no_checkpoint(autojump_clock: MockClock) -> None:
    """A loop that mixes both forms notices its cancellation within 64 of its publishes."""
    server = ToyServer()
    async with opened(server, outbox_bytes_max=10_000_000) as nc:
        await nc.publish("a", b"x")
        calls = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(2_048):
                nc.publish_nowait("a", b"x")
                await nc.publish("a", b"x")
                calls += 1
        assert scope.cancelled_caught
        assert calls <= 64


async def test_frames_are_not_kept_after_they_are_written(autojump_clock: MockClock) -> None:
    """A million bytes published and confirmed leave nothing behind."""
    server = ToyServer()
    payload = b"x" * 10_000
    async with opened(server) as nc:
        await nc.publish("a", payload, confirm=True)
        before = sys.getrefcount(payload)
        for _ in range(100):
            await nc.publish("a", payload)
        await nc.flush()
        assert sys.getrefcount(payload) == before
        assert nc.ledger().confirmed == 101


async def test_more_subjects_than_are_cached(autojump_clock: MockClock) -> None:
    """What is remembered of subjects is bounded, and a subject that was forgotten is published to all the same."""
    server = ToyServer()
    async with opened(server) as nc:
        for _ in range(2):
            for number in range(5_000):
                await nc.publish(f"subject.{number}", b"%d" % number)
        await nc.flush()
    published = [operation for operation in server.record if operation.verb == "PUB"]
    assert len(published) == 10_000
    assert all(operation.args[0] == b"subject." + operation.payload for operation in published)
