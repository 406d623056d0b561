"""One place of the load: a source, the streams that are at home there, instances of the router, and a sink.

Must not know what it runs on, or when anything goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias

import trio

from ..client import Client
from ..cluster import ClusterWatch
from ..jetstream import JetStream
from ._instance import Instance
from ._metering import Metering
from ._process_instance import ProcessInstance
from ._repeats import Repeater
from ._requests import Requester
from ._sink import until_done
from ._source import Source
from ._work import Ground, Work

MakeProcess: TypeAlias = Callable[[str], ProcessInstance]
OpenClient: TypeAlias = Callable[[str, str], AbstractAsyncContextManager[Client]]


class Site:
    """The load of one region, or the whole load.

    Args:
        ground: what it is made for.
        work: what it is about.
        rate: messages a second that it publishes.
        open_client: opens a client by its host and region.
        watch: gives the watch over the streams of a region; None = there is none.
        metering: scrapes the instances.
        make_process: makes an instance that is a process of its own; None = they are tasks of this one.

    Attributes:
        region: where it is; empty = there are no regions.
        work: as given.
        source: who publishes.
        requester: who asks; None = nobody.
        repeater: who publishes twice; None = nobody.
        instances: of the router, by name.
    """

    def __init__(
        self,
        ground: Ground,
        work: Work,
        rate: float,
        open_client: OpenClient,
        watch: Callable[[str], ClusterWatch | None],
        metering: Metering,
        make_process: MakeProcess | None,
    ) -> None:
        self.region = ground.region
        self.work = work
        self.source = Source(ground.ledger, rate, work.subjects(), work.payload)
        scenario = ground.scenario
        self.requester = Requester(scenario.requests_per_second, work.requests) if work.requests else None
        self.repeater = (
            Repeater(ground.ledger, scenario.once_per_second, work.once, work.payload) if work.once else None
        )
        names = [self.host(f"router-{number}") for number in range(1, ground.topology.instances + 1)]
        self.instances: dict[str, Instance | ProcessInstance] = {
            name: make_process(name)
            if make_process is not None
            else Instance(
                name,
                self.region,
                partial(open_client, name, self.region),
                partial(work.make_router, name),
                partial(watch, self.region),
                metering,
            )
            for name in names
        }

    def host(self, role: str) -> str:
        """The host of one of its parts."""
        return f"{self.region}-{role}" if self.region else role

    async def create_streams(self, js: JetStream) -> None:
        """Create the streams that are at home here; servers that are not ready for it are asked again."""
        for config in self.work.streams():
            await until_done(partial(js.create_stream, config))

    @property
    def idle(self) -> bool:
        """Whether all that was begun is acknowledged, and all that was asked is over."""
        return all(part.idle for part in self._parts())

    def stop(self) -> None:
        """Begin no more."""
        for part in self._parts():
            part.stop()

    def _parts(self) -> list[Source | Requester | Repeater]:
        return [part for part in (self.source, self.requester, self.repeater) if part is not None]

    async def start(self, nursery: trio.Nursery, sink: Client) -> None:
        """Start the sink, then the instances; when this returns all of them work."""
        await nursery.start(self.work.make_sink().run, sink)
        for instance in self.instances.values():
            await nursery.start(instance.run)

    def begin(self, nursery: trio.Nursery, source: Client) -> None:
        """Publish and ask from now on."""
        js = JetStream(source)
        nursery.start_soon(self.source.run, js)
        if self.repeater is not None:
            nursery.start_soon(self.repeater.run, js)
        if self.requester is not None:
            nursery.start_soon(self.requester.run, source)
