"""Routes with order, tenants and a rate: whatever fails, is slow or is delivered twice, the others go on."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import trio

from beamline_trio import Message, OptionsError
from beamline_trio.router import Delivery, Publish, Retry, Router
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, fill, running, streams


def key_of(message: Message) -> str:
    return message.headers["Key"]


async def test_messages_of_a_key_are_handled_in_order_whatever_fails(nats_world: World) -> None:
    """One at a time, in the order of the stream, also when a try fails or is over its deadline; others meanwhile."""
    router = Router("r")
    done: dict[str, list[int]] = defaultdict(list)
    tries: dict[int, int] = defaultdict(int)
    working: set[str] = set()
    together = 0

    @router.route(
        "in.*", stream="IN", concurrency=8, ordered_by=key_of, deadline_seconds=2, retry=Retry(delays_seconds=(1,))
    )
    async def work(message: Message) -> Publish:
        nonlocal together
        key, number = key_of(message), int(message.payload)
        assert key not in working
        working.add(key)
        together = max(together, len(working))
        try:
            tries[number] += 1
            await trio.sleep(0.1)
            if number % 7 == 0 and tries[number] == 1:
                raise ValueError("no")
            if number % 11 == 0 and tries[number] == 1:
                await trio.sleep_forever()
        finally:
            working.discard(key)
        done[key].append(number)
        return Publish("out.a", message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        for number in range(100):
            await jetstream.publish("in.a", b"%d" % number, headers={"Key": f"k{number % 5}"})
        async with running(router, nc):
            await trio.sleep(60)
        assert len(await contents(jetstream, "OUT")) == 100
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_redelivered) == (0, 0)
    assert together == 5
    assert done == {f"k{key}": list(range(key, 100, 5)) for key in range(5)}
    assert ended(router.routes["work"]) == {"ok": 100}
    retries = router.routes["work"].statistics().retries
    assert (retries["handler_error"], retries["processing_timeout"]) == (15, 8)


async def test_order_holds_over_a_lost_link_and_what_comes_twice_is_handled_once(nats_world: World) -> None:
    """The ack wait passes while the server is away: what it delivers again is here already, or was done."""
    router = Router("r")
    done: list[int] = []

    @router.route("in.*", stream="IN", concurrency=4, ordered_by=lambda message: 1, retry=Retry(ack_wait_seconds=2))
    async def work(message: Message) -> None:
        await trio.sleep(0.5)
        done.append(int(message.payload))

    async with streams(nats_world, reconnect_delay_seconds=0.1) as (server, nc, jetstream):
        await fill(jetstream, 30)
        async with running(router, nc):
            await trio.sleep(3.2)
            server.kill()
            await trio.sleep(4)
            server.start()
            await trio.sleep(30)
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
        assert info.num_redelivered == 0
    assert done == list(range(30))
    outcomes = ended(router.routes["work"])
    assert outcomes["ok"] == 30
    assert outcomes["duplicate"] > 0


async def test_a_key_that_cannot_be_told_is_a_failure_of_its_message(nats_world: World) -> None:
    """What the user's function raises, or gives that cannot be hashed, is tried again and given up like any error."""
    router = Router("r")
    unhashable: Any = []
    retry = Retry(delays_seconds=(0.1,), max_deliver=2)

    @router.route("in.*", stream="IN", ordered_by=key_of, retry=retry, dead_letter="dead.in")
    async def keyless(message: Message) -> None:
        raise AssertionError("not called")

    @router.route("in.*", stream="IN", tenant_by=lambda message: unhashable, retry=retry)
    async def listed(message: Message) -> None:
        raise AssertionError("not called")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 2)
        async with running(router, nc):
            await trio.sleep(5)
        assert sorted(await contents(jetstream, "DEAD")) == [b"0", b"1"]
    assert ended(router.routes["keyless"]) == {"dead_lettered": 2}
    assert ended(router.routes["listed"]) == {"retried": 2, "terminated": 2}


async def test_a_tenant_that_is_slow_leaves_the_others_their_workers(nats_world: World) -> None:
    """With a quota of one of two workers, the other tenant's messages take their usual time."""
    router = Router("r")
    seconds: list[float] = []
    sent: dict[bytes, float] = {}

    @router.route("in.*", stream="IN", concurrency=2, tenant_by=lambda message: message.subject, quota=1)
    async def work(message: Message) -> None:
        if message.subject == "in.slow":
            await trio.sleep(10)
        else:
            seconds.append(trio.current_time() - sent[message.payload])

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 20, "in.slow")
        for number in range(50):
            sent[b"%d" % number] = trio.current_time()
            await jetstream.publish("in.quick", b"%d" % number)
            await trio.sleep(0.1)
        await trio.sleep(1)
    assert len(seconds) == 50
    assert max(seconds) < 0.1


async def test_a_rate_is_kept_and_can_be_changed(nats_world: World) -> None:
    """So many handlers begin in a second, before and behind a change."""
    router = Router("r", grace_seconds=1)
    times: list[float] = []

    @router.route("in.*", stream="IN", concurrency=8, rate=10)
    async def work(message: Message) -> None:
        times.append(trio.current_time())

    route = router.routes["work"]
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 300)
        async with running(router, nc):
            began = trio.current_time()
            await trio.sleep(10)
            assert len(times) == pytest.approx(100, abs=2)
            route.rate = 20
            await trio.sleep(5)
            assert len([one for one in times if one > began + 10]) == pytest.approx(100, abs=3)
            route.rate = None
            await trio.sleep(1)
    assert ended(route) == {"ok": 300}
    with pytest.raises(OptionsError, match="rate"):
        route.rate = 0
    assert route.rate is None


async def test_a_rate_cannot_begin_in_a_run_without_a_queue(nats_world: World) -> None:
    """The error says so, and the next run has it."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def work(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc):
            with pytest.raises(OptionsError, match="next run"):
                router.routes["work"].rate = 1
        await fill(jetstream, 10)
        async with running(router, nc):
            await trio.sleep(4.5)
            assert ended(router.routes["work"]) == {"ok": 5}
            router.routes["work"].rate = 1000


async def test_what_waits_in_a_queue_goes_back_in_its_order(nats_world: World) -> None:
    """At the end of the grace: what is parked, waits and is in hand is delivered again, each once."""
    router = Router("r", grace_seconds=2)

    @router.route("in.*", stream="IN", concurrency=2, ordered_by=lambda message: int(message.payload) % 3)
    async def work(payload: bytes, delivery: Delivery) -> Retry:
        await trio.sleep(0 if payload == b"0" else 30)
        return Retry(60)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 10)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(1)
            assert router.routes["work"].waiting == 8
            report = await router.drain()
        assert (report.unfinished, report.unknown) == (2, 0)
        consumer = await jetstream.consumer("IN", "work")
        again = await consumer.fetch(20, expires_seconds=1)
        assert sorted(message.payload for message in again) == [b"%d" % number for number in range(10)]
    assert ended(router.routes["work"]) == {"returned": 10}


async def test_a_core_route_with_a_queue(nats_world: World) -> None:
    """Order and outcomes are those of a stream; what waits at the end is discarded, and counted."""
    router = Router("r", grace_seconds=1)
    got: list[bytes] = []

    @router.route("a", concurrency=4, ordered_by=lambda message: 1)
    async def work(message: Message) -> bytes:
        got.append(message.payload)
        await trio.sleep(0.35)
        return message.payload

    async with streams(nats_world) as (_, nc, _js), running(router, nc):
        for number in range(9):
            await nc.publish("a", b"%d" % number)
        await nc.flush()
        await trio.sleep(1)
    assert got == [b"%d" % number for number in range(6)]
    assert ended(router.routes["work"]) == {"ok": 5, "discarded": 4}
