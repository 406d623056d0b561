"""Routes between two streams while servers and targets go away: nothing is lost, and no ack precedes its effect."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio

from beamline_trio import JetStream, Message, StreamConfig, open_client
from beamline_trio.router import Publish, Retry, Router
from beamline_trio.router._advisories import read_advisory
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, feed, fill, running, streams


def copies(concurrency: int = 8, deadline_seconds: float = 20, **retry: float) -> Router:
    """A router from IN to OUT."""
    router = Router("r")

    @router.route(
        "in.*",
        stream="IN",
        concurrency=concurrency,
        deadline_seconds=deadline_seconds,
        retry=Retry(max_deliver=100, **retry),  # type: ignore[arg-type]
    )
    async def copy(message: Message) -> Publish:
        await trio.sleep(0.05)
        return Publish("out.a", message.payload, headers={"Sim-Id": message.headers["Sim-Id"]})

    return router


def check_acks(world: World, count: int) -> None:
    """Every input was acked, and none before the stream OUT had stored its effect; each effect is stored once."""
    journal = world.journal
    inputs = {stored.sequence: stored.identity for stored in journal.stored if stored.stream == "IN"}
    effects = Counter(stored.identity for stored in journal.stored if stored.stream == "OUT")
    assert effects == Counter(f"p-{number}" for number in range(count))
    stored_at = {stored.identity: stored.at for stored in journal.stored if stored.stream == "OUT"}
    acked = {ack.sequence: ack.at for ack in reversed(journal.acknowledged) if ack.stream == "IN"}
    assert set(acked) == set(inputs)
    for sequence, at in acked.items():
        assert stored_at[inputs[sequence]] < at


@pytest.mark.parametrize("outage", ["kill", "pause"])
@pytest.mark.parametrize("seconds", [3, 40])
async def test_a_server_that_goes_away_costs_nothing(outage: str, seconds: float, nats_world: World) -> None:
    """Killed and started again, or stopped and resumed: every input has its one effect, and its ack behind it."""
    router = copies(ack_wait_seconds=5)
    options = {"reconnect_delay_seconds": 0.1, "pending_timeout_seconds": None}
    async with streams(nats_world, **options) as (server, nc, jetstream):
        async with running(router, nc), trio.open_nursery() as nursery:
            nursery.start_soon(feed, jetstream, 300, 0.01)
            await trio.sleep(1.5)
            server.kill() if outage == "kill" else server.pause()
            await trio.sleep(seconds)
            server.start() if outage == "kill" else server.resume()
            await trio.sleep(60)
        info = await jetstream.consumer_info("IN", "copy")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
    check_acks(nats_world, 300)
    assert ended(router.routes["copy"])["ok"] >= 300


@pytest.mark.slow
async def test_a_target_that_is_down_stops_the_intake(nats_world: World) -> None:
    """For a minute no stream takes the effects: few messages are tried, what waits is bounded, and then all go on."""
    router = copies(ack_wait_seconds=5)
    route = router.routes["copy"]
    async with streams(nats_world) as (_, nc, jetstream):
        await feed(jetstream, 2000)
        await jetstream.delete_stream("OUT")
        async with running(router, nc):
            await trio.sleep(30)
            assert (route.counters.outcomes["ok"], route.gate.doubtful, route.consuming) == (0, True, False)
            await trio.sleep(30)
            assert route.counters.taken <= 4 * 8
            assert route.waiting <= route.options.prefetch
            await jetstream.create_stream(StreamConfig(name="OUT", subjects=["out.>"]))
            await trio.sleep(60)
            assert (route.gate.doubtful, route.consuming) == (False, True)
    check_acks(nats_world, 2000)
    outcomes = ended(route)
    assert (outcomes.pop("ok"), set(outcomes)) == (2000, {"retried"})
    assert route.statistics().retries["publish_error"] == outcomes["retried"]


@pytest.mark.parametrize("outage", ["kill", "pause", "target"])
async def test_a_client_that_fails_open_loses_no_effect(outage: str, nats_world: World) -> None:
    """Where it skips an effect instead of raising, the input is not acked for it: what is skipped was not stored."""
    router = copies(ack_wait_seconds=5)
    async with (
        streams(nats_world, fail_open=True) as (server, nc, _),
        open_client(server.url, dialer=nats_world.dialer("feeder")) as feeder,
    ):
        jetstream = JetStream(feeder)
        async with running(router, nc), trio.open_nursery() as nursery:
            nursery.start_soon(feed, jetstream, 300, 0.01)
            await trio.sleep(1.5)
            match outage:
                case "kill":
                    server.kill()
                    await trio.sleep(20)
                    server.start()
                case "pause":
                    server.pause()
                    await trio.sleep(20)
                    server.resume()
                case _:
                    await jetstream.delete_stream("OUT")
                    await trio.sleep(20)
                    await jetstream.create_stream(StreamConfig(name="OUT", subjects=["out.>"]))
            await trio.sleep(100)
    if outage == "target":  # what it had stored before went with it
        acked = {ack.sequence for ack in nats_world.journal.acknowledged if ack.stream == "IN"}
        stored = {one.identity for one in nats_world.journal.stored if one.stream == "OUT"}
        assert (len(acked), len(stored)) == (300, 300)
    else:
        check_acks(nats_world, 300)


async def test_a_client_that_fails_open_loses_no_dead_letter(nats_world: World) -> None:
    """While no stream takes them they are not acked, neither by who handled them last nor by who hears of it."""
    router = Router("r")
    retry = Retry(delays_seconds=(1,), max_deliver=2, ack_wait_seconds=3)

    @router.route("in.*", stream="IN", dead_letter="dead.in", retry=retry)
    async def work(message: Message) -> None:
        raise ValueError("no")

    async with streams(nats_world, fail_open=True) as (_, nc, jetstream):
        await jetstream.delete_stream("DEAD")
        await fill(jetstream, 3)
        async with running(router, nc):
            await trio.sleep(30)
            await jetstream.create_stream(StreamConfig(name="DEAD", subjects=["dead.>"]))
            await trio.sleep(30)
        assert sorted(await contents(jetstream, "DEAD")) == [b"0", b"1", b"2"]


async def test_what_the_server_has_to_confirm_is_not_skipped(nats_world: World) -> None:
    """An effect with confirm="server" and a client that fails open: without a link its input is not done."""
    router = Router("r")

    @router.route("in.*", stream="IN", retry=Retry(delays_seconds=(1,), ack_wait_seconds=3), deadline_seconds=2)
    async def tell(message: Message) -> Publish:
        server.kill()
        await trio.sleep(1)
        return Publish("told.a", b"x", confirm="server")

    async with streams(nats_world, fail_open=True) as (server, nc, jetstream):
        await fill(jetstream, 1)
        async with running(router, nc):
            await trio.sleep(20)
            assert "ok" not in ended(router.routes["tell"])
            server.start()
            await trio.sleep(1)


async def test_one_bad_target_costs_the_others_little(nats_world: World) -> None:
    """A message whose effect no stream takes is tried until its deadline, and given up at last; the others pass."""
    router = Router("r")
    done: list[float] = []

    @router.route("in.*", stream="IN", concurrency=4, deadline_seconds=10, dead_letter="dead.in")
    async def copy(message: Message) -> Publish:
        if message.payload == b"0":
            return Publish("nowhere.a")
        done.append(trio.current_time())
        return Publish("out.a", message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        await fill(jetstream, 200)
        began = trio.current_time()
        async with running(router, nc):
            await trio.sleep(100)
        assert await contents(jetstream, "DEAD") == [b"0"]
        assert (await jetstream.get_message("DEAD", sequence=1)).headers["Beamline-Cause"] == "publish_error"
    assert len(done) == 199
    assert done[-1] - began < 3


async def test_a_slow_handler_under_load_keeps_its_bounds(nats_world: World) -> None:
    """At ten times what it can do: what is here, and what is unacked, stays within what was asked for ahead."""
    router = Router("r", grace_seconds=1)

    @router.route("in.*", stream="IN", concurrency=2)
    async def slow(message: Message) -> None:
        await trio.sleep(0.2)

    route = router.routes["slow"]
    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc), trio.open_nursery() as nursery:
            nursery.start_soon(feed, jetstream, 1000, 0.01)
            config = (await jetstream.consumer_info("IN", "slow")).config
            for _ in range(20):
                await trio.sleep(1)
                assert route.waiting <= route.options.prefetch
                info = await jetstream.consumer_info("IN", "slow")
                assert config.max_ack_pending is not None
                assert info.num_ack_pending <= config.max_ack_pending
            nursery.cancel_scope.cancel()
        assert (await jetstream.consumer_info("IN", "slow")).num_redelivered == 0


async def test_what_crashed_at_every_delivery_is_a_dead_letter(nats_world: World) -> None:
    """Its deliveries used up in silence, the server tells so once; a router that comes later dead-letters it."""
    router = Router("r")

    @router.route("in.*", stream="IN", durable="d", dead_letter="dead.in", retry=Retry(max_deliver=2))
    async def work(message: Message) -> None:
        return

    route = router.routes["work"]
    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc):
            pass
        await jetstream.publish("in.a", b"poison", headers={"K": "v"})
        consumer = await jetstream.consumer("IN", "d")
        await jetstream.update_consumer("IN", attrs.evolve(consumer.config, ack_wait_seconds=1))
        async with consumer.messages(10) as messages:
            for number in (1, 2):
                assert (await messages.receive()).metadata.delivered == number
            await trio.sleep(3)
        assert route.counters.taken == 0
        async with running(router, nc):
            await trio.sleep(5)
        dead = await jetstream.get_message("DEAD", sequence=1)
        assert (dead.payload, dead.headers["K"], dead.headers["Beamline-Cause"]) == (
            b"poison",
            "v",
            "maxdeliver_exhausted",
        )
        assert dead.headers["Nats-Msg-Id"] == "IN:1:work:dlq"
        async with running(router, nc):
            await trio.sleep(5)
        assert (await jetstream.stream_info("DEAD")).state.messages == 1
    assert route.statistics().dead_letters["maxdeliver_exhausted"] == 1


async def test_a_dead_letter_that_fails_at_the_last_delivery_is_stored_later(nats_world: World) -> None:
    """No stream takes it then, and the server never delivers the message again: its advisory brings it back."""
    router = Router("r")
    retry = Retry(delays_seconds=(1,), max_deliver=2, ack_wait_seconds=3)

    @router.route("in.*", stream="IN", dead_letter="dead.in", retry=retry)
    async def work(message: Message) -> None:
        raise ValueError("no")

    route = router.routes["work"]
    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.delete_stream("DEAD")
        await fill(jetstream, 3)
        async with running(router, nc):
            await trio.sleep(30)
            assert route.counters.dead_letter_failures > 3
            await jetstream.create_stream(StreamConfig(name="DEAD", subjects=["dead.>"]))
            await trio.sleep(30)
        assert sorted(await contents(jetstream, "DEAD")) == [b"0", b"1", b"2"]
    assert route.statistics().dead_letters["maxdeliver_exhausted"] == 3


@pytest.mark.parametrize(
    "payload",
    [b"", b"no", b"[]", b"{}", b"[" * 10_000, b'{"stream_seq":0,"deliveries":1}', b'{"stream_seq":"1","deliveries":1}'],
)
def test_what_is_no_advisory_names_nothing(payload: bytes) -> None:
    """Whoever may publish on the subject can have nothing dead-lettered by nonsense, and raises nothing."""
    assert read_advisory(payload) == (0, 0)
    assert read_advisory(b'{"stream_seq":7,"deliveries":4}') == (7, 4)


async def test_advisories_that_cannot_be_captured_are_told_and_tried_again(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The route works meanwhile."""
    router = Router("r")

    @router.route("in.*", stream="IN", dead_letter="dead.in")
    async def work(message: Message) -> None:
        return

    async with streams(nats_world) as (_, nc, jetstream):
        await jetstream.create_stream(
            StreamConfig(name="OTHER", subjects=["$JS.EVENT.ADVISORY.*.MAX_DELIVERIES.OTHER.>"])
        )
        await fill(jetstream, 3)
        async with running(router, nc):
            await trio.sleep(6)
            assert ended(router.routes["work"]) == {"ok": 3}
            told = [record for record in caplog.records if getattr(record, "event", "") == "ROUTER_ADVISORIES_ERROR"]
            assert len(told) >= 2
            await jetstream.delete_stream("OTHER")
            await trio.sleep(6)
            assert await jetstream.consumer_names("BEAMLINE_ADVISORIES") == ["work-maxdeliver-IN"]


async def test_a_double_ack_waits_for_the_server(nats_world: World) -> None:
    """Every ack is answered; one that is not is unknown, and its message comes again."""
    router = Router("r")

    @router.route("in.*", stream="IN", double_ack=True, retry=Retry(ack_wait_seconds=2))
    async def work(message: Message) -> Publish:
        return Publish("out.a", message.payload)

    options = {"operation_timeout_seconds": 1.0, "reconnect_delay_seconds": 0.1}
    async with streams(nats_world, **options) as (server, nc, jetstream):
        await fill(jetstream, 200)
        async with running(router, nc):
            await trio.sleep(0.1)
            server.kill()
            server.start()
            await trio.sleep(30)
        assert sorted(await contents(jetstream, "OUT"), key=int) == [b"%d" % number for number in range(200)]
    outcomes = ended(router.routes["work"])
    assert outcomes["ok"] >= 199
    assert set(outcomes) <= {"ok", "unknown", "retried"}
