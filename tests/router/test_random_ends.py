"""Random kills, pauses, lost links and restarts of the router: every input ends, and no ack comes too soon."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from beamline_trio import Message
from beamline_trio.router import DeadLetter, Publish, Retry, Router
from beamline_trio.simulation import World
from tests.router._random_ends import any_end, check_ends, copy_of, run_in_trouble

INPUTS = 200


def by_number(message: Message) -> int:
    """One of twenty keys or tenants."""
    return int(message.payload) % 20


# How messages wait: not at all, in order, and with tenants that have more than their part of the queue.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ordered": {"ordered_by": by_number},
    "tenants": {"tenant_by": lambda message: by_number(message) % 2, "quota": 2, "queue_messages_max": 5},
    "both": {"ordered_by": by_number, "tenant_by": lambda message: by_number(message) % 4, "queue_messages_max": 5},
}


def drawn(world: World, kind: str) -> Router:
    """A router whose handler fails in all ways there are."""
    chance = world.random("handler")
    router = Router("r", grace_seconds=2)

    @router.route(
        "in.*",
        stream="IN",
        concurrency=8,
        deadline_seconds=3,
        retry=Retry(delays_seconds=(0.5, 1), ack_wait_seconds=4, max_deliver=6),
        dead_letter="dead.in",
        **KINDS[kind],
    )
    async def work(message: Message) -> Publish | Retry | DeadLetter | None:
        return await any_end(chance) or copy_of(message)

    return router


@pytest.mark.parametrize("kind", KINDS)
async def test_every_input_ends_whatever_happens(kind: str, nats_world: World) -> None:
    """Each is in OUT or among the dead letters, nothing is left to deliver, no ack is before what it stands for.

    Each message that a run of the router took has one outcome, also in runs that are cancelled under way.
    """
    router = drawn(nats_world, kind)
    await run_in_trouble(nats_world, router, INPUTS)
    check_ends(nats_world, INPUTS)
    counters = router.routes["work"].counters
    assert (counters.held, counters.pending, counters.pending_bytes) == (0, 0, 0)
    assert (counters.overflows > 0) == ("queue_messages_max" in KINDS[kind])
    journal = nats_world.journal
    twice = Counter(one.identity for one in journal.stored if one.stream == "OUT")
    assert max(twice.values()) == 1
    handed = [one.deliveries for one in journal.handed_out if one.stream == "IN" and one.consumer == "work"]
    assert max(handed) <= 6
