"""A consumer on the toy server that does what the test says: it gives messages and statuses, or stays silent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio.testing

from beamline_trio import Client, JetStream
from beamline_trio.jetstream import Consumer
from tests._memory import ToyServer, message_frame, opened
from tests._toy_server import Operation, ServerLink
from tests.jetstream._script import answer

NEXT = b"$JS.API.CONSUMER.MSG.NEXT.S.c"
ACK = b"$JS.ACK."


@attrs.define(eq=False)
class Pull:
    """A pull request that came."""

    link: ServerLink
    reply: bytes
    body: dict[str, Any]
    at: float


class PullServer(ToyServer):
    """A toy server with the consumer `c` of the stream `S`.

    Attributes:
        pulls: every pull that came. acks: every answer to a message, its sequence and its body.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.pulls: list[Pull] = []
        self.acks: list[tuple[int, bytes]] = []
        self.given = 0
        self.is_there(**config)

    def is_there(self, **config: Any) -> None:
        """The consumer exists."""
        config = {"durable_name": "c", "ack_policy": "explicit", "ack_wait": 30_000_000_000, **config}
        answer(self, "$JS.API.CONSUMER.INFO.S.c", {"stream_name": "S", "name": "c", "config": config})

    def is_gone(self, err_code: int = 10014) -> None:
        """It does not, or not its stream."""
        failure = {"error": {"code": 404, "err_code": err_code, "description": "not found"}}
        answer(self, "$JS.API.CONSUMER.INFO.S.c", failure)

    def published(self, link: ServerLink, subject: bytes, reply: bytes | None, operation: Operation) -> None:
        """PUB: pulls and acks are the consumer's."""
        if subject == NEXT and reply is not None and not any(subject == one for one in self.denied_publish):
            self.pulls.append(Pull(link, reply, json.loads(operation.payload), operation.at))
        elif subject.startswith(ACK) and reply is None and subject not in self.denied_publish:
            self.acks.append((int(subject.split(b".")[5]), operation.payload))
        else:
            super().published(link, subject, reply, operation)

    def give(self, count: int = 1, *, pull: int = -1, reply: bytes | None = None) -> None:
        """Messages for a pull, numbered from 0 on."""
        for _ in range(count):
            self.given += 1
            ack = b"$JS.ACK.S.c.1.%d.%d.1.0" % (self.given, self.given) if reply is None else reply
            self._to(pull, b"s.a", b"%d" % (self.given - 1), ack, None)

    def status(self, code: int, words: str = "", *, pull: int = -1, pending: int | None = None) -> None:
        """A status for a pull."""
        more = f"Nats-Pending-Messages: {pending}\r\nNats-Pending-Bytes: 0\r\n" if pending is not None else ""
        block = f"NATS/1.0 {code} {words}".rstrip() + f"\r\n{more}\r\n"
        self._to(pull, self.pulls[pull].reply, b"", None, block.encode())

    def _to(self, pull: int, subject: bytes, payload: bytes, reply: bytes | None, header: bytes | None) -> None:
        asked = self.pulls[pull]
        prefix = asked.reply.rpartition(b".")[0] + b".*"
        for interest in self.interests:
            if interest.pattern == prefix and interest.link is asked.link:
                asked.link.send(message_frame(subject, interest.sid, payload, reply, header))

    @property
    def batches(self) -> list[int]:
        """How many messages each pull asked for."""
        return [pull.body["batch"] for pull in self.pulls]


@asynccontextmanager
async def consumer_on(server: PullServer, **options: Any) -> AsyncGenerator[tuple[Client, Consumer]]:
    """A client on the server, and its consumer."""
    async with opened(server, **options) as nc:
        yield nc, await JetStream(nc).consumer("S", "c")


async def settle() -> None:
    """Let everything that can happen now happen."""
    await trio.testing.wait_all_tasks_blocked()
