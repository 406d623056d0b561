"""What the workload publishes and asks for, until it is told to stop.

Must not receive, but for replies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import trio

from beamline_trio import Client, NatsError, PendingFullError, PermissionsError
from beamline_trio.simulation import World
from tests.mutants._settings import QUIET_SECONDS


def is_faulty(world: World) -> bool:
    """Whether faults are still to come."""
    return world.plan is None or world.now() < world.faults_end_at


class Senders:
    """The tasks that send; each draws from a PRNG of its own.

    Args:
        world: where they run.
        stopping: they end when it is set.
    """

    def __init__(self, world: World, stopping: trio.Event) -> None:
        self.world = world
        self.journal = world.journal
        self.stopping = stopping

    def start(self, nursery: trio.Nursery, app: Client, till: Client, audit: Client) -> None:
        """Start all of them."""
        nursery.start_soon(self._publish, till, "till/created", "orders.created", 1.3, self._burst)
        nursery.start_soon(self._publish, till, "till/capped", "orders.capped", 0.24, self._plain)
        nursery.start_soon(self._publish, app, "app/paid", "orders.paid", 0.3, self._impatient)
        for number in range(3):
            nursery.start_soon(self._publish, app, f"app/noted{number}", "orders.noted", 1.2, self._confirmed)
        nursery.start_soon(self._publish, audit, "audit/log", "log.line", 2.5, self._plain)
        nursery.start_soon(self._ask, app, "app/price")
        nursery.start_soon(self._flush, app)
        nursery.start_soon(self._beat, audit)
        nursery.start_soon(self._trespass, audit)

    @property
    def faulty(self) -> bool:
        """See `is_faulty`."""
        return is_faulty(self.world)

    async def _publish(
        self, nc: Client, publisher: str, subject: str, pause_seconds: float, once: Callable[..., Any]
    ) -> None:
        chance = self.world.random(publisher)
        while not self.stopping.is_set():
            await once(nc, publisher, subject, chance)
            await trio.sleep(chance.uniform(0.5, 1.5) * pause_seconds * (2.0 if self.faulty else 1.0))

    async def _plain(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        await self.journal.publish(nc, subject, b"plain", publisher=publisher, confirm=False)

    async def _burst(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        """A few; sometimes more than the outbox holds."""
        for _ in range(20 if chance.random() < 0.15 else chance.randint(1, 4)):
            await self.journal.publish(nc, subject, bytes(150), publisher=publisher, confirm=False)

    async def _confirmed(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        await self.journal.publish(nc, subject, b"confirmed", publisher=publisher)

    async def _impatient(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        """Waits for the confirmation, but not always for long."""
        with trio.move_on_after(chance.choice((0.0005, 0.3, 2.0, 60.0))):
            await self.journal.publish(nc, subject, b"paid", publisher=publisher)

    async def _ask(self, nc: Client, publisher: str) -> None:
        """Ask for prices; in times of faults sometimes for one that takes too long, or without patience."""
        chance = self.world.random(publisher)
        for number in range(1_000_000):
            if self.stopping.is_set():
                return
            slow = self.faulty and chance.random() < 0.1
            question = b"%d %s" % (number, b"slowly" if slow else b"now")
            with trio.move_on_after(chance.choice((0.0015, 0.4, 60.0, 60.0))):
                _, reply = await self.journal.request(nc, "price.get", question, publisher=publisher)
                assert reply is None or reply.payload == question, f"{question!r} was answered by {reply.payload!r}"
            await trio.sleep(chance.uniform(0.3, 1.2))

    async def _beat(self, nc: Client) -> None:
        """Without headers, by the shortest way; the letters before a number say when it was sent."""
        for number in range(0, 1_000_000, 3):
            if self.stopping.is_set():
                return
            with suppress(PendingFullError):
                for beat in range(number, number + 3):
                    await nc.publish("beat", b"%s %06d" % (b"faulty" if self.faulty else b"well", beat))
            await trio.sleep(1.0)

    async def _trespass(self, nc: Client) -> None:
        """Publish and subscribe to what is forbidden; the client says so, if it has a link."""
        while not self.stopping.is_set():
            for attempt in (self._publish_secret, self._subscribe_secret):
                well = not self.faulty and self.world.now() > self.world.faults_end_at + QUIET_SECONDS
                try:
                    await attempt(nc)
                except PermissionsError:
                    continue
                except NatsError as error:
                    if well:
                        raise AssertionError("what is forbidden failed for another reason") from error
                else:
                    raise AssertionError("what is forbidden succeeded")
            await trio.sleep(2.5)

    async def _publish_secret(self, nc: Client) -> None:
        await nc.publish("secret.plans", b"", confirm=True)

    async def _subscribe_secret(self, nc: Client) -> None:
        async with nc.subscribe("secret.*") as sub:
            try:
                await sub.confirmed()
            except PermissionsError:
                with trio.fail_after(1.0):  # who receives is told too
                    await sub.receive()

    async def _flush(self, nc: Client) -> None:
        chance = self.world.random("flush")
        while not self.stopping.is_set():
            with suppress(NatsError):
                await nc.flush()
            await trio.sleep(chance.uniform(0.5, 2.0))
