"""A router in all the trouble there is, by chance, and what must hold of every message afterwards.

Must not say how a route is declared.
"""

from __future__ import annotations

import random
from contextlib import suppress

import trio

from beamline_trio import Message, NatsError
from beamline_trio.router import DeadLetter, Publish, Retry, Router
from beamline_trio.simulation import SimulatedServer, World
from tests.router._streams import ended, feed, streams


async def any_end(chance: random.Random) -> Retry | DeadLetter | None:
    """Take a while, and end in one of the ways in which a handler fails; None: it does not fail."""
    await trio.sleep(chance.random() * 0.2)
    draw = chance.random()
    if draw < 0.1:
        raise ValueError("no")
    if draw < 0.15:
        return Retry(1)
    if draw < 0.2:
        return DeadLetter("never")
    if draw < 0.22:
        await trio.sleep_forever()
    return None


def copy_of(message: Message) -> Publish:
    """The effect of a handler that does not fail."""
    return Publish("out.a", message.payload, headers={"Sim-Id": message.headers["Sim-Id"]})


async def trouble(world: World, server: SimulatedServer) -> None:
    """For half a minute."""
    chance = world.random("trouble")
    while world.now() < 30:
        await trio.sleep(chance.random() * 4)
        kind = chance.choice(["kill", "pause", "disconnect"])
        if kind == "disconnect":
            for connection in server.connections:
                server.disconnect(connection.client_id)
            continue
        server.kill() if kind == "kill" else server.pause()
        await trio.sleep(chance.random() * 3)
        server.start() if kind == "kill" else server.resume()


async def run_in_trouble(world: World, router: Router, inputs: int) -> None:
    """Its route `work` takes so many messages, the router cancelled and run again, until none is left to deliver."""
    chance = world.random("restarts")
    options = {"reconnect_delay_seconds": 0.1, "pending_timeout_seconds": None, "operation_timeout_seconds": 2.0}
    async with streams(world, **options) as (server, nc, jetstream), trio.open_nursery() as nursery:
        nursery.start_soon(feed, jetstream, inputs, 0.05)
        nursery.start_soon(trouble, world, server)
        while world.now() < 40:
            with trio.move_on_after(chance.random() * 8), suppress(NatsError):  # it cannot begin while a server is away
                await router.run(nc)
            await trio.sleep(0.1)
        with trio.move_on_after(120):
            await router.run(nc)
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
        nursery.cancel_scope.cancel()
    ended(router.routes["work"])


def check_ends(world: World, inputs: int) -> None:
    """Each of so many messages is in OUT or among the dead letters, and no ack is before what it stands for."""
    journal = world.journal
    taken = {one.sequence: one.identity for one in journal.stored if one.stream == "IN"}
    assert len(taken) == inputs
    stored_at = {one.identity: one.at for one in reversed(journal.stored) if one.stream in ("OUT", "DEAD")}
    assert set(stored_at) == set(taken.values())
    for ack in journal.acknowledged:
        if ack.stream == "IN":
            assert stored_at[taken[ack.sequence]] < ack.at
