"""One place of the load: a source, the streams that are at home there, instances of the router, and a sink.

Must not know what it runs on, or when anything goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from ..client import Client
from ..jetstream import JetStream
from ..protocol import NatsError
from ..router import Delivery, Router
from ._behaviour import Behaviour
from ._instance import Instance
from ._ledger import Ledger
from ._scenario import Scenario, Topology
from ._source import Source
from ._streams import streams_of
from ._subjects import DEAD, DONE, WORK, number_of, stream_name, subject_prefix

OpenClient: TypeAlias = Callable[[str, str], AbstractAsyncContextManager[Client]]

_RETRY_SECONDS: Final = 0.5
# Of the keys of a source, every fourth one's messages go to the next region.
_ABROAD_EVERY: Final = 4


class Site:
    """The load of one region, or the whole load.

    Args:
        region: where it is; empty = there are no regions.
        regions: all of them.
        topology: of the run.
        scenario: whose load it is.
        rate: messages a second that it publishes.
        ledger: where all is noted.
        behaviour: of its handlers.
        open_client: opens a client by its host and region.

    Attributes:
        region: as given.
        source: who publishes.
        instances: of the router, by name.
    """

    def __init__(
        self,
        region: str,
        regions: Sequence[str],
        topology: Topology,
        scenario: Scenario,
        rate: float,
        ledger: Ledger,
        behaviour: Behaviour,
        open_client: OpenClient,
    ) -> None:
        self.region = region
        self._topology = topology
        self._ledger = ledger
        self.source = Source(ledger, rate, _subjects(region, regions, scenario.keys))
        names = [self.host(f"router-{number}") for number in range(1, topology.instances + 1)]
        self.instances = {
            name: Instance(name, region, partial(open_client, name, region), ledger, behaviour, scenario.max_deliver)
            for name in names
        }

    def host(self, role: str) -> str:
        """The host of one of its parts."""
        return f"{self.region}-{role}" if self.region else role

    async def create_streams(self, js: JetStream) -> None:
        """Create the streams that are at home here; servers that are not ready for it are asked again."""
        for config in streams_of(self._topology, self.region):
            await _until_done(js.create_stream, config)

    async def start(self, nursery: trio.Nursery, js: JetStream, sink: Client) -> None:
        """Start the sink, then the instances, then the source; when this returns all of them work."""
        await nursery.start(self._sink().run, sink)
        for instance in self.instances.values():
            await nursery.start(instance.run)
        nursery.start_soon(self.source.run, js)

    def _sink(self) -> Router:
        """A router that only looks: what it has seen is acked."""
        router = Router(self.host("sink"))
        done, dead = (
            partial(
                router.route,
                f"{subject_prefix(kind, self.region)}.>",
                stream=stream_name(kind, self.region),
                durable=f"sink-{kind.lower()}",
                name=kind.lower(),
                concurrency=4,
            )
            for kind in (DONE, DEAD)
        )

        @done()
        async def take_done(payload: bytes, delivery: Delivery) -> None:
            assert delivery.metadata is not None
            self._ledger.note_done(number_of(payload), delivery.metadata.stream_sequence, self.region)

        @dead()
        async def take_dead(payload: bytes) -> None:
            self._ledger.note_dead(number_of(payload), self.region)

        return router


def _subjects(region: str, regions: Sequence[str], keys: int) -> list[str]:
    """The subject of each key. A key is one source's own, so that its order is that of one publisher."""
    if len(regions) < 2:
        return [f"{subject_prefix(WORK, region)}.{key}" for key in range(keys)]
    abroad = regions[(regions.index(region) + 1) % len(regions)]
    homes = [abroad if key % _ABROAD_EVERY == 0 else region for key in range(keys)]
    return [f"{subject_prefix(WORK, home)}.{region}-{key}" for key, home in enumerate(homes)]


async def _until_done(call: Callable[..., Any], *args: Any) -> Any:
    """Call it again while the servers are not ready for it."""
    while True:
        try:
            return await call(*args)
        except NatsError:
            await trio.sleep(_RETRY_SECONDS)
