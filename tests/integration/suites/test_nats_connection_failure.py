"""Connection failure, 22 cases: basic 6, short 2, long 2, JetStream 5, workflows 4, recovery 3.

Law of them all: restarts 0, the same process id, the same tasks before and after every fault, and a ledger that adds up
at every step (`Scene.fault`).
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    Disconnected,
    Exhausted,
    Message,
    NoRespondersError,
    OperationTimeoutError,
    Outcome,
    Reconnected,
    State,
)
from beamline_trio.faults import close_connection, delay, error, timeout
from beamline_trio.jetstream import (
    ConsumerDeletedError,
    JetStream,
    JetStreamNotEnabledError,
    NoStreamResponseError,
    PubAck,
    PublishRetry,
    WrongLastMessageIdError,
    WrongLastSequenceError,
    WrongStreamError,
    statistics_of,
)
from beamline_trio.metrics import Collector
from tests._breaking import breaking
from tests.integration.suites._scene import Scene, until
from tests.integration.suites._workflows import STREAM, create_consumer, create_work, open_workflow
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
    """An outage moves each of its counters by one; the gauge is 0 waiting, 0.5 trying, then 1; a gauge is the queue."""
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
            with scene.faults.inject("connect", delay(0.2)):
                await until(lambda: nc.connection.attempting)
                assert value(collector, "nats_connection_status") == 0.5
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


@pytest.mark.nats_config(jetstream=True)
async def test_basic_redelivery(scene: Scene) -> None:
    """A message whose handler loses its connection comes again, with its number of deliveries, and is acked once."""
    async with scene.open() as nc:
        js = JetStream(nc)
        await create_work(js)
        consumer = await create_consumer(js, "decide")
        await js.publish("decide.1", b"x")
        async with consumer.messages() as messages:
            async with scene.fault("TCP connection breaks under a message that is not acked", nc):
                assert (await messages.receive()).metadata.delivered == 1
                await scene.break_link(nc)
                await scene.healed(nc)
                again = await messages.receive()
            assert again.metadata.delivered == 2
            await again.ack_sync()
        assert (await js.consumer_info(STREAM, "decide")).num_ack_pending == 0


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
                async with breaking(scene.faults, nc, "publish"):
                    await nc.publish("orders.1", b"the last")
                while not isinstance(await events.receive(), Exhausted):
                    pass
                assert nc.state is State.EXHAUSTED
                with fault.raises(ConnectionLostError, "publish"):
                    await nc.publish("orders.1", b"at once")
                await until(lambda: nc.stats().reconnect_attempts > 6)
            await scene.healed(nc)
        assert nc.stats().exhausted == 1
        assert [record.__dict__["event"] for record in fault.logs].count("NATS_RECONNECT_EXHAUSTED") == 1


# --------------------------------------------------------------------------------------------------- JetStream


@pytest.mark.nats_config(jetstream=True)
async def test_jetstream_no_responders(scene: Scene) -> None:
    """No stream takes the subject: asked three times, told, counted once, and the client stays connected."""
    async with scene.open() as nc:
        async with scene.fault("no stream for a js.publish", nc) as fault:
            began = trio.current_time()
            with fault.raises(NoStreamResponseError, "js.publish"):
                await JetStream(nc).publish("nobody.listens", b"x")
            assert trio.current_time() - began >= 0.5  # asked three times, 250 ms apart
        assert nc.stats().lost == 0
        assert statistics_of(nc).publish_failures["no_responders"] == 1


async def test_jetstream_not_enabled(scene: Scene) -> None:
    """A server without JetStream says so at once, and everything else works."""
    async with scene.open() as nc:
        js = JetStream(nc)
        async with scene.fault("the server has no JetStream", nc) as fault:
            with fault.raises(JetStreamNotEnabledError, "js.account_info"):
                await js.account_info()
            with fault.raises(JetStreamNotEnabledError, "js.create_stream"):
                await create_work(js)
        assert await nc.publish("orders.1", b"x", confirm=True) is Outcome.SENT


@pytest.mark.nats_config(jetstream=True)
async def test_jetstream_consumer_deleted(scene: Scene) -> None:
    """A consumer that somebody deletes ends its reader with an error that says so, and nothing else."""
    async with scene.open() as nc, scene.open_other() as other:
        js = JetStream(nc)
        await create_work(js)
        consumer = await create_consumer(js, "decide")
        async with (
            scene.fault("consumer deleted under messages()", nc) as fault,
            consumer.messages() as messages,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(JetStream(other).delete_consumer, STREAM, "decide")
            with fault.raises(ConsumerDeletedError, "messages.receive"):
                await messages.receive()
        assert nc.state is State.CONNECTED
        assert (await js.publish("decide.1", b"x")).sequence == 1


@pytest.mark.nats_config(jetstream=True)
async def test_jetstream_publish_errors(scene: Scene) -> None:
    """What a stream refuses is raised with its reason, each counted once, and the stream is as before."""
    async with scene.open() as nc:
        js = JetStream(nc)
        await create_work(js)
        await js.publish("work.1", b"x", message_id="one")
        async with scene.fault("a stream refuses three js.publish", nc) as fault:
            with fault.raises(WrongLastSequenceError, "js.publish(expected_last_sequence)"):
                await js.publish("work.2", b"x", expected_last_sequence=7)
            with fault.raises(WrongStreamError, "js.publish(expected_stream)"):
                await js.publish("work.2", b"x", expected_stream="OTHER")
            with fault.raises(WrongLastMessageIdError, "js.publish(expected_last_message_id)"):
                await js.publish("work.2", b"x", expected_last_message_id="two")
        assert statistics_of(nc).publish_failures["api_error"] == 3
        assert [record.__dict__["event"] for record in fault.logs] == ["NATS_PUBLISH_WITH_ACK_ERROR"] * 3
        assert (await js.stream_info(STREAM)).state.messages == 1


@pytest.mark.nats_config(jetstream=True)
async def test_jetstream_ack_errors(scene: Scene) -> None:
    """An ack whose answer does not come raises, and is no ack: the message comes again, and is acked then."""
    async with scene.open(operation_timeout_seconds=0.3, ping_interval_seconds=30.0) as nc:
        js = JetStream(nc)
        await create_work(js)
        consumer = await create_consumer(js, "decide")
        await js.publish("decide.1", b"x")
        async with consumer.messages() as messages:
            async with scene.fault("the connection breaks under an ack", nc) as fault:
                message = await messages.receive()
                with (
                    scene.faults.inject("ack", close_connection()),
                    fault.raises(ConnectionLostError, "message.ack_sync"),
                ):
                    await message.ack_sync()
                await scene.healed(nc)
                again = await messages.receive()
            assert again.metadata.delivered == 2
            await again.ack_sync()
        assert sum(statistics_of(nc).ack_failures.values()) == 1
        assert (await js.consumer_info(STREAM, "decide")).num_ack_pending == 0


# --------------------------------------------------------------------------------------------------- workflows


async def test_workflow_incoming_requests(scene: Scene) -> None:
    """A service answers on after an outage; who asks while its connection is down is told that nobody is there."""

    async def echo(message: Message) -> bytes:
        return message.payload

    async with scene.open() as nc, scene.open_other() as other, trio.open_nursery() as nursery:
        await nursery.start(nc.serve, "echo", echo)
        assert (await other.request("echo", b"before")).payload == b"before"
        async with scene.fault("TCP connection of a service breaks between requests", nc) as fault:
            with scene.faults.inject("connect", error("refused")):
                await scene.break_link(nc)
                with fault.raises(NoRespondersError, "request of another client"):
                    await ask_nobody(other)
            await scene.healed(nc)
        for number in range(10):
            assert (await other.request("echo", b"%d" % number)).payload == b"%d" % number
        nursery.cancel_scope.cancel()


async def ask_nobody(nc: Client) -> None:
    """Ask until it is told that nobody is there: what the server sends to a link before it notices its end is lost."""
    while True:
        with suppress(OperationTimeoutError):
            await nc.request("echo", b"nobody there")


@pytest.mark.nats_config(jetstream=True)
async def test_workflow_sessions_under_way(scene: Scene) -> None:
    """Sessions of five steps, interrupted in the middle: each step is done once, and in its session's order."""
    steps = [f"{session}.{step}" for step in range(5) for session in "abc"]
    async with open_workflow(scene, "session") as (nc, flow):
        for number in steps[:6]:
            await flow.put(number)
        await flow.until_done(6)
        async with scene.fault("server killed in the middle of three sessions", nc):
            await restart(scene, nc)
            for number in steps[6:]:
                await flow.put(number)
            await flow.until_done(len(steps))
            await scene.healed(nc)
        assert flow.worker is not None
        for session in "abc":
            done = [number for number in flow.worker.store if number.startswith(session)]
            assert done == [f"{session}.{step}" for step in range(5)]


@pytest.mark.nats_config(jetstream=True)
async def test_workflow_decide_consumer(scene: Scene) -> None:
    """Decisions go on after the connection broke under one: every request is decided, every decision stored once."""
    async with open_workflow(scene, "decide") as (nc, flow):
        async with scene.fault("TCP connection breaks while a decision is published", nc):
            async with breaking(scene.faults, nc, "publish_with_ack", subjects="result.>"):
                await flow.feed(0, 1)
            await scene.healed(nc)
            await flow.feed(1, 10)
            await flow.until_done(10)
        assert flow.worker is not None
        assert flow.worker.failures == ["ConnectionLostError"]
        assert flow.worker.seen.count("0") == 2  # it was not acked, and came again
        assert await flow.messages() == 20


@pytest.mark.nats_config(jetstream=True)
async def test_workflow_result_consumer(scene: Scene) -> None:
    """An ack that loses its connection is sent again by the next one; nothing stays unacknowledged."""
    async with open_workflow(scene, "result") as (nc, flow):
        async with scene.fault("TCP connection breaks under the ack of a result", nc):
            async with breaking(scene.faults, nc, "ack"):
                await flow.feed(0, 1)
            await scene.healed(nc)
            await flow.feed(1, 10)
            await flow.until_done(10)
        assert flow.done == {str(number) for number in range(10)}
        assert (nc.stats().lost, statistics_of(nc).acks_resent) == (1, 1)
        await until_acked(nc)


async def until_acked(nc: Client) -> None:
    """Wait until no message of the result consumer is open."""
    js = JetStream(nc)
    while True:
        info = await js.consumer_info(STREAM, "result")
        if not info.num_ack_pending and not info.num_pending:
            return
        await trio.sleep(0.05)


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


@pytest.mark.nats_config(jetstream=True)
async def test_recovery_message_retry(scene: Scene) -> None:
    """A publish with retries comes through an outage by itself, under one id: stored once, and told once."""
    retry = PublishRetry(attempts=50, base_seconds=0.05, delay_max_seconds=0.2, deadline_seconds=10.0)
    async with scene.open(ping_interval_seconds=30.0) as nc:
        js = JetStream(nc)
        await create_work(js)

        async def stored() -> int:
            return (await js.stream_info(STREAM)).state.messages

        async with scene.fault("TCP connection breaks under a retried js.publish, no server for 0.5 s", nc) as fault:
            acks: list[PubAck] = []
            async with trio.open_nursery() as nursery:
                with scene.faults.inject("publish_with_ack", timeout(), subjects="work.1"):
                    nursery.start_soon(publish_into, js, retry, acks)
                    while not await stored():  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    await trio.sleep(0.1)  # its PubAck has come, and has been swallowed
                with scene.faults.inject("connect", error("refused")):
                    await scene.break_link(nc)
                    await trio.sleep(0.5)
            await scene.healed(nc)
        assert [ack.duplicate for ack in acks] == [True]
        assert await stored() == 1
        assert {"NATS_PUBLISH_RETRY_ATTEMPT", "NATS_PUBLISH_RETRY_SUCCESS"} <= set(fault.codes())


async def publish_into(js: JetStream, retry: PublishRetry, acks: list[PubAck]) -> None:
    """Publish, and keep what it came to."""
    acks.append(await js.publish("work.1", b"x", retry=retry))
