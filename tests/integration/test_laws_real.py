"""The laws of the client on a real server: nothing is lost without need, nobody waits for another's slowness."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from beamline_trio import (
    ConnectionLostError,
    Message,
    NoRespondersError,
    OperationTimeoutError,
    Outcome,
    Reconnected,
    SlowConsumer,
    State,
    open_client,
)
from beamline_trio.connection._pace import CALLS_PER_YIELD
from beamline_trio.server_process import Server

LIMIT_SECONDS = 20.0


async def pong(message: Message) -> bytes:
    return message.payload


# ---------------------------------------------------------------------------------------------------- receiving


@pytest.mark.parametrize("receive", ["receive", "receive_batch", "async for"])
async def test_cancelled_receives_lose_nothing(nats_server: Server, receive: str) -> None:
    """3,000 cancelled receives against 3,000 messages give 3,000 in order, and the pending counters are exact."""
    count = 3_000
    got: list[int] = []
    cancelled = returned = 0
    chance = random.Random(7)

    async with open_client(nats_server.url) as nc, open_client(nats_server.url) as sender, nc.subscribe("a") as sub:

        async def receive_once() -> None:
            if receive == "receive":
                got.append(int((await sub.receive()).payload))
            elif receive == "receive_batch":
                got.extend(int(message.payload) for message in await sub.receive_batch(3))
            else:
                async for message in sub:
                    got.append(int(message.payload))
                    break

        async def cancel_after(scope: trio.CancelScope, passes: int) -> None:
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        await sub.confirmed()
        sent = 0
        with trio.fail_after(LIMIT_SECONDS):
            while cancelled < count:
                if sent < count and (sent <= cancelled or chance.random() < 0.5):
                    await sender.publish("a", b"%d" % sent)
                    sent += 1
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        passes = chance.randrange(12)
                        if passes:
                            nursery.start_soon(cancel_after, scope, passes)
                        else:
                            scope.cancel()
                        await receive_once()
                        nursery.cancel_scope.cancel()
                if scope.cancelled_caught:
                    cancelled += 1
                else:
                    returned += 1
            for number in range(sent, count):
                await sender.publish("a", b"%d" % number)
            await sender.flush()
            await nc.flush()
            assert len(got) + sub.pending_messages == count
            while len(got) < count:
                await receive_once()
        assert got == list(range(count))
        assert (sub.pending_messages, sub.pending_bytes, sub.delivered, sub.dropped) == (0, 0, count, 0)
        assert returned > 100, "the race was never lost by the cancellation: nothing was tested"


async def test_a_slow_subscription_slows_nobody(nats_server: Server) -> None:
    """A subscription that nobody reads drops beyond its bounds, with one event; another gets everything."""
    count = 20_000
    async with open_client(nats_server.url) as nc, open_client(nats_server.url) as sender, nc.events() as events:
        async with (
            nc.subscribe("a", pending_messages_max=100) as slow,
            nc.subscribe("a", pending_bytes_max=1_000) as slow_in_bytes,
            nc.subscribe("a") as quick,
            trio.open_nursery() as nursery,
        ):
            got: list[int] = []

            async def read() -> None:
                async for message in quick:
                    got.append(int(message.payload))
                    if len(got) == count:
                        return

            await quick.confirmed()
            with trio.fail_after(LIMIT_SECONDS):
                async with trio.open_nursery() as work:
                    work.start_soon(read)
                    for number in range(count):
                        await sender.publish("a", b"%05d" % number)
                        if number % 1_000 == 0:
                            assert await nc.rtt() < 1
            assert got == list(range(count))
            assert (slow.pending_messages, slow.dropped, slow.delivered) == (100, count - 100, count)
            assert [int((await slow.receive()).payload) for _ in range(100)] == list(range(100))
            assert (slow_in_bytes.pending_bytes, slow_in_bytes.pending_messages) == (1_000, 200)
            assert nc.stats().slow_consumer == slow.dropped + slow_in_bytes.dropped
            nursery.cancel_scope.cancel()
        told = []
        events.close()
        async for event in events:
            told.append(event)
        assert [event.subject for event in told if isinstance(event, SlowConsumer)] == ["a", "a"]


@pytest.mark.parametrize("policy", ["drop_new", "drop_oldest"])
async def test_a_full_subscription_keeps_what_its_policy_says(nats_server: Server, policy: str) -> None:
    """A full subscription keeps the oldest messages or the newest, in order, and counts the others."""
    async with (
        open_client(nats_server.url, subscription_pending_policy=policy) as nc,
        nc.subscribe("a", pending_messages_max=10) as sub,
    ):
        for number in range(1_000):
            await nc.publish("a", b"%d" % number)
        await nc.flush()
        kept = [int(message.payload) for message in await sub.receive_batch()]
        assert kept == (list(range(10)) if policy == "drop_new" else list(range(990, 1_000)))
        assert (sub.delivered, sub.dropped) == (1_000, 990)


async def test_every_dropped_message_is_counted(nats_server: Server) -> None:
    """A large message that takes the place of many small ones counts as many drops as there were."""
    async with (
        open_client(nats_server.url, subscription_pending_policy="drop_oldest") as nc,
        nc.subscribe("a", pending_bytes_max=100) as sub,
    ):
        for _ in range(10):
            await nc.publish("a", b"0123456789")
        await nc.publish("a", bytes(95))
        await nc.flush()
        assert sub.pending_messages + sub.dropped == sub.delivered == 11
        await nc.publish("a", bytes(101))
        await nc.flush()
        assert sub.pending_messages + sub.dropped == sub.delivered == 12
        assert nc.stats().slow_consumer == sub.dropped


# ------------------------------------------------------------------------------------------------------ publishing


async def test_each_publishers_messages_keep_their_order(nats_server: Server) -> None:
    """Fifty tasks held back by a full outbox: nothing is lost, and each task's messages are in order."""
    tasks, each = 50, 100
    async with open_client(nats_server.url, outbox_bytes_max=4_096) as nc, nc.subscribe("t.*") as sub:
        await sub.confirmed()

        async def publish(task: int) -> None:
            for number in range(each):
                await nc.publish(f"t.{task}", b"%d" % number + b" " * 1_000, headers={"A": "b"} if number % 3 else None)

        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                for task in range(tasks):
                    nursery.start_soon(publish, task)
            got = [await sub.receive() for _ in range(tasks * each)]
        for task in range(tasks):
            assert [int(m.payload) for m in got if m.subject == f"t.{task}"] == list(range(each))
        await nc.flush()
        assert nc.ledger().confirmed == nc.ledger().accepted == tasks * each


# ------------------------------------------------------------------------------------------------ kill and restart


async def kill_and_wait(server: Server) -> None:
    server.kill()
    await server.wait_exit()


async def test_the_books_add_up_over_kills(nats_server: Server) -> None:
    """Over three kills under load: the ledger is balanced at every look; what it calls confirmed has arrived."""
    sent = 0
    got: list[int] = []
    outcomes: set[Outcome] = set()
    stop = trio.Event()

    async with open_client(nats_server.url, reconnect_delay_max_seconds=0.2) as nc, nc.subscribe("a") as sub:

        async def publish() -> None:
            nonlocal sent
            while not stop.is_set():
                for _ in range(20):
                    outcomes.add(await nc.publish("a", b"%d" % sent))
                    sent += 1
                await trio.sleep(0.001)

        async def receive() -> None:
            async for message in sub:
                got.append(int(message.payload))

        async def audit() -> None:
            while True:
                ledger = nc.ledger()
                assert ledger.balanced, ledger
                await trio.lowlevel.checkpoint()

        await sub.confirmed()
        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                nursery.start_soon(receive)
                nursery.start_soon(audit)
                for _ in range(3):
                    await trio.sleep(0.1)
                    await kill_and_wait(nats_server)
                    await trio.sleep(0.05)
                    await nats_server.start()
                    await nc.flush()
                stop.set()
                await trio.sleep(0.01)
                await nc.flush()
                while sub.pending_messages:  # on a busy machine the receiver has not had its turn yet
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        ledger = nc.ledger()
        stats = nc.stats()
    assert ledger.accepted == sent
    assert (ledger.open, ledger.failed, ledger.expired, ledger.dropped) == (0, 0, 0, 0)
    assert ledger.accepted == ledger.confirmed + ledger.unknown
    # One client, one link: a message comes before the PONG that confirms it.
    assert len(got) >= ledger.confirmed
    assert sent - len(got) <= ledger.unknown
    assert got == sorted(set(got))
    assert outcomes == {Outcome.SENT, Outcome.QUEUED}
    assert (stats.lost, stats.restored) == (3, 3)


async def test_pending_publishes_drain_in_order(nats_server: Server) -> None:
    """What several tasks publish while the server is away arrives afterwards: all, and each task's in its order."""
    async with open_client(nats_server.url) as nc, nc.subscribe("t.*") as sub, nc.events() as events:
        await sub.confirmed()
        await kill_and_wait(nats_server)
        with trio.fail_after(LIMIT_SECONDS):
            while nc.state is State.CONNECTED:
                await trio.lowlevel.checkpoint()

            async def publish(task: int) -> None:
                for number in range(100):
                    assert await nc.publish(f"t.{task}", b"%d" % number, headers={"T": "1"}) is Outcome.QUEUED
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                for task in range(5):
                    nursery.start_soon(publish, task)
            assert nc.stats().pending_operations == 500
            await nats_server.start()
            while not isinstance(await events.receive(), Reconnected):
                pass
            # Published while the queue is being drained: behind everything that waits.
            for number in range(100, 120):
                await nc.publish("t.0", b"%d" % number)
            got = [await sub.receive() for _ in range(520)]
        for task in range(5):
            numbers = [int(message.payload) for message in got if message.subject == f"t.{task}"]
            assert numbers == list(range(120 if task == 0 else 100))
        await nc.flush()
        stats = nc.stats()
        assert (stats.pending_operations, stats.pending_bytes, stats.pending_retried) == (0, 0, 520)
        assert nc.ledger().confirmed == nc.ledger().accepted == 520


async def test_what_was_never_written_goes_to_the_next_server(nats_server: Server) -> None:
    """Of what was accepted when the server dies, what the writer had not taken is sent to the next one, in order."""
    body = bytes(1_000)
    async with open_client(nats_server.url) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        nats_server.pause()
        taken = refusals = 0
        while refusals < 20:  # a writer that could go on would have made room by then
            try:
                nc.publish_nowait("a", b"%06d" % taken + body)
                taken += 1
                refusals = 0
            except trio.WouldBlock:
                refusals += 1
                await trio.sleep(0.002)
        await kill_and_wait(nats_server)
        await nats_server.start()
        with trio.fail_after(LIMIT_SECONDS):
            await nc.flush()
        ledger = nc.ledger()
        assert ledger.accepted == taken
        assert ledger.confirmed == nc.stats().pending_retried > 50
        assert ledger.unknown == taken - ledger.confirmed > 0
        got = [int(message.payload[:6]) for message in await sub.receive_batch(taken)]
        assert got == list(range(ledger.unknown, taken))


async def test_a_request_in_flight_fails_at_once(nats_server: Server) -> None:
    """A request under way when the server dies fails at once, typed, its fate unknown; so does a confirmed publish."""
    async with open_client(nats_server.url) as service, open_client(nats_server.url) as client:
        async with trio.open_nursery() as nursery:

            async def never(message: Message) -> None:
                await trio.sleep_forever()

            async def fails(operation: Callable[[], Awaitable[object]]) -> None:
                with pytest.raises(ConnectionLostError, match="it may or may not have arrived") as caught:
                    await operation()
                assert caught.value.sent == "maybe"

            await nursery.start(partial(service.serve, "s", never, concurrency=20))
            nats_server.pause()
            with trio.fail_after(2):
                async with trio.open_nursery() as asking:
                    for _ in range(10):
                        asking.start_soon(fails, partial(client.request, "s"))
                        asking.start_soon(fails, partial(client.publish, "s", confirm=True))
                        asking.start_soon(fails, client.flush)
                    await trio.sleep(0.05)
                    nats_server.kill()
            assert client.stats().requests_inflight == 0
            nursery.cancel_scope.cancel()
        await nats_server.wait_exit()
        await nats_server.start()


async def test_a_request_while_down_waits_for_the_server(nats_server: Server) -> None:
    """A request made while there is no server is answered when there is one again."""
    async with (
        open_client(nats_server.url) as service,
        open_client(nats_server.url, operation_timeout_seconds=0.5) as client,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(service.serve, "s", pong)
        await kill_and_wait(nats_server)
        with trio.fail_after(LIMIT_SECONDS):
            while State.CONNECTED in (client.state, service.state):
                await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as asking:
                replies: list[bytes] = []

                async def ask() -> None:
                    # The service may be back later than the request: nobody there is not what is tested.
                    while True:
                        try:
                            replies.append((await client.request("s", b"?")).payload)
                            return
                        except NoRespondersError:
                            await trio.sleep(0.05)

                asking.start_soon(ask)
                await trio.sleep(0.7)  # longer than the operation timeout, which counts from the write
                assert replies == []
                await nats_server.start()
            assert replies == [b"?"]
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------------ flush, rtt


async def test_flush_and_rtt(nats_server: Server) -> None:
    """A flush returns behind everything sent; rtt is the time of its own PING; many at once all return."""
    async with open_client(nats_server.url) as nc, nc.subscribe("a") as sub:
        for _ in range(100):
            await nc.publish("a")
        await nc.flush()
        assert sub.delivered == 100
        assert 0 < await nc.rtt() < 1
        nats_server.pause()
        async with trio.open_nursery() as nursery:
            times: list[float] = []

            async def measure() -> None:
                times.append(await nc.rtt())

            for _ in range(50):
                nursery.start_soon(measure)
            await trio.testing.wait_all_tasks_blocked()  # each has asked, so what follows is part of each one's time
            asked = trio.current_time()
            await trio.sleep(0.1)
            assert times == []
            waited = trio.current_time() - asked
            nats_server.resume()
        assert len(times) == 50
        assert all(waited <= seconds < waited + 0.9 for seconds in times)


async def test_a_flush_needs_its_own_pong(nats_server: Server) -> None:
    """Flushes that timed out or were cancelled leave PONGs that come late: no later flush takes one for its own."""
    count, payload = 8, bytes(1_048_576)

    async def resume_when_blocked() -> None:
        await trio.testing.wait_all_tasks_blocked()
        nats_server.resume()

    async with (
        open_client(nats_server.url, operation_timeout_seconds=0.5, outbox_bytes_max=64 * 1_048_576) as nc,
        nc.subscribe("a") as sub,
    ):
        await sub.confirmed()
        for _ in range(2):
            nats_server.pause()
            with trio.move_on_after(0.01) as scope:
                await nc.flush()
            assert scope.cancelled_caught
            began = trio.current_time()
            with pytest.raises(OperationTimeoutError, match=r"within 0\.5 s \(operation_timeout_seconds\)"):
                await nc.flush()
            assert 0.5 <= trio.current_time() - began < 1
            before = sub.delivered
            async with trio.open_nursery() as nursery:
                nursery.start_soon(resume_when_blocked)
                # One chunk with a PING at its end, most of which the server reads behind the PONGs that it owes.
                for _ in range(count):
                    nc.publish_nowait("a", payload)
                await nc.flush()
                assert sub.delivered == before + count
        await nc.flush()
        assert (nc.state, nc.stats().lost, nc.ledger().confirmed) == (State.CONNECTED, 0, 2 * count)


# ------------------------------------------------------------------------------------------------------- fairness


class Turns:
    """A task that is always ready: `most` is how many calls another one made between two of its turns."""

    def __init__(self) -> None:
        self.calls = 0
        self.most = 0

    async def run(self) -> None:
        """Take turns until cancelled."""
        while True:
            before = self.calls
            await trio.lowlevel.checkpoint()
            self.most = max(self.most, self.calls - before)


async def test_a_flood_starves_no_other_task(nats_server: Server) -> None:
    """While a task publishes, or receives, as fast as it can without having to wait, others run in each pass.

    Its turn has 1,024 calls at most. Who is first in a pass is chance, so it may have two turns in a row.
    """
    count = 150_000
    turns = Turns()
    async with (
        open_client(nats_server.url, outbox_bytes_max=64 * 1_048_576) as nc,
        nc.subscribe("a", pending_messages_max=count) as sub,
        trio.open_nursery() as nursery,
    ):
        await sub.confirmed()
        nursery.start_soon(turns.run)
        for _ in range(count):
            await nc.publish("a", b"0123456789abcdef")
            turns.calls += 1
        with trio.fail_after(LIMIT_SECONDS):
            await nc.flush()
        assert sub.pending_messages == count
        for _ in range(count):
            await sub.receive()
            turns.calls += 1
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert 0 < turns.most <= 2 * CALLS_PER_YIELD
