"""Routes from streams: each message ends in exactly one way, and no ack leaves before what it stands for is stored."""

from __future__ import annotations

import itertools

import pytest
import trio

from beamline_trio import JetStream, Message, StreamConfig, open_client
from beamline_trio.router import DeadLetter, Delivery, Publish, Reject, Retry, RetryLater, Router
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, fill, running, streams


async def test_what_a_handler_publishes_is_stored_and_its_input_acked(nats_world: World) -> None:
    """Once each, in one stream behind the other; nothing is left to deliver."""
    router = Router("r")

    @router.route("in.*", stream="IN", concurrency=4)
    async def copy(payload: bytes, delivery: Delivery) -> list[Publish]:
        return [Publish("out.one", payload), Publish("out.two", payload)]

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 50)
        async with running(router, nc):
            await trio.sleep(5)
        out = await contents(jetstream, "OUT")
        assert sorted(out) == sorted([b"%d" % number for number in range(50)] * 2)
        info = await jetstream.consumer_info("IN", "copy")
        assert (info.num_ack_pending, info.num_pending, info.num_redelivered) == (0, 0, 0)
    assert ended(router.routes["copy"]) == {"ok": 50}
    assert router.routes["copy"].statistics().effects == 100


async def test_the_ids_of_effects_are_those_of_their_input(nats_world: World) -> None:
    """A second delivery publishes under the same ids, and its stream stores nothing twice."""
    router = Router("r")
    tries = 0

    @router.route("in.*", stream="IN", retry=Retry(delays_seconds=(1,)))
    async def copy(message: Message) -> list[Publish]:
        nonlocal tries
        tries += 1
        second = "out.b" if tries > 1 else "nowhere.b"
        return [Publish("out.a", message.payload), Publish(second, message.payload)]

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(40)
        assert await contents(jetstream, "OUT") == [b"0", b"0"]
        ids = [(await jetstream.get_message("OUT", sequence=n)).headers["Nats-Msg-Id"] for n in (1, 2)]
        assert ids == ["IN:1:copy:0", "IN:1:copy:1"]
    assert (tries, ended(router.routes["copy"])) == (2, {"retried": 1, "ok": 1})


@pytest.mark.parametrize("raises", [ValueError("no"), RetryLater(reason="no")])
async def test_what_fails_comes_again_and_is_given_up_at_last(raises: Exception, nats_world: World) -> None:
    """max_deliver times, with the delays of the policy; then a dead letter with its history, and an ack."""
    router = Router("r")
    times: list[float] = []

    @router.route("in.*", stream="IN", retry=Retry(jitter=0), dead_letter="dead.in")
    async def fails(message: Message) -> None:
        times.append(trio.current_time())
        raise raises

    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.publish("in.a", b"x", message_id="mine", headers={"K": "v"})
        async with running(router, nc):
            await trio.sleep(60)
        dead = await jetstream.get_message("DEAD", sequence=1)
        info = await jetstream.consumer_info("IN", "fails")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
    assert [round(b - a) for a, b in itertools.pairwise(times)] == [1, 2, 4]
    assert ended(router.routes["fails"]) == {"retried": 3, "dead_lettered": 1}
    assert (dead.payload, dead.subject) == (b"x", "dead.in")
    wanted = {
        "K": "v",
        "Beamline-Original-Nats-Msg-Id": "mine",
        "Nats-Msg-Id": "IN:1:fails:dlq",
        "Beamline-Cause": "handler_error",
        "Beamline-Route": "fails",
        "Beamline-Subject": "in.a",
        "Beamline-Stream": "IN",
        "Beamline-Sequence": "1",
        "Beamline-Deliveries": "4",
        "Beamline-Time": dead.headers["Beamline-Time"],
    }
    assert {name: dead.headers[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "outcome, reason",
    [(Reject("never"), "rejected"), (DeadLetter("never"), "requested"), (b"not a number", "bad_payload")],
)
async def test_what_can_never_be_done_is_tried_once(outcome: object, reason: str, nats_world: World) -> None:
    """A rejection, a dead letter that was asked for, and a payload that cannot be read are dead letters at once."""
    router = Router("r")

    @router.route("in.*", stream="IN", dead_letter="dead.in")
    async def number(payload: int, delivery: Delivery) -> DeadLetter | None:
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, DeadLetter)
        return outcome

    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.publish("in.a", outcome if isinstance(outcome, bytes) else b"7")
        async with running(router, nc):
            await trio.sleep(20)
        assert len(await contents(jetstream, "DEAD")) == 1
    statistics = router.routes["number"].statistics()
    assert ended(router.routes["number"]) == {"dead_lettered": 1}
    assert {key: count for key, count in statistics.dead_letters.items() if count} == {reason: 1}


async def test_without_dead_letters_what_is_given_up_is_terminated(nats_world: World) -> None:
    """The server is told the reason, and it is counted."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def never(message: Message) -> DeadLetter:
        return DeadLetter("no such thing")

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 1)
        advisories = nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.IN.never")
        async with advisories, running(router, nc):
            assert b"no such thing" in (await advisories.receive()).payload
        assert (await jetstream.consumer_info("IN", "never")).num_ack_pending == 0
    assert ended(router.routes["never"]) == {"terminated": 1}


async def test_a_dead_letter_that_nobody_stores_is_a_nak(nats_world: World) -> None:
    """It comes again, and the next try stores the dead letter: nothing is lost in between."""
    router = Router("r")

    @router.route("in.*", stream="IN", dead_letter="dead.in", retry=Retry(delays_seconds=(1,)))
    async def never(message: Message) -> DeadLetter:
        return DeadLetter("never")

    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.delete_stream("DEAD")
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(1)
            await jetstream.create_stream(StreamConfig(name="DEAD", subjects=["dead.>"]))
            await trio.sleep(10)
        assert await contents(jetstream, "DEAD") == [b"0"]
    assert ended(router.routes["never"]) == {"retried": 1, "dead_lettered": 1}
    assert router.routes["never"].statistics().dead_letter_failures == 1


async def test_a_handler_over_its_deadline_is_cancelled_and_its_message_comes_again(nats_world: World) -> None:
    """At the deadline to the second, for each delivery; heartbeats keep it from coming earlier; others go on."""
    router = Router("r", grace_seconds=1)
    began: list[tuple[int, float]] = []
    cancelled: list[float] = []
    retry = Retry(delays_seconds=(1,), jitter=0, ack_wait_seconds=3, max_deliver=2)

    @router.route("in.*", stream="IN", concurrency=2, deadline_seconds=10, retry=retry, dead_letter="dead.in")
    async def slow(payload: bytes, delivery: Delivery) -> None:
        if payload != b"0":
            return
        began.append((delivery.number, trio.current_time()))
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time() - began[-1][1])

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 10)
        async with running(router, nc):
            await trio.sleep(60)
        assert await contents(jetstream, "DEAD") == [b"0"]
    assert cancelled == [pytest.approx(10), pytest.approx(10)]
    assert [number for number, _ in began] == [1, 2]
    assert began[1][1] - began[0][1] == pytest.approx(11, abs=0.1)
    assert ended(router.routes["slow"]) == {"ok": 9, "retried": 1, "dead_lettered": 1}


async def test_cancelling_the_router_gives_back_what_it_has(nats_world: World) -> None:
    """What is in hand and what waits is delivered at once to another instance."""
    first, second = Router("r"), Router("r")
    got: list[bytes] = []

    async def hangs(message: Message) -> None:
        await trio.sleep_forever()

    async def takes(message: Message) -> None:
        got.append(message.payload)

    first.route("in.*", stream="IN", durable="d", concurrency=2)(hangs)
    second.route("in.*", stream="IN", durable="d")(takes)
    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 10)
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run, nc)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        async with running(second, nc):
            await trio.sleep(1)
    assert sorted(got) == [b"%d" % number for number in range(10)]
    assert ended(first.routes["hangs"]) == {"returned": 2}


async def test_a_drain_finishes_what_is_here_and_loses_nothing(nats_world: World) -> None:
    """At 100 messages a second: after the drain every message was handled once, and none was delivered twice."""
    router = Router("r")
    handled: list[bytes] = []

    @router.route("in.*", stream="IN", concurrency=64)
    async def work(message: Message) -> None:
        await trio.sleep(0.3)
        handled.append(message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)

            async def publish() -> None:
                for number in range(1000):
                    await jetstream.publish("in.a", b"%d" % number)
                    await trio.sleep(0.01)

            nursery.start_soon(publish)
            await trio.sleep(3)
            report = await router.drain()
            assert (report.unfinished, report.unknown) == (0, 0)
        info = await jetstream.consumer_info("IN", "work")
        assert info.num_redelivered == 0
        assert info.num_ack_pending == 0
        assert info.ack_floor.stream_seq == len(handled) == len(set(handled))
        async with running(router, nc):
            await trio.sleep(5)
        assert (await jetstream.consumer_info("IN", "work")).num_redelivered == 0
    assert len(set(handled)) == len(handled) == 1000


async def test_a_client_that_drains_ends_the_router_in_order(nats_world: World) -> None:
    """The handlers finish, their acks arrive, and the client closes."""
    router = Router("r")

    @router.route("in.*", stream="IN", concurrency=3)
    async def work(message: Message) -> None:
        await trio.sleep(0.5)

    async with streams(nats_world) as (server, nc, jetstream):
        await fill(jetstream, 10)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(0.6)
            await nc.drain()
        async with open_client(server.url, dialer=nats_world.dialer("other")) as other:
            info = await JetStream(other).consumer_info("IN", "work")
            assert (info.num_ack_pending, info.num_redelivered, info.num_pending) == (0, 0, 0)
    assert ended(router.routes["work"]) == {"ok": 10}


async def test_what_the_grace_is_too_short_for_goes_back(nats_world: World) -> None:
    """It is counted as unfinished, and redelivered at once."""
    router = Router("r", grace_seconds=2)

    @router.route("in.*", stream="IN", concurrency=3)
    async def work(message: Message) -> None:
        await trio.sleep(0 if message.payload == b"9" else 8)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 10)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            await trio.sleep(1)
            began = trio.current_time()
            report = await router.drain()
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)
        assert (report.unfinished, report.unknown) == (3, 0)
        consumer = await jetstream.consumer("IN", "work")
        assert len(await consumer.fetch(20, expires_seconds=1)) == 10
    assert ended(router.routes["work"]) == {"returned": 3}
