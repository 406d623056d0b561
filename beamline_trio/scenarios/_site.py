"""One place of the load: a source, the streams that are at home there, instances of the router, and a sink.

Must not know what it runs on, or when anything goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from ..client import Client
from ..jetstream import JetStream
from ..protocol import NatsError
from ._instance import Instance
from ._process_instance import ProcessInstance
from ._source import Source
from ._work import Ground, Work

MakeProcess: TypeAlias = Callable[[str], ProcessInstance]
OpenClient: TypeAlias = Callable[[str, str], AbstractAsyncContextManager[Client]]

_RETRY_SECONDS: Final = 0.5


class Site:
    """The load of one region, or the whole load.

    Args:
        ground: what it is made for.
        work: what it is about.
        rate: messages a second that it publishes.
        open_client: opens a client by its host and region.
        make_process: makes an instance that is a process of its own; None = they are tasks of this one.

    Attributes:
        region: where it is; empty = there are no regions.
        work: as given.
        source: who publishes.
        instances: of the router, by name.
    """

    def __init__(
        self, ground: Ground, work: Work, rate: float, open_client: OpenClient, make_process: MakeProcess | None
    ) -> None:
        self.region = ground.region
        self.work = work
        self.source = Source(ground.ledger, rate, work.subjects(), work.payload)
        names = [self.host(f"router-{number}") for number in range(1, ground.topology.instances + 1)]
        self.instances: dict[str, Instance | ProcessInstance] = {
            name: make_process(name)
            if make_process is not None
            else Instance(name, partial(open_client, name, self.region), partial(work.make_router, name))
            for name in names
        }

    def host(self, role: str) -> str:
        """The host of one of its parts."""
        return f"{self.region}-{role}" if self.region else role

    async def create_streams(self, js: JetStream) -> None:
        """Create the streams that are at home here; servers that are not ready for it are asked again."""
        for config in self.work.streams():
            await _until_done(js.create_stream, config)

    async def start(self, nursery: trio.Nursery, js: JetStream, sink: Client) -> None:
        """Start the sink, then the instances, then the source; when this returns all of them work."""
        await nursery.start(self.work.make_sink(self.host("sink")).run, sink)
        for instance in self.instances.values():
            await nursery.start(instance.run)
        nursery.start_soon(self.source.run, js)


async def _until_done(call: Callable[..., Any], *args: Any) -> Any:
    """Call it again while the servers are not ready for it."""
    while True:
        try:
            return await call(*args)
        except NatsError:
            await trio.sleep(_RETRY_SECONDS)
