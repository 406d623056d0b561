"""The workflows of the suites, decide, result, session and publish, on a small worker over `consumer.messages()`.

    decide    decide.<id> -> a decision, published as result.<id> under an id of its own, and only then the ack
    result    result.<id> -> noted in the worker's store, then the ack
    session   session.<id>.<step> -> the same, step after step
    publish   a program that publishes work.<id> and waits for each PubAck

A message whose outcome could not be published is not acked: it comes again, and the message id makes the outcome one.
What the router does in addition (dead letters, breaker, backpressure) is in `test_router_workflows`.

Must not decide what a fault does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from beamline_trio import Client, NatsError, Outcome
from beamline_trio.jetstream import Consumer, ConsumerConfig, JetStream, JetStreamMessage, PublishRetry, StreamConfig
from tests.integration.suites._scene import Scene, until

STREAM: Final = "WORK"
SUBJECTS: Final = ("decide.>", "result.>", "work.>", "session.>")
ACK_WAIT_SECONDS: Final = 1.0
# Whoever feeds a workflow comes through an outage by trying again, under one message id.
PATIENT: Final = PublishRetry(attempts=100, delay_max_seconds=0.3, attempt_timeout_seconds=1.0, deadline_seconds=20.0)


class Worker:
    """One worker of a durable consumer.

    Attributes:
        seen: the id of every delivery, in order, redeliveries too.
        store: id -> payload of what it is done with.
        failures: errors of publishes and acks, by the names of their classes.
    """

    def __init__(self, js: JetStream, consumer: Consumer) -> None:
        self.seen: list[str] = []
        self.store: dict[str, bytes] = {}
        self.failures: list[str] = []
        self._js = js
        self._consumer = consumer

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; `nursery.start(worker.run)`."""
        async with self._consumer.messages(max_messages=50) as messages:
            task_status.started()
            async for message in messages:
                try:
                    await self._work(message)
                except (NatsError, trio.TooSlowError) as error:  # it comes again
                    self.failures.append(type(error).__name__)

    async def _work(self, message: JetStreamMessage) -> None:
        kind, _, number = message.subject.partition(".")
        self.seen.append(number)
        if kind == "decide":
            ack = await self._js.publish(f"result.{number}", b"yes", message_id=f"result-{number}")
            if ack.outcome is Outcome.SKIPPED:
                await message.nak(delay_seconds=0.2)
                return
        self.store.setdefault(number, message.payload)
        await message.ack()


class Workflow:
    """One of the three, with whoever feeds it.

    Attributes:
        name: decide, result, session or publish.
        worker: None for `publish`.
        outcomes: of `publish`: id -> what its call came to.
    """

    def __init__(self, name: str, nc: Client, feeder: JetStream, worker: Worker | None) -> None:
        self.name = name
        self.worker = worker
        self.outcomes: dict[str, Outcome] = {}
        self._js = JetStream(nc)
        self._feeder = feeder

    async def feed(self, first: int, last: int) -> None:
        """Let the work of these numbers come in; for `publish`, do it."""
        for number in range(first, last):
            await self.put(str(number))

    async def put(self, number: str) -> None:
        """One piece of work."""
        if self.worker is None:
            ack = await self._js.publish(f"work.{number}", b"x", message_id=f"work-{number}", retry=PATIENT)
            self.outcomes[number] = ack.outcome
        else:
            identity = f"{self.name}-{number}"
            await self._feeder.publish(f"{self.name}.{number}", b"x", message_id=identity, retry=PATIENT)

    @property
    def done(self) -> set[str]:
        """The ids of what is done."""
        return set(self.outcomes if self.worker is None else self.worker.store)

    async def until_done(self, count: int) -> None:
        """Wait until so much is done."""
        await until(lambda: len(self.done) >= count)

    async def messages(self) -> int:
        """How many messages the stream has: what came in, and what the workflow has published."""
        return (await self._feeder.stream_info(STREAM)).state.messages


async def create_work(js: JetStream) -> None:
    """The stream of all workflows."""
    await js.create_stream(StreamConfig(name=STREAM, subjects=SUBJECTS))


async def create_consumer(js: JetStream, name: str) -> Consumer:
    """The durable consumer of a workflow."""
    config = ConsumerConfig(
        durable_name=name, filter_subjects=(f"{name}.>",), ack_policy="explicit", ack_wait_seconds=ACK_WAIT_SECONDS
    )
    return await js.create_consumer(STREAM, config)


@asynccontextmanager
async def open_workflow(scene: Scene, name: str, **overrides: Any) -> AsyncGenerator[tuple[Client, Workflow]]:
    """The client under test with one of the workflows on it, and another client that feeds it."""
    async with scene.open_other() as other, scene.open(**overrides) as nc, trio.open_nursery() as nursery:
        feeder = JetStream(other)
        await create_work(feeder)
        worker = None
        if name != "publish":
            js = JetStream(nc)
            worker = Worker(js, await create_consumer(js, name))
            await nursery.start(worker.run)
        yield nc, Workflow(name, nc, feeder, worker)
        nursery.cancel_scope.cancel()
