"""Performance, 7 cases: what an outage costs in memory and time, how delays grow, and that order is kept."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from typing import Any

import trio

from beamline_trio import Client, Outcome, PendingFullError, State, Subscription
from beamline_trio.faults import close_connection, delay, error
from tests.integration.suites._scene import Fault, Scene, until

SUBJECT = "orders.new"


async def _queue(scene: Scene, nc: Client, count: int) -> None:
    """The link breaks, and so many publishes are queued, numbered."""
    await scene.break_link(nc)
    for number in range(count):
        assert await nc.publish(SUBJECT, b"%d" % number) is Outcome.QUEUED
    assert nc.stats().pending_operations == count


async def _numbers(sub: Subscription, count: int) -> list[int]:
    """The numbers of the next so many messages."""
    return [int((await sub.receive()).payload.split(b" ")[0]) for _ in range(count)]


def _delays(fault: Fault) -> list[float]:
    """The delays before the attempts, as they are logged."""
    records = [record.__dict__ for record in fault.logs]
    return [record["delay"] for record in records if record["event"] == "NATS_RECONNECT_ATTEMPT"]


async def test_500_queued_take_less_than_a_megabyte(scene: Scene) -> None:
    """500 pending operations of an ordinary size, all that the client keeps for them included."""
    async with scene.open() as nc, scene.fault("500 publishes while the server is away", nc):
        with scene.faults.inject("connect", error("refused")):
            await scene.break_link(nc)
            gc.collect()
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                for number in range(500):
                    await nc.publish(SUBJECT, b"%d " % number + b"x" * 512)
                gc.collect()
                after, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert nc.stats().pending_operations == 500
            assert 500 * 512 < after - before < 1_000_000
        await scene.healed(nc)


async def test_100_are_drained_within_5_seconds(scene: Scene) -> None:
    """From the moment in which the link is back to the moment in which the server has confirmed all of them."""
    async with scene.open() as nc:
        async with scene.fault("100 publishes while the server is away", nc) as fault:
            with scene.faults.inject("connect", error("refused")):
                await _queue(scene, nc, 100)
            await until(lambda: nc.state is State.CONNECTED)
            began = trio.current_time()
            await until(lambda: nc.ledger().open == 0)
            assert trio.current_time() - began < 5.0
            await scene.healed(nc)
        ends = [record.__dict__ for record in fault.logs if record.__dict__["event"] == "NATS_RETRY_COMPLETE"]
        assert [(end["success"], end["failed"]) for end in ends] == [(100, 0)]


async def test_the_1001st_meets_the_policy_and_the_log(scene: Scene) -> None:
    """The queue takes its 1000; the next is told by the policy, logged with size, bound and policy, and counted."""
    async with scene.open(pending_policy="error") as nc:
        async with scene.fault("1001 publishes while the server is away", nc) as fault:
            with scene.faults.inject("connect", error("refused")):
                await _queue(scene, nc, 1_000)
                assert "NATS_QUEUE_FULL" not in fault.codes()
                with fault.raises(PendingFullError, "publish"):
                    await nc.publish(SUBJECT, b"1000")
                full = [record.__dict__ for record in fault.logs if record.__dict__["event"] == "NATS_QUEUE_FULL"]
                assert [(one["size"], one["max_size"], one["policy"]) for one in full] == [(1_000, 1_000, "error")]
                assert nc.stats().pending_dropped["error"] == nc.stats().publish_failures["pending_full"] == 1
            await scene.healed(nc)
        assert nc.ledger().confirmed == 1_000


async def test_delays_grow_up_to_the_maximum(scene: Scene) -> None:
    """Without jitter, base 0.5 and maximum 2: at once, then after 500, 1000, 2000 and 2000 ms."""
    delays: dict[str, Any] = {"reconnect_delay_seconds": 0.5, "reconnect_delay_max_seconds": 2.0}
    async with scene.open(reconnect_jitter="none", **delays) as nc:
        await nc.publish(SUBJECT, confirm=True)  # a link that was of use: its loss begins a new outage
        async with scene.fault("five attempts are refused", nc) as fault:
            with scene.faults.inject("connect", error("refused")) as injection:
                await scene.break_link(nc)
                await until(lambda: injection.hits == 5)
            assert _delays(fault)[:5] == [0.0, 0.5, 1.0, 2.0, 2.0]
            await nc.reconnect()  # no need to wait for what is known now
            await scene.healed(nc)


async def test_no_delay_is_above_the_maximum_in_21_attempts(scene: Scene) -> None:
    """However many attempts there are, and with the library's own jitter, both as logged and as measured."""
    maximum = 0.05
    at: list[float] = []
    async with scene.open(reconnect_delay_seconds=0.01, reconnect_delay_max_seconds=maximum) as nc:
        async with scene.fault("21 attempts are refused", nc) as fault:
            with scene.faults.inject("connect", error("refused")) as injection:
                await scene.break_link(nc)
                for attempt in range(1, 22):
                    while injection.hits < attempt:  # noqa: ASYNC110  # finer than `until`: it is measured
                        await trio.sleep(0.0005)
                    at.append(trio.current_time())
            await scene.healed(nc)
        delays = _delays(fault)
        assert len(delays) >= 21
        assert max(delays) <= maximum
        gaps = sorted(later - earlier for earlier, later in itertools.pairwise(at))
        # A real machine may stop for a moment: then it is late once, not always.
        assert gaps[-2 if not scene.nats.simulated else -1] <= maximum + 0.05


async def test_a_drain_of_50_is_spread_out(scene: Scene) -> None:
    """The first batch comes at once, and the last more than 100 ms later: the server is not met by all at once."""
    at: list[float] = []
    async with scene.open_other() as other, other.subscribe(SUBJECT) as sub, scene.open() as nc:
        await sub.confirmed()
        async with scene.fault("50 publishes while the server is away", nc):
            with scene.faults.inject("connect", error("refused")):
                await _queue(scene, nc, 50)
            for _ in range(50):
                await sub.receive()
                at.append(trio.current_time())
            await scene.healed(nc)
    assert 0.1 < at[-1] - at[0] < 5.0


async def test_first_in_first_out(scene: Scene) -> None:
    """What was not yet written when the link died comes first, then what waited, then what is published meanwhile."""
    async with scene.open_other() as other, other.subscribe(SUBJECT) as sub, scene.open() as nc:
        await sub.confirmed()
        async with scene.fault("publishes before, during and after a reconnect", nc):
            with (
                scene.faults.inject("publish", delay(0.2), subjects="stuck"),
                scene.faults.inject("publish", close_connection(), subjects="stuck"),
                scene.faults.inject("connect", error("refused")),
            ):
                await nc.publish("stuck")
                await trio.sleep(0.05)  # its write is under way, and holds up what follows
                for number in range(10):
                    assert await nc.publish(SUBJECT, b"%d" % number) is Outcome.SENT
                await until(lambda: nc.state is State.RECONNECTING)
                for number in range(10, 200):
                    assert await nc.publish(SUBJECT, b"%d " % number + b"x" * 100) is Outcome.QUEUED
                assert nc.stats().pending_operations == 200
            await until(lambda: nc.state is State.CONNECTED)
            assert nc.stats().pending_operations > 0
            for number in range(200, 400):
                await nc.publish(SUBJECT, b"%d" % number)
                if number % 20 == 0:
                    await trio.sleep(0.01)
            await scene.healed(nc)
        assert await _numbers(sub, 400) == list(range(400))
        assert nc.ledger().unknown == 1
