"""Publish failure, 16 cells: publish(confirm=True) and js.publish, in four situations, with fail-open off and on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from beamline_trio import (
    Client,
    ConnectionLostError,
    OperationTimeoutError,
    Outcome,
    PermissionsError,
    PubAck,
    State,
    Subscription,
    WrongLastSequenceError,
)
from beamline_trio.faults import close_connection, error, timeout
from beamline_trio.jetstream import statistics_of
from beamline_trio.metrics._reading import read_client
from beamline_trio.metrics._series import STATUS
from tests.integration.suites._publish_with_ack import SUBJECT, Publisher, open_publisher
from tests.integration.suites._scene import E, Fault, Scene, until

FAILS_OPEN = pytest.mark.parametrize("fail_open", [False, True], ids=["raises", "fails-open"])


# ------------------------------------------------------------------------------------------- publish(confirm=True)
#
# 8 cells: the server's answer is an error; no answer in time; the connection closes under it; not connected. Each with
# fail-open off and on.


@FAILS_OPEN
async def test_confirmed_publish_is_answered_with_an_error(scene: Scene, fail_open: bool) -> None:
    """The server refuses: its reason is raised, nothing is queued; failing open, SKIPPED. Counted and logged once."""
    async with _open_confirmed(scene, fail_open=fail_open) as (nc, sub):
        async with scene.fault("a confirmed publish is refused", nc) as fault:
            with scene.faults.inject("publish", error(), subjects=SUBJECT):
                await _expect_confirmed(fault, nc, None if fail_open else PermissionsError)
                assert (nc.state, nc.stats().pending_operations) == (State.CONNECTED, 0)
        assert _failures(nc) == {"permission": 1}
        assert nc.ledger().failed == 1
        assert [record.__dict__["event"] for record in fault.logs] == ["NATS_PUBLISH_ERROR"]
        assert await _confirmed_arrivals(nc, sub) == [b"after"]


@FAILS_OPEN
async def test_confirmed_publish_has_no_answer_in_time(scene: Scene, fail_open: bool) -> None:
    """Timeout: the fate is unknown (here it arrived), nothing is queued, the client stays connected."""
    options = {"ping_interval_seconds": 30.0, "operation_timeout_seconds": 0.3, "fail_open": fail_open}
    async with _open_confirmed(scene, **options) as (nc, sub):
        async with scene.fault("no answer to a confirmed publish", nc) as fault:
            with scene.faults.inject("publish", timeout(), subjects=SUBJECT):
                await _expect_confirmed(fault, nc, None if fail_open else OperationTimeoutError)
                assert (nc.state, nc.stats().pending_operations, nc.ledger().open) == (State.CONNECTED, 0, 1)
            await scene.healed(nc)
        assert _failures(nc) == {"timeout": 1}
        assert (nc.stats().lost, nc.ledger().confirmed) == (0, 1)
        assert [record.__dict__["event"] for record in fault.logs] == ["NATS_PUBLISH_ERROR"]
        assert await _confirmed_arrivals(nc, sub) == [b"x", b"after"]


@FAILS_OPEN
async def test_confirmed_publish_loses_its_connection(scene: Scene, fail_open: bool) -> None:
    """The connection closes under it: disconnected, sent = maybe, lost +1; failing open, SKIPPED. Not repeated."""
    async with _open_confirmed(scene, fail_open=fail_open) as (nc, sub):
        async with scene.fault("TCP connection breaks under a confirmed publish", nc) as fault:
            with scene.faults.inject("publish", close_connection(), subjects=SUBJECT):
                caught = await _expect_confirmed(fault, nc, None if fail_open else ConnectionLostError)
                assert caught is None or caught.sent == "maybe"
                assert read_client(nc).numbers[STATUS, ()] < 1
            await scene.healed(nc)
        assert _failures(nc) == {"disconnected": 1}
        assert (nc.stats().lost, nc.ledger().unknown) == (1, 1)
        assert fault.codes()[0] == "NATS_CONNECTION_LOST"
        assert [record.__dict__["event"] for record in fault.logs].count("NATS_PUBLISH_ERROR") == 1
        assert await _confirmed_arrivals(nc, sub) == [b"after"]


@FAILS_OPEN
async def test_confirmed_publish_without_a_connection(scene: Scene, fail_open: bool) -> None:
    """Not connected: queued, and confirmed when the connection is back; failing open, SKIPPED at once. No failure."""
    outcomes: list[Outcome] = []
    async with _open_confirmed(scene, fail_open=fail_open) as (nc, sub):

        async def publish() -> None:
            outcomes.append(await nc.publish(SUBJECT, b"x", confirm=True))

        async with scene.fault("a confirmed publish while the server is away", nc) as fault:
            async with trio.open_nursery() as nursery:
                with scene.faults.inject("connect", error("refused")):
                    await scene.break_link(nc)
                    nursery.start_soon(publish)
                    await until(lambda: bool(outcomes) or nc.stats().pending_operations == 1)
                    assert outcomes == ([Outcome.SKIPPED] if fail_open else [])
                    assert nc.stats().pending_operations == (not fail_open)
            await scene.healed(nc)
        assert outcomes == [Outcome.SKIPPED if fail_open else Outcome.SENT]
        assert sum(nc.stats().confirmed_publish_failures.values()) == 0
        assert nc.ledger().skipped == nc.stats().skipped == fail_open
        assert ("NATS_PUBLISH_QUEUED" in fault.codes()) is not fail_open
        assert await _confirmed_arrivals(nc, sub) == ([b"after"] if fail_open else [b"x", b"after"])


@asynccontextmanager
async def _open_confirmed(scene: Scene, **overrides: Any) -> AsyncGenerator[tuple[Client, Subscription]]:
    """The client under test, and somebody who sees what arrives."""
    async with scene.open_other() as other, other.subscribe(SUBJECT) as sub:
        await sub.confirmed()
        async with scene.open(**overrides) as nc:
            yield nc, sub


async def _confirmed_arrivals(nc: Client, sub: Subscription) -> list[bytes]:
    """What has arrived, up to a last publish that meets no fault."""
    assert await nc.publish(SUBJECT, b"after", confirm=True) is Outcome.SENT
    payloads = [(await sub.receive()).payload]
    while payloads[-1] != b"after":
        payloads.append((await sub.receive()).payload)
    return payloads


async def _expect_confirmed(fault: Fault, nc: Client, kind: type[E] | None) -> E | None:
    """A confirmed publish that raises exactly this; None = it is SKIPPED."""
    if kind is None:
        assert await nc.publish(SUBJECT, b"x", confirm=True) is Outcome.SKIPPED
        return None
    with fault.raises(kind, "publish(confirm=True)") as caught:
        await nc.publish(SUBJECT, b"x", confirm=True)
    return caught.value


def _failures(nc: Client) -> dict[str, int]:
    """Reason -> publishes that failed, as /metrics shows them; of confirmed ones it is the same."""
    name = "router_nats_publish_failures_total"
    shown = {labels[0]: count for (series, labels), count in read_client(nc).numbers.items() if series == name}
    confirmed = nc.stats().confirmed_publish_failures
    assert {reason: count for reason, count in shown.items() if confirmed[reason] != count} == {}
    return {reason: int(count) for reason, count in shown.items() if count}


# -------------------------------------------------------------------------------------------------- js.publish
#
# 8 cells: the stream's answer is an error; no answer in time; the connection closes under it; not connected. Each with
# fail-open off and on.


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
