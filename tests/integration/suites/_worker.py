"""A small worker over `consumer.messages()`: it decides what comes, publishes the result, and acks or naks.

    ORDERS (orders.>) -> consumer `worker` -> decide -> RESULTS (results.>), with ack -> double ack

What cannot be decided or published is nak'ed with a delay and comes again; a result has the order's stream sequence in
its message id, so that however often an order comes its result is stored once. An error of one message never ends the
worker: it is counted by the reason for which the message will come again.

Must not know faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import attrs
import trio

from beamline_trio import Client, NatsError
from beamline_trio.jetstream import Consumer, ConsumerConfig, JetStream, JetStreamMessage, StreamConfig

ORDERS, RESULTS, WORKER = "ORDERS", "RESULTS", "worker"
ACK_WAIT_SECONDS: Final = 1.0
NAK_DELAY_SECONDS: Final = 0.1

Decide: TypeAlias = Callable[[JetStreamMessage], bytes]


class RejectedError(Exception):
    """The order cannot be decided now."""


@attrs.define
class Counts:
    """What a worker has done.

    Attributes:
        received: deliveries.
        redelivered: of these, those that were not the first of their message.
        decided: results that were made.
        stored: results that their stream has told to be stored, first or again.
        acked: orders whose ack the server has confirmed.
        naked: orders sent back.
        failed: reason -> deliveries that did not end with an ack: handler_error, publish_error, ack_error, nak_error.
    """

    received: int = 0
    redelivered: int = 0
    decided: int = 0
    stored: int = 0
    acked: int = 0
    naked: int = 0
    failed: Counter[str] = attrs.field(factory=Counter)

    @property
    def in_hand(self) -> int:
        """Deliveries that have not ended yet."""
        return self.received - self.acked - self.failed.total()


def decided(message: JetStreamMessage) -> bytes:
    """The result of an order: that it was decided."""
    return b"decided " + message.payload


class Worker:
    """One worker.

    Args:
        js: of its client.
        consumer: whose messages it takes.
        decide: what it does with each; RejectedError sends it back.

    Attributes:
        counts: what it has done so far.
    """

    def __init__(self, js: JetStream, consumer: Consumer, decide: Decide = decided) -> None:
        self.counts = Counts()
        self._js = js
        self._consumer = consumer
        self._decide = decide

    async def run(self) -> None:
        """Take messages until cancelled, or until the consumer is gone for good."""
        async with self._consumer.messages() as messages:
            async for message in messages:
                await self._handle(message)

    async def _handle(self, message: JetStreamMessage) -> None:
        self.counts.received += 1
        self.counts.redelivered += message.metadata.delivered > 1
        try:
            result = self._decide(message)
        except RejectedError:
            await self._send_back(message, "handler_error")
            return
        self.counts.decided += 1
        try:
            sequence = message.metadata.stream_sequence
            await self._js.publish(f"results.{sequence}", result, message_id=f"{ORDERS}-{sequence}")
        except NatsError:
            await self._send_back(message, "publish_error")
            return
        self.counts.stored += 1
        try:
            await message.ack_sync()
        except NatsError:
            self.counts.failed["ack_error"] += 1
        else:
            self.counts.acked += 1

    async def _send_back(self, message: JetStreamMessage, reason: str) -> None:
        try:
            await message.nak(delay_seconds=NAK_DELAY_SECONDS)
        except NatsError:
            self.counts.failed["nak_error"] += 1
        else:
            self.counts.failed[reason] += 1
            self.counts.naked += 1


async def create_streams(nc: Client, **consumer: Any) -> JetStream:
    """Orders, results, and the durable consumer of the worker; `consumer` are fields of its configuration."""
    js = JetStream(nc)
    await js.create_stream(StreamConfig(name=ORDERS, subjects=["orders.>"], storage="file"))
    await js.create_stream(StreamConfig(name=RESULTS, subjects=["results.>"], storage="file"))
    fields: dict[str, Any] = {"durable_name": WORKER, "ack_policy": "explicit", "ack_wait_seconds": ACK_WAIT_SECONDS}
    await js.create_consumer(ORDERS, ConsumerConfig(**fields | consumer))
    return js


@asynccontextmanager
async def open_worker(nc: Client, decide: Decide = decided) -> AsyncGenerator[Worker]:
    """A worker that runs in the background of the block."""
    js = JetStream(nc)
    worker = Worker(js, await js.consumer(ORDERS, WORKER), decide)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        yield worker
        nursery.cancel_scope.cancel()


async def give(js: JetStream, count: int, first: int = 0) -> list[bytes]:
    """Publish so many orders with ack; returns their payloads."""
    payloads = [b"%d" % number for number in range(first, first + count)]
    for payload in payloads:
        await js.publish("orders.1", payload)
    return payloads


async def settled(js: JetStream, worker: Worker | None = None) -> None:
    """Wait until every order is acked, and the worker has been told so: a link that breaks before takes its answer."""
    while True:
        info = await js.consumer_info(ORDERS, WORKER)
        if info.num_pending == info.num_ack_pending == 0 and (worker is None or worker.counts.in_hand == 0):
            return
        await trio.sleep(0.02)


async def let_go(js: JetStream) -> None:
    """Wait until the server has noticed that the link of those who pulled is gone, so that it sends nothing there."""
    while (await js.consumer_info(ORDERS, WORKER)).num_waiting:  # noqa: ASYNC110 - another process does it
        await trio.sleep(0.02)


async def results(js: JetStream) -> int:
    """How many results are stored."""
    return (await js.stream_info(RESULTS)).state.messages
