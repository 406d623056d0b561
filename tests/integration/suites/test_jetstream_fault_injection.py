"""Fault injection, 15 cases: connect 3, publish 4, ack 3, subscribe 2, combined 3.

What a program goes through when an operation fails on the wire: a publisher that goes on, a worker that is redelivered
what it could not ack. Law of them all: restarts 0, the same process id, the same tasks before and after every fault,
and a ledger that adds up at every step (`Scene.fault`). What each operation does alone is in the cells of tests/faults.
"""

from __future__ import annotations

import random

import pytest
import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    NatsError,
    OperationTimeoutError,
    Outcome,
    PermissionsError,
    State,
    Subscription,
)
from beamline_trio.faults import OperationFault, close_connection, delay, error, intermittent, timeout
from beamline_trio.jetstream import APIError, NoStreamResponseError, PublishRetry, statistics_of
from tests._breaking import breaking
from tests.integration.suites._scene import QUICK, Scene, until
from tests.integration.suites._worker import (
    ORDERS,
    create_streams,
    give,
    open_worker,
    results,
    settled,
)

pytestmark = pytest.mark.nats_config(jetstream=True)


async def arrived(sub: Subscription, nc: Client, witness: Client) -> list[bytes]:
    """What somebody else has received of what a client has sent."""
    await nc.flush()
    await witness.flush()
    return [(await sub.receive()).payload for _ in range(sub.pending_messages)]


# ----------------------------------------------------------------------------------------------------- connect


async def _cannot_connect(scene: Scene, name: str, fault: OperationFault, reason: str) -> None:
    """The program publishes on while no connect succeeds; all of it arrives in order when one does.

    Attempts are paced: from the second on by half of their delay at least.
    """
    async with scene.open() as nc, scene.open_other() as other, other.subscribe("orders.*") as sub:
        await sub.confirmed()
        async with scene.fault(name, nc) as noted:
            with scene.faults.inject("connect", fault) as injection:
                began = trio.current_time()
                await scene.break_link(nc)
                for number in range(10):
                    assert await nc.publish("orders.1", b"%d" % number) is Outcome.QUEUED
                await until(lambda: nc.stats().reconnect_failures[reason] >= 3)
                assert trio.current_time() - began >= QUICK["reconnect_delay_seconds"] * (1 + 2) / 2
                assert nc.state is State.RECONNECTING
                assert nc.stats().pending_operations == 10
                assert injection.hits >= 3
            await scene.healed(nc)
        assert await arrived(sub, nc, other) == [b"%d" % number for number in range(10)]
        assert nc.stats().lost == nc.stats().restored == 1
        assert noted.codes()[0] == "NATS_CONNECTION_LOST"
        assert noted.codes()[-3:] == ["NATS_CONNECTION_RESTORED", "NATS_RETRY_PENDING", "NATS_RETRY_COMPLETE"]


async def test_connect_error(scene: Scene) -> None:
    """A server that refuses the credentials for a while: each attempt is told, nothing is lost, it comes back."""
    await _cannot_connect(scene, "every connect is refused", error(), "auth")


async def test_connect_timeout(scene: Scene) -> None:
    """A server that accepts and is silent: each attempt ends by the connect timeout, and the next one is made."""
    await _cannot_connect(scene, "no connect is answered", timeout(), "timeout")


async def test_connect_close(scene: Scene) -> None:
    """A server that hangs up in the handshake: each attempt ends at once, and attempts are paced."""
    await _cannot_connect(scene, "every connect is hung up on", close_connection(), "closed")


# ----------------------------------------------------------------------------------------------------- publish


async def test_publish_error(scene: Scene) -> None:
    """Of many publishers only those on the refused subject fail, each once; the others notice nothing."""
    async with scene.open() as nc, scene.open_other() as other, other.subscribe("orders.*") as sub:
        await sub.confirmed()
        async with scene.fault("publishes to one subject are refused", nc) as fault:
            with scene.faults.inject("publish", error(), subjects="orders.secret") as injection:
                for number in range(5):
                    with fault.raises(PermissionsError, "publish(confirm=True)") as caught:
                        await nc.publish("orders.secret", b"no", confirm=True)
                    assert caught.value.subject == "orders.secret"
                    assert await nc.publish("orders.7", b"%d" % number, confirm=True) is Outcome.SENT
            assert injection.hits == 5
        assert await arrived(sub, nc, other) == [b"%d" % number for number in range(5)]
        assert nc.stats().publish_failures["permission"] == nc.ledger().failed == 5
        assert nc.stats().lost == 0
        assert fault.codes() == ["NATS_PUBLISH_ERROR"]


async def test_publish_timeout(scene: Scene) -> None:
    """No answer to publishes: each is a timeout of unknown fate, the link stays, late answers settle the book."""
    async with (
        scene.open(ping_interval_seconds=30.0, operation_timeout_seconds=0.3) as nc,
        scene.open_other() as other,
        other.subscribe("orders.*") as sub,
    ):
        await sub.confirmed()
        async with scene.fault("publishes are not answered", nc) as fault:
            with scene.faults.inject("publish", timeout()):
                for number in range(3):
                    with fault.raises(OperationTimeoutError, "publish(confirm=True)"):
                        await nc.publish("orders.1", b"%d" % number, confirm=True)
                assert nc.ledger().open == 3
            await scene.healed(nc)
        assert await arrived(sub, nc, other) == [b"0", b"1", b"2"]
        assert (nc.stats().publish_failures["timeout"], nc.ledger().confirmed, nc.stats().lost) == (3, 3, 0)


async def test_publish_close(scene: Scene) -> None:
    """A link that breaks at every fifth publish: who waits is told, the rest arrives, nothing arrives twice."""
    async with scene.open() as nc, scene.open_other() as other, other.subscribe("orders.*") as sub:
        await sub.confirmed()
        expected: list[bytes] = []
        async with scene.fault("connection breaks at every fifth publish", nc) as fault:
            for number in range(15):
                if number % 5 == 4:
                    with (
                        scene.faults.inject("publish", close_connection()),
                        fault.raises(ConnectionLostError, "publish(confirm=True)") as caught,
                    ):
                        await nc.publish("orders.1", b"%d" % number, confirm=True)
                    assert caught.value.sent == "maybe"
                else:
                    assert await nc.publish("orders.1", b"%d" % number, confirm=True) is Outcome.SENT
                    expected.append(b"%d" % number)
            await scene.healed(nc)
        assert await arrived(sub, nc, other) == expected
        assert nc.stats().lost == nc.stats().restored == nc.ledger().unknown == 3


async def test_publish_with_ack_error(scene: Scene) -> None:
    """A full stream, then none: each publish is told why and not stored; a retry policy saves what fails by chance."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        async with scene.fault("a stream refuses, then there is none", nc) as fault:
            with scene.faults.inject("publish_with_ack", error(), subjects="orders.>"):
                with fault.raises(APIError, "js.publish") as full:
                    await js.publish("orders.1", b"refused")
                assert full.value.err_code == 10077
            with (
                scene.faults.inject("publish_with_ack", error("no responders"), subjects="orders.>"),
                fault.raises(NoStreamResponseError, "js.publish"),
            ):
                await js.publish("orders.1", b"nowhere")
            chance = intermittent(error(), 0.4, random.Random(7))
            retry = PublishRetry(attempts=8, base_seconds=0.01)
            with scene.faults.inject("publish_with_ack", chance, subjects="orders.>") as injection:
                for number in range(20):
                    await js.publish("orders.1", b"%d" % number, retry=retry)
                assert injection.hits > 5
        assert (await js.stream_info(ORDERS)).state.messages == 20
        failures = statistics_of(nc).publish_failures
        assert (failures["api_error"], failures["no_responders"]) == (1, 1)
        assert statistics_of(nc).publish_retries == injection.hits
        assert nc.stats().lost == 0


# --------------------------------------------------------------------------------------------------------- ack


async def test_ack_error(scene: Scene) -> None:
    """Refused acks: the orders come again until one is taken, and each has one result all the same."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        async with open_worker(nc) as worker:
            async with scene.fault("acks are refused", nc) as fault:
                with scene.faults.inject("ack", error()) as injection:
                    await give(js, 5)
                    await until(lambda: worker.counts.failed["ack_error"] == 5)
                    assert worker.counts.acked == 0
                    assert injection.hits == 5
                await settled(js, worker)
            assert "NATS_ACK_ERROR" in fault.codes()
            assert (worker.counts.acked, worker.counts.redelivered) == (5, 5)
            assert await results(js) == 5
            assert statistics_of(nc).ack_failures["permission"] == 5
            assert nc.stats().lost == 0


async def test_ack_timeout(scene: Scene) -> None:
    """Acks without an answer have arrived: the worker counts them as failed, and no order comes again."""
    ack_wait = 2.0  # the acks are written one operation timeout after another
    async with scene.open(operation_timeout_seconds=0.3) as nc:
        js = await create_streams(nc, ack_wait_seconds=ack_wait)
        async with open_worker(nc) as worker:
            async with scene.fault("acks are not answered", nc) as fault:
                with scene.faults.inject("ack", timeout()):
                    await give(js, 3)
                    await until(lambda: worker.counts.failed["ack_error"] == 3)
                await settled(js, worker)
                await trio.sleep(ack_wait * 1.2)
            assert "NATS_ACK_ERROR" in fault.codes()
            assert (worker.counts.received, worker.counts.redelivered) == (3, 0)
            assert await results(js) == 3
            assert (statistics_of(nc).ack_failures["timeout"], nc.stats().lost) == (3, 0)


async def test_ack_close(scene: Scene) -> None:
    """A link that breaks at every third ack: the worker goes on behind each reconnect, each order has one result."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        async with open_worker(nc) as worker:
            async with scene.fault("connection breaks at every third ack", nc) as fault:
                for start in range(0, 9, 3):
                    await give(js, 2, start)
                    await settled(js, worker)
                    async with breaking(scene.faults, nc, "ack"):
                        await give(js, 1, start + 2)
                    await scene.healed(nc)
                    await settled(js, worker)
            assert fault.codes()[0] == "NATS_CONNECTION_LOST"
            assert nc.stats().lost == nc.stats().restored == 3
            assert worker.counts.acked == await results(js) == 9
            assert worker.counts.redelivered == worker.counts.failed["ack_error"] == 3


# --------------------------------------------------------------------------------------------------- subscribe


async def test_subscribe_error(scene: Scene) -> None:
    """A refused subscription is told to whoever iterates it; others go on, and a new one succeeds afterwards."""
    async with scene.open() as nc, nc.subscribe("orders.7") as other:
        async with scene.fault("a subscription is refused", nc) as fault:
            with scene.faults.inject("subscribe", error(), subjects="orders.secret"):
                async with nc.subscribe("orders.secret") as secret:
                    with fault.raises(PermissionsError, "receive"):
                        await secret.receive()
            await nc.publish("orders.7", b"goes on")
            assert (await other.receive()).payload == b"goes on"
        assert (nc.stats().subscribe_failures["permission"], nc.stats().lost) == (1, 0)
        assert fault.codes() == ["NATS_SUBSCRIBE_ERROR"]
        async with nc.subscribe("orders.secret") as secret:
            await secret.confirmed()


async def test_subscribe_timeout(scene: Scene) -> None:
    """No answer to a SUB: whoever waits for it is told; it is in force all the same, and gets what comes."""
    async with scene.open(ping_interval_seconds=30.0, operation_timeout_seconds=0.3) as nc, scene.open_other() as other:
        async with scene.fault("a subscription is not answered", nc) as fault:
            with scene.faults.inject("subscribe", timeout()):
                async with nc.subscribe("orders.7") as sub:
                    with fault.raises(OperationTimeoutError, "confirmed"):
                        await sub.confirmed()
                    assert nc.state is State.CONNECTED
            async with nc.subscribe("orders.7") as sub:
                await sub.confirmed()
                await other.publish("orders.7", b"comes")
                assert (await sub.receive()).payload == b"comes"
        assert (nc.stats().subscribe_failures["timeout"], nc.stats().lost) == (1, 0)


# ---------------------------------------------------------------------------------------------------- combined


async def _publish_all(nc: Client, count: int) -> list[bytes]:
    """Publish numbers with confirmation, each again until it is confirmed; returns those that were never unknown."""
    certain: list[bytes] = []
    for number in range(count):
        unknown = False
        while True:
            try:
                await nc.publish("orders.1", b"%d" % number, confirm=True)
            except PermissionsError:
                continue
            except NatsError:
                unknown = True
                continue
            break
        if not unknown:
            certain.append(b"%d" % number)
    return certain


async def test_combined_intermittent(scene: Scene) -> None:
    """Refusals, breaks and delays by chance, all at once: every publish ends confirmed, and none is lost."""
    chance = random.Random(11)
    async with scene.open() as nc, scene.open_other() as other, other.subscribe("orders.*") as sub:
        await sub.confirmed()
        async with scene.fault("refusals, breaks and delays by chance", nc):
            with (
                scene.faults.inject("publish", intermittent(delay(0.01), 0.3, chance)),
                scene.faults.inject("publish", intermittent(error(), 0.2, chance)) as refused,
                scene.faults.inject("publish", intermittent(close_connection(), 0.1, chance)) as broken,
                scene.faults.inject("connect", intermittent(error("refused"), 0.3, chance)),
            ):
                certain = await _publish_all(nc, 60)
            await scene.healed(nc)
        got = await arrived(sub, nc, other)
        assert list(dict.fromkeys(got)) == [b"%d" % number for number in range(60)]
        assert all(got.count(payload) == 1 for payload in certain)
        assert refused.hits > 3
        assert broken.hits > 1
        assert nc.ledger().failed == refused.hits
        assert nc.stats().lost == nc.stats().restored == broken.hits


async def test_combined_cascading(scene: Scene) -> None:
    """One fault brings the next: delay, timeout, break, no reconnect, a subscription refused; then all works again."""
    async with scene.open(ping_interval_seconds=30.0, operation_timeout_seconds=0.3) as nc:
        async with scene.fault("delay, timeout, break, refused reconnects, one after another", nc) as fault:
            with scene.faults.inject("publish", delay(0.1)):
                assert await nc.publish("orders.1", b"late", confirm=True) is Outcome.SENT
            with scene.faults.inject("publish", timeout()):
                with fault.raises(OperationTimeoutError, "publish(confirm=True)"):
                    await nc.publish("orders.1", b"unknown", confirm=True)
                with scene.faults.inject("connect", error("refused")):
                    await scene.break_link(nc)
                    assert await nc.publish("orders.1", b"queued") is Outcome.QUEUED
                    await until(lambda: nc.stats().connect_failures >= 2)
            await scene.healed(nc)
            with scene.faults.inject("subscribe", error()):
                async with nc.subscribe("orders.7") as sub:
                    with fault.raises(PermissionsError, "confirmed"):
                        await sub.confirmed()
        assert (nc.stats().lost, nc.stats().restored) == (1, 1)
        ledger = nc.ledger()
        assert (ledger.open, ledger.unknown) == (0, 2)  # the one without an answer, and the one under the break
        async with nc.subscribe("orders.7") as sub:
            await sub.confirmed()
            await nc.publish("orders.7", b"works")
            assert (await sub.receive()).payload == b"works"


async def test_combined_recovery(scene: Scene) -> None:
    """A worker, a server that is killed under it, refused acks behind it: every order is acked, with one result."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        async with open_worker(nc) as worker:
            async with scene.fault("server killed under a worker, then acks refused by chance", nc):
                await give(js, 20)
                await until(lambda: worker.counts.acked >= 5)
                await scene.nats.kill()
                await until(lambda: nc.state is State.RECONNECTING)
                await trio.sleep(0.3)
                await scene.nats.start()
                await scene.healed(nc)
                with scene.faults.inject("ack", intermittent(error(), 0.3, random.Random(3))) as injection:
                    await give(js, 20, 20)
                    await until(lambda: injection.hits > 2)
                await settled(js, worker)
            assert await results(js) == 40
            assert nc.stats().lost == nc.stats().restored == 1
