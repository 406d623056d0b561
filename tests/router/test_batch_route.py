"""Routes whose handler takes lists: every message of a batch ends exactly once, whatever becomes of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import attrs
import pytest
import trio

from beamline_trio import JetStream, Message
from beamline_trio.router import (
    Batch,
    Breaker,
    CallNext,
    DeadLetter,
    Delivery,
    DeliveryBatch,
    HandlerOutcome,
    Publish,
    Reject,
    Retry,
    RetryLater,
    Router,
    current_delivery,
)
from beamline_trio.simulation import World
from tests.router._random_ends import any_end, check_ends, copy_of, run_in_trouble
from tests.router._streams import contents, ended, fill, running, streams


@attrs.frozen
class Line:
    """A payload."""

    number: int


async def ids(jetstream: JetStream, stream: str) -> list[str]:
    """The message ids of a stream."""
    last = (await jetstream.stream_info(stream)).state.last_seq
    found = [await jetstream.get_message(stream, sequence=number) for number in range(1, last + 1)]
    return [one.headers["Nats-Msg-Id"] for one in found]


async def test_batches_by_size_and_by_time(nats_world: World) -> None:
    """A full batch is handled at once, a smaller one when its oldest has waited for the time."""
    router = Router("r")
    batches: list[tuple[float, list[bytes]]] = []

    @router.route("in.*", stream="IN", batch=Batch(4, 2))
    async def work(payloads: list[bytes], deliveries: list[Delivery]) -> Publish:
        assert [one.payload for one in deliveries] == payloads
        assert all(one.deadline == trio.current_time() + 20 for one in deliveries)
        batches.append((trio.current_time() - began, payloads))
        return Publish("out.a", b"".join(payloads))

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        began = trio.current_time()
        await fill(jetstream, 10)
        await trio.sleep(5)
        assert await contents(jetstream, "OUT") == [b"0123", b"4567", b"89"]
        assert await ids(jetstream, "OUT") == ["IN:1-4.4:work:0", "IN:5-8.4:work:0", "IN:9-10.2:work:0"]
        info = await jetstream.consumer_info("IN", "work")
        assert (info.num_ack_pending, info.num_pending, info.num_redelivered) == (0, 0, 0)
    assert [len(payloads) for _, payloads in batches] == [4, 4, 2]
    assert [at for at, _ in batches] == [
        pytest.approx(0, abs=0.5),
        pytest.approx(0, abs=0.5),
        pytest.approx(2, abs=0.5),
    ]
    assert ended(router.routes["work"]) == {"ok": 10}


async def test_a_drain_finishes_a_half_full_batch_without_waiting_for_others(nats_world: World) -> None:
    """Nothing more can join it, so its time is not waited for."""
    router = Router("r", grace_seconds=5)

    @router.route("in.*", stream="IN", batch=Batch(100, 3600))
    async def work(payloads: list[bytes]) -> Publish:
        return Publish("out.a", b"".join(payloads))

    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc):
            await fill(jetstream, 3)
            await trio.sleep(2)
            assert router.routes["work"].waiting == 3
            began = trio.current_time()
        assert trio.current_time() - began < 1
        assert await contents(jetstream, "OUT") == [b"012"]
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert ended(router.routes["work"]) == {"ok": 3}
    assert router.report.unfinished == 0


@pytest.mark.parametrize("ordered", [False, True])
async def test_at_the_end_of_the_grace_a_batch_goes_back_whole(ordered: bool, nats_world: World) -> None:
    """What is in hand, what is parked, what forms and what waits behind are delivered again, each once."""
    router = Router("r", grace_seconds=1)
    by = (lambda message: int(message.payload) % 4) if ordered else None

    @router.route("in.*", stream="IN", batch=Batch(3, 60), concurrency=2, ordered_by=by)
    async def work(payloads: list[bytes]) -> Retry:
        await trio.sleep(0 if ordered and b"0" in payloads else 30)
        return Retry(60)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 8)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(1)
            statistics = router.routes["work"].statistics()
            assert router.routes["work"].waiting == statistics.pending == 8 - statistics.in_flight
            report = await router.drain()
        assert report.unknown == 0
        assert report.unfinished == 6 if not ordered else report.unfinished > 0
        consumer = await jetstream.consumer("IN", "work")
        again = await consumer.fetch(20, expires_seconds=1)
        assert sorted(message.payload for message in again) == [b"%d" % number for number in range(8)]
    assert ended(router.routes["work"]) == {"returned": 8}


async def test_a_bad_payload_in_the_middle_ends_alone(nats_world: World) -> None:
    """It is a dead letter; the rest is handled as if it had not been there, and a batch of bad ones calls nobody."""
    router = Router("r")
    got: list[list[int]] = []

    @router.route("in.*", stream="IN", batch=Batch(3, 1), dead_letter="dead.in")
    async def work(lines: list[Line], deliveries: list[Delivery]) -> Publish:
        assert [one.payload for one in deliveries] == [b'{"number": %d}' % line.number for line in lines]
        got.append([line.number for line in lines])
        return Publish("out.a", b"%d" % sum(got[-1]))

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        for payload in (b'{"number": 1}', b"bad", b'{"number": 3}', b"bad", b"bad", b"bad"):
            await jetstream.publish("in.a", payload)
        await trio.sleep(3)
        assert await contents(jetstream, "OUT") == [b"4"]
        assert (await ids(jetstream, "OUT"))[0].startswith("IN:1-3.2.")
        assert await contents(jetstream, "DEAD") == [b"bad"] * 4
        cause = (await jetstream.get_message("DEAD", sequence=1)).headers
        assert cause["Beamline-Cause"].startswith("bad_payload")
        assert (await jetstream.consumer_info("IN", "work")).num_redelivered == 0
    assert got == [[1, 3]]
    assert ended(router.routes["work"]) == {"ok": 2, "dead_lettered": 4}
    assert router.routes["work"].statistics().dead_letters["bad_payload"] == 4


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("how", ["raise", "raise_later", "retry", "deadline"])
async def test_a_failed_batch_is_tried_again_and_given_up_by_each_own_count(
    how: str, ordered: bool, nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is delivered three times and is then a dead letter of its own; the exception is logged once for a batch."""
    router = Router("r")
    tries: Counter[bytes] = Counter()
    calls = 0

    @router.route(
        "in.*",
        stream="IN",
        batch=Batch(4, 0.2),
        deadline_seconds=1,
        dead_letter="dead.in",
        ordered_by=(lambda message: 1) if ordered else None,
        retry=Retry(delays_seconds=(0.1,), max_deliver=3),
    )
    async def work(payloads: list[bytes]) -> Retry:
        nonlocal calls
        calls += 1
        tries.update(payloads)
        if how == "raise":
            raise ValueError("no")
        if how == "raise_later":
            raise RetryLater(0.1, "later")
        if how == "deadline":
            await trio.sleep_forever()
        return Retry(reason="later")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 6)
        async with running(router, nc):
            await trio.sleep(30)
        assert sorted(await contents(jetstream, "DEAD")) == [b"%d" % number for number in range(6)]
        letter = (await jetstream.get_message("DEAD", sequence=1)).headers
        assert letter["Beamline-Deliveries"] == "3"
        assert (await jetstream.consumer_info("IN", "work")).num_ack_pending == 0
    assert tries == {b"%d" % number: 3 for number in range(6)}
    assert calls <= 12
    assert caplog.text.count("NATS_HANDLER_ERROR") == (calls if how == "raise" else 0)
    outcomes = ended(router.routes["work"])
    assert outcomes == ({"dead_lettered": 6} if ordered else {"retried": 12, "dead_lettered": 6})


@pytest.mark.parametrize("raises", [False, True])
async def test_a_rejected_batch_is_dead_letters_one_by_one(raises: bool, nats_world: World) -> None:
    """At the first delivery, with the effects of the outcome before."""
    router = Router("r")

    @router.route("in.*", stream="IN", batch=Batch(3, 1), dead_letter="dead.in")
    async def work(payloads: list[bytes]) -> DeadLetter:
        if raises:
            raise Reject("never")
        return DeadLetter("never", effects=[Publish("out.a", b"told")])

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 3)
        await trio.sleep(1)
        assert await contents(jetstream, "DEAD") == [b"0", b"1", b"2"]
        assert (await jetstream.stream_info("OUT")).state.messages == (0 if raises else 1)
    assert ended(router.routes["work"]) == {"dead_lettered": 3}
    assert router.routes["work"].statistics().dead_letters["rejected" if raises else "requested"] == 3


@pytest.mark.parametrize("subject, waits", [("nowhere.a", True), ("out.a", False)])
async def test_an_effect_that_is_not_confirmed_acks_none_of_its_batch(
    subject: str, waits: bool, nats_world: World
) -> None:
    """All of them are given up, each with the reason: at the deadline where a later try might help, else at once."""
    router = Router("r")

    @router.route("in.*", stream="IN", batch=Batch(3, 1), dead_letter="dead.in", retry=Retry(max_deliver=1))
    async def work(payloads: list[bytes]) -> Publish:
        return Publish(subject, b"", headers={"Nats-Expected-Stream": "OTHER"})

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 3)
        await trio.sleep(19)
        assert (await jetstream.stream_info("DEAD")).state.messages == (0 if waits else 3)
        await trio.sleep(2)
        assert await contents(jetstream, "DEAD") == [b"0", b"1", b"2"]
    assert ended(router.routes["work"]) == {"dead_lettered": 3}
    assert router.routes["work"].statistics().dead_letters["publish_error"] == 3


@pytest.mark.parametrize("cut", ["deadline", "drain"])
async def test_what_has_ended_when_a_settlement_is_cut_short_stays_so(cut: str, nats_world: World) -> None:
    """The server falls silent behind the first dead letter: that message has ended, the two others come again."""
    router = Router("r", grace_seconds=1)

    @router.route("in.*", stream="IN", batch=Batch(3, 1), dead_letter="dead.in", deadline_seconds=2)
    async def work(payloads: list[bytes]) -> DeadLetter:
        return DeadLetter("never")

    route = router.routes["work"]
    async with streams(nats_world) as (server, nc, jetstream), trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        await fill(jetstream, 3)
        while not route.counters.dead_letters["requested"]:  # noqa: ASYNC110  # a counter tells nobody
            await trio.sleep(0.0001)
        server.pause()
        if cut == "drain":
            nursery.start_soon(router.drain)
        await trio.sleep(3)
        server.resume()
        if cut == "deadline":
            await trio.sleep(10)
            await router.drain()
    outcomes = ended(route)
    if cut == "deadline":
        assert outcomes == {"retried": 2, "dead_lettered": 3}
    else:
        assert outcomes == {"returned": 2, "dead_lettered": 1}
        assert router.report.unfinished == 2


async def test_a_key_belongs_to_one_batch_at_a_time(nats_world: World) -> None:
    """Within a batch, over batches and over failed tries, the messages of a key are handled in their order."""
    router = Router("r")
    done: dict[int, list[int]] = defaultdict(list)
    working: set[int] = set()
    failed: set[int] = set()

    @router.route(
        "in.*",
        stream="IN",
        concurrency=4,
        batch=Batch(7, 0.3),
        ordered_by=lambda message: int(message.payload) % 5,
        retry=Retry(delays_seconds=(1,)),
    )
    async def work(payloads: list[int]) -> None:
        keys = {number % 5 for number in payloads}
        assert not keys & working
        working.update(keys)
        await trio.sleep(0.2)
        working.difference_update(keys)
        new = {number for number in payloads if number % 9 == 0} - failed
        failed.update(new)
        if new:
            raise ValueError("no")
        for number in payloads:
            done[number % 5].append(number)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 100)
        async with running(router, nc):
            await trio.sleep(60)
    assert done == {key: list(range(key, 100, 5)) for key in range(5)}
    assert ended(router.routes["work"]) == {"ok": 100}


async def test_a_key_that_cannot_be_told_ends_its_message_alone(nats_world: World) -> None:
    """The others of its batch are handled."""
    router = Router("r")
    got: list[bytes] = []

    @router.route("in.*", stream="IN", batch=Batch(3, 1), ordered_by=lambda message: 1 // int(message.payload))
    async def work(payloads: list[bytes]) -> None:
        got.extend(payloads)

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 3)
        await trio.sleep(60)
    assert got == [b"1", b"2"]
    assert ended(router.routes["work"]) == {"ok": 2, "terminated": 1}


async def test_a_long_batch_is_kept_by_heartbeats_in_hand_and_while_it_forms(nats_world: World) -> None:
    """None of it is delivered again, though both take longer than the ack wait."""
    router = Router("r")

    @router.route("in.*", stream="IN", batch=Batch(10, 8), retry=Retry(ack_wait_seconds=2))
    async def work(payloads: list[bytes]) -> None:
        await trio.sleep(8)

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 5)
        await trio.sleep(20)
        assert (await jetstream.consumer_info("IN", "work")).num_redelivered == 0
    assert ended(router.routes["work"]) == {"ok": 5}


async def test_batches_that_look_alike_have_other_ids(nats_world: World) -> None:
    """1, 2, 4 and 1, 3, 4 have the same ends and number; were the ids the same, the effect of 3 would be thrown away.

    The second batch is what comes again when the acks of 1 and 4 were lost.
    """
    seen: dict[bytes, str] = {}

    async def work(payloads: list[bytes]) -> None:
        raise AssertionError("not called")

    async def note(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        assert isinstance(delivery, DeliveryBatch)
        every = delivery.deliveries
        for places in ((0, 1, 3), (0, 2, 3), (3, 1, 0), (0, 1, 2)):
            delivery.deliveries = [every[place] for place in places]
            seen["".join(map(str, places)).encode()] = delivery.identity
        delivery.deliveries = every
        return ()

    router = Router("r", middleware=[note])
    router.route("in.*", stream="IN", batch=Batch(9, 0.1))(work)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 4)
        async with running(router, nc):
            await trio.sleep(1)
    assert len(set(seen.values())) == 4
    assert seen[b"012"] == "IN:1-3.3:work"
    assert seen[b"013"].startswith("IN:1-4.3.")
    assert seen[b"023"].startswith("IN:1-4.3.")


async def test_middleware_sees_a_batch_and_the_breaker_refuses_it_whole(nats_world: World) -> None:
    """A batch is one call of the chain; while its breaker is open each message of it is given back."""
    router = Router("r")
    seen: list[int] = []

    async def counted(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        assert isinstance(delivery, DeliveryBatch)
        assert "DeliveryBatch of 2" in repr(delivery)
        seen.append(delivery.count)
        return await call_next(delivery)

    breaker = Breaker(failures=1, open_seconds=5, successes=1)

    @router.route("in.*", stream="IN", batch=Batch(2, 1), middleware=[counted], breaker=breaker)
    async def work(messages: list[Message]) -> None:
        if len(seen) == 1:
            raise ValueError("no")
        assert all(isinstance(message, Message) for message in messages)

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 4)
        await trio.sleep(60)
    outcomes: dict[str, Any] = ended(router.routes["work"])
    assert outcomes.pop("returned") >= 2
    assert outcomes == {"ok": 4, "retried": 2}


@pytest.mark.parametrize("ordered", [False, True])
async def test_every_input_of_a_batch_ends_whatever_happens(ordered: bool, nats_world: World) -> None:
    """Servers killed and paused, links lost, runs cancelled: each input is in OUT or a dead letter before its ack."""
    chance = nats_world.random("handler")
    router = Router("r", grace_seconds=2)

    @router.route(
        "in.*",
        stream="IN",
        concurrency=3,
        batch=Batch(6, 0.3),
        deadline_seconds=3,
        ordered_by=(lambda message: int(message.payload) % 20) if ordered else None,
        retry=Retry(delays_seconds=(0.5, 1), ack_wait_seconds=4, max_deliver=6),
        dead_letter="dead.in",
    )
    async def work(messages: list[Message]) -> list[Publish] | Retry | DeadLetter:
        return await any_end(chance) or [copy_of(one) for one in messages]

    await run_in_trouble(nats_world, router, 150)
    check_ends(nats_world, 150)


async def test_the_effects_of_a_batch_carry_a_trace_that_begins_with_it(nats_world: World) -> None:
    """One for each batch, whose messages say in what traces they are; a batch without any carries none."""
    router = Router("r")
    batches: list[DeliveryBatch] = []

    @router.route("in.*", stream="IN", batch=Batch(2, 1))
    async def work(messages: list[Message]) -> Publish:
        batch = current_delivery.get()
        assert isinstance(batch, DeliveryBatch)
        batches.append(batch)
        return Publish("out.a", b"")

    parents = [f"00-{'ab' * 16}-{'01' * 8}-01", f"00-{'cd' * 16}-{'02' * 8}-00", f"00-{'ef' * 16}-{'03' * 8}-00"]
    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        for parent in (*parents, None, None, None):
            await jetstream.publish("in.a", headers=None if parent is None else {"traceparent": parent})
        await trio.sleep(3)
        stored = [await jetstream.get_message("OUT", sequence=number) for number in (1, 2, 3)]
    assert [[link.trace_id for link in batch.links] for batch in batches] == [["ab" * 16, "cd" * 16], ["ef" * 16], []]
    given = [one.headers.get("traceparent") for one in stored]
    assert given == [batch.trace.traceparent if batch.trace is not None else None for batch in batches]
    assert given[2] is None
    traces = {str(one).split("-")[1] for one in given[:2]}
    assert len(traces) == 2
    assert not traces & {parent.split("-")[1] for parent in parents}
