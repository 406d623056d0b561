"""The decision router on a simulated server: its streams, one or more instances, a client, and a trace of all messages.

The trace is what one subscriber to everything is given: the order in which the server had each message, acks included.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from beamline_trio import Client, Headers, JetStream, Message, open_client
from beamline_trio.testing import ServerConfig, World
from examples.decision_router import Desk, Tenancy, make_router
from examples.decision_router.streams import (
    ACK_SUBJECT,
    DECIDE_SUBJECT,
    RESULT_SUBJECT,
    USAGE_SUBJECT,
    create_streams,
)
from examples.decision_router.tenants import TENANTS
from tests.examples._corpus import encoded, request

ACKS = "$JS.ACK."


@attrs.frozen
class Seen:
    """One message of the trace."""

    at: float
    subject: str
    payload: bytes
    headers: Headers

    @property
    def json(self) -> Any:
        """Its payload, where it is JSON."""
        return json.loads(self.payload)


@attrs.define
class Decisions:
    """A client of decision routers, and the trace."""

    world: World
    nc: Client
    js: JetStream
    trace: list[Seen] = attrs.field(factory=list[Seen])
    asked: int = 0

    async def ask(self, payload: bytes, *, inbox: str | None = None) -> None:
        """Put a request into the stream."""
        headers = None if inbox is None else {"Reply-To": inbox}
        await self.js.publish(DECIDE_SUBJECT, payload, headers=headers)

    async def asked_for(self, number: int, **fields: Any) -> None:
        """Put the number-th request into the stream, with an inbox of its own."""
        await self.ask(encoded(request(number, **fields)), inbox=f"_INBOX.app.{number}")

    async def tell_result(self, assignment: Any, status: str = "success", **fields: Any) -> None:
        """Put a result of an assignment into the stream."""
        told = {
            "assignment_id": assignment["assignment_id"], "request_id": assignment["request_id"], "status": status,
            "provider_id": assignment["executor"]["provider_id"], "job": {"type": assignment["job"]["type"]},
            "latency_ms": 120, "cost": 0.01,
        }  # fmt: skip
        await self.js.publish(RESULT_SUBJECT, encoded(told | fields))

    async def tell_ack(self, assignment: Any, status: str = "accepted") -> None:
        """Put an ack of an assignment into the stream."""
        await self.js.publish(ACK_SUBJECT, encoded({"assignment_id": assignment["assignment_id"], "status": status}))

    def seen(self, prefix: str) -> list[Seen]:
        """What the trace has under subjects that begin so."""
        return [one for one in self.trace if one.subject.startswith(prefix)]

    def places(self, prefix: str, word: str) -> list[int]:
        """Where in the trace a word is in messages under subjects that begin so."""
        return [
            place
            for place, one in enumerate(self.trace)
            if one.subject.startswith(prefix) and word.encode() in one.payload
        ]

    async def until_idle(self, seconds: float = 300.0) -> None:
        """Wait until every message of the streams is settled; virtual time."""
        with trio.fail_after(seconds):
            while not await self.idle():  # noqa: ASYNC110  # it is the server that knows
                await trio.sleep(0.05)
        await self.nc.flush()

    async def idle(self) -> bool:
        """Whether the routes have nothing left to do."""
        for stream, durable in (
            ("DECIDE", "router-decide-consumer"), ("RESULTS", "router-acks"), ("RESULTS", "router-results"),
        ):  # fmt: skip
            info = await self.js.consumer_info(stream, durable)
            if info.num_pending or info.num_ack_pending:
                return False
        return True

    async def stored(self, stream: str) -> int:
        """How many messages a stream has."""
        return (await self.js.stream_info(stream)).state.messages

    @property
    def usage(self) -> list[Any]:
        """The usage events that the trace has."""
        return [one.json for one in self.seen(USAGE_SUBJECT)]


def new_desk(**tenancy: Any) -> Desk:
    """A desk over the tenants of the example."""
    return Desk(Tenancy(tenants=TENANTS, **tenancy))


@asynccontextmanager
async def decisions(world: World, *desks: Desk) -> AsyncGenerator[Decisions]:
    """The streams are there, an instance of the router runs for each desk, and the trace is kept."""
    await world.start_server("a", ServerConfig(jetstream=True))
    async with (
        open_client("nats://a:4222", dialer=world.dialer("app"), name="app") as nc,
        open_client("nats://a:4222", dialer=world.dialer("watch"), name="watch") as watching,
        trio.open_nursery() as nursery,
    ):
        await create_streams(JetStream(nc))
        app = Decisions(world, nc, JetStream(nc))
        await nursery.start(_watch, watching, app)
        for number, desk in enumerate(desks or (new_desk(),)):
            await nursery.start(run_instance, world, desk, f"router-{number}")
        yield app
        nursery.cancel_scope.cancel()


async def run_instance(
    world: World, desk: Desk, host: str, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    """One instance of the decision router, on a host of its own; started with the scope that kills it."""
    with trio.CancelScope() as scope:
        async with (
            open_client("nats://a:4222", dialer=world.dialer(host), name=host) as nc,
            trio.open_nursery() as inner,
        ):
            await inner.start(make_router(desk).run, nc)
            task_status.started(scope)


async def _watch(nc: Client, app: Decisions, task_status: trio.TaskStatus[None]) -> None:
    async with nc.subscribe(">", pending_messages_max=1_000_000) as everything:
        await everything.confirmed()
        task_status.started()
        async for message in everything:
            app.trace.append(_seen(app, message))


def _seen(app: Decisions, message: Message) -> Seen:
    return Seen(app.world.now(), message.subject, message.payload, message.headers)
