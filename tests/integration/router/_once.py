"""A router as a program that does each key once, and that kills itself at one point of the way of a message.

    python -m tests.integration.router._once URL HANDLER_SECONDS TTL_SECONDS [POINT FILE]

The key is the payload, and the effect's message id too. Each run of the handler is told to the stream RUNS, so
that those whose process died are known as well. POINT is one of POINTS; of all that share the file, one process
dies, once, at the first message that says MARK.

Must not judge.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from beamline_trio import Client, JetStream, Message, open_client
from beamline_trio.router import Claim, Delivery, Idempotence, KVIdempotence, Publish, Retry, Router
from tests.integration.router._pipe import MAX_DELIVER
from tests.integration.router._program import tell

CONCURRENCY: Final = 16
ACK_WAIT_SECONDS: Final = 1.0
DEADLINE_SECONDS: Final = 1.0
CLAIM_SECONDS: Final = 2.0
MARK: Final = b"mark"
# Behind the claim, in the handler, behind the effect and before the confirmation, behind it and before the ack.
POINTS: Final = ("claimed", "handler", "confirming", "confirmed")


@attrs.frozen
class Death:
    """Where a process dies.

    Attributes:
        point: of POINTS; empty: nowhere.
        file: is there when somebody has died.
    """

    point: str = ""
    file: str = ""

    def at(self, point: str, key: str) -> None:
        """SIGKILL, if this is the point, and nobody has died yet."""
        if point == self.point and key.encode().endswith(MARK) and not Path(self.file).exists():
            Path(self.file).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore:
    """The keys of another store, with points at which the process dies."""

    def __init__(self, store: Idempotence, death: Death) -> None:
        self._store = store
        self._death = death
        self.claim_seconds = store.claim_seconds

    async def claim(self, key: str) -> Claim:
        """Ask for a key."""
        claim = await self._store.claim(key)
        if claim is Claim.NEW:
            self._death.at("claimed", key)
        return claim

    async def confirm(self, key: str) -> None:
        """The work of a key is done."""
        self._death.at("confirming", key)
        await self._store.confirm(key)
        self._death.at("confirmed", key)

    async def release(self, key: str) -> None:
        """The work of a key was not done."""
        await self._store.release(key)


def key_of(message: Message) -> str:
    """The payload."""
    return message.payload.decode()


async def open_store(
    nc: Client, *, ttl_seconds: float, claim_seconds: float = CLAIM_SECONDS, death: Death
) -> Idempotence:
    """The bucket that all instances share."""
    store = await KVIdempotence.open(JetStream(nc), ttl_seconds=ttl_seconds, claim_seconds=claim_seconds)
    return MortalStore(store, death)


def make_router(nc: Client, handler_seconds: float, ttl_seconds: float, death: Death) -> Router:
    """One route, from A to B."""
    router = Router("pipe", idempotence=partial(open_store, ttl_seconds=ttl_seconds, death=death))

    @router.route(
        "a.in",
        stream="A",
        durable="pipe",
        concurrency=CONCURRENCY,
        retry=Retry(max_deliver=MAX_DELIVER, ack_wait_seconds=ACK_WAIT_SECONDS),
        deadline_seconds=DEADLINE_SECONDS,
        idempotent_by=key_of,
    )
    async def pipe(payload: bytes, delivery: Delivery) -> Publish:
        await JetStream(nc).publish("runs", payload)
        await trio.sleep(handler_seconds)
        death.at("handler", payload.decode())
        return Publish("b.out", payload, headers={"Nats-Msg-Id": payload.decode()})

    return router


async def main(url: str, handler_seconds: float, ttl_seconds: float, death: Death) -> None:
    """Run until killed."""
    async with open_client(url, name="pipe") as nc, trio.open_nursery() as nursery:
        router = make_router(nc, handler_seconds, ttl_seconds, death)
        await nursery.start(router.run, nc)
        nursery.start_soon(tell, router)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Death(*sys.argv[4:]))
