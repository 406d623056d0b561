"""The load: messages are published at a rate, a router turns each into an effect, and a sink takes the effects.

    source --(WORK)--> instances of the router --(DONE)--> sink
                              what is given up --(DEAD)--> sink

A plain at-least-once pipeline: the source publishes under one message id until a stream has acknowledged it, of each
key one after the other; the router acks a message when its effect is stored.

Must not know plans; what is wrong on purpose it is told by `Behaviour`, and by calls of `Instance`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import trio

from ..client import Client, UndeliveredError, open_client
from ..faults import FaultDialer
from ..jetstream import JetStream
from ..protocol import NatsError
from ..router import Delivery, Router
from ._behaviour import Behaviour
from ._instance import Instance
from ._ledger import Ledger
from ._rig import Rig
from ._scenario import Kind, Scenario, Topology
from ._source import Source
from ._streams import streams_of
from ._subjects import DEAD, DONE, number_of

_RETRY_SECONDS: Final = 0.5


class Load:
    """The load of one run; entered once, inside the run.

    Args:
        rig: what it runs on.
        scenario: whose it is.
        topology: of the run.
        rate: messages a second.
        ledger: where all is noted.

    Attributes:
        behaviour: of the handlers.
        source: who publishes.
        instances: of the router, by name.
        clients: by the name of their host, those that are open.
        dialers: of the instances, by name, where operations on the wire are to meet faults; they cost time.
    """

    def __init__(self, rig: Rig, scenario: Scenario, topology: Topology, rate: float, ledger: Ledger) -> None:
        self._rig = rig
        self._topology = topology
        self._options: Mapping[str, Any] = scenario.client
        self._ledger = ledger
        self.behaviour = Behaviour(rig.random("handlers"))
        self.source = Source(ledger, rate, scenario.keys)
        self.clients: dict[str, Client] = {}
        lossy = any(Kind.ACKS_LOST in cycle.kinds for cycle in scenario.cycles)
        names = [f"router-{number}" for number in range(1, topology.instances + 1)]
        self.dialers = {name: FaultDialer(rig.dialer(name)) for name in names if lossy}
        self.instances = {
            name: Instance(name, self._open_client, ledger, self.behaviour, scenario.max_deliver) for name in names
        }

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Streams are there, instances and sink take messages, and the source publishes, until this is left."""
        async with self._open_client("source") as source, self._open_client("sink") as sink:
            js = JetStream(source)
            for config in streams_of(self._topology):
                await until_done(js.create_stream, config)
            async with trio.open_nursery() as nursery:
                await nursery.start(self._sink().run, sink)
                for instance in self.instances.values():
                    await nursery.start(instance.run)
                nursery.start_soon(self.source.run, js)
                yield
                nursery.cancel_scope.cancel()

    @property
    def ready(self) -> int:
        """How many instances take messages."""
        return sum(instance.ready for instance in self.instances.values())

    @property
    def connected(self) -> bool:
        """Whether every client that is open has a link."""
        return all(client.connection.link_is_up for client in self.clients.values())

    def _sink(self) -> Router:
        """A router that only looks: what it has seen is acked."""
        router = Router("sink")

        @router.route(f"{DONE.lower()}.>", stream=DONE, durable="sink-done", name="done", concurrency=4)
        async def done(payload: bytes, delivery: Delivery) -> None:
            assert delivery.metadata is not None
            self._ledger.note_done(number_of(payload), delivery.metadata.stream_sequence)

        @router.route(f"{DEAD.lower()}.>", stream=DEAD, durable="sink-dead", name="dead", concurrency=4)
        async def dead(payload: bytes) -> None:
            self._ledger.note_dead(number_of(payload))

        return router

    @asynccontextmanager
    async def _open_client(self, host: str) -> AsyncGenerator[Client]:
        """A client on a host of its own."""
        options: dict[str, Any] = {"name": host, "retry_first_connect": True, **self._options}
        with suppress(UndeliveredError):  # what it had is published again, or comes again
            dialer = self.dialers.get(host) or self._rig.dialer(host)
            async with open_client(*self._rig.urls(), dialer=dialer, **options) as client:
                self.clients[host] = client
                try:
                    yield client
                finally:
                    del self.clients[host]


async def until_done(call: Any, *args: Any) -> Any:
    """Call it again while the servers are not ready for it."""
    while True:
        try:
            return await call(*args)
        except NatsError:
            await trio.sleep(_RETRY_SECONDS)
