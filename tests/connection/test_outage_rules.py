"""The rules of an outage: when it is exhausted, how its failures are counted and named, what a slow link may take."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, ConnectionLostError, Disconnected, Exhausted, OperationTimeoutError, State
from tests._memory import MemoryDialer, SlowDialer, ToyServer, lose_link, opened, wait_connected

NO_JITTER: dict[str, Any] = {"reconnect_jitter": "none"}


# Exhaustion


async def _hang_up_young_links(server: ToyServer) -> None:
    """Accept every link and drop it as soon as it is established."""
    while True:
        for link in [link for link in server.links if link.alive and link.about and not link.pongs_owed]:
            link.hang_up()
        await trio.sleep(0.001)


async def test_a_server_that_accepts_and_hangs_up_exhausts_the_attempts(autojump_clock: MockClock) -> None:
    """Links that die young are one outage and each a pass of it: after reconnect_attempts of them it is exhausted."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with (
        opened(server, dialer=dialer, reconnect_attempts=3, **NO_JITTER) as nc,
        nc.events() as events,
        trio.open_nursery() as nursery,
    ):
        await trio.sleep(10)
        began = trio.current_time()
        nursery.start_soon(_hang_up_young_links, server)
        while nc.state is not State.EXHAUSTED:
            await trio.sleep(0.01)
            assert trio.current_time() < began + 10
        assert len([at for at, _ in dialer.dialled if at >= began]) == 3
        with pytest.raises(ConnectionLostError) as caught:
            await nc.publish("a", b"x")
        assert caught.value.sent == "no"
        nursery.cancel_scope.cancel()
    assert sum([isinstance(event, Exhausted) async for event in events]) == 1


async def test_young_links_between_refusals_exhaust_too(autojump_clock: MockClock) -> None:
    """Passes in which nobody answers and passes whose link dies young add up."""
    server = ToyServer()
    async with opened(server, reconnect_attempts=4, **NO_JITTER) as nc:
        await trio.sleep(10)
        states = [nc.state]
        while states[-1] is not State.EXHAUSTED:
            assert len(states) <= 4
            server.come_up()
            await wait_connected(nc)
            await lose_link(server)
            await trio.sleep(0.35)
            states.append(nc.state)


@pytest.mark.parametrize("proof", ["lived", "confirmed", "request", "flush", "subscription"])
async def test_a_link_that_proves_itself_starts_the_count_over(proof: str, autojump_clock: MockClock) -> None:
    """One that lived reconnect_delay_max_seconds, or carried a confirmed operation: the next loss is a new outage."""
    server = ToyServer()
    server.services[b"echo"] = lambda payload: payload

    async def prove(nc: Client) -> None:
        if proof == "lived":
            await trio.sleep(5.1)
        elif proof == "confirmed":
            await nc.publish("a", b"x", confirm=True)
        elif proof == "request":
            server.pongs_held = True  # a reply is enough
            await nc.request("echo", b"x")
            server.pongs_held = False
        elif proof == "flush":
            await nc.flush()
        else:
            async with nc.subscribe("a") as sub:
                await sub.confirmed()

    async with opened(server, reconnect_attempts=3, **NO_JITTER) as nc:
        await trio.sleep(10)
        for _ in range(10):
            server.drop()
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
            await prove(nc)
        assert nc.stats().exhausted == 0


async def test_a_keep_alive_ping_proves_nothing(autojump_clock: MockClock) -> None:
    """The client's own pings are answered by a server that is good for nothing else: the attempts are spent."""
    server = ToyServer()
    options: dict[str, Any] = {"reconnect_attempts": 3, "ping_interval_seconds": 0.1, **NO_JITTER}
    async with opened(server, **options) as nc:
        await trio.sleep(10)
        for _ in range(3):
            server.drop()
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
            await trio.sleep(0.5)
        assert nc.stats().pings_answered >= 10
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert nc.stats().exhausted == 1


# Counting


@pytest.mark.parametrize("count", [1, 3])
async def test_a_failed_publish_is_counted_once(count: int, autojump_clock: MockClock) -> None:
    """A confirmed publish that ran out of time is not counted again when its link is lost; those beside it are."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=1, ping_interval_seconds=100) as nc:
        server.pongs_held = True
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(_run_out_of_time, nc)
        await nc.publish("a", b"plain")
        await trio.testing.wait_all_tasks_blocked()
        server.pongs_held = False
        server.drop()
        await trio.sleep(1)
        failures = {reason: number for reason, number in nc.stats().publish_failures.items() if number}
        assert failures == {"timeout": count, "disconnected": 1}
        assert nc.ledger().unknown == count + 1
        assert nc.stats().confirmed_publish_failures["timeout"] == count


async def _run_out_of_time(nc: Client) -> None:
    with pytest.raises(OperationTimeoutError):
        await nc.publish("a", b"x", confirm=True)


# Reasons


@pytest.mark.parametrize("text", ["maximum subscriptions exceeded", "Invalid Publish Subject", "Something New"])
@pytest.mark.parametrize("reset", [False, True])
async def test_an_error_that_closed_nothing_is_not_the_reason_of_a_later_loss(
    text: str, reset: bool, autojump_clock: MockClock
) -> None:
    """Neither the event nor what those who wait are told names an error of an hour ago."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events, trio.open_nursery() as nursery:
        server.send(b"-ERR '%b'\r\n" % text.encode())
        await trio.sleep(3_600)
        server.pongs_held = True
        texts: list[str] = []
        nursery.start_soon(_flush_in_vain, nc, texts)
        await trio.testing.wait_all_tasks_blocked()
        server.pongs_held = False
        server.drop(reset=reset)
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert len(texts) == 1
        assert text.lower() not in f"{event.reason} {texts[0]}".lower()


async def _flush_in_vain(nc: Client, texts: list[str]) -> None:
    try:
        await nc.flush()
    except ConnectionLostError as error:
        texts.append(str(error))


@pytest.mark.parametrize("text", ["Stale Connection", "Something New"])
async def test_the_last_words_of_a_server_are_the_reason(text: str, autojump_clock: MockClock) -> None:
    """An error right before the end of the link is why it ended, also one that nobody has heard of."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.send(b"-ERR '%b'\r\n" % text.encode())
        await trio.sleep(0.5)
        server.drop()
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        assert text in event.reason


# A slow link


class _Bound(trio.abc.Instrument):
    """The most bytes that were in the outbox after any step."""

    def __init__(self, nc: Client) -> None:
        self.most = 0
        self._frames = nc.connection.outbox._frames

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.most = max(self.most, sum(map(len, self._frames)))


async def test_a_slow_link_takes_a_large_pending_queue(autojump_clock: MockClock) -> None:
    """8 MB pending, 100 kB/s: nothing becomes unknown or is lost, the link lives, and the outbox keeps its bound."""
    server = ToyServer()
    payload = bytes(10_000)
    bound = 131_072
    options: dict[str, Any] = {"pending_timeout_seconds": None, "outbox_bytes_max": bound}
    async with opened(server, dialer=SlowDialer(server), **options) as nc:
        await lose_link(server)
        for _ in range(800):
            await nc.publish("a", payload)
        most = _Bound(nc)
        trio.lowlevel.add_instrument(most)
        server.come_up()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(nc.publish, "a", b"later"))
            await trio.sleep(120)
        trio.lowlevel.remove_instrument(most)
        await nc.flush()
        ledger = nc.ledger()
        assert (ledger.unknown, ledger.confirmed, nc.stats().lost) == (0, 801, 1)
        assert len(server.payloads) == 801
        assert most.most <= 2 * bound + len(payload)


async def test_a_slow_link_that_dies_leaves_the_rest_pending(autojump_clock: MockClock) -> None:
    """When it is lost in the middle, no more than the chunk under way is lost with it; the rest is sent on the next
    link, each once and in order.
    """
    server = ToyServer()
    async with opened(server, dialer=SlowDialer(server), pending_timeout_seconds=None) as nc:
        await lose_link(server)
        for number in range(800):
            await nc.publish("a", b"%d " % number + bytes(10_000))
        server.come_up()
        await trio.sleep(30)
        server.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert nc.ledger().unknown <= len(server.payloads) + 2 * 131_072 // 10_000
        await trio.sleep(120)
        await nc.flush()
        ledger = nc.ledger()
        assert ledger.confirmed + ledger.unknown == ledger.accepted == 800
        numbers = [int(payload.split(b" ")[0]) for payload in server.payloads]
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= 800 - 2 * 131_072 // 10_000


async def test_confirmations_pile_up_nowhere(autojump_clock: MockClock) -> None:
    """Flushes given up, one a second, on a server that talks and answers no PING: the link is given up, not kept."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=0.5) as nc:
        await nc.flush()
        server.pongs_held = True
        server.refuses = True
        for _ in range(60):
            with trio.move_on_after(0.5):
                try:
                    await nc.flush()
                except (OperationTimeoutError, ConnectionLostError):
                    pass
            if nc.state is not State.CONNECTED:
                break
            server.send(b"+OK\r\n")
            await trio.sleep(0.5)
        assert nc.state is State.RECONNECTING
        assert nc.stats().pongs_missed == 1
        assert trio.current_time() <= 20 + 5 + 1
