"""A route's workers at the moments that a whole router meets only by chance."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, Message
from beamline_trio.connection import Waiter
from beamline_trio.router import Route
from beamline_trio.router._outcomes import HandlerOutcome
from beamline_trio.router._pool import Pool
from beamline_trio.router._route_options import RouteOptions
from beamline_trio.router._settlement_core import CoreSettlement
from tests._memory import ToyServer, opened


class HandSource:
    """A source whose messages come when the test gives them."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []
        self.failure = None

    async def receive(self) -> Message:
        waiter = Waiter(on_cancel=self.waiters.remove)
        self.waiters.append(waiter)
        message: Message = await waiter.wait()
        return message

    def give(self, message: Message) -> None:
        """To the worker that waits longest."""
        self.waiters.pop(0).succeed(message)


class Bench:
    """A pool with a source of the test's, and what its handler did."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.source = HandSource()
        source: Any = self.source
        self.done: list[bytes] = []
        route = Route(RouteOptions(subject="a", name="a", concurrency=1), self._call)
        self.counters = route.counters
        self.gate = route.gate
        settlement = CoreSettlement(client, route.counters, route.gate)
        self.pool = Pool(
            client,
            source,
            self._call,
            settlement,
            route.gate,
            route.counters,
            route.deliver,
            queue=None,
            room=None,
        )

    async def _call(self, delivery: Any) -> HandlerOutcome:
        await trio.sleep(1)
        self.done.append(delivery.payload)
        return ()

    def give(self, payload: bytes) -> None:
        """A message."""
        self.source.give(Message(self.client, b"a", payload, None, None))


@asynccontextmanager
async def bench() -> AsyncGenerator[Bench]:
    async with opened(ToyServer()) as nc, trio.open_nursery() as nursery:
        made = Bench(nc)
        await nursery.start(made.pool.run, 1)
        await trio.testing.wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


async def test_a_message_that_comes_with_an_interruption_is_handled_whole(autojump_clock: MockClock) -> None:
    """A pause or a change of concurrency in the same step as the message neither loses nor cancels it."""
    async with bench() as made:
        made.give(b"1")
        made.pool.interrupt_idle()
        await trio.sleep(2)
        assert made.done == [b"1"]
        await trio.testing.wait_all_tasks_blocked()
        made.give(b"2")
        made.pool.resize(3)
        await trio.sleep(2)
        assert made.done == [b"1", b"2"]
        made.give(b"3")
        made.pool.resize(1)
        await trio.sleep(2)
    assert made.done == [b"1", b"2", b"3"]
    assert made.counters.outcomes["ok"] == made.counters.taken == 3


async def test_a_worker_that_is_held_takes_nothing(autojump_clock: MockClock) -> None:
    """It leaves the source to others; released, it is back."""
    async with bench() as made:
        made.gate.hold("a")
        made.pool.interrupt_idle()
        await trio.sleep(1)
        assert made.source.waiters == []
        made.gate.release("a")
        await trio.testing.wait_all_tasks_blocked()
        assert len(made.source.waiters) == 1


async def test_a_pool_that_is_cut_has_an_outcome_for_what_is_in_hand(autojump_clock: MockClock) -> None:
    """Each message in exactly one, and it says how many; a pool that does not run can be cut and resized."""
    async with bench() as made:
        made.give(b"1")
        await trio.sleep(0.5)
        made.pool.cut()
        await trio.sleep(0.1)
        assert (made.pool.abandoned, made.counters.outcomes["discarded"]) == (1, 1)
        made.pool.cut()
        made.pool.resize(5)
        assert made.pool.slots == {}
    assert made.done == []
