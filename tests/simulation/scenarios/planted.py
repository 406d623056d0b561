"""An application with a mistake, for a sweep to find: a message is given up after a cancelled wait.

As examples/partition.py, but the workers of `billing` begin anew with every connection, and what one had in its hands
then is forgotten.
"""

from __future__ import annotations

from functools import partial

import trio

from beamline_trio import Client, Disconnected, Subscription, open_client
from beamline_trio.testing import Draw, World, at_least_once, every_call_ends, laws, no_loss, nothing_invented, recovers


async def place_orders(world: World, nc: Client, closing: trio.Event) -> None:
    while not closing.is_set():
        answer = None
        while answer is None:
            _, answer = await world.journal.request(nc, "orders.new", b"book")
            await trio.sleep(1)


async def work(world: World, worker: str, sub: Subscription, scopes: list[trio.CancelScope]) -> None:
    while True:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            while True:
                msg = await sub.receive()
                await trio.sleep(0.3)  # the mistake: cancelled here, the message is gone
                world.journal.delivered(worker, msg)
                await msg.respond(b"billed")


async def begin_anew(nc: Client, scopes: list[trio.CancelScope]) -> None:
    async with nc.events() as events:
        async for event in events:
            if isinstance(event, Disconnected):
                while scopes:
                    scopes.pop().cancel()


@laws(
    no_loss, nothing_invented, at_least_once, every_call_ends, recovers(30), faults=Draw(seconds=60, count=4)
)  # fmt: skip
async def scenario(world: World) -> None:
    server = await world.start_server("a")
    closing = trio.Event()
    scopes: list[trio.CancelScope] = []
    async with (
        open_client(server.url, name="billing", dialer=world.dialer("billing")) as billing,
        open_client(server.url, name="app", dialer=world.dialer("app")) as app,
        billing.subscribe("orders.new", queue_group="billing") as sub,
        trio.open_nursery() as nursery,
    ):
        await sub.confirmed()
        nursery.start_soon(begin_anew, billing, scopes)
        for worker in ("billing/1", "billing/2"):
            nursery.start_soon(partial(work, world, worker, sub, scopes))
        async with trio.open_nursery() as orders:
            orders.start_soon(place_orders, world, app, closing)
            await world.quiet()
            closing.set()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
