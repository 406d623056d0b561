"""Connection failure, 22 cases: basic 6, short 2, long 2, JetStream 5, workflows 4, recovery 3.

Law of them all: restarts 0, the same process id, the same tasks before and after every fault, and a ledger that adds up
at every step (`Scene.fault`).
"""

from __future__ import annotations

import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    Disconnected,
    Exhausted,
    Message,
    OperationTimeoutError,
    Outcome,
    Reconnected,
    State,
)
from beamline_trio.faults import close_connection, error, timeout
from beamline_trio.metrics import Collector
from tests.integration.suites._scene import Scene, until
from tests.metrics._clients import value


async def restart(scene: Scene, nc: Client) -> None:
    """The server is killed, and started again when the client knows."""
    await scene.nats.kill()
    await until(lambda: nc.state is State.RECONNECTING)
    await scene.nats.start()


# ------------------------------------------------------------------------------------------------------- basic


async def test_basic_no_crash(scene: Scene) -> None:
    """A killed server ends neither the program nor one of its tasks: publishers, subscribers and services go on."""

    async def echo(message: Message) -> bytes:
        return message.payload

    async with scene.open() as nc, nc.subscribe("orders.*") as sub, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "echo", echo)
        async with scene.fault("server killed, back at once", nc):
            await restart(scene, nc)
            await scene.healed(nc)
        await nc.publish("orders.1", b"after")
        assert (await sub.receive()).payload == b"after"
        assert (await nc.request("echo", b"there?")).payload == b"there?"
        nursery.cancel_scope.cancel()


async def test_basic_reconnect(scene: Scene) -> None:
    """The client reconnects by itself, subscribes again, sends what was queued, and says so by events."""
    async with scene.open() as nc, scene.open_other() as other, other.subscribe("orders.*") as sub:
        async with scene.fault("server killed for 0.5 s", nc), nc.events() as events:
            await scene.nats.kill()
            assert isinstance(await events.receive(), Disconnected)
            assert await nc.publish("orders.1", b"queued") is Outcome.QUEUED
            await trio.sleep(0.5)
            # The other client must be back first: a core subscription gets nothing while it is away.
            with scene.faults.inject("connect", error("refused")):
                await scene.nats.start()
                await scene.healed(other)
            await scene.healed(nc)
            while not isinstance(event := await events.receive(), Reconnected):
                pass
            assert event.outage_seconds >= 0.5
        assert (await sub.receive()).payload == b"queued"


async def test_basic_fail_open(scene: Scene) -> None:
    """With fail_open a publish without a connection is SKIPPED: nothing waits, nothing is raised, each is counted."""
    async with scene.open(fail_open=True) as nc:
        async with scene.fault("server killed, the client fails open", nc):
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            assert await nc.publish("orders.1", b"plain") is Outcome.SKIPPED
            assert await nc.publish("orders.1", b"confirmed", confirm=True) is Outcome.SKIPPED
            assert nc.stats().pending_operations == 0
            assert nc.ledger().skipped == 2
            assert nc.ledger().accepted == 0
            await scene.nats.start()
            await scene.healed(nc)
        assert await nc.publish("orders.1", b"back", confirm=True) is Outcome.SENT


async def test_basic_metrics(scene: Scene) -> None:
    """An outage moves each of its counters by one; the gauge is 0 while waiting, then 1, and equals the queue."""
    collector = Collector()
    async with scene.open(name="orders") as nc:
        collector.add(nc)
        assert value(collector, "nats_connection_status") == 1
        async with scene.fault("server killed, three operations queued", nc) as fault:
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING and not nc.connection.attempting)
            assert value(collector, "nats_connection_status") == 0
            for number in range(3):
                await nc.publish("orders.1", b"%d" % number)
                assert value(collector, "nats_pending_operations_count") == number + 1
            await until(lambda: nc.connection.attempting or nc.stats().connect_failures > 0)
            await scene.nats.start()
            await scene.healed(nc)
            assert "NATS_CONNECTION_LOST" in fault.codes()
        assert value(collector, "nats_connection_status") == 1
        assert value(collector, "nats_pending_operations_count") == 0
        for name, count in {
            "connection_established": 2,
            "connection_lost": 1,
            "connection_restored": 1,
            "pending_operations_retry": 3,
            "reconnection_exhausted": 0,
        }.items():
            assert value(collector, f"nats_{name}_total") == count, name
        assert value(collector, "nats_reconnect_attempts_total") >= 1


async def test_basic_logs(scene: Scene) -> None:
    """One record a transition, with its code and fields: lost, attempts, the first queued, restored, queue sent."""
    async with scene.open(name="orders") as nc:
        async with scene.fault("server killed, publishes go on", nc) as fault:
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            for _ in range(3):
                await nc.publish("orders.1", b"x")
            await until(lambda: nc.stats().connect_failures > 0)
            await scene.nats.start()
            await scene.healed(nc)
        by_code = {record.__dict__["event"]: record.__dict__ for record in fault.logs}
        assert fault.codes()[0] == "NATS_CONNECTION_LOST"
        assert fault.codes()[-3:] == ["NATS_CONNECTION_RESTORED", "NATS_RETRY_PENDING", "NATS_RETRY_COMPLETE"]
        once = ("NATS_CONNECTION_LOST", "NATS_PUBLISH_QUEUED", "NATS_CONNECTION_RESTORED", "NATS_RETRY_COMPLETE")
        for code in once:
            assert sum(record.__dict__["event"] == code for record in fault.logs) == 1, code
        assert by_code["NATS_CONNECTION_LOST"]["levelname"] == "ERROR"
        assert by_code["NATS_CONNECTION_LOST"]["reason"]
        assert by_code["NATS_PUBLISH_QUEUED"]["state"] == "reconnecting"
        assert by_code["NATS_RECONNECT_ATTEMPT"]["attempt"] >= 2
        assert by_code["NATS_CONNECTION_RESTORED"]["reconnect_attempts"] >= 2
        assert {record.__dict__["client"] for record in fault.logs} == {"orders"}


# ------------------------------------------------------------------------------------------------------- short


async def test_short_tcp_break(scene: Scene) -> None:
    """A connection that breaks under a confirmed publish is told (sent = maybe), counted once, and back at once."""
    async with scene.open() as nc:
        async with scene.fault("TCP connection breaks under a publish", nc) as fault:
            with (
                scene.faults.inject("publish", close_connection()),
                fault.raises(ConnectionLostError, "publish(confirm=True)") as caught,
            ):
                await nc.publish("orders.1", b"x", confirm=True)
            assert caught.value.sent == "maybe"
            began = trio.current_time()
            await scene.healed(nc)
            assert trio.current_time() - began < 1.0
        assert nc.stats().publish_failures["disconnected"] == 1
        assert nc.ledger().unknown == 1


async def test_short_operation_timeout(scene: Scene) -> None:
    """No answer in time is a timeout with unknown fate: nothing is queued, and the client stays connected."""
    async with scene.open(ping_interval_seconds=30.0, operation_timeout_seconds=0.3) as nc:
        async with scene.fault("no answer to a publish", nc) as fault:
            with scene.faults.inject("publish", timeout()):
                with fault.raises(OperationTimeoutError, "publish(confirm=True)"):
                    await nc.publish("orders.1", b"x", confirm=True)
                assert nc.state is State.CONNECTED
                assert nc.stats().pending_operations == 0
            await scene.healed(nc)
        assert nc.stats().lost == 0
        assert nc.stats().publish_failures["timeout"] == 1
        assert nc.ledger().confirmed == 1  # the answer came late, and the book knows


# -------------------------------------------------------------------------------------------------------- long


async def test_long_flapping(scene: Scene) -> None:
    """A server that comes and goes five times: each publish is confirmed or known to be unknown, none is lost."""
    async with scene.open() as nc:
        async with scene.fault("server killed and restarted five times", nc):
            sent = 0
            for _ in range(5):
                await scene.nats.kill()
                await until(lambda: nc.state is State.RECONNECTING)
                for _ in range(10):
                    await nc.publish("orders.1", b"%d" % sent)
                    sent += 1
                await scene.nats.start()
                await scene.healed(nc)
        ledger = nc.ledger()
        assert (ledger.accepted, ledger.open) == (sent, 0)
        assert ledger.confirmed + ledger.unknown == sent
        assert ledger.confirmed >= 10  # the last ten at the least
        assert nc.stats().lost == nc.stats().restored == 5


async def test_long_many_attempts(scene: Scene) -> None:
    """Attempts spent: told once, operations fail fast, probing goes on, and the client comes back by itself."""
    async with scene.open(reconnect_attempts=4) as nc:
        async with scene.fault("no server until the attempts are spent", nc) as fault, nc.events() as events:
            with scene.faults.inject("connect", error("refused")):
                with scene.faults.inject("publish", close_connection()):
                    await nc.publish("orders.1", b"the last")
                    await until(lambda: nc.state is State.RECONNECTING)
                while not isinstance(await events.receive(), Exhausted):
                    pass
                assert nc.state is State.EXHAUSTED
                with fault.raises(ConnectionLostError, "publish"):
                    await nc.publish("orders.1", b"at once")
                await until(lambda: nc.stats().reconnect_attempts > 6)
            await scene.healed(nc)
        assert nc.stats().exhausted == 1
        assert [record.__dict__["event"] for record in fault.logs].count("NATS_RECONNECT_EXHAUSTED") == 1


# ---------------------------------------------------------------------------------------------------- recovery


async def test_recovery_short(scene: Scene) -> None:
    """An outage of a moment: requests that are made in it are answered when it is over."""

    async def echo(message: Message) -> bytes:
        return message.payload

    async with scene.open_other() as server, scene.open() as nc, trio.open_nursery() as nursery:
        await nursery.start(server.serve, "echo", echo)
        async with scene.fault("TCP connection breaks, a request follows", nc):
            await scene.break_link(nc)
            assert (await nc.request("echo", b"in the outage")).payload == b"in the outage"
            await scene.healed(nc)
        nursery.cancel_scope.cancel()


async def test_recovery_long(scene: Scene) -> None:
    """After an outage of two seconds the queue is drained in order, nothing is missing, and nothing is left behind."""
    async with (
        scene.open() as nc,
        scene.open_other() as other,
        other.subscribe("orders.*") as sub,
    ):
        await sub.confirmed()
        async with scene.fault("no server for 2 s, 100 operations queued", nc):
            with scene.faults.inject("connect", error("refused")):
                await scene.break_link(nc)
                for number in range(100):
                    await nc.publish("orders.1", b"%d" % number)
                await trio.sleep(2)
                assert nc.stats().pending_operations == 100
            await scene.healed(nc)
        assert [(await sub.receive()).payload for _ in range(100)] == [b"%d" % number for number in range(100)]
        assert nc.stats().pending_retried == 100
