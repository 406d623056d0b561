"""The cells of an ack: in its confirmed form, and the server is asked what it still waits for."""

from __future__ import annotations

import random

import pytest
import trio

from beamline_trio import ConnectionLostError, OperationTimeoutError, PermissionsError, State
from beamline_trio.faults import close_connection, delay, error, intermittent, timeout
from beamline_trio.jetstream import AckNotTakenError
from tests._breaking import breaking
from tests.faults._proof import LOST, RESTORED, TIMEOUT_SECONDS, Stage
from tests.faults._stream_proof import ACK_WAIT_SECONDS, proving_consumer

ACK_ERROR = "NATS_ACK_ERROR"


async def ack_error(stage: Stage) -> None:
    """Refused, or no consumer: the error with its reason; the message comes again when its ack wait is over."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"refused")
        with stage.faults.inject("ack", error()) as injection:
            with pytest.raises(PermissionsError) as caught:
                await message.ack_sync()
            assert caught.value.subject.startswith("$JS.ACK.")
            assert injection.hits == 1
        assert await proof.unacked() == 1
        again = await proof.again(b"refused")
        with stage.faults.inject("ack", error("no responders")) as injection, pytest.raises(AckNotTakenError):
            await again.ack_sync()
        assert proof.nc.state is State.CONNECTED
        await again.ack_sync()
        assert await proof.unacked() == 0
        proof.shows(
            {
                "publish_failures.permission": 1,
                "js.ack_failures.permission": 1,
                "js.ack_failures.no_responders": 1,
                "js.redeliveries.ack_error": 2,
                "server_errors": 1,
            },
            {ACK_ERROR: 2, "NATS_PUBLISH_ERROR": 1},
        )


async def ack_timeout(stage: Stage) -> None:
    """No answer: OperationTimeoutError, fate unknown, still connected; it had arrived, the message is done."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"acked")
        with stage.faults.inject("ack", timeout()) as injection:
            began = trio.current_time()
            with pytest.raises(OperationTimeoutError):
                await message.ack_sync()
            assert trio.current_time() - began >= TIMEOUT_SECONDS
            assert injection.hits == 1
        assert proof.nc.state is State.CONNECTED
        assert await proof.unacked() == 0
        with trio.move_on_after(ACK_WAIT_SECONDS * 1.5):
            await proof.consumer.next()
            raise AssertionError("an acked message came again")
        proof.shows({"js.ack_failures.timeout": 1, "js.redeliveries.ack_error": 1}, {ACK_ERROR: 1})


async def ack_close(stage: Stage) -> None:
    """The link breaks: ConnectionLostError, sent = maybe; the message comes again where the ack had not arrived."""
    async with proving_consumer(stage) as proof:
        for after in (False, True):
            message = await proof.give(b"after" if after else b"before")
            with stage.faults.inject("ack", close_connection(after=after)) as injection:
                with pytest.raises(ConnectionLostError) as caught:
                    await message.ack_sync()
                assert caught.value.sent == "maybe"
                await proof.connected()
                assert injection.hits == 1
            assert await proof.unacked() == (0 if after else 1)
            if not after:
                await (await proof.again(b"before")).ack_sync()
            proof.shows(
                {
                    "lost": 1,
                    "restored": 1,
                    "publish_failures.disconnected": 1,
                    "js.ack_failures.disconnected": 1,
                    "js.redeliveries.ack_error": 1,
                },
                {LOST: 1, RESTORED: 1, ACK_ERROR: 1},
            )
        # An ack that nobody waits for is kept and sent on the next link.
        message = await proof.give(b"kept")
        async with breaking(stage.faults, proof.nc, "ack"):
            await message.ack()
        await proof.connected()
        await proof.nc.flush()
        assert await proof.unacked() == 0
        proof.shows({"lost": 1, "restored": 1, "js.acks_resent": 1}, {LOST: 1, RESTORED: 1})


async def ack_delay(stage: Stage) -> None:
    """Late, but in time: confirmed as ever; what is too late is a timeout, and counts all the same."""
    async with proving_consumer(stage) as proof:
        message = await proof.give(b"late")
        with stage.faults.inject("ack", delay(0.3)) as injection:
            began = trio.current_time()
            await message.ack_sync()
            assert trio.current_time() - began >= 0.3
            assert injection.hits == 1
        assert await proof.unacked() == 0
        proof.shows()
        message = await proof.give(b"too late")
        with stage.faults.inject("ack", delay(TIMEOUT_SECONDS * 1.2)):
            with pytest.raises(OperationTimeoutError):
                await message.ack_sync()
            await trio.sleep(TIMEOUT_SECONDS * 0.3)
            assert await proof.unacked() == 0
        proof.shows({"js.ack_failures.timeout": 1, "js.redeliveries.ack_error": 1, "late_replies": 1}, {ACK_ERROR: 1})


async def ack_intermittent(stage: Stage) -> None:
    """Some are refused: each of these is told, and exactly these messages come again."""
    chance = random.Random(3)
    async with proving_consumer(stage) as proof:
        refused: list[bytes] = []
        with stage.faults.inject("ack", intermittent(error(), 0.4, random.Random(3))) as injection:
            for number in range(12):
                message = await proof.give(b"%d" % number)
                if chance.random() < 0.4:
                    with pytest.raises(PermissionsError):
                        await message.ack_sync()
                    refused.append(b"%d" % number)
                else:
                    await message.ack_sync()
            assert injection.hits == len(refused) > 2
        for payload in refused:
            await (await proof.again(payload)).ack_sync()
        assert await proof.unacked() == 0
        proof.shows(
            {
                "publish_failures.permission": len(refused),
                "js.ack_failures.permission": len(refused),
                "js.redeliveries.ack_error": len(refused),
                "server_errors": len(refused),
            },
            {ACK_ERROR: len(refused), "NATS_PUBLISH_ERROR": len(refused)},
        )
