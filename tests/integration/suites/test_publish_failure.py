"""Publish failure, 16 cells: publish(confirm=True) and js.publish, in four situations, with fail-open off and on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    OperationTimeoutError,
    Outcome,
    PubAck,
    State,
    WrongLastSequenceError,
)
from beamline_trio.faults import close_connection, error, timeout
from beamline_trio.jetstream import statistics_of
from tests.integration.suites._publish_with_ack import SUBJECT, Publisher, open_publisher
from tests.integration.suites._scene import E, Fault, Scene, until

# -------------------------------------------------------------------------------------------------- js.publish
#
# 8 cells: the stream's answer is an error; no answer in time; the connection closes under it; not connected. Each with
# fail-open off and on.

FAILS_OPEN = pytest.mark.parametrize("fail_open", [False, True], ids=["raises", "fails-open"])


@FAILS_OPEN
@pytest.mark.nats_config(jetstream=True)
async def test_js_publish_is_answered_with_an_error(scene: Scene, fail_open: bool) -> None:
    """The stream refuses: its reason is raised, nothing is stored or queued; failing open, SKIPPED. Counted once."""
    async with open_publisher(scene, fail_open=fail_open) as publisher:
        async with scene.fault("the stream refuses a js.publish", publisher.nc) as fault:
            await _expect(
                fault,
                None if fail_open else WrongLastSequenceError,
                partial(publisher.js.publish, SUBJECT, b"x", expected_last_sequence=7),
            )
            assert publisher.nc.state is State.CONNECTED
            assert publisher.nc.stats().pending_operations == 0
        assert await publisher.stored() == 0
        assert _failed(publisher.nc) == {"api_error": 1}
        assert fault.codes() == ["NATS_PUBLISH_WITH_ACK_ERROR"]


@FAILS_OPEN
@pytest.mark.nats_config(jetstream=True)
async def test_js_publish_has_no_answer_in_time(scene: Scene, fail_open: bool) -> None:
    """Timeout: the fate is unknown (here it was stored), nothing is queued, the client stays connected."""
    options = {"ping_interval_seconds": 30.0, "operation_timeout_seconds": 0.3, "fail_open": fail_open}
    async with open_publisher(scene, **options) as publisher:
        async with scene.fault("no PubAck in time", publisher.nc) as fault:
            with scene.faults.inject("publish_with_ack", timeout(), subjects=SUBJECT):
                await _expect(
                    fault, None if fail_open else OperationTimeoutError, partial(publisher.js.publish, SUBJECT, b"x")
                )
                assert publisher.nc.state is State.CONNECTED
                assert publisher.nc.stats().pending_operations == 0
            await scene.healed(publisher.nc)
        assert await publisher.stored() == 1
        assert _failed(publisher.nc) == {"timeout": 1}
        assert publisher.nc.stats().lost == 0
        assert fault.codes() == ["NATS_PUBLISH_WITH_ACK_ERROR"]


@FAILS_OPEN
@pytest.mark.nats_config(jetstream=True)
async def test_js_publish_loses_its_connection(scene: Scene, fail_open: bool) -> None:
    """The connection closes under it: disconnected, sent = maybe, lost +1; failing open, SKIPPED. Not repeated."""
    async with open_publisher(scene, fail_open=fail_open) as publisher:
        async with scene.fault("TCP connection breaks under a js.publish", publisher.nc) as fault:
            with scene.faults.inject("publish_with_ack", close_connection(), subjects=SUBJECT):
                caught = await _expect(
                    fault, None if fail_open else ConnectionLostError, partial(publisher.js.publish, SUBJECT, b"x")
                )
                assert caught is None or caught.sent == "maybe"
                assert publisher.nc.state is State.RECONNECTING
            await scene.healed(publisher.nc)
        assert await publisher.stored() == 0
        assert _failed(publisher.nc) == {"disconnected": 1}
        assert publisher.nc.stats().lost == 1
        assert "NATS_PUBLISH_WITH_ACK_ERROR" in fault.codes()
        assert publisher.nc.ledger().unknown == 1


@FAILS_OPEN
@pytest.mark.nats_config(jetstream=True)
async def test_js_publish_without_a_connection(scene: Scene, fail_open: bool) -> None:
    """Not connected: queued, and ended by its PubAck when the connection is back; failing open, SKIPPED at once."""
    async with open_publisher(scene, fail_open=fail_open, operation_timeout_seconds=3.0) as publisher:
        nc = publisher.nc
        async with scene.fault("js.publish while the server is away", nc) as fault, trio.open_nursery() as nursery:
            with scene.faults.inject("connect", error("refused")):
                await scene.break_link(nc)
                acks: list[PubAck] = []
                nursery.start_soon(_publish_into, publisher, acks)
                await until(lambda: bool(acks) if fail_open else nc.stats().pending_operations == 1)
                assert [ack.outcome for ack in acks] == ([Outcome.SKIPPED] if fail_open else [])
            await until(lambda: bool(acks))
            await scene.healed(nc)
        assert [ack.sequence for ack in acks] == [0 if fail_open else 1]
        assert await publisher.stored() == (0 if fail_open else 1)
        assert _failed(nc) == {}
        assert ("NATS_PUBLISH_WITH_ACK_QUEUED" in fault.codes()) is not fail_open


async def _publish_into(publisher: Publisher, acks: list[PubAck]) -> None:
    acks.append(await publisher.js.publish(SUBJECT, b"x"))


async def _expect(fault: Fault, kind: type[E] | None, publish: Callable[[], Awaitable[PubAck]]) -> E | None:
    """A js.publish that raises exactly this; None = it is SKIPPED."""
    if kind is None:
        assert (await publish()).outcome is Outcome.SKIPPED
        return None
    with fault.raises(kind, "js.publish") as caught:
        await publish()
    return caught.value


def _failed(nc: Client) -> dict[str, int]:
    """Reason -> js.publish calls that failed."""
    return {reason: count for reason, count in statistics_of(nc).publish_failures.items() if count}
