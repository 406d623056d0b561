"""The cells of a publish with ack: it resolves at the PubAck, and what the stream has stored is asked of the stream."""

from __future__ import annotations

import random

import pytest
import trio

from beamline_trio import ConnectionLostError, OperationTimeoutError, State
from beamline_trio.faults import close_connection, delay, error, intermittent, timeout
from beamline_trio.jetstream import APIError, NoStreamResponseError
from tests.faults._proof import LOST, RESTORED, TIMEOUT_SECONDS, Stage
from tests.faults._stream_proof import STREAM, proving_stream

PWA_ERROR = "NATS_PUBLISH_WITH_ACK_ERROR"


async def publish_with_ack_error(stage: Stage) -> None:
    """Refused: the stream's error, or no stream at all; it is not stored, others are, the link stays."""
    async with proving_stream(stage) as proof:
        with stage.faults.inject("publish_with_ack", error(), subjects="orders.secret") as injection:
            with pytest.raises(APIError) as caught:
                await proof.js.publish("orders.secret", b"no")
            assert (caught.value.code, caught.value.err_code) == (503, 10077)
            assert (await proof.js.publish("orders.7", b"yes")).stream == STREAM
            assert injection.hits == 1
        with stage.faults.inject("publish_with_ack", error("no responders"), subjects="orders.secret") as injection:
            with pytest.raises(NoStreamResponseError):
                await proof.js.publish("orders.secret", b"no")
            assert injection.hits == 3  # it is asked again, as long as a stream may be choosing its leader
        assert proof.nc.state is State.CONNECTED
        assert await proof.stored() == [b"yes"]
        proof.shows({"js.publish_failures.api_error": 1, "js.publish_failures.no_responders": 1}, {PWA_ERROR: 2})
        assert (await proof.js.publish("orders.secret", b"now")).stream == STREAM


async def publish_with_ack_timeout(stage: Stage) -> None:
    """No PubAck: OperationTimeoutError, fate unknown, still connected; it was stored, its id lets it be repeated."""
    async with proving_stream(stage) as proof:
        with stage.faults.inject("publish_with_ack", timeout(), subjects="orders.1") as injection:
            began = trio.current_time()
            with pytest.raises(OperationTimeoutError):
                await proof.js.publish("orders.1", b"unknown", message_id="7")
            assert trio.current_time() - began >= TIMEOUT_SECONDS
            assert proof.nc.state is State.CONNECTED
            assert injection.hits == 1
        assert (await proof.js.publish("orders.1", b"unknown", message_id="7")).duplicate
        assert await proof.stored() == [b"unknown"]
        proof.shows({"js.publish_failures.timeout": 1}, {PWA_ERROR: 1})


async def publish_with_ack_close(stage: Stage) -> None:
    """The link breaks: ConnectionLostError, sent = maybe; published again under its id it is stored once."""
    async with proving_stream(stage) as proof:
        for after in (False, True):
            payload, message_id = (b"after", "a") if after else (b"before", "b")
            with stage.faults.inject("publish_with_ack", close_connection(after=after)) as injection:
                with pytest.raises(ConnectionLostError) as caught:
                    await proof.js.publish("orders.1", payload, message_id=message_id)
                assert caught.value.sent == "maybe"
                await proof.connected()
                assert injection.hits == 1
            assert await proof.stored() == ([payload] if after else [])
            assert (await proof.js.publish("orders.1", payload, message_id=message_id)).duplicate is after
            assert await proof.stored() == ([] if after else [payload])
            # The link does not know what was published: that it died under a publish is counted there too.
            proof.shows(
                {"lost": 1, "restored": 1, "publish_failures.disconnected": 1, "js.publish_failures.disconnected": 1},
                {LOST: 1, RESTORED: 1, PWA_ERROR: 1},
            )


async def publish_with_ack_delay(stage: Stage) -> None:
    """Late, but in time: stored as ever, in order; what is too late is a timeout, and is stored all the same."""
    async with proving_stream(stage) as proof:
        with stage.faults.inject("publish_with_ack", delay(0.3), subjects="orders.1") as injection:
            began = trio.current_time()
            await proof.js.publish("orders.1", b"first")
            assert trio.current_time() - began >= 0.3
            await proof.js.publish("orders.2", b"second")
            assert injection.hits == 1
        assert await proof.stored() == [b"first", b"second"]
        proof.shows()
        with (
            stage.faults.inject("publish_with_ack", delay(TIMEOUT_SECONDS * 2)),
            pytest.raises(OperationTimeoutError),
        ):
            await proof.js.publish("orders.1", b"too late", message_id="7")
        assert (await proof.js.publish("orders.1", b"too late", message_id="7")).duplicate
        assert await proof.stored() == [b"too late"]
        late = proof.moved("late_replies")
        assert late <= 1  # its PubAck may find the publish still waiting to be forgotten
        proof.shows({"js.publish_failures.timeout": 1, "late_replies": late}, {PWA_ERROR: 1})


async def publish_with_ack_intermittent(stage: Stage) -> None:
    """Some are refused: each of these is told, each of the others is stored."""
    chance = random.Random(5)
    async with proving_stream(stage) as proof:
        stored: list[bytes] = []
        with stage.faults.inject("publish_with_ack", intermittent(error(), 0.3, random.Random(5))) as injection:
            for number in range(40):
                payload = b"%d" % number
                if chance.random() < 0.3:
                    with pytest.raises(APIError):
                        await proof.js.publish("orders.1", payload)
                else:
                    await proof.js.publish("orders.1", payload)
                    stored.append(payload)
            refused = 40 - len(stored)
            assert injection.hits == refused > 5
        assert await proof.stored() == stored
        proof.shows({"js.publish_failures.api_error": refused}, {PWA_ERROR: refused})
