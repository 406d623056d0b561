"""Random kills, pauses, lost links and restarts of the router: every input ends, and no ack comes too soon."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
import trio

from beamline_trio import Message, NatsError
from beamline_trio.router import DeadLetter, Publish, Retry, Router
from beamline_trio.simulation import SimulatedServer, World
from tests.router._streams import ended, streams
from tests.router.test_outages import feed

INPUTS = 200


def drawn(world: World, ordered: bool) -> Router:
    """A router whose handler fails in all ways there are."""
    chance = world.random("handler")
    router = Router("r", grace_seconds=2)

    @router.route(
        "in.*",
        stream="IN",
        concurrency=8,
        deadline_seconds=3,
        ordered_by=(lambda message: int(message.payload) % 20) if ordered else None,
        retry=Retry(delays_seconds=(0.5, 1), ack_wait_seconds=4, max_deliver=6),
        dead_letter="dead.in",
    )
    async def work(message: Message) -> Publish | Retry | DeadLetter | None:
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
        return Publish("out.a", message.payload, headers={"Sim-Id": message.headers["Sim-Id"]})

    return router


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


@pytest.mark.parametrize("ordered", [False, True])
async def test_every_input_ends_whatever_happens(ordered: bool, nats_world: World) -> None:
    """Each is in OUT or among the dead letters, nothing is left to deliver, no ack is before what it stands for.

    Each message that a run of the router took has one outcome, also in runs that are cancelled under way.
    """
    router = drawn(nats_world, ordered)
    chance = nats_world.random("restarts")
    options = {"reconnect_delay_seconds": 0.1, "pending_timeout_seconds": None, "operation_timeout_seconds": 2.0}
    async with streams(nats_world, **options) as (server, nc, jetstream), trio.open_nursery() as nursery:
        nursery.start_soon(feed, jetstream, INPUTS, 0.05)
        nursery.start_soon(trouble, nats_world, server)
        while nats_world.now() < 40:
            with trio.move_on_after(chance.random() * 8), suppress(NatsError):  # it cannot begin while a server is away
                await router.run(nc)
            await trio.sleep(0.1)
        with trio.move_on_after(120):
            await router.run(nc)
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
        nursery.cancel_scope.cancel()
    ended(router.routes["work"])
    journal = nats_world.journal
    inputs = {one.sequence: one.identity for one in journal.stored if one.stream == "IN"}
    assert len(inputs) == INPUTS
    stored_at = {one.identity: one.at for one in reversed(journal.stored) if one.stream in ("OUT", "DEAD")}
    assert set(stored_at) == set(inputs.values())
    twice = Counter(one.identity for one in journal.stored if one.stream == "OUT")
    assert max(twice.values()) == 1
    for ack in journal.acknowledged:
        if ack.stream == "IN":
            assert stored_at[inputs[ack.sequence]] < ack.at
    handed = [one.deliveries for one in journal.handed_out if one.stream == "IN" and one.consumer == "work"]
    assert max(handed) <= 6
