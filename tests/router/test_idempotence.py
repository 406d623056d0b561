"""The laws of idempotence in memory: who may work on a key, for how long, and what is forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints

from beamline_trio.router._idempotence import Claim, Idempotence, IdempotenceStatistics, MemoryIdempotence

OPERATIONS = ("claim", "confirm", "release")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OPERATIONS), st.sampled_from("abcd")),
        st.tuples(st.just("sleep"), st.sampled_from((0.5, 1.0, 3.0, 9.0))),
    ),
    max_size=40,
)


async def test_a_key_is_new_once(autojump_clock: MockClock) -> None:
    """Of many who claim a key at once one gets it, and the others come later; confirmed it is done for all."""
    store: Idempotence = MemoryIdempotence()
    claims: list[Claim] = []

    async def claim() -> None:
        claims.append(await store.claim("order-1"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(claim)
    assert claims.count(Claim.NEW) == 1
    assert claims.count(Claim.BUSY) == 19
    await store.confirm("order-1")
    assert await store.claim("order-1") is Claim.DONE
    assert await store.claim("order-2") is Claim.NEW


async def test_released_and_lapsed_keys_are_new_again(autojump_clock: MockClock) -> None:
    """A key that was released is new at once; one that its owner forgot, after claim_seconds."""
    store = MemoryIdempotence(claim_seconds=30)
    await store.claim("a")
    await store.release("a")
    assert await store.claim("a") is Claim.NEW
    await trio.sleep(29.9)
    assert await store.claim("a") is Claim.BUSY
    await trio.sleep(0.1)
    assert await store.claim("a") is Claim.NEW
    assert store.statistics() == IdempotenceStatistics(hits=1, misses=3, lapsed=1)


async def test_a_confirmed_key_lives_for_its_time(autojump_clock: MockClock) -> None:
    """A confirmed key is done for ttl_seconds from the last confirmation, and no release changes that."""
    store = MemoryIdempotence(ttl_seconds=100)
    await store.claim("a")
    await store.confirm("a")
    await store.release("a")
    await trio.sleep(60)
    await store.confirm("a")
    await trio.sleep(99)
    assert await store.claim("a") is Claim.DONE
    await trio.sleep(1)
    assert await store.claim("a") is Claim.NEW


async def test_a_full_memory_forgets_the_oldest_done_key(autojump_clock: MockClock) -> None:
    """The bound holds: confirmed keys give way, the oldest first and counted; claims never do, and the next is BUSY."""
    store = MemoryIdempotence(keys_max=3)
    for key in ("a", "b", "c"):
        await store.claim(key)
        await store.confirm(key)
    assert await store.claim("d") is Claim.NEW
    assert await store.claim("b") is Claim.DONE
    assert await store.claim("a") is Claim.NEW
    assert await store.claim("b") is Claim.NEW
    assert await store.claim("e") is Claim.BUSY
    assert len(store) == 3
    assert store.statistics() == IdempotenceStatistics(hits=2, misses=6, full=1, evicted=3)


async def test_confirming_a_key_nobody_has_claimed_keeps_the_bound(autojump_clock: MockClock) -> None:
    """A confirmation behind a lapsed claim counts, since the work is done, and makes room like any other."""
    store = MemoryIdempotence(keys_max=2)
    for key in ("a", "b", "c"):
        await store.confirm(key)
    assert len(store) == 2
    assert await store.claim("c") is Claim.DONE


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_checkpoints_and_refusals(operation: str) -> None:
    """Every method is a checkpoint, also when it refuses what is no key."""
    store = MemoryIdempotence()
    method: Callable[[object], Awaitable[object]] = getattr(store, operation)
    with assert_checkpoints():
        await method("a")
    with assert_checkpoints(), pytest.raises(TypeError, match="it must be a str, not int"):
        await method(1)
    with assert_checkpoints(), pytest.raises(ValueError, match="the key is empty"):
        await method("")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancelled_before(operation: str, autojump_clock: MockClock) -> None:
    """Cancelled, claim and confirm have done nothing; a release is done, as cleaning up is."""
    store = MemoryIdempotence()
    if operation != "claim":
        await store.claim("a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await getattr(store, operation)("a")
    assert scope.cancelled_caught
    assert await store.claim("a") is (Claim.BUSY if operation == "confirm" else Claim.NEW)


async def test_cancelled_while_waiting(autojump_clock: MockClock) -> None:
    """A claim that is cancelled by another task while it waits for its turn owns nothing."""
    store = MemoryIdempotence()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.claim, "a")
        nursery.cancel_scope.cancel()
    assert await store.claim("a") is Claim.NEW
    assert store.statistics() == IdempotenceStatistics(misses=1)


@pytest.mark.parametrize("name", ["ttl_seconds", "keys_max", "claim_seconds"])
@pytest.mark.parametrize("value", [None, 0, -1, float("nan"), "1", True])
def test_limits_are_checked(name: str, value: object) -> None:
    """A limit that is not positive is refused with its name."""
    with pytest.raises((TypeError, ValueError), match=name):
        MemoryIdempotence(**{name: value})  # type: ignore[arg-type]  # the point of the test


@given(steps=STEPS, keys_max=st.integers(1, 4))
def test_any_history_agrees_with_plain_books(steps: list[tuple[str, str | float]], keys_max: int) -> None:
    """Whatever is done in whatever order: one owner of a key, done while promised, never over the bound."""

    async def run() -> None:
        store = MemoryIdempotence(5.0, keys_max, claim_seconds=2.0)
        owned: dict[str, float] = {}
        done: dict[str, float] = {}
        for what, argument in steps:
            now = trio.current_time()
            if what == "sleep":
                await trio.sleep(float(argument))
                continue
            key = str(argument)
            result = await getattr(store, what)(key)
            if what == "claim" and result is Claim.NEW:
                assert owned.get(key, 0.0) <= now
                owned[key] = now + 2.0
            elif what == "claim" and result is Claim.DONE:
                assert done[key] > now
            elif what != "claim":
                owned.pop(key, None)
                done |= {key: now + 5.0} if what == "confirm" else {}
            assert len(store) <= keys_max
        claims = sum(what == "claim" for what, _ in steps)
        statistics = store.statistics()
        assert statistics.hits + statistics.misses == claims

    trio.run(run, clock=MockClock(autojump_threshold=0))
