"""What the cases of the router stand on: the streams of the workflows, one for dead letters, and a router at work.

    decide.> and result.>  in the stream WORK, as the other workflows have them
    dead.>                 in the stream DEAD

Must not decide what a fault does, or what a route answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from beamline_trio import Client
from beamline_trio.jetstream import JetStream, StoredMessage, StreamConfig
from beamline_trio.router import Retry, Route, Router
from tests.integration.suites._scene import Scene
from tests.integration.suites._workflows import ACK_WAIT_SECONDS, PATIENT, STREAM, SUBJECTS

DEAD: Final = "DEAD"
DEAD_CONFIG: Final = StreamConfig(name=DEAD, subjects=("dead.>",))
WORK_CONFIG: Final = StreamConfig(name=STREAM, subjects=SUBJECTS)
# The same stream, and no stream takes a result.
RESULTS_AWAY: Final = attrs.evolve(WORK_CONFIG, subjects=tuple(one for one in SUBJECTS if one != "result.>"))
RETRY: Final = Retry(delays_seconds=(0.1,), max_deliver=3, ack_wait_seconds=ACK_WAIT_SECONDS)
# For what is refused while something is away, which uses deliveries up.
PATIENT_RETRY: Final = attrs.evolve(RETRY, max_deliver=100)


@attrs.frozen
class Routed:
    """A router on the client under test, and somebody who feeds it and looks at its streams.

    Attributes:
        nc: the client under test.
        other: another client, which meets no injected fault.
        js: of the other client.
    """

    nc: Client
    other: Client
    js: JetStream

    async def feed(self, subject: str, payloads: Iterable[bytes]) -> None:
        """One message for each payload, to `<subject>.0`, `<subject>.1`, ..."""
        for number, payload in enumerate(payloads):
            one = f"{subject}.{number}"
            await self.js.publish(one, payload, message_id=one, retry=PATIENT)

    async def stored(self, stream: str, subject: str) -> list[StoredMessage]:
        """The messages of a stream whose subjects begin with this, in order."""
        state = (await self.js.stream_info(stream)).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        messages = [await self.js.get_message(stream, sequence=number) for number in numbers]
        return [message for message in messages if message.subject.startswith(subject)]

    async def settled(self, durable: str) -> None:
        """Wait until nothing of this consumer is left to be handled or acked."""
        while True:
            info = await self.js.consumer_info(STREAM, durable)
            if not info.num_ack_pending and not info.num_pending:
                return
            await trio.sleep(0.05)


@asynccontextmanager
async def open_routed(scene: Scene, router: Router, *, dead: bool = True, **overrides: Any) -> AsyncGenerator[Routed]:
    """The streams (DEAD only if it is wanted), and the router at work on the client under test; drained at the end."""
    async with scene.open_other(operation_timeout_seconds=3.0) as other, scene.open(**overrides) as nc:
        js = JetStream(other)
        await js.create_stream(WORK_CONFIG)
        if dead:
            await js.create_stream(DEAD_CONFIG)
        async with trio.open_nursery() as nursery:
            await nursery.start(router.run, nc)
            yield Routed(nc, other, js)
            await router.drain()


def outcomes(route: Route) -> dict[str, int]:
    """The outcomes that there were; every message that was taken has one, or is still here."""
    statistics = route.statistics()
    ended = {outcome: count for outcome, count in statistics.outcomes.items() if count}
    assert statistics.taken == statistics.pending + statistics.in_flight + sum(ended.values())
    return ended
