"""Orders are billed at least once, whatever happens to the network: `beamline simulate examples/partition.py`.

The application is the real one, with the whole client; the hosts, the two servers and the faults between them are
simulated. `journal` notes what is published and what arrives, and the laws are held against that.
"""

from functools import partial

import trio

from beamline_trio import Client, Message, open_client
from beamline_trio.testing import (
    Draw,
    ServerConfig,
    World,
    at_least_once,
    books_balance,
    every_call_ends,
    honest_unknown,
    laws,
    no_loss,
    nothing_invented,
    order_by,
    recovers,
)

SERVERS = ("nats://a:4222", "nats://b:4222")


async def place_orders(world: World, nc: Client, closing: trio.Event) -> None:
    """One order a second; each is tried until it is answered, since a billed order may be billed again."""
    number = 0
    while not closing.is_set():
        number += 1
        answer = None
        while answer is None:  # no answer: nobody knows whether it arrived
            _, answer = await world.journal.request(nc, "orders.new", b"%d" % number)
            await trio.sleep(1)
        assert answer.payload == b"billed %d" % number


async def bill(world: World, worker: str, msg: Message) -> bytes:
    world.journal.delivered(worker, msg)
    await trio.sleep(0.002)
    return b"billed " + msg.payload


async def note_books(world: World, **clients: Client) -> None:
    while True:
        await trio.sleep(10)
        for name, nc in clients.items():
            world.journal.note_books(name, nc)


@laws(
    no_loss, nothing_invented, at_least_once, honest_unknown, books_balance, order_by(), every_call_ends, recovers(30),
    faults=Draw(seconds=60, count=5),
)  # fmt: skip
async def scenario(world: World) -> None:
    cluster = ServerConfig(cluster="orders")
    await world.start_server("a", cluster)
    await world.start_server("b", cluster, routes=["a"])
    closing = trio.Event()
    async with (
        open_client(servers=SERVERS, name="billing", dialer=world.dialer("billing")) as billing,
        open_client(servers=SERVERS[::-1], name="app", dialer=world.dialer("app")) as app,
        trio.open_nursery() as nursery,
    ):
        for worker in ("billing/1", "billing/2"):
            handler = partial(bill, world, worker)
            await nursery.start(partial(billing.serve, "orders.new", handler, queue_group="billing"))
        nursery.start_soon(partial(note_books, world, app=app, billing=billing))
        async with trio.open_nursery() as orders:
            orders.start_soon(place_orders, world, app, closing)
            await world.quiet()
            closing.set()
        for name, nc in (("app", app), ("billing", billing)):
            await nc.flush()
            world.journal.note_books(name, nc)
        nursery.cancel_scope.cancel()
