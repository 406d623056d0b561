"""What the cells of JetStream's operations prove things with: a stream, and a consumer that is asked for its state.

The stream is asked by a client that meets no fault, message by message: what it has stored is what counts.

Must not know what is tested with it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs

from beamline_trio import open_client
from beamline_trio.jetstream import Consumer, ConsumerConfig, JetStream, JetStreamMessage, StreamConfig, statistics_of
from tests.faults._proof import Parts, Proof, Stage, flat, proving_by

STREAM, CONSUMER = "ORDERS", "worker"
ACK_WAIT_SECONDS = 1.5
_TROUBLES = (
    "publish_failures",
    "publishes_skipped",
    "publish_retries",
    "ack_failures",
    "acks_resent",
    "nak_failures",
    "redeliveries",
    "max_deliver_exhausted",
    "heartbeats_missed",
    "consumers_recreated",
)
# A nak asks for a redelivery: that is no trouble.
_ASKED_FOR = ("js.redeliveries.handler_error", "js.redeliveries.backoff")


class StreamProof(Proof):
    """A client under test with JetStream, and somebody who sees what a stream has stored.

    Attributes:
        js: of the client under test.
    """

    def __init__(self, keeper: JetStream, parts: Parts) -> None:
        self.js = JetStream(parts.nc)
        self._keeper = keeper
        self._read = 0
        super().__init__(parts)

    async def stored(self) -> list[bytes]:
        """The payloads that the stream has stored since it was last asked."""
        await self.arrived()
        info = await self._keeper.stream_info(STREAM)
        sequences = range(self._read + 1, info.state.last_seq + 1)
        self._read = info.state.last_seq
        return [await self._payload(sequence) for sequence in sequences]

    async def _payload(self, sequence: int) -> bytes:
        request = json.dumps({"seq": sequence}).encode()
        reply = await self._keeper.client.request(f"$JS.API.STREAM.MSG.GET.{STREAM}", request)
        return base64.b64decode(json.loads(reply.payload)["message"].get("data", ""))

    def troubles(self) -> dict[str, int]:
        """Those of JetStream too."""
        found = super().troubles() | flat(attrs.asdict(statistics_of(self.nc)), _TROUBLES, "js.")
        return {name: count for name, count in found.items() if name not in _ASKED_FOR}

    async def settle(self) -> None:
        """Everything stored was seen."""
        await super().settle()
        await self.stored()

    async def works(self) -> None:
        """Publishes with ack too."""
        await super().works()
        await self.stored()
        for number in range(3):
            ack = await self.js.publish("orders.7", b"stored %d" % number)
            assert (ack.stream, ack.duplicate) == (STREAM, False)
        assert await self.stored() == [b"stored 0", b"stored 1", b"stored 2"]


@asynccontextmanager
async def proving_stream(stage: Stage) -> AsyncGenerator[StreamProof]:
    """A client under test, and a stream of all orders; healthy at the end."""
    async with open_client(stage.url, dialer=stage.plain) as nc:
        keeper = JetStream(nc)
        await keeper.create_stream(StreamConfig(name=STREAM, subjects=["orders.>"], storage="memory"))
        async with proving_by(partial(StreamProof, keeper), stage) as proof:
            yield proof


class ConsumerProof(StreamProof):
    """The same, with a consumer whose messages the client under test acks and naks.

    Attributes:
        consumer: as the client under test has it.
    """

    def __init__(self, keeper: JetStream, parts: Parts) -> None:
        super().__init__(keeper, parts)
        self.consumer: Consumer

    async def give(self, payload: bytes) -> JetStreamMessage:
        """Somebody publishes a message, and the client under test gets it."""
        await self._keeper.publish("orders.1", payload)
        message = await self.consumer.next()
        assert (message.payload, message.metadata.delivered) == (payload, 1)
        await self.nc.flush()  # the pull is confirmed: what is unknown from here on is the ack
        return message

    async def again(self, payload: bytes) -> JetStreamMessage:
        """The client under test gets a message once more."""
        message = await self.consumer.next()
        assert (message.payload, message.metadata.delivered) == (payload, 2)
        return message

    async def unacked(self) -> int:
        """How many messages the server waits for the acks of."""
        return (await self._keeper.consumer_info(STREAM, CONSUMER)).num_ack_pending

    async def works(self) -> None:
        """Acks and naks too."""
        await super().works()
        while await self.unacked() or (await self._keeper.consumer_info(STREAM, CONSUMER)).num_pending:
            await (await self.consumer.next()).ack_sync()
        for number in range(3):
            await (await self.give(b"acked %d" % number)).ack_sync()
        await (await self.give(b"naked")).nak()
        await (await self.again(b"naked")).ack_sync()
        assert await self.unacked() == 0


@asynccontextmanager
async def proving_consumer(stage: Stage) -> AsyncGenerator[ConsumerProof]:
    """A client under test, a stream of all orders, and a durable consumer of it; healthy at the end."""
    async with open_client(stage.url, dialer=stage.plain) as nc:
        keeper = JetStream(nc)
        await keeper.create_stream(StreamConfig(name=STREAM, subjects=["orders.>"], storage="memory"))
        config = ConsumerConfig(durable_name=CONSUMER, ack_policy="explicit", ack_wait_seconds=ACK_WAIT_SECONDS)
        await keeper.create_consumer(STREAM, config)
        async with proving_by(partial(ConsumerProof, keeper), stage) as proof:
            proof.consumer = await proof.js.consumer(STREAM, CONSUMER)
            yield proof
