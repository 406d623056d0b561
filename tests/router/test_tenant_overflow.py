"""What a tenant has beyond its part of a queue: held without its payload and read again, or turned away."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio import Client, JetStreamMessage, Message, UndeliveredError
from beamline_trio.client import ERROR_CODE_HEADER
from beamline_trio.router import Batch, Retry, Router, TenantOverflow
from beamline_trio.simulation import World, run
from tests.router._streams import ended, fill, running, streams

PART = 2


def tenant_of(message: Message) -> str:
    """The last token of the subject."""
    return message.subject.rpartition(".")[2]


class Held:
    """A route whose tenants have room for two messages each, and whose handler waits to be let go."""

    def __init__(self, *, batch: Batch | None = None, dead_letter: str | None = None, quota: int = 1) -> None:
        self.go = trio.Event()
        self.handled: list[bytes] = []
        self.router = Router("r", grace_seconds=1)
        options: dict[str, Any] = {
            "concurrency": 4,
            "tenant_by": tenant_of,
            "quota": quota,
            "queue_messages_max": 2 * PART,
            "dead_letter": dead_letter,
            "retry": Retry(delays_seconds=(1,), ack_wait_seconds=3, max_deliver=2),
        }
        if batch is None:
            self.router.route("in.*", name="work", stream="IN", **options)(self.one)
        else:
            self.router.route("in.*", name="work", stream="IN", batch=batch, **options)(self.several)
        self.counters = self.router.routes["work"].counters

    async def one(self, payload: bytes) -> None:
        await self.several([payload])

    async def several(self, payloads: list[bytes]) -> None:
        await self.go.wait()
        self.handled += payloads


async def test_what_is_beyond_a_tenants_part_is_held_without_its_payload(nats_world: World) -> None:
    """It waits for as long as it takes, in its order, keeps no payload here, and its waiting is no delivery."""
    held = Held()
    async with streams(nats_world) as (_, nc, jetstream), running(held.router, nc):
        await fill(jetstream, 30)
        await trio.sleep(15)
        counters = held.counters
        assert (counters.in_flight, counters.pending) == (1, 29)
        assert (counters.held, counters.overflows) == (27, 27)
        assert counters.pending_bytes == PART
        assert (await jetstream.consumer_info("IN", "work")).num_redelivered == 0
        held.go.set()
        await trio.sleep(1)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert held.handled == [b"%d" % number for number in range(30)]
    assert ended(held.router.routes["work"]) == {"ok": 30}
    assert (counters.held, counters.pending_bytes) == (0, 0)


async def test_a_batch_reads_all_its_payloads(nats_world: World) -> None:
    """Those of references beside those that were here."""
    held = Held(batch=Batch(4, 0.5), quota=4)
    async with streams(nats_world) as (_, nc, jetstream), running(held.router, nc):
        await fill(jetstream, 20)
        await trio.sleep(1)
        assert held.counters.held > 4
        held.go.set()
        await trio.sleep(5)
    assert held.handled == [b"%d" % number for number in range(20)]
    assert ended(held.router.routes["work"]) == {"ok": 20}
    assert held.counters.held == 0


@pytest.mark.parametrize("batch", [None, Batch(3, 0.2)])
async def test_what_its_stream_has_no_longer_is_given_up(batch: Batch | None, nats_world: World) -> None:
    """There is nothing left to handle, and nothing for a dead letter: it is terminated, and the others go on."""
    held = Held(batch=batch, dead_letter="dead.in", quota=3)
    async with streams(nats_world) as (_, nc, jetstream), running(held.router, nc):
        await fill(jetstream, 20)
        await trio.sleep(1)
        await jetstream.delete_message("IN", 19)
        held.go.set()
        await trio.sleep(3)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
        assert (await jetstream.stream_info("DEAD")).state.messages == 0
    assert sorted(held.handled) == sorted(b"%d" % number for number in range(20) if number != 18)
    assert ended(held.router.routes["work"]) == {"ok": 19, "terminated": 1}
    assert held.counters.held == 0


@pytest.mark.parametrize("batch", [None, Batch(3, 0.2)])
async def test_a_payload_that_cannot_be_read_now_is_read_later(batch: Batch | None, nats_world: World) -> None:
    """While the server is away its message waits on: that is no try, and the message comes once."""
    held = Held(batch=batch, quota=4)
    options = {"reconnect_delay_seconds": 0.1, "operation_timeout_seconds": 0.3}
    async with streams(nats_world, **options) as (server, nc, jetstream), running(held.router, nc):
        await fill(jetstream, 16)
        await trio.sleep(1)
        server.pause()
        held.go.set()
        await trio.sleep(2)
        assert len(held.handled) < 16
        assert held.counters.held > 0
        server.resume()
        await trio.sleep(10)
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert sorted(held.handled) == sorted(b"%d" % number for number in range(16))
    assert set(ended(held.router.routes["work"])) <= {"ok", "duplicate"}
    assert held.counters.outcomes["ok"] == 16
    assert held.counters.failures == 0


async def test_what_comes_again_while_it_is_held_is_handled_once(nats_world: World) -> None:
    """An outage longer than the ack wait: the second coming is recognised, and the first one acked."""
    held = Held()
    async with streams(nats_world, reconnect_delay_seconds=0.1) as (server, nc, jetstream), running(held.router, nc):
        await fill(jetstream, 20)
        await trio.sleep(1)
        server.kill()
        await trio.sleep(5)
        server.start()
        await trio.sleep(3)
        held.go.set()
        await trio.sleep(3)
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
    assert held.handled == [b"%d" % number for number in range(20)]
    outcomes = ended(held.router.routes["work"])
    assert outcomes.pop("duplicate") > 0
    assert outcomes == {"ok": 20}


async def test_what_is_held_goes_back_when_the_router_ends(nats_world: World) -> None:
    """To its stream, whole, and nothing of it is counted as held any more."""
    held = Held()
    async with streams(nats_world) as (_, nc, jetstream):
        async with trio.open_nursery() as nursery:
            await nursery.start(held.router.run, nc)
            await fill(jetstream, 10)
            await trio.sleep(1)
            await held.router.drain()
        consumer = await jetstream.consumer("IN", "work")
        again = await consumer.fetch(20, expires_seconds=1)
        assert sorted(message.payload for message in again) == [b"%d" % number for number in range(10)]
    assert ended(held.router.routes["work"]) == {"returned": 10}
    assert (held.counters.held, held.counters.pending_bytes) == (0, 0)


async def test_a_client_that_closes_while_a_payload_is_read_ends_the_route(nats_world: World) -> None:
    """It cannot be read any more; it comes again to whoever is next."""
    held = Held()
    options = {"drain_deadline_seconds": 1}
    async with trio.open_nursery() as nursery:
        with pytest.raises(UndeliveredError):  # its own question is of unknown fate
            async with streams(nats_world, **options) as (server, nc, jetstream):
                await fill(jetstream, 10)
                await nursery.start(held.router.run, nc)
                await trio.sleep(1)
                server.pause()
                held.go.set()
                await trio.sleep(0.2)
                assert 0 < held.counters.held < 10
    assert held.counters.held == 0
    ended(held.router.routes["work"])


async def listen(nc: Client, seen: list[TenantOverflow]) -> None:
    """Note the overflows that are told."""
    async for event in nc.events():
        if isinstance(event, TenantOverflow):
            seen.append(event)


async def test_a_core_route_turns_away_what_a_tenant_has_no_room_for(nats_world: World) -> None:
    """Its sender is told at once, the others are answered as ever; the first of it is an event."""
    router = Router("r")

    @router.route("work.*", concurrency=4, tenant_by=tenant_of, quota=1, queue_messages_max=4)
    async def work(message: Message) -> bytes:
        await trio.sleep(1.5 if tenant_of(message) == "slow" else 0)
        return message.payload

    answers: Counter[str] = Counter()
    seen: list[TenantOverflow] = []

    async def ask(nc: Client, subject: str) -> None:
        reply = await nc.request(subject, b"done")
        answers[reply.headers.get(ERROR_CODE_HEADER) or reply.payload.decode()] += 1

    async with streams(nats_world) as (_, nc, _js), running(router, nc), trio.open_nursery() as nursery:
        nursery.start_soon(listen, nc, seen)
        for _ in range(8):
            nursery.start_soon(ask, nc, "work.slow")
        await trio.sleep(1)
        assert answers == {"503": 6}
        for _ in range(2):
            await nc.publish("work.slow")
        await nc.flush()
        with trio.fail_after(0.1):
            await ask(nc, "work.quick")
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert seen == [TenantOverflow("work", "slow")]
    assert answers == {"503": 6, "done": 3}
    assert ended(router.routes["work"]) == {"ok": 4, "unavailable": 7}
    assert router.routes["work"].statistics().overflows == 7


ENDS = st.sampled_from(["done", "raises", "hangs"])


@settings(max_examples=20)
@given(
    plan=st.lists(st.tuples(st.sampled_from("abc"), ENDS), min_size=1, max_size=16),
    queue_messages_max=st.integers(1, 6),
    ordered=st.booleans(),
)
def test_whoever_floods_waiting_is_no_delivery(
    plan: list[tuple[str, str]], queue_messages_max: int, ordered: bool
) -> None:
    """Each message is delivered as often as it was tried, ends once, and in its order where there is one."""
    tries: Counter[int] = Counter()
    done: list[int] = []
    router = Router("r", grace_seconds=1)

    @router.route(
        "in.*",
        stream="IN",
        concurrency=3,
        tenant_by=tenant_of,
        ordered_by=tenant_of if ordered else None,
        quota=1,
        queue_messages_max=queue_messages_max,
        deadline_seconds=4,
        retry=Retry(delays_seconds=(0.5,), ack_wait_seconds=2, max_deliver=2),
    )
    async def work(message: Message) -> None:
        assert isinstance(message, JetStreamMessage)
        number = int(message.payload)
        tries[number] += 1
        assert message.metadata.delivered == (1 if ordered else tries[number])
        if tries[number] == 1 and plan[number][1] == "hangs":
            await trio.sleep_forever()
        if tries[number] == 1 and plan[number][1] == "raises":
            raise ValueError(number)
        done.append(number)

    async def main(world: World) -> None:
        async with streams(world) as (_, nc, jetstream), running(router, nc):
            for number, (tenant, _end) in enumerate(plan):
                await jetstream.publish(f"in.{tenant}", b"%d" % number)
            await trio.sleep(6 * len(plan))
            assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0

    run(main, seed=1)
    assert tries == {number: 1 if end == "done" else 2 for number, (_, end) in enumerate(plan)}
    assert sorted(done) == list(range(len(plan)))
    outcomes = ended(router.routes["work"])
    assert outcomes["ok"] == len(plan)
    assert outcomes.get("retried", 0) == (0 if ordered else sum(tries.values()) - len(plan))
    counters = router.routes["work"].counters
    assert (counters.held, counters.pending, counters.pending_bytes) == (0, 0, 0)
    if ordered:
        for tenant in "abc":
            of_tenant = [number for number in done if plan[number][0] == tenant]
            assert of_tenant == sorted(of_tenant)
