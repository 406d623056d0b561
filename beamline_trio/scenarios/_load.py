"""The load: messages are published at a rate, a router turns each into an effect, and a sink takes the effects.

    source --(WORK)--> instances of the router --(DONE)--> sink
                              what is given up --(DEAD)--> sink

A plain at-least-once pipeline: the source publishes under one message id until a stream has acknowledged it, of each
key one after the other; the router acks a message when its effect is stored. Each region has all of it; a part of what
its source publishes goes to the next region.

Must not know plans; what is wrong on purpose it is told by `Behaviour`, and by calls of `Instance`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import trio

from ..client import Client, UndeliveredError, open_client
from ..cluster import ClusterWatch
from ..faults import FaultDialer
from ..jetstream import JetStream
from ._balancer import Balancer
from ._behaviour import Behaviour
from ._decisions import Decisions
from ._ledger import Ledger
from ._lookout import Lookout
from ._metering import Metering
from ._pipeline import Pipeline
from ._process_instance import ProcessInstance
from ._rig import Rig
from ._scenario import Kind, Scenario, Topology
from ._settings import DECISIONS, PIPELINE, REAL, Settings
from ._site import Site
from ._work import Ground, Work

_WORKS: Final[Mapping[str, Callable[[Ground], Work]]] = {PIPELINE: Pipeline, DECISIONS: Decisions}


class Load:
    """The load of one run; entered once, inside the run.

    Args:
        rig: what it runs on.
        scenario: whose it is.
        topology: of the run.
        settings: how it is run.
        ledger: where all is noted.
        metering: scrapes instances and watches.

    Attributes:
        behaviour: of the handlers.
        sites: one of each region, or the only one.
        instances: of the router, by name.
        lookout: what the library sees of a cluster; None where there is none.
        clients: by the name of their host, those that are open.
        balancer: in front of the instances' pages; None where there is none.
        watching: whether there is a cluster that the instances watch.
        dialers: of the instances, by name, where operations on the wire are to meet faults; they cost time.
    """

    def __init__(
        self,
        rig: Rig,
        scenario: Scenario,
        topology: Topology,
        settings: Settings,
        ledger: Ledger,
        metering: Metering,
    ) -> None:
        self._rig = rig
        self._options: Mapping[str, Any] = scenario.client
        self.behaviour = Behaviour(rig.random("handlers"))
        self.clients: dict[str, Client] = {}
        regions = topology.regions or ("",)
        grounds = [Ground(region, regions, topology, scenario, ledger, self.behaviour) for region in regions]
        processes = are_processes(scenario, topology, settings)
        watching = topology.nodes > 1
        make_process = (
            partial(
                ProcessInstance,
                number=scenario.number,
                servers=rig.urls(),
                watching=watching,
                client=scenario.client,
            )
            if processes
            else None
        )
        make_work, rate = _WORKS[settings.load], settings.rate / len(regions)
        self.balancer = Balancer() if settings.load_balancer and processes else None
        self.watching = watching
        if processes:
            make_work = partial(Pipeline, telling=True)
        self.sites = [
            Site(one, make_work(one), rate, self._open_client, self._watch_of, metering, make_process)
            for one in grounds
        ]
        streams = {site.region: site.work.home for site in self.sites}
        self.lookout = Lookout(streams, self._open_client, metering) if watching else None
        self.instances = {name: one for site in self.sites for name, one in site.instances.items()}
        lossy = any(Kind.ACKS_LOST in cycle.kinds for cycle in scenario.cycles)
        self.dialers = {name: FaultDialer(rig.dialer(name)) for name in self.instances if lossy}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Streams are there, instances and sinks take messages, and sources publish, until this is left.

        The sources begin last, at once with whatever the caller does next: what comes before is no part of a run.
        """
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(self._open_client(site.host(role), site.region))
                for site in self.sites
                for role in ("source", "sink")
            ]
            pairs = list(zip(self.sites, clients[::2], clients[1::2], strict=True))
            for site, source, _ in pairs:
                await site.create_streams(JetStream(source))
            async with trio.open_nursery() as nursery:
                if self.lookout is not None:
                    await nursery.start(self.lookout.run)
                for site, _, sink in pairs:
                    await site.start(nursery, sink)
                async with self._balanced():
                    for site, source, _ in pairs:
                        site.begin(nursery, source)
                    yield
                nursery.cancel_scope.cancel()

    @property
    def ready_by_site(self) -> list[int]:
        """How many instances take messages at each site."""
        return [sum(one.ready for one in site.instances.values()) for site in self.sites]

    @property
    def connected(self) -> bool:
        """Whether every client that is open has a link."""
        return all(client.connection.link_is_up for client in self.clients.values())

    @property
    def backlog(self) -> int:
        """Messages that were begun, and that no stream has acknowledged."""
        return sum(site.source.backlog for site in self.sites)

    @property
    def idle(self) -> bool:
        """Whether every message that was begun is acknowledged, and every request is over."""
        return all(site.idle for site in self.sites)

    def stop(self) -> None:
        """Begin no more messages and requests."""
        for site in self.sites:
            site.stop()

    def _watch_of(self, region: str) -> ClusterWatch | None:
        return None if self.lookout is None else self.lookout.watch_of(region)

    @asynccontextmanager
    async def _balanced(self) -> AsyncGenerator[None]:
        """The load balancer, if there is to be one."""
        if self.balancer is None:
            yield
            return
        pages = {name: one.address for name, one in self.instances.items() if isinstance(one, ProcessInstance)}
        async with self.balancer.running(pages):
            yield

    @asynccontextmanager
    async def _open_client(self, host: str, region: str) -> AsyncGenerator[Client]:
        """A client on a host of its own."""
        options: dict[str, Any] = {"name": host, "retry_first_connect": True, **self._options}
        with suppress(UndeliveredError):  # what it had is published again, or comes again
            dialer = self.dialers.get(host) or self._rig.dialer(host)
            async with open_client(*self._rig.urls(region), dialer=dialer, **options) as client:
                self.clients[host] = client
                try:
                    yield client
                finally:
                    del self.clients[host]


def are_processes(scenario: Scenario, topology: Topology, settings: Settings) -> bool:
    """Whether instances are processes of their own: several of them, on real servers, whose handlers are left alone."""
    kinds = {kind for cycle in scenario.cycles for kind in cycle.kinds}
    alone = not kinds & {Kind.HANDLERS_FAIL, Kind.HANDLERS_HANG, Kind.ACKS_LOST, Kind.PARTITION}
    several = topology.instances > 1 and not topology.regions
    return settings.on == REAL and settings.load == PIPELINE and several and alone
