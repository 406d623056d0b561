"""The cells of a publish: in its confirmed form, so that each has an outcome."""

from __future__ import annotations

import random

import pytest
import trio

from beamline_trio import (
    ConnectionLostError,
    OperationTimeoutError,
    Outcome,
    PermissionsError,
    State,
)
from beamline_trio.faults import (
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from tests.faults._proof import (
    LOST,
    RESTORED,
    TIMEOUT_SECONDS,
    Stage,
    proving,
)


async def publish_error(stage: Stage) -> None:
    """Refused: PermissionsError for exactly this subject; it does not arrive, others do."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", error(), subjects="orders.secret") as injection:
            with pytest.raises(PermissionsError) as caught:
                await proof.nc.publish("orders.secret", b"no", confirm=True)
            assert (caught.value.operation, caught.value.subject) == ("publish", "orders.secret")
            assert await proof.nc.publish("orders.7", b"yes", confirm=True) is Outcome.SENT
            assert proof.nc.state is State.CONNECTED
            assert injection.hits == 1
        assert await proof.arrived() == [b"yes"]
        proof.shows(
            {"publish_failures.permission": 1, "confirmed_publish_failures.permission": 1, "server_errors": 1},
            {"NATS_PUBLISH_ERROR": 1},
        )
        assert proof.nc.ledger().failed == 1
        assert await proof.nc.publish("orders.secret", b"now", confirm=True) is Outcome.SENT


async def publish_timeout(stage: Stage) -> None:
    """No answer: OperationTimeoutError, fate unknown, still connected; it had arrived, and is confirmed late."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", timeout(), subjects="orders.1") as injection:
            began = trio.current_time()
            with pytest.raises(OperationTimeoutError):
                await proof.nc.publish("orders.1", b"unknown", confirm=True)
            assert trio.current_time() - began >= TIMEOUT_SECONDS
            with pytest.raises(OperationTimeoutError):
                await proof.nc.request("orders.1", b"a request")
            assert proof.nc.state is State.CONNECTED
            assert proof.nc.ledger().open == 2
            assert injection.hits == 2
        assert await proof.arrived() == [b"unknown", b"a request"]
        proof.shows(
            {"publish_failures.timeout": 1, "confirmed_publish_failures.timeout": 1},
            {"NATS_PUBLISH_ERROR": 1},
        )
        assert proof.nc.ledger().open == 0


async def publish_close(stage: Stage) -> None:
    """The link breaks: ConnectionLostError, sent = maybe; the client reconnects, and nothing is sent twice."""
    async with proving(stage) as proof:
        for after in (False, True):
            with stage.faults.inject("publish", close_connection(after=after), subjects="orders.1") as injection:
                with pytest.raises(ConnectionLostError) as caught:
                    await proof.nc.publish("orders.1", b"after" if after else b"before", confirm=True)
                assert caught.value.sent == "maybe"
                await proof.connected()
                assert injection.hits == 1
            proof.shows(
                {
                    "lost": 1,
                    "restored": 1,
                    "publish_failures.disconnected": 1,
                    "confirmed_publish_failures.disconnected": 1,
                },
                {LOST: 1, RESTORED: 1, "NATS_PUBLISH_ERROR": 1},
            )
        assert await proof.arrived() == [b"after"]
        assert proof.nc.ledger().unknown == 2


async def publish_delay(stage: Stage) -> None:
    """Late, but in time: confirmed as ever, in order; what is too late is a timeout, and arrives all the same."""
    async with proving(stage) as proof:
        with stage.faults.inject("publish", delay(0.3), subjects="orders.1") as injection:
            began = trio.current_time()
            assert await proof.nc.publish("orders.1", b"first", confirm=True) is Outcome.SENT
            assert trio.current_time() - began >= 0.3
            await proof.nc.publish("orders.2", b"second")
            assert injection.hits == 1
        assert await proof.arrived() == [b"first", b"second"]
        proof.shows()
        with stage.faults.inject("publish", delay(TIMEOUT_SECONDS * 2)), pytest.raises(OperationTimeoutError):
            await proof.nc.publish("orders.1", b"too late", confirm=True)
        assert await proof.arrived() == [b"too late"]
        proof.shows(
            {"publish_failures.timeout": 1, "confirmed_publish_failures.timeout": 1},
            {"NATS_PUBLISH_ERROR": 1},
        )


async def publish_intermittent(stage: Stage) -> None:
    """Some are refused: each of these is told, each of the others has arrived."""
    chance = random.Random(5)
    async with proving(stage) as proof:
        confirmed: list[bytes] = []
        with stage.faults.inject("publish", intermittent(error(), 0.3, random.Random(5))) as injection:
            for number in range(40):
                payload = b"%d" % number
                if chance.random() < 0.3:
                    with pytest.raises(PermissionsError):
                        await proof.nc.publish("orders.1", payload, confirm=True)
                else:
                    await proof.nc.publish("orders.1", payload, confirm=True)
                    confirmed.append(payload)
            refused = 40 - len(confirmed)
            assert injection.hits == refused > 5
        assert await proof.arrived() == confirmed
        proof.shows(
            {
                "publish_failures.permission": refused,
                "confirmed_publish_failures.permission": refused,
                "server_errors": refused,
            },
            {"NATS_PUBLISH_ERROR": refused},
        )
