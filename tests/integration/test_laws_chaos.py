"""Every operation at once, cancelled at random, over links that are cut at random: the books still add up.

The seed is in the test's name; scheduler and network cannot be repeated, so it narrows a failure down and no more.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    Message,
    NoRespondersError,
    Outcome,
    State,
    open_client,
)
from beamline_trio.server_process import Server

from ._recording_proxy import RecordingProxy, open_recording_proxy

LIMIT_SECONDS = 20.0
CHAOS_SECONDS = 1.5
TASKS = 30

# What a caller must expect while links die under it; anything else is a defect.
EXPECTED = (ConnectionLostError, NoRespondersError)


class Chaos:
    """What one run did, for the account at its end."""

    def __init__(self, nc: Client, seed: int) -> None:
        self.nc = nc
        self.chance = random.Random(seed)
        self.publishes = 0
        self.cancelled = 0
        self.raised = 0

    async def publish(self) -> None:
        outcome = await self.nc.publish("chaos.plain", bytes(self.chance.randrange(3_000)))
        assert outcome in (Outcome.SENT, Outcome.QUEUED)
        self.publishes += 1

    async def publish_with_headers(self) -> None:
        await self.nc.publish("chaos.headers", b"x", headers={"A": ["b", "c"]}, reply="chaos.reply")
        self.publishes += 1

    async def publish_at_once(self) -> None:
        try:
            self.nc.publish_nowait("chaos.nowait", bytes(self.chance.randrange(50)))
            self.publishes += 1
        except trio.WouldBlock:
            pass

    async def confirm(self) -> None:
        await self.nc.publish("chaos.confirmed", bytes(self.chance.randrange(20_000)), confirm=True)

    async def ask(self) -> None:
        assert (await self.nc.request("chaos.echo", b"?" * self.chance.randrange(2_000))).headers.status is None

    async def ask_nobody(self) -> None:
        with pytest.raises(NoRespondersError):
            await self.nc.request("chaos.nobody", b"?")

    async def flush(self) -> None:
        await self.nc.flush()

    async def subscribe(self) -> None:
        maximum = self.chance.choice([None, 1, 3])
        async with self.nc.subscribe("chaos.>", max_messages=maximum) as sub:
            if self.chance.random() < 0.5:
                await sub.confirmed()
            async for _ in sub:
                if self.chance.random() < 0.2:
                    break

    async def drain_a_subscription(self) -> None:
        async with self.nc.subscribe("chaos.>") as sub:
            await sub.receive()
            await sub.drain()
            async for _ in sub:
                pass

    async def work(self) -> None:
        """One random operation after the other, each of them cancelled sooner or later."""
        operations: list[Callable[[], Awaitable[None]]] = [
            self.publish,
            self.publish_with_headers,
            self.publish_at_once,
            self.confirm,
            self.ask,
            self.ask_nobody,
            self.flush,
            self.subscribe,
            self.drain_a_subscription,
        ]
        while True:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(self.chance.choice([0.0, 0.0005, 0.005, 0.05])) as scope:
                try:
                    await self.chance.choice(operations)()
                except EXPECTED:
                    self.raised += 1
            self.cancelled += scope.cancelled_caught

    async def audit(self) -> None:
        """The ledger adds up at every look."""
        while True:
            ledger = self.nc.ledger()
            assert ledger.balanced, ledger
            await trio.lowlevel.checkpoint()

    async def cut(self, proxy: RecordingProxy) -> None:
        """Cut the link at random."""
        while True:
            await trio.sleep(self.chance.random() * 0.06)
            proxy.cut()


@pytest.mark.parametrize("seed", range(2))
async def test_the_books_add_up_under_chaos(nats_server: Server, seed: int) -> None:
    """After a storm of cut links and cancelled operations: balanced books, nothing open, and everything works."""
    async with (
        open_recording_proxy(nats_server.port) as proxy,
        open_client(nats_server.url) as service,
        open_client(proxy.url, reconnect_delay_seconds=0.005, reconnect_delay_max_seconds=0.01) as nc,
    ):
        chaos = Chaos(nc, seed)

        async def echo(message: Message) -> bytes:
            return message.payload

        async with trio.open_nursery() as nursery:
            await nursery.start(partial(service.serve, "chaos.echo", echo, concurrency=4))
            with trio.move_on_after(CHAOS_SECONDS):
                async with trio.open_nursery() as storm:
                    storm.start_soon(chaos.audit)
                    storm.start_soon(chaos.cut, proxy)
                    for _ in range(TASKS):
                        storm.start_soon(chaos.work)
            with trio.fail_after(LIMIT_SECONDS):
                await nc.flush()
                ledger, stats = nc.ledger(), nc.stats()
                assert ledger.balanced
                assert (ledger.open, ledger.failed, ledger.expired, ledger.dropped) == (0, 0, 0, 0)
                assert ledger.accepted == ledger.confirmed + ledger.unknown >= chaos.publishes
                assert (stats.requests_inflight, stats.pending_operations, stats.pending_bytes) == (0, 0, 0)
                assert stats.subscriptions <= 1  # the inbox
                assert stats.established == stats.lost + 1 == stats.restored + 1
                assert nc.state is State.CONNECTED
                assert (await nc.request("chaos.echo", b"calm")).payload == b"calm"
                assert (stats.server_errors, stats.malformed) == (0, 0)
            nursery.cancel_scope.cancel()
    assert min(stats.lost, chaos.cancelled, chaos.raised, ledger.unknown) > 0, "there was no chaos: nothing was tested"
