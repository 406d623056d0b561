"""What the workload receives, in every way there is, until its clients are drained.

Must not publish, but for replies.
"""

from __future__ import annotations

from functools import partial

import trio

from beamline_trio import Client, Message, NatsError, OperationTimeoutError, Subscription
from beamline_trio.simulation import World
from tests.mutants._settings import CAP, OPTIONS


class Receivers:
    """The tasks that receive; each draws from a PRNG of its own.

    Args:
        world: where they run.
        stopping: no subscription is made any more when it is set.
    """

    def __init__(self, world: World, stopping: trio.Event) -> None:
        self.world = world
        self.journal = world.journal
        self.stopping = stopping

    async def start_billing(self, nc: Client, nursery: trio.Nursery) -> None:
        """Those of billing; its queue group and its service are there when it returns."""
        for who in ("billing/one", "billing/two"):
            await nursery.start(self._receive, nc, who, "orders.paid", "billing")
        nursery.start_soon(self._receive_capped, nc)
        nursery.start_soon(self._hear_beats, nc)
        await nursery.start(partial(nc.serve, "price.get", self._price, queue_group="prices", concurrency=3))

    async def start_audit(self, nc: Client, nursery: trio.Nursery) -> None:
        """Those of audit."""
        await nursery.start(self._receive, nc, "audit/all", "orders.>", None)
        await nursery.start(self._receive_batches, nc)
        await nursery.start(self._receive_first_of, nc)
        await nursery.start(self._receive_slowly, nc)
        nursery.start_soon(self._receive_briefly, nc)
        nursery.start_soon(self._call_back, nc)

    async def _price(self, message: Message) -> bytes:
        self.journal.delivered("billing/price", message)
        if message.payload.endswith(b"slowly"):
            await trio.sleep(OPTIONS["operation_timeout_seconds"] + 1.0)
        return message.payload

    async def _receive(
        self, nc: Client, who: str, subject: str, queue_group: str | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """With deadlines that strike again and again while it waits."""
        chance = self.world.random(who)
        async with nc.subscribe(subject, queue_group=queue_group) as sub:
            task_status.started()
            while not sub.exhausted:
                with trio.move_on_after(chance.choice((0.0, 0.05, 0.5, 5.0, 5.0, 5.0))):
                    try:
                        message = await sub.receive()
                    except trio.EndOfChannel:
                        break
                    self.journal.delivered(who, message)
            assert not sub.pending_bytes, f"{who} read everything, and {sub.pending_bytes} bytes are said to wait"

    async def _receive_batches(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        async with nc.subscribe("orders.created") as sub:
            task_status.started()
            while True:
                try:
                    batch = await sub.receive_batch(max_messages=3)
                except trio.EndOfChannel:
                    return
                for message in batch:
                    self.journal.delivered("audit/batch", message)

    async def _receive_first_of(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        """Whoever of two is given a message cancels the other, which may be given one in this very moment."""
        async with nc.subscribe("orders.noted") as left, nc.subscribe("orders.noted") as right:
            task_status.started()
            while not (left.exhausted or right.exhausted):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive_one, left, "audit/left", nursery.cancel_scope)
                    nursery.start_soon(self._receive_one, right, "audit/right", nursery.cancel_scope)
            for sub, who in ((left, "audit/left"), (right, "audit/right")):
                await self._read_to_end(sub, who)

    async def _receive_one(self, sub: Subscription, who: str, scope: trio.CancelScope) -> None:
        try:
            self.journal.delivered(who, await sub.receive())
        except trio.EndOfChannel:
            pass
        scope.cancel()

    async def _receive_slowly(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        async with nc.subscribe("orders.>", pending_messages_max=4) as sub:
            task_status.started()
            async for message in sub:
                self.journal.delivered("audit/slow", message)
                await trio.sleep(0.2)
        self.journal.lost("audit/slow", sub.dropped)

    async def _receive_capped(self, nc: Client) -> None:
        """Subscriptions with a maximum, one after another."""
        for generation in range(1_000):
            who = f"billing/capped{generation}"
            count = 0
            async with nc.subscribe("orders.capped", max_messages=CAP) as sub:
                async for message in sub:
                    self.journal.delivered(who, message)
                    count += 1
            if self.stopping.is_set():  # it may have ended by the drain
                return
            self.journal.end_of(who)
            assert count == CAP, f"{who} ended after {count} messages"

    async def _hear_beats(self, nc: Client) -> None:
        heard: dict[bytes, None] = {}
        async with nc.subscribe("beat") as sub:
            async for message in sub:
                assert message.payload not in heard, f"{message.payload!r} came twice"
                heard[message.payload] = None
        assert any(beat.startswith(b"well") for beat in heard), "no beat was heard in a system without faults"

    async def _receive_briefly(self, nc: Client) -> None:
        """Subscriptions that come, are drained, and go."""
        chance = self.world.random("briefly")
        for generation in range(1_000):
            if self.stopping.is_set():
                return
            who = f"audit/brief{generation}"
            async with nc.subscribe("orders.>") as sub:
                with trio.move_on_after(chance.uniform(0.0, 2.0)):
                    await self._read_to_end(sub, who)
                try:
                    await sub.drain()
                except OperationTimeoutError:  # what still comes is for nobody, and was told
                    self.journal.lost(who, 1_000)
                except NatsError:
                    pass
                await self._read_to_end(sub, who)
            self.journal.end_of(who)
            await trio.sleep(chance.uniform(0.0, 2.0))

    async def _read_to_end(self, sub: Subscription, who: str) -> None:
        async for message in sub:
            self.journal.delivered(who, message)

    async def _call_back(self, nc: Client) -> None:
        def note(message: Message) -> None:
            self.journal.delivered("audit/call", message)

        async with nc.subscribe("orders.noted", callback=note) as sub:
            await self._read_to_end(sub, "audit/call")
