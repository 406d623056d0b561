"""The cells of a connect: the first one of a client, and those of its reconnects."""

from __future__ import annotations

import random

import pytest
import trio

from beamline_trio import (
    AuthorizationError,
    ConnectTimeoutError,
    HandshakeError,
    Outcome,
    State,
)
from beamline_trio.faults import (
    OperationFault,
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from tests.faults._proof import (
    LIMIT_SECONDS,
    LOST,
    RESTORED,
    Stage,
    lose_link,
    open_tested,
    proving,
    until,
)


async def _connect_fails(stage: Stage, fault: OperationFault, error_class: type[Exception], reason: str) -> None:
    """The first connect raises; a client that was connected tries on, and what it was told to send is not lost."""
    with trio.fail_after(LIMIT_SECONDS), stage.faults.inject("connect", fault) as injection:
        with pytest.raises(error_class):
            async with open_tested(stage):
                raise AssertionError("it cannot have connected")
        assert injection.hits == 1
    async with proving(stage) as proof:
        with stage.faults.inject("connect", fault) as injection:
            await lose_link(proof)
            assert await proof.nc.publish("orders.1", b"queued") is Outcome.QUEUED
            await until(lambda: proof.nc.stats().reconnect_failures[reason] >= 2)
            assert proof.nc.state is State.RECONNECTING
        await proof.connected()
        assert await proof.arrived() == [b"the last", b"queued"]
        # An attempt that was under way when the fault was undone may have come through.
        failures = proof.moved("connect_failures")
        assert injection.hits - 1 <= failures <= injection.hits
        proof.shows(
            {
                "lost": 1,
                "restored": 1,
                "publish_failures.disconnected": 1,
                "connect_failures": failures,
                f"reconnect_failures.{reason}": failures,
            },
            {
                LOST: 1,
                RESTORED: 1,
                "NATS_PUBLISH_QUEUED": 1,
                "NATS_RETRY_PENDING": 1,
                "NATS_RETRY_COMPLETE": 1,
            },
        )
        assert proof.nc.ledger().unknown == 1


async def connect_error(stage: Stage) -> None:
    """Refused: AuthorizationError, or a failed attempt with the reason `auth`."""
    await _connect_fails(stage, error(), AuthorizationError, "auth")


async def connect_timeout(stage: Stage) -> None:
    """Silence: ConnectTimeoutError, or a failed attempt with the reason `timeout`."""
    await _connect_fails(stage, timeout(), ConnectTimeoutError, "timeout")


async def connect_close(stage: Stage) -> None:
    """Hung up: HandshakeError, or a failed attempt with the reason `closed`."""
    await _connect_fails(stage, close_connection(), HandshakeError, "closed")


async def connect_delay(stage: Stage) -> None:
    """Late, but in time: the connect succeeds, and so does the reconnect."""
    with stage.faults.inject("connect", delay(0.3)) as injection:
        began = trio.current_time()
        async with proving(stage) as proof:
            assert trio.current_time() - began >= 0.3
            began = trio.current_time()
            await lose_link(proof)
            await proof.connected()
            assert trio.current_time() - began >= 0.3
            assert injection.hits == 2
            proof.shows(
                {"lost": 1, "restored": 1, "publish_failures.disconnected": 1},
                {LOST: 1, RESTORED: 1},
            )


async def connect_intermittent(stage: Stage) -> None:
    """Some dials fail: the client connects as soon as one succeeds, though the fault is still there."""
    chance = random.Random(3)
    drawn = [chance.random() < 0.6 for _ in range(100)]
    failures = drawn.index(False)
    assert failures >= 2
    async with proving(stage) as proof:
        fault = intermittent(error("refused"), 0.6, random.Random(3))
        with stage.faults.inject("connect", fault) as injection:
            await lose_link(proof)
            await proof.connected()
            assert injection.hits == failures
            proof.shows(
                {
                    "lost": 1,
                    "restored": 1,
                    "publish_failures.disconnected": 1,
                    "connect_failures": failures,
                    "reconnect_failures.refused": failures,
                },
                {LOST: 1, RESTORED: 1},
            )
