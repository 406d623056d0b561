"""What was done is not done again, on both servers: over restarts, between instances, behind the death of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from beamline_trio import JetStream, open_client
from beamline_trio.router import Claim, IdempotenceStatistics, KVIdempotence
from beamline_trio.testing import EitherServer

pytestmark = pytest.mark.nats_config(jetstream=True)
LIMIT_SECONDS = 25.0
# The server looks for what has expired at most 1.25 s late.
LATE_SECONDS = 1.5


@asynccontextmanager
async def instance(
    nats: EitherServer, claim_seconds: float = 30, ttl_seconds: float = 60
) -> AsyncGenerator[KVIdempotence]:
    """One process of a router, with its own client."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer()) as nc:
            yield await KVIdempotence.open(JetStream(nc), claim_seconds=claim_seconds, ttl_seconds=ttl_seconds)


async def test_instances_share_what_is_done(nats: EitherServer) -> None:
    """Of two instances that claim at once one works; the other comes later, and finds it done."""
    async with instance(nats) as one, instance(nats) as other:
        claims: list[tuple[Claim, KVIdempotence]] = []

        async def claim(store: KVIdempotence) -> None:
            claims.append((await store.claim("order 1"), store))

        async with trio.open_nursery() as nursery:
            for store in (one, other, one, other):
                nursery.start_soon(claim, store)
        (winner,) = (store for claim, store in claims if claim is Claim.NEW)
        assert sum(claim is Claim.BUSY for claim, _ in claims) == 3
        await winner.confirm("order 1")
        assert await other.claim("order 1") is Claim.DONE
        assert await one.claim("order 1") is Claim.DONE
        assert one.statistics().misses + other.statistics().misses == 1
        assert one.statistics().hits + other.statistics().hits == 5


async def test_a_released_key_is_new_for_everybody(nats: EitherServer) -> None:
    """What was not done is claimed again at once, by whoever comes first; a confirmed key stays done."""
    async with instance(nats) as one, instance(nats) as other:
        for store in (one, other, one):
            assert await store.claim("a") is Claim.NEW
            await store.release("a")
        await one.release("a")
        assert await other.claim("a") is Claim.NEW
        await other.confirm("a")
        await other.release("a")
        assert await one.claim("a") is Claim.DONE


async def test_what_is_done_outlives_router_and_server(nats: EitherServer) -> None:
    """A restart of the router and a kill of the server forget nothing."""
    async with instance(nats) as store:
        await store.claim("a")
        await store.confirm("a")
    await nats.kill()
    await nats.start()
    async with instance(nats) as store:
        assert await store.claim("a") is Claim.DONE
        assert store.statistics() == IdempotenceStatistics(hits=1)


async def test_the_claim_of_a_dead_instance_lapses(nats: EitherServer) -> None:
    """A claim whose instance died is busy until claim_seconds are over, and then new, once."""
    async with instance(nats, claim_seconds=2) as dead:
        await dead.claim("a")
    async with instance(nats, claim_seconds=2) as one, instance(nats, claim_seconds=30) as other:
        assert await one.claim("a") is Claim.BUSY
        await trio.sleep(2 + LATE_SECONDS)
        assert await other.claim("a") is Claim.NEW
        assert await one.claim("a") is Claim.BUSY


async def test_a_lapsed_claim_takes_nothing_from_the_next_one(nats: EitherServer) -> None:
    """Who comes back behind its time releases nobody else's claim; what it confirms is done."""
    async with instance(nats, claim_seconds=1) as slow, instance(nats) as other:
        await slow.claim("a")
        await slow.claim("b")
        await trio.sleep(1 + LATE_SECONDS)
        assert await other.claim("a") is Claim.NEW
        assert await other.claim("b") is Claim.NEW
        await slow.release("a")
        assert await slow.claim("a") is Claim.BUSY
        await slow.confirm("b")
        await other.release("b")
        assert await other.claim("b") is Claim.DONE


async def test_what_is_done_is_forgotten_in_time(nats: EitherServer) -> None:
    """A confirmed key is new again behind ttl_seconds."""
    async with instance(nats, ttl_seconds=1) as store:
        await store.claim("a")
        await store.confirm("a")
        assert await store.claim("a") is Claim.DONE
        await trio.sleep(1 + LATE_SECONDS)
        assert await store.claim("a") is Claim.NEW
