"""What the stores of a router have counted, over all its runs."""

from __future__ import annotations

from beamline_trio import Message
from beamline_trio.router import Claim, MemoryIdempotence, Router
from beamline_trio.router._store_books import StoreBooks
from beamline_trio.simulation import World
from tests.router._streams import running, streams


class OwnStore:
    """A store of somebody else's, which counts nothing."""

    claim_seconds = 60.0

    async def claim(self, key: str) -> Claim:
        return Claim.NEW

    async def confirm(self, key: str) -> None:
        return

    async def release(self, key: str) -> None:
        return


async def filled(times: int) -> MemoryIdempotence:
    """A store that has found no room so many times."""
    store = MemoryIdempotence(keys_max=1)
    for number in range(times + 1):
        await store.claim(f"k{number}")
    return store


async def test_a_store_that_counts_from_zero_takes_nothing_back() -> None:
    """Another store, one without statistics, the same one twice: numbers only grow."""
    books = StoreBooks()
    assert books.counts() == {"full": 0, "lapsed": 0, "evicted": 0, "skipped": 0}
    first, second = await filled(2), await filled(3)
    for store, full in ((first, 2), (first, 2), (OwnStore(), 2), (second, 5)):
        books.use(store)
        assert books.counts()["full"] == full
    await second.claim("more")
    assert books.counts()["full"] == 6


async def test_a_store_that_is_opened_for_each_run_is_in_the_books(nats_world: World) -> None:
    """Of both runs."""
    opened: list[MemoryIdempotence] = []

    async def open_store(_: object) -> MemoryIdempotence:
        opened.append(await filled(1))
        return opened[-1]

    router = Router("r", idempotence=open_store)

    @router.route("a")
    async def work(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, _js):
        for run in (1, 2):
            async with running(router, nc):
                assert router.store_counts()["full"] == run
    assert len(opened) == 2
