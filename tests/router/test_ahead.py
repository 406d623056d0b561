"""What waits in a route's queue is worked off before it needs heartbeats; the rest waits in its stream."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import Message
from beamline_trio.jetstream import statistics_of
from beamline_trio.router import Batch, Router
from beamline_trio.router._ahead import LOOK_SECONDS, Ahead
from beamline_trio.simulation import World
from tests.router._streams import ended, fill, running, streams

SLOW_SECONDS = 0.5
BACKLOG = 1_500


@pytest.mark.parametrize(
    "options", [{"ordered_by": lambda message: message.subject}, {"rate": 30.0}], ids=["order", "rate"]
)
async def test_a_backlog_is_worked_off_without_heartbeats(nats_world: World, options: dict[str, object]) -> None:
    """A heartbeat costs a replicated consumer what an ack costs; a queue of 1,000 would send 70 a second of them."""
    router = Router("r")
    waiting_most = 0

    @router.route("in.*", stream="IN", concurrency=16, **options)  # type: ignore[arg-type]
    async def work(message: Message) -> None:
        nonlocal waiting_most
        waiting_most = max(waiting_most, router.routes["work"].statistics().pending)
        await trio.sleep(SLOW_SECONDS)

    async with streams(nats_world) as (_, nc, jetstream):
        for number in range(BACKLOG):
            await jetstream.publish(f"in.{number % 40}", b"")
        async with running(router, nc):
            await trio.sleep(BACKLOG / 30 + 10)
            assert ended(router.routes["work"]) == {"ok": BACKLOG}
        assert statistics_of(nc).in_progress <= BACKLOG / 100
    assert waiting_most <= 250


async def test_quick_work_has_much_waiting(nats_world: World) -> None:
    """At 320 a second, 1,000 messages are worked off long before they need a heartbeat: the queue's own bound holds."""
    router = Router("r")
    waiting_most = 0

    @router.route("in.*", stream="IN", concurrency=16, ordered_by=lambda message: message.subject)
    async def work(message: Message) -> None:
        nonlocal waiting_most
        waiting_most = max(waiting_most, router.routes["work"].statistics().pending)
        await trio.sleep(0.05)

    async with streams(nats_world) as (_, nc, jetstream):
        for number in range(2_500):
            await jetstream.publish(f"in.{number % 40}", b"")
        async with running(router, nc):
            await trio.sleep(20)
            assert ended(router.routes["work"]) == {"ok": 2_500}
    assert waiting_most > 900


async def test_a_key_that_hangs_keeps_no_worker_from_the_keys_behind_it(nats_world: World) -> None:
    """Idle workers look further than time allows: 600 messages of one key do not hide what follows."""
    router = Router("r")
    done: list[float] = []

    @router.route("in.*", stream="IN", concurrency=4, ordered_by=lambda message: message.subject, deadline_seconds=60)
    async def work(message: Message) -> None:
        if message.subject == "in.hangs":
            await trio.sleep(50)
        done.append(trio.current_time())

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 600, "in.hangs")
        await fill(jetstream, 50, "in.well")
        async with running(router, nc):
            began = trio.current_time()
            await trio.sleep(5)
            assert len(done) == 50
            assert max(done) - began < 1


async def test_batches_are_full_however_slow_their_handler_is(nats_world: World) -> None:
    """Two rounds of work may wait, whatever they take."""
    router = Router("r")
    sizes: list[int] = []

    @router.route("in.*", stream="IN", concurrency=2, batch=Batch(200, 1.0), deadline_seconds=60)
    async def work(payloads: list[bytes]) -> None:
        sizes.append(len(payloads))
        await trio.sleep(15)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1_200)
        async with running(router, nc):
            await trio.sleep(60)
    assert sizes == [200] * 6


@given(
    least=st.integers(1, 500),
    seconds=st.floats(0.1, 60),
    per_second=st.integers(0, 500),
    looks=st.lists(st.floats(0, 5), min_size=1, max_size=20),
)
def test_what_may_wait_is_what_is_done_in_time(least: int, seconds: float, per_second: int, looks: list[float]) -> None:
    """Never less than the least, and never more than its share of the time at the rate of the work, or the least."""
    ahead, now = Ahead(least, seconds, 0.0), 0.0
    for pause in looks:
        for _ in range(round(per_second * pause)):
            ahead.done()
        now += pause
        assert ahead.has_room(least - 1, now)
        # Work comes in whole messages, of which one more may have ended within the shortest time that is looked at.
        bound = max(least, (per_second + len(looks) / LOOK_SECONDS) * seconds)
        assert not ahead.has_room(int(bound) + 1, now)


def test_quick_work_may_have_much_waiting() -> None:
    """At 1,000 a second, of which a second's count is known, five seconds' worth."""
    ahead = Ahead(100, 5.0, 0.0)
    assert not ahead.has_room(100, 0.5)
    for _ in range(1_000):
        ahead.done()
    assert ahead.has_room(4_999, 1.0)
    assert not ahead.has_room(5_000, 1.0)
    assert not ahead.has_room(100, 2.0)
