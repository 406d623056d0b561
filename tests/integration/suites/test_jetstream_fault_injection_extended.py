"""Fault injection, extended, 13 cases: recovery 4, redelivery 3, MaxDeliver 3, metrics 2, end to end 1.

A worker over `consumer.messages()` (`_worker`) under faults of the network, of its operations and of its server. Law of
them all: restarts 0, the same process id, the same tasks before and after every fault, and a ledger that adds up at
every step (`Scene.fault`).
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from beamline_trio import Client, ConnectionLostError, OperationTimeoutError, PermissionsError, State
from beamline_trio.faults import close_connection, delay, error, intermittent, timeout
from beamline_trio.jetstream import (
    REDELIVERY_REASONS,
    APIError,
    ConsumerConfig,
    JetStream,
    JetStreamMessage,
    NoStreamResponseError,
    PublishRetry,
    StreamConfig,
    statistics_of,
)
from beamline_trio.metrics import Collector, load_contract
from tests.integration.suites._scene import Scene, until
from tests.integration.suites._worker import (
    ACK_WAIT_SECONDS,
    ORDERS,
    RESULTS,
    WORKER,
    RejectedError,
    Worker,
    create_streams,
    decided,
    give,
    let_go,
    open_worker,
    results,
    settled,
)
from tests.metrics._clients import scrape, value

pytestmark = pytest.mark.nats_config(jetstream=True)

# What a watch of a cluster shows without a label of its own.
OF_WATCHES = {"router_cluster_quorum", "router_cluster_leader_changes_total", "router_instances_active"}


def redeliveries(nc: Client) -> dict[str, int]:
    """What a scrape shows of redeliveries, by reason; those that are not zero."""
    collector = Collector()
    collector.add(nc)
    shown = ((dict(labels), number) for (name, labels), number in scrape(collector).items() if "redelivery" in name)
    return {labels["reason"]: int(number) for labels, number in shown if number}


# ---------------------------------------------------------------------------------------------------- recovery


def _has_received_more_than(worker: Worker, count: int) -> bool:
    return worker.counts.received > count


async def test_connection_loss_recovery(scene: Scene) -> None:
    """Five breaks under a worker with orders in hand: every order is acked and has one result, nothing waits longer."""
    async with scene.open() as nc, scene.open_other() as other:
        js = await create_streams(other)
        async with open_worker(nc) as worker:
            async with scene.fault("connection breaks five times under a worker", nc):
                for start in range(0, 50, 10):
                    await give(js, 10, start)
                    await until(partial(_has_received_more_than, worker, start))
                    await scene.break_link(nc)
                    await scene.healed(nc)
                await settled(js, worker)
            assert nc.stats().lost == nc.stats().restored == 5
            assert await results(js) == 50


async def test_consumer_reconnection(scene: Scene) -> None:
    """The same session goes on behind an outage: it pulls on the new link, and gets what was stored meanwhile."""
    async with scene.open() as nc, scene.open_other() as other:
        js = await create_streams(other)
        async with open_worker(nc) as worker:
            await give(js, 5)
            await settled(js, worker)
            async with scene.fault("no connection for a second, orders go on", nc):
                with scene.faults.inject("connect", error("refused")):
                    await scene.break_link(nc)
                    await let_go(js)
                    await give(js, 20, 5)
                    await trio.sleep(1)
                    assert worker.counts.received == 5
                await scene.healed(nc)
                await settled(js, worker)
            assert (worker.counts.received, worker.counts.redelivered, worker.counts.acked) == (25, 0, 25)
            assert statistics_of(nc).consumers_recreated == 0
            assert await js.consumer_names(ORDERS) == [WORKER]


async def test_stream_availability(scene: Scene) -> None:
    """A publish waits for a server that is away, is told when there is no stream, and succeeds when there is one."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        async with scene.fault("server away, then the stream", nc) as fault:
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give, js, 1)
                await trio.sleep(0.2)
                await scene.nats.start()
            await scene.healed(nc)
            assert (await js.stream_info(ORDERS)).state.messages == 1
            await js.delete_stream(ORDERS)
            with fault.raises(NoStreamResponseError, "js.publish"):
                await js.publish("orders.1", b"nowhere")
            await js.create_stream(StreamConfig(name=ORDERS, subjects=["orders.>"]))
            assert (await js.publish("orders.1", b"somewhere")).sequence == 1
        assert fault.codes()[0] == "NATS_CONNECTION_LOST"
        assert "NATS_PUBLISH_WITH_ACK_QUEUED" in fault.codes()


async def test_state_kept_over_a_server_restart(scene: Scene) -> None:
    """Messages, message ids, sequences and what was acked are there again; what was not acked is delivered again."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        consumer = await js.consumer(ORDERS, WORKER)
        for number in range(4):
            await js.publish("orders.1", b"%d" % number, message_id=f"id-{number}")
        first, second = await consumer.fetch(2)
        await first.ack_sync()
        await trio.sleep(0.5)  # what a consumer has acked is written a moment later
        before = await js.stream_info(ORDERS)
        async with scene.fault("server killed and restarted", nc):
            await scene.nats.kill()
            await until(lambda: nc.state is State.RECONNECTING)
            await scene.nats.start()
            await scene.healed(nc)
        after = await js.stream_info(ORDERS)
        assert (after.state.messages, after.state.last_seq) == (before.state.messages, before.state.last_seq) == (4, 4)
        assert (await js.publish("orders.1", b"0", message_id="id-0")).duplicate
        assert (await consumer.info()).ack_floor.stream_seq == 1
        seen: Counter[int] = Counter()
        while set(seen) != {2, 3, 4}:
            message = await consumer.next()
            seen[message.metadata.stream_sequence] = message.metadata.delivered
            await message.ack_sync()
        assert seen == {2: 2, 3: 1, 4: 1}
        assert second.metadata.stream_sequence == 2
        await settled(js)


# -------------------------------------------------------------------------------------------------- redelivery


async def test_redelivery_labels(scene: Scene) -> None:
    """Each redelivery that this client brings about is counted under its reason, and under who did it."""
    async with scene.open(name="orders") as nc:
        js = await create_streams(nc)
        consumer = await js.consumer(ORDERS, WORKER)
        collector = Collector()
        collector.add(nc)
        for reason in REDELIVERY_REASONS:
            assert value(collector, "jetstream_redelivery_total", reason=reason, source="consumer") == 0
        await give(js, 2)
        async with scene.fault("two naks, one of them with a delay", nc):
            first, second = await consumer.fetch(2)
            await first.nak()
            await second.nak(delay_seconds=0.05)
        assert value(collector, "jetstream_redelivery_total", reason="handler_error", source="consumer") == 1
        assert value(collector, "jetstream_redelivery_total", reason="backoff", source="consumer") == 1
        for _ in range(2):
            message = await consumer.next()
            assert message.metadata.delivered == 2
            await message.ack_sync()


async def test_rejection_redelivery(scene: Scene) -> None:
    """What a worker rejects comes again after the delay, until it is decided; the others do not wait for it."""
    tries: Counter[bytes] = Counter()
    times: list[float] = []

    def decide(message: JetStreamMessage) -> bytes:
        tries[message.payload] += 1
        if message.payload == b"1":
            times.append(trio.current_time())
            if tries[b"1"] < 3:
                raise RejectedError
        return decided(message)

    async with scene.open() as nc:
        js = await create_streams(nc)
        async with open_worker(nc, decide) as worker:
            async with scene.fault("the worker rejects an order twice", nc):
                await give(js, 3)
                await settled(js, worker)
            assert tries == {b"0": 1, b"1": 3, b"2": 1}
            assert (worker.counts.acked, worker.counts.naked, worker.counts.redelivered) == (3, 2, 2)
            assert all(later - earlier >= 0.09 for earlier, later in pairwise(times))
            assert redeliveries(nc) == {"backoff": 2}
            assert await results(js) == 3


async def test_every_redelivery_source(scene: Scene) -> None:
    """A rejection, a delay, a named reason, given back, a refused ack or nak, a lost link: each has its reason."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        consumer = await js.consumer(ORDERS, WORKER)
        await give(js, 1)
        expected: dict[str, int] = {}

        async def settle(reason: str) -> None:
            expected[reason] = expected.get(reason, 0) + 1
            await until(lambda: redeliveries(nc) == expected)

        async with scene.fault("each reason of a redelivery, one after another", nc):
            await (await consumer.next()).nak()
            await settle("handler_error")
            await (await consumer.next()).nak(delay_seconds=0.05)
            await settle("backoff")
            for reason in ("processing_timeout", "publish_error"):
                await (await consumer.next()).nak(reason=reason)
                await settle(reason)
            async with consumer.messages(max_messages=1) as messages:
                await until(lambda: messages.pending_messages == 1)
            await settle("backpressure")
            with scene.faults.inject("nak", error()):
                await (await consumer.next()).nak(delay_seconds=0.05)
                expected["backoff"] += 1
                await settle("nak_error")
            message = await consumer.next()
            with scene.faults.inject("ack", error()):
                await message.ack()
                await settle("ack_error")
            message = await consumer.next()
            with scene.faults.inject("nak", close_connection()):
                await message.nak()
                expected["handler_error"] += 1
                await settle("nats_disconnect")
            await scene.healed(nc)
            await (await consumer.next()).ack_sync()
        assert set(expected) == set(REDELIVERY_REASONS)
        await settled(js)


# -------------------------------------------------------------------------------------------------- MaxDeliver


async def test_max_deliver_labels(scene: Scene) -> None:
    """A nak of a last delivery is counted as exhausted, once, under the reason of the nak."""
    async with scene.open(name="orders") as nc:
        js = await create_streams(nc, max_deliver=2)
        consumer = await js.consumer(ORDERS, WORKER)
        collector = Collector()
        collector.add(nc)
        await give(js, 2)
        async with scene.fault("two messages naked until they come no more", nc):
            for exhausted in (0, 2):
                first, second = await consumer.fetch(2)
                await first.nak()
                await second.nak(delay_seconds=0.02)
                assert value(collector, "jetstream_maxdeliver_exhausted_total", reason="handler_error") == exhausted / 2
                assert value(collector, "jetstream_maxdeliver_exhausted_total", reason="backoff") == exhausted / 2
                await trio.sleep(0.1)
        assert value(collector, "jetstream_maxdeliver_exhausted_total", reason="backpressure") == 0
        assert await consumer.fetch(1, no_wait=True) == []


async def test_max_deliver_limits(scene: Scene) -> None:
    """A message comes as often as the limit says and never again; the server tells it, the others are not held up."""

    def decide(message: JetStreamMessage) -> bytes:
        if message.payload == b"1":
            raise RejectedError
        return decided(message)

    advisories = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{ORDERS}.{WORKER}"
    async with scene.open() as nc, nc.subscribe(advisories) as told:
        await told.confirmed()
        js = await create_streams(nc, max_deliver=3)
        async with open_worker(nc, decide) as worker:
            async with scene.fault("the worker rejects an order for ever", nc):
                await give(js, 3)
                await until(lambda: worker.counts.naked == 3)
                advisory = json.loads((await told.receive()).payload)
                await trio.sleep(ACK_WAIT_SECONDS * 1.5)
            assert (advisory["stream_seq"], advisory["deliveries"]) == (2, 3)
            assert (worker.counts.received, worker.counts.acked, worker.counts.naked) == (5, 2, 3)
            assert statistics_of(nc).max_deliver_exhausted["backoff"] == 1
        assert (await js.stream_info(ORDERS)).state.messages == 3  # it is still there for whoever looks after it
        assert await results(js) == 2


async def test_max_deliver_values(scene: Scene) -> None:
    """Each delivery has its number: 1 to the limit, whatever the limit is; without one it goes on."""
    async with scene.open() as nc:
        js = await create_streams(nc)
        await give(js, 1)
        async with scene.fault("a message is naked as often as it comes", nc):
            for limit, deliveries in ((1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (-1, [1, 2, 3, 4, 5, 6])):
                config = ConsumerConfig(durable_name=f"upto{limit}", ack_policy="explicit", max_deliver=limit)
                consumer = await js.create_consumer(ORDERS, config)
                assert (await consumer.info()).config.max_deliver == limit
                exhausted = statistics_of(nc).max_deliver_exhausted["handler_error"]
                numbers: list[int] = []
                while len(numbers) < 6 and (messages := await consumer.fetch(1, expires_seconds=1.0)):
                    numbers.append(messages[0].metadata.delivered)
                    await messages[0].nak()
                assert numbers == deliveries
                counted = statistics_of(nc).max_deliver_exhausted["handler_error"] - exhausted
                assert counted == (0 if limit == -1 else 1)


# ----------------------------------------------------------------------------------------------------- metrics


async def _through_every_fault(scene: Scene, nc: Client) -> None:
    """Every operation fails once."""
    js = await create_streams(nc)
    consumer = await js.consumer(ORDERS, WORKER)
    await give(js, 3)
    messages = await consumer.fetch(3)
    async with scene.fault("every operation fails once", nc) as fault:
        refused = scene.faults.inject("publish", error(), subjects="orders.>")
        with refused, fault.raises(PermissionsError, "publish(confirm=True)"):
            await nc.publish("orders.secret", b"x", confirm=True)
        full = scene.faults.inject("publish_with_ack", error(), subjects="orders.>")
        with full, fault.raises(APIError, "js.publish"):
            await js.publish("orders.1", b"x")
        with scene.faults.inject("subscribe", error(), subjects="orders.>"):
            async with nc.subscribe("orders.secret") as sub:
                with fault.raises(PermissionsError, "confirmed"):
                    await sub.confirmed()
        with scene.faults.inject("ack", error()), fault.raises(PermissionsError, "ack_sync"):
            await messages[0].ack_sync()
        with scene.faults.inject("nak", error()):
            await messages[1].nak()
            await nc.flush()
        with scene.faults.inject("connect", error()):
            await scene.break_link(nc)
            await until(lambda: nc.stats().connect_failures > 0)
        await scene.healed(nc)


async def test_metric_contract(scene: Scene) -> None:
    """Behind a failure of every operation a scrape has the metrics of the contract, all their labels, and no others."""
    async with scene.open(name="orders") as nc:
        collector = Collector()
        collector.add(nc)
        await _through_every_fault(scene, nc)
        listed = {metric.name: metric for metric in load_contract()}
        shown: dict[str, dict[str, set[str]]] = {}
        for family in text_string_to_metric_families(collector.render().decode()):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = shown.setdefault(name, {})
            for sample in family.samples:
                for label, text in sample.labels.items():
                    labels.setdefault(label, set()).add(text)
        for name, labels in shown.items():
            labels.pop("le", None)
            assert set(labels) == set(listed[name].labels), name
            for label, values in listed[name].labels.items():
                assert labels[label] == set(values or ["orders"]), name
        of_others = {"route", "router", "region", "node", "instance"}  # they are added to a collector by themselves
        apart = {name for name, metric in listed.items() if of_others & set(metric.labels) or name in OF_WATCHES}
        assert set(listed) - set(shown) == apart
        for operation in ("publish", "publish_with_ack", "ack", "nak", "subscribe"):
            name = f"router_nats_{operation}_failures_total"
            assert sum(number for (series, _), number in scrape(collector).items() if series == name) >= 1, name


async def test_label_formats(scene: Scene) -> None:
    """Every label's value is a word of a bounded set: no subject, no message id, no sequence, no text of a server."""
    async with scene.open(name="orders") as nc:
        collector = Collector()
        collector.add(nc)
        await _through_every_fault(scene, nc)
        before = set(scrape(collector))
        for number in range(20):
            await nc.publish(f"orders.{number}", b"x", headers={"Id": str(number)}, confirm=True)
            await JetStream(nc).publish(f"orders.{number}", b"x", message_id=f"id-{number}")
        assert set(scrape(collector)) == before
        for name, labels in before:
            assert re.fullmatch(r"router_[a-z_]+", name)
            for label, text in labels:
                assert re.fullmatch(r"[a-z_]+", label), name
                assert re.fullmatch(r"[a-z]+(_[a-z]+)*|\+Inf|[0-9.]+", text), f"{name} {label}={text}"


# -------------------------------------------------------------------------------------------------- end to end


async def test_end_to_end(scene: Scene) -> None:
    """Orders in, results out, under faults of every operation and a killed server: each order has one result."""
    chance = random.Random(17)
    read: dict[int, bytes] = {}  # by the result's sequence: what is read may come again
    async with scene.open() as nc, scene.open_other() as reader:
        js = await create_streams(reader)
        await js.create_consumer(RESULTS, ConsumerConfig(durable_name="reader", ack_policy="explicit"))
        retry = PublishRetry(attempts=20, base_seconds=0.02, delay_max_seconds=0.2, deadline_seconds=20)

        async def read_results() -> None:
            async with (await js.consumer(RESULTS, "reader")).messages() as messages:
                async for message in messages:
                    read[message.metadata.stream_sequence] = message.payload
                    # Under the kill nobody may know whether the ack came; then the message comes again.
                    with suppress(ConnectionLostError, OperationTimeoutError):
                        await message.ack_sync()

        async with open_worker(nc) as worker, trio.open_nursery() as nursery:
            nursery.start_soon(read_results)
            async with scene.fault("every operation fails by chance, and the server is killed", nc, reader):
                with (
                    scene.faults.inject("publish_with_ack", intermittent(error(), 0.2, chance), subjects="orders.>"),
                    scene.faults.inject("publish_with_ack", intermittent(delay(0.02), 0.2, chance)),
                    scene.faults.inject("ack", intermittent(error(), 0.1, chance)),
                    scene.faults.inject("ack", intermittent(timeout(), 0.05, chance)),
                    scene.faults.inject("ack", intermittent(close_connection(), 0.05, chance)),
                    scene.faults.inject("nak", intermittent(error(), 0.3, chance)),
                    scene.faults.inject("connect", intermittent(error("refused"), 0.3, chance)),
                ):
                    mine = JetStream(nc)
                    for number in range(40):
                        if number == 20:
                            await scene.nats.kill()
                            await until(lambda: nc.state is State.RECONNECTING)
                            await scene.nats.start()
                        await mine.publish("orders.1", b"%d" % number, retry=retry)
                await scene.healed(nc, reader)
                await settled(js)
                await until(lambda: len(read) >= 40 and worker.counts.in_hand == 0)
            nursery.cancel_scope.cancel()
        assert (await js.stream_info(ORDERS)).state.messages == await results(js) == 40
        assert sorted(read.values()) == sorted(b"decided %d" % number for number in range(40))
        assert nc.stats().lost >= 1
