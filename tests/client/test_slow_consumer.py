"""A slow subscription drops by its policy, is bounded and counted, and slows nobody else."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import EventStream, SlowConsumer, SlowConsumerError
from tests._memory import ToyServer, opened


async def slow_consumer_events(events: EventStream) -> list[SlowConsumer]:
    """The SlowConsumer events so far."""
    await trio.testing.wait_all_tasks_blocked()
    found: list[SlowConsumer] = []
    with trio.move_on_after(0.001):
        while True:
            event = await events.receive()
            if isinstance(event, SlowConsumer):
                found.append(event)
    return found


def flood(server: ToyServer, first: int, count: int, subject: str = "a") -> None:
    for number in range(first, first + count):
        server.publish(subject, b"%04d" % number)


async def test_a_slow_subscription_slows_nobody(autojump_clock: MockClock) -> None:
    """One that nobody reads fills up; another gets every message at once, PINGs are answered, the link stays."""
    server = ToyServer()
    async with (
        opened(server, subscription_pending_messages_max=100, ping_interval_seconds=2) as nc,
        nc.subscribe("a") as slow,
        nc.subscribe("a", pending_messages_max=100_000) as quick,
    ):
        await quick.confirmed()
        for turn in range(20):
            flood(server, turn * 200, 200)
            server.send(b"PING\r\n")
            got = 0
            while got < 200:
                got += len(await quick.receive_batch())
            await trio.sleep(1)
        assert server.pongs == 20
        assert (slow.pending_messages, slow.delivered, slow.dropped) == (100, 4_000, 3_900)
        assert (quick.delivered, quick.dropped) == (4_000, 0)
        assert nc.stats().slow_consumer == 3_900
        assert nc.stats().lost == 0


@pytest.mark.parametrize("chunks", [True, False], ids=["runs", "single"])
@pytest.mark.parametrize("policy", ["drop_new", "drop_oldest"])
async def test_what_is_kept(policy: str, chunks: bool, autojump_clock: MockClock) -> None:
    """drop_new keeps the first messages, drop_oldest the last, in order, never more than the bound."""
    server = ToyServer()
    async with (
        opened(server, subscription_pending_policy=policy, subscription_pending_messages_max=10) as nc,
        nc.events() as events,
        nc.subscribe("a") as sub,
    ):
        await sub.confirmed()
        for number in range(35):
            flood(server, number, 1)
            if not chunks:
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert (sub.pending_messages, sub.pending_bytes, sub.dropped, sub.delivered) == (10, 40, 25, 35)
        kept = [int(message.payload) for message in await sub.receive_batch()]
        assert kept == list(range(10) if policy == "drop_new" else range(25, 35))
        assert await slow_consumer_events(events) == [SlowConsumer("a", 10, 40)]


@pytest.mark.parametrize("header", [None, b"NATS/1.0\r\nA: b\r\n\r\n"])
@pytest.mark.parametrize("policy", ["drop_new", "drop_oldest"])
async def test_bytes_are_bounded_too(policy: str, header: bytes | None, autojump_clock: MockClock) -> None:
    """Headers and payloads together never exceed pending_bytes_max; a message that alone does is dropped."""
    server = ToyServer()
    async with (
        opened(server, subscription_pending_policy=policy) as nc,
        nc.subscribe("a", pending_bytes_max=1_000) as sub,
        nc.subscribe("a") as unbounded,
    ):
        await unbounded.confirmed()
        for size in (300, 300, 300, 300, 50, 5_000, 1_000 - len(header or b""), 10):
            server.publish("a", b"x" * size, header=header)
            await trio.testing.wait_all_tasks_blocked()
            assert sub.pending_bytes <= 1_000
        pending = [await sub.receive() for _ in range(sub.pending_messages)]
        assert sub.pending_bytes == 0
        assert len(pending) + sub.dropped == sub.delivered == 8
        assert (unbounded.pending_messages, unbounded.dropped) == (8, 0)
        sizes = [len(message.payload) for message in pending]
        assert sizes[0] == 300 if policy == "drop_new" else sizes[-1] == 10


async def test_policy_error_ends_the_subscription(autojump_clock: MockClock) -> None:
    """What was pending is received, then SlowConsumerError; the server is told; others live on."""
    server = ToyServer()
    async with (
        opened(server, subscription_pending_policy="error") as nc,
        nc.events() as events,
        nc.subscribe("a", pending_messages_max=5) as sub,
        nc.subscribe("a") as other,
    ):
        await other.confirmed()
        flood(server, 0, 20)
        await trio.testing.wait_all_tasks_blocked()
        assert [int((await sub.receive()).payload) for _ in range(5)] == [0, 1, 2, 3, 4]
        for _ in range(2):
            with pytest.raises(SlowConsumerError, match="5 messages"):
                await sub.receive()
        assert server.operations("UNSUB") == [("UNSUB", "1")]
        flood(server, 20, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert (other.pending_messages, sub.pending_messages) == (25, 0)
        assert len(await slow_consumer_events(events)) == 1
        assert sub.dropped == sub.delivered - 5 >= 1


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 200])
@pytest.mark.parametrize("batch", [True, False], ids=["batch", "receive"])
async def test_one_event_per_episode(limit: int, batch: bool, autojump_clock: MockClock) -> None:
    """An episode begins with the first drop, and has ended when the subscription was emptied: one event for each."""
    server = ToyServer()
    async with (
        opened(server, ping_interval_seconds=10_000) as nc,
        nc.events() as events,
        nc.subscribe("a", pending_messages_max=limit) as sub,
    ):
        await sub.confirmed()
        for episode in range(1, 6):
            for _ in range(3):
                flood(server, 0, limit * 2)
                await trio.testing.wait_all_tasks_blocked()
            assert sub.dropped == episode * limit * 5
            events_so_far = await slow_consumer_events(events)
            assert len(events_so_far) == 1, f"episode {episode}"
            while sub.pending_messages:
                await (sub.receive_batch() if batch else sub.receive())
        assert nc.stats().slow_consumer == sub.dropped


async def test_one_event_per_episode_in_bytes(autojump_clock: MockClock) -> None:
    """Likewise where the bytes are what is full; a receiver that takes one of many begins no new episode."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events, nc.subscribe("a", pending_bytes_max=40) as sub:
        await sub.confirmed()
        for _ in range(3):
            for _ in range(40):
                flood(server, 0, 20)
                await trio.testing.wait_all_tasks_blocked()
                await sub.receive()
            assert len(await slow_consumer_events(events)) == 1
            while sub.pending_messages:
                await sub.receive()


flows = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30), st.integers(0, 14)), max_size=25)


@given(flows, st.sampled_from(["drop_new", "drop_oldest"]), st.integers(1, 12), st.integers(1, 120))
def test_counters_are_exact(flow: list[tuple[int, int, int]], policy: str, messages_max: int, bytes_max: int) -> None:
    """Delivered = received + pending + dropped and the bounds hold, whatever comes and whatever is read."""

    async def main() -> None:
        server = ToyServer()
        options: dict[str, Any] = {"subscription_pending_policy": policy}
        async with (
            opened(server, **options) as nc,
            nc.subscribe("a", pending_messages_max=messages_max, pending_bytes_max=bytes_max) as sub,
        ):
            await sub.confirmed()
            sent = received = 0
            for count, size, reads in flow:
                for _ in range(count):
                    server.publish("a", b"x" * size)
                sent += count
                await trio.testing.wait_all_tasks_blocked()
                assert sub.pending_messages <= messages_max
                assert sub.pending_bytes <= bytes_max
                for _ in range(min(reads, sub.pending_messages)):
                    await sub.receive()
                    received += 1
                assert sub.delivered == sent == received + sub.pending_messages + sub.dropped
                if not sub.pending_messages:
                    assert sub.pending_bytes == 0
            assert nc.stats().slow_consumer == sub.dropped
            assert nc.stats().messages_in == sent

    trio.run(main, clock=MockClock(autojump_threshold=0))
