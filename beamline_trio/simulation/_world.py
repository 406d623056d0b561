"""A world: a clock, a network, servers and the chance they all take their draws from. Everything starts from one seed.

A world lives for one run. What is in it is driven by one task (`_events`); the application's tasks are the only others.

Must not know the client: an application brings its own and gives it `World.dialer`.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio

from ..faults import Draw, FaultPlanError, Plan
from ..transport import Dialer, Environment
from ._chance import Chance
from ._clusters import cluster_config, region_config, server_config, server_names
from ._errors import SimulationError
from ._events import Events
from ._fetching import fetch
from ._injection import Injection
from ._journal import Journal, Witness
from ._network import Network
from ._server import ServerConfig, SimulatedServer
from ._trace import Trace

# The wall clock at the start of every run: 2025-01-01T00:00:00Z.
EPOCH: Final = 1_735_689_600.0
DEFAULT_PORT: Final = 4222
QUIET_SECONDS: Final = 60.0
# A plan begins so long after the first connection of a client, so that all of an application is there.
_PLAN_BEGINS_SECONDS: Final = 1.0
# What a URL keeps as it is: a client would dial the host of nats://A:4222 as "a".
_SERVER_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_PORT_MAX: Final = 65_535


class World:
    """One simulated world. `simulation.run` and the fixture `nats_world` make it.

    Args:
        seed: of all chance.
        draw: what kind of fault plan is to be drawn; None = no faults but those of the application.
        plan: this fault plan and no other.
        quiet_seconds: how long behind the last fault `quiet` waits.
        trace_file: where every line of the trace goes; None = only its digest and its tail are kept.

    Attributes:
        seed: what it was made from.
        network: hosts, links and their faults.
        servers: by name.
        trace: what happened.
        journal: what the application says, and what can be said against it.
        events: everything that will happen by itself; `world.events.call_later` adds to it.
        plan: the fault plan, once it is drawn (one second after the first connection of a client).

    Raises:
        SimulationError: the seed is no int, or draw and plan are not what they must be.
    """

    def __init__(
        self,
        seed: int,
        *,
        draw: Draw | None = None,
        plan: Plan | None = None,
        quiet_seconds: float = QUIET_SECONDS,
        trace_file: Path | None = None,
    ) -> None:
        _check_plan(seed, draw, plan)
        self.seed = seed
        self._chance = Chance(seed)
        self.events = Events(starts_at=0.0)
        # Where time stands still: before the run and behind it; None while it lasts.
        self._stands_at: float | None = 0.0
        self._ended = False
        self.trace = Trace(self.now, None if trace_file is None else Path(trace_file))
        self.network = Network(self.events, self._chance.stream("network"), self.trace)
        self.journal = Journal(self.now)
        self.network.tap = self.journal.tap
        self.network.tap_cut = self.journal.tap_cut
        self.network.tap_arrived = self.journal.settlements.arrived
        self._servers: dict[str, SimulatedServer] = {}
        self._clients: dict[str, int] = {}
        self._injection = Injection(self.events, self.network, self._servers, self.trace)
        self._draw = draw
        self.plan = plan
        self._plan_began_at: float | None = None
        self._planned = trio.Event()
        self._quiet_seconds = quiet_seconds
        if draw is not None or plan is not None:
            self.network.first_connection = self._begin_soon

    # What an application uses

    def now(self) -> float:
        """Seconds of virtual time since the start; before the run 0, after it its length."""
        return trio.current_time() if self._stands_at is None else self._stands_at

    def wall_clock(self) -> float:
        """Seconds since 1970-01-01 in this world, where every run starts at the beginning of 2025."""
        return EPOCH + self.now()

    def random(self, name: str) -> random.Random:
        """A PRNG of its own for this name, the same in every run of this seed. Asked twice, it starts again."""
        return self._chance.stream(f"application/{name}")

    @property
    def servers(self) -> Mapping[str, SimulatedServer]:
        """The servers by name."""
        return MappingProxyType(self._servers)

    async def start_server(
        self,
        name: str,
        config: ServerConfig | None = None,
        *,
        port: int = DEFAULT_PORT,
        routes: Sequence[str] = (),
    ) -> SimulatedServer:
        """Start a server on a host of its own; it takes connections when this returns.

        Args:
            name: of the server and its host; its URL is nats://name:port.
            config: None = the defaults of nats-server.
            port: where it listens.
            routes: servers to join, which make a cluster with it.

        Raises:
            SimulationError: there is a server of this name, or a client could not dial this name or port.
            ValueError: nats-server would not start with this configuration.
        """
        if not _SERVER_NAME.fullmatch(name):
            raise SimulationError(
                f"the server name {name!r} is also its host in nats://name:port; "
                "use up to 63 lower-case letters, digits, dots, dashes and underscores"
            )
        if not 1 <= port <= _PORT_MAX:
            raise SimulationError(f"port is {port}; it must be 1 to {_PORT_MAX}")
        if isinstance(routes, str):
            raise SimulationError(f"routes is {routes!r}; write a list of servers, as in routes=[{routes!r}]")
        if name in self._servers:
            raise SimulationError(f"there is a server {name!r} already; use server.start() after server.kill()")
        self.network.add_host(name)
        server = SimulatedServer(
            name,
            self.network,
            self.events,
            self._chance.stream(f"server/{name}"),
            self.trace,
            config if config is not None else ServerConfig(),
            port=port,
            routes=routes,
            wall_clock=self.wall_clock,
        )
        server.observer = Witness(self.journal)
        self._servers[name] = server
        server.start()
        await trio.lowlevel.checkpoint()
        return server

    async def add_cluster(
        self, name: str, *, servers: int = 3, jetstream: bool = False, config: ServerConfig | None = None
    ) -> list[SimulatedServer]:
        """Start the servers of a cluster, each with routes to all others; the routes stand a moment later.

        Args:
            name: of the cluster; its servers are name-1, name-2 and so on, each on a host of that name.
            servers: how many there are.
            jetstream: they have streams, which can have replicas; their groups have leaders about a second later.
            config: of each, without the cluster's name; None = the defaults of nats-server. With JetStream each is
                named like its host.

        Raises:
            SimulationError: there is a server of one of these names, or that many servers make no cluster.
            ValueError: nats-server would not start with this configuration.
        """
        names = server_names(name, servers)
        complete = cluster_config(config, name, jetstream=jetstream)
        return [
            await self.start_server(
                one,
                server_config(complete, one),
                routes=[f"{other}:{complete.cluster_port}" for other in names if other != one],
            )
            for one in names
        ]

    async def add_regions(
        self, regions: Mapping[str, int], *, jetstream: bool = False, config: ServerConfig | None = None
    ) -> dict[str, list[SimulatedServer]]:
        """Start clusters that are joined by gateways, which stand a little more than a second later.

        Args:
            regions: how many servers each has, by the name of its cluster.
            jetstream: they have streams.
            config: of each server, without clusters and gateways; None = the defaults of nats-server.

        Raises:
            SimulationError: as `add_cluster`.
            ValueError: nats-server would not start with this configuration.
        """
        joined = region_config(config, regions)
        return {
            name: await self.add_cluster(name, servers=servers, jetstream=jetstream, config=joined)
            for name, servers in regions.items()
        }

    def dialer(self, host: str) -> Dialer:
        """How a client on this host reaches servers. Each has a PRNG of its own: one dialer for each client."""
        count = self._clients[host] = self._clients.get(host, 0) + 1
        self.network.add_host(host)
        chance = self._chance.stream(f"client/{host}/{count}")
        return self.network.dialer(host, Environment(random=chance, wall_clock=self.wall_clock))

    def fetcher(self, host: str) -> Callable[[str], Awaitable[bytes]]:
        """How this host gets a URL of a server's monitoring port (`ServerConfig.http_port`), as http://a:8222/varz.

        What it returns raises OSError when nobody answers, and when the status is not 200.
        """
        self.network.add_host(host)
        return functools.partial(fetch, self.network, host)

    async def quiet(self) -> None:
        """Wait until the fault plan is over and the quiet period behind it too; without a plan, for that period."""
        if self._draw is not None or self.plan is not None:
            await self._planned.wait()
        await trio.sleep_until(self.faults_end_at + self._quiet_seconds)

    @property
    def plan_began(self) -> bool:
        """Whether the fault plan has begun, if there is to be one."""
        return self._plan_began_at is not None

    @property
    def faults_end_at(self) -> float:
        """When the last fault of the plan is over, in virtual seconds; before it has begun, now."""
        if self.plan is None or self._plan_began_at is None:
            return self.now() if self._draw is not None or self.plan is not None else 0.0
        return self._plan_began_at + self.plan.end_seconds

    # What runs it

    def begin(self) -> None:
        """Start the one task of the world. Called inside the run, once."""
        self._stands_at = None
        # A system task, so that no nursery stands between the application's errors and its caller.
        trio.lowlevel.spawn_system_task(self.events.guard)

    @property
    def ended(self) -> bool:
        """Whether its run is over."""
        return self._ended

    def end(self, at: float) -> None:
        """The run is over, and time stands still at this moment; nothing happens unless the run is under way."""
        if self._stands_at is None:
            self._stands_at, self._ended = at, True
            self.trace.add("", "end", events=self.events.count)

    def _begin_soon(self) -> None:
        self.events.call_later(_PLAN_BEGINS_SECONDS, self._begin_plan)

    def _begin_plan(self) -> None:
        if self.plan is None:
            assert self._draw is not None
            self.plan = self._drawn(self._draw)
        self._plan_began_at = self.now()
        self._injection.schedule(self.plan)
        self._planned.set()

    def _drawn(self, draw: Draw) -> Plan:
        # A client may share the host of a server, and has no way of its own then that could be cut.
        clients = [host for host in self._clients if host not in self._servers]
        try:
            return Plan.draw(self._chance.stream("faults"), draw, clients=clients, servers=list(self._servers))
        except FaultPlanError as error:
            raise SimulationError(
                f"no faults can be drawn for the clients' hosts {clients} and the servers {list(self._servers)}: start "
                "a server, and give a client a host of its own, before the first connection is a second old"
            ) from error


def _check_plan(seed: int, draw: Draw | None, plan: Plan | None) -> None:
    for name, value, kind in (("seed", seed, int), ("draw", draw, Draw), ("plan", plan, Plan)):
        if not isinstance(value, kind) and (name == "seed" or value is not None):
            raise SimulationError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    if draw is not None and plan is not None:
        raise SimulationError("a plan was given, and a draw too; leave one out: a plan takes the place of a drawn one")
