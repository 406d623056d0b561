"""Beside the cells of publish failure: one message id for life, and the metrics of a publish with a PubAck."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import PubAck, PublishRetry, WrongLastSequenceError
from beamline_trio.faults import timeout
from beamline_trio.metrics import Collector
from tests.integration.suites._publish_with_ack import SUBJECT, Publisher, open_publisher
from tests.integration.suites._scene import Scene, until
from tests.metrics._clients import value

RETRY = PublishRetry(attempts=4, base_seconds=0.05, attempt_timeout_seconds=0.3)


async def _publish_into(publisher: Publisher, acks: list[PubAck]) -> None:
    acks.append(await publisher.js.publish(SUBJECT, b"x", retry=RETRY))


@pytest.mark.parametrize("breaks", [False, True], ids=["no-answer", "connection-breaks"])
@pytest.mark.nats_config(jetstream=True)
async def test_a_message_has_one_id_for_life(scene: Scene, breaks: bool) -> None:
    """A retry after an unknown fate, over a reconnect too, is stored once: the stream knows the id."""
    acks: list[PubAck] = []
    async with open_publisher(scene, ping_interval_seconds=30.0) as publisher:
        name = f"a js.publish is stored, and {'the connection breaks' if breaks else 'its PubAck is lost'}"
        async with scene.fault(f"{name}; it is retried", publisher.nc) as fault, trio.open_nursery() as nursery:
            with scene.faults.inject("publish_with_ack", timeout(), subjects=SUBJECT):
                nursery.start_soon(_publish_into, publisher, acks)
                while not await publisher.stored():  # noqa: ASYNC110
                    await trio.sleep(0.01)
                await trio.sleep(0.1)  # its PubAck has come, and has been swallowed
                if breaks:
                    await scene.break_link(publisher.nc)
            await until(lambda: bool(acks))
            await scene.healed(publisher.nc)
        assert [(ack.sequence, ack.duplicate) for ack in acks] == [(1, True)]
        assert await publisher.stored() == 1
        assert {"NATS_PUBLISH_RETRY_ATTEMPT", "NATS_PUBLISH_RETRY_SUCCESS"} <= set(fault.codes())


@pytest.mark.nats_config(jetstream=True)
async def test_the_metrics_of_publishes_with_ack(scene: Scene) -> None:
    """Each call moves its total once, each failure its reason once, and only round trips are timed."""
    collector = Collector()
    async with open_publisher(scene, name="orders", operation_timeout_seconds=0.3) as publisher:
        collector.add(publisher.nc)
        await publisher.js.publish(SUBJECT, b"x", message_id="one")
        await publisher.js.publish(SUBJECT, b"x", message_id="one")
        async with scene.fault("a refused and an unanswered js.publish", publisher.nc) as fault:
            with fault.raises(WrongLastSequenceError, "js.publish"):
                await publisher.js.publish(SUBJECT, b"x", expected_last_sequence=9)
            with (
                scene.faults.inject("publish_with_ack", timeout(), subjects=SUBJECT),
                pytest.raises(trio.TooSlowError),
            ):
                await publisher.js.publish(SUBJECT, b"x")
        assert value(collector, "nats_publish_with_ack_total") == 4
        reasons = {"api_error": 1, "timeout": 1, "disconnected": 0}
        for reason, count in reasons.items():
            assert value(collector, "nats_publish_with_ack_failures_total", reason=reason) == count
        for kind, count in {"nack": 1, "timeout": 1, "connection": 0, "broker_error": 0, "unknown": 0}.items():
            assert value(collector, "nats_publish_errors_total", error_type=kind) == count
        for status, count in {"success": 2, "failure": 2}.items():
            assert value(collector, "nats_publish_attempts_total", status=status) == count
        assert value(collector, "nats_publish_latency_seconds_count") == 2
