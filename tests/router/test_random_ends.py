"""Random kills, pauses, lost links and restarts of the router: every input ends, and no ack comes too soon."""

from __future__ import annotations

from collections import Counter

import pytest

from beamline_trio import Message
from beamline_trio.router import DeadLetter, Publish, Retry, Router
from beamline_trio.simulation import World
from tests.router._random_ends import any_end, check_ends, copy_of, run_in_trouble

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
        return await any_end(chance) or copy_of(message)

    return router


@pytest.mark.parametrize("ordered", [False, True])
async def test_every_input_ends_whatever_happens(ordered: bool, nats_world: World) -> None:
    """Each is in OUT or among the dead letters, nothing is left to deliver, no ack is before what it stands for.

    Each message that a run of the router took has one outcome, also in runs that are cancelled under way.
    """
    router = drawn(nats_world, ordered)
    await run_in_trouble(nats_world, router, INPUTS)
    check_ends(nats_world, INPUTS)
    journal = nats_world.journal
    twice = Counter(one.identity for one in journal.stored if one.stream == "OUT")
    assert max(twice.values()) == 1
    handed = [one.deliveries for one in journal.handed_out if one.stream == "IN" and one.consumer == "work"]
    assert max(handed) <= 6
