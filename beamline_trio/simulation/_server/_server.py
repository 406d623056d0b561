"""`SimulatedServer`: a nats-server of the simulation, with what tests may do to it and see of it.

It starts, is killed, stopped, paused, reloaded and put into lame duck mode like the real one. Each start makes a new
`Process`, which has everything that a restart loses; what stays is the name, the port and the configuration.

Must not know the protocol: `_connection` speaks to clients and `_route` to other servers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from .._errors import SimulationError
from . import _texts as texts
from ._checks import check_clustered, check_config, check_reload
from ._cluster import Cluster, route_host
from ._config import ServerConfig
from ._connection import ClientConnection
from ._gateways import Gateways
from ._info import Identity
from ._jetstream import JetStream, Storage, StreamView, open_clustered, open_jetstream, view_stream
from ._lame_duck import LameDuck
from ._monitoring import Monitoring
from ._process import Process
from ._reload import reload
from ._subjects import is_subset
from ._surroundings import Events, Link, LinkHandler, Network, Observer, TraceSink
from ._views import ConnectionView, SubscriptionView, view_connection, view_subscription

_ANY_ADDRESS: Final = "0.0.0.0"


class ServerState(enum.StrEnum):
    """What a simulated server is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    LAME_DUCK = "lame_duck"


class SimulatedServer:
    """A nats-server in a simulated network. Made by `World.start_server`.

    Its methods return at once, and what they cause happens in virtual time. `start`, `kill`, `stop`, `pause`, `resume`
    and `lame_duck` have no effect when there is nothing to do.

    Args:
        name: of the server and of its host in the network.
        network: carries its connections.
        events: virtual time.
        random: its chance: ids, members of queue groups, when pings come.
        trace: where it notes what happens.
        config: how it is configured.
        port: where clients connect.
        routes: the servers of its cluster that it dials, as host, host:port or nats-route://host:port.
        wall_clock: seconds since the epoch, for JetStream.

    Attributes:
        disk_seconds: what a write to its disk takes from now on, in a cluster; more than 0 = a slow disk.

    Raises:
        ValueError: nats-server would not start with this configuration.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        events: Events,
        random: Random,
        trace: TraceSink,
        config: ServerConfig,
        *,
        port: int = 4222,
        routes: Sequence[str] = (),
        wall_clock: Callable[[], float],
    ) -> None:
        check_config(config)
        if config.jetstream and (routes or config.cluster):
            check_clustered(name, config)
        self.name = name
        self.port = port
        self.config = config
        self._network = network
        self._events = events
        self._random = random
        self._trace = trace
        self._routes = tuple(routes)
        self.wall_clock = wall_clock
        self._observer: Observer | None = None
        self._process: Process | None = None
        self._monitoring: Monitoring | None = None
        # Taken by the kernel while the process was paused.
        self._waiting: list[ClientConnection] = []
        # What it has on disk.
        self._storage = Storage()
        self.disk_seconds = 0.0
        self._went_down: list[float] = []

    def __repr__(self) -> str:
        return f"<SimulatedServer {self.url} {self.state}>"

    @property
    def host(self) -> str:
        """The name of its host in the network."""
        return self.name

    @property
    def url(self) -> str:
        """Where clients connect, by name."""
        return f"nats://{self.name}:{self.port}"

    @property
    def state(self) -> ServerState:
        """What it is doing."""
        if self._process is None:
            return ServerState.STOPPED
        if self._process.paused:
            return ServerState.PAUSED
        return ServerState.LAME_DUCK if self._process.lame_duck else ServerState.RUNNING

    @property
    def observer(self) -> Observer | None:
        """What is told of every message; None costs nothing."""
        return self._observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self._observer = observer
        if self._process is not None:
            self._process.observer = observer

    # ------------------------------------------------------------------------------------------- what tests see

    @property
    def server_id(self) -> str:
        """Its id, another one after each start; empty when it does not run."""
        return "" if self._process is None else self._process.identity.server_id

    @property
    def connections(self) -> tuple[ConnectionView, ...]:
        """Its clients, in order of their coming."""
        return tuple(view_connection(client) for client in self._clients())

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the servers that it is joined to."""
        cluster = None if self._process is None else self._process.cluster
        return () if cluster is None else cluster.peers()

    @property
    def regions(self) -> tuple[str, ...]:
        """The other regions that it reaches by a link of its own."""
        gateways = None if self._process is None else self._process.gateways
        return () if gateways is None else tuple(gateways.outbound())

    def subscriptions(self, subject: str | None = None) -> tuple[SubscriptionView, ...]:
        """The subscriptions of its clients.

        Args:
            subject: only those that a message on this subject meets; None = all.
        """
        return tuple(
            view_subscription(client, sub)
            for client in self._clients()
            for sub in client.subscriptions.values()
            if subject is None or is_subset(subject.encode("utf-8", "surrogateescape"), sub.subject)
        )

    @property
    def streams(self) -> tuple[StreamView, ...]:
        """Its streams by name, with their messages and consumers; when it does not run, none."""
        jetstream: JetStream | None = None if self._process is None else self._process.jetstream
        streams = {} if jetstream is None else jetstream.streams
        return tuple(view_stream(streams[name]) for name in sorted(streams))

    def leads(self, stream: str = "", consumer: str = "") -> bool:
        """Whether it leads a stream, one of its consumers, or, without a name, its cluster's meta group."""
        jetstream = None if self._process is None else self._process.jetstream
        return jetstream is not None and jetstream.leads(stream, consumer)

    def monitoring(self, target: str) -> tuple[int, str]:
        """What a GET of its monitoring port would be answered, whether it has one or not; at once.

        Args:
            target: path and query, as /varz, /connz, /routez, /gatewayz, /jsz?streams=1, /healthz.

        Returns:
            The status and the body: JSON, with the fields of nats-server 2.15.

        Raises:
            ConnectionRefusedError: it does not run.
            TimeoutError: it is paused.
        """
        if self._process is None or self._monitoring is None:
            raise ConnectionRefusedError(f"the server {self.name!r} does not run, so that nothing answers {target}")
        if self._process.paused:
            raise TimeoutError(f"the server {self.name!r} is paused, so that nothing answers {target}")
        return self._monitoring.answer(target)

    @property
    def went_down(self) -> tuple[float, ...]:
        """When its process ended, each time, however it did; in virtual seconds."""
        return tuple(self._went_down)

    def _clients(self) -> list[ClientConnection]:
        return [] if self._process is None else list(self._process.clients.values())

    # --------------------------------------------------------------------------------------- what tests may do

    def start(self) -> None:
        """Start it: from now on it takes connections."""
        if self._process is not None:
            return
        config, clustered = self.config, bool(self.config.cluster or self._routes)
        identity = Identity.draw(
            self._random,
            name=config.name,
            host=_ANY_ADDRESS,
            port=self.port,
            cluster=(config.cluster or "cluster") if clustered else "",
            jetstream=config.jetstream,
            domain=config.jetstream_domain if config.jetstream else "",
        )
        process = Process(self.name, config, identity, self._events, self._random, self._trace)
        process.observer = self._observer
        self._process = process
        self._network.listen(self.name, self.port, self)
        process.note("start", port=self.port)
        if clustered:
            process.cluster = Cluster(process, self._network, self._routes)
            process.cluster.start()
        if config.gateways:
            process.gateways = Gateways(process, self._network)
            process.gateways.start()
        if config.jetstream:
            process.jetstream = self._open_jetstream(process)
        self._monitoring = Monitoring(process, self._network, self.wall_clock() - process.now())

    def _open_jetstream(self, process: Process) -> JetStream:
        epoch = self.wall_clock() - process.now()
        if process.cluster is None:
            return open_jetstream(process, self._storage, epoch)
        peers = self.config.jetstream_peers or (self.name, *map(route_host, self._routes))
        return open_clustered(process, self._storage, epoch, sorted({*peers, self.name}), lambda: self.disk_seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL), also when it is paused: the kernel closes its connections."""
        process = self._take_down("kill")
        if process is None:
            return
        process.end()
        for client in [*process.clients.values(), *self._waiting]:
            client.forget()
        self._waiting.clear()
        for joined in (process.cluster, process.gateways):
            if joined is not None:
                joined.kill()

    def crash(self) -> None:
        """End it at once by a power failure of its machine's disk: `kill`, and what was not synced is lost.

        Its connections break as with `kill`; for a host that falls silent see `World.network.power_off`.
        """
        self.kill()
        if self.config.jetstream_sync_interval_seconds:
            self._storage.lose_unsynced()

    def wipe(self) -> None:
        """Delete its store directory.

        Raises:
            SimulationError: it runs.
        """
        if self._process is not None:
            raise SimulationError(f"the store of {self.name!r} cannot be deleted while it runs; kill or stop it first")
        self._storage.wipe()

    def stop(self) -> None:
        """Shut it down in order (SIGTERM): what waits is written, then the connections are closed."""
        process = self._process
        if process is None:
            return
        if process.paused:
            self.resume()
        self._shut_down(process)

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stand and are taken, and nothing answers."""
        process = self._process
        if process is None or process.paused:
            return
        process.note("pause")
        process.paused = True
        for client in process.clients.values():
            client.pause_reading()
        for joined in (process.cluster, process.gateways):
            if joined is not None:
                joined.pause_reading()

    def resume(self) -> None:
        """Let it go on (SIGCONT): what was due meanwhile happens now."""
        process = self._process
        if process is None or not process.paused:
            return
        process.note("resume")
        self._waiting.clear()
        process.go_on()
        for client in list(process.clients.values()):
            client.resume_reading()
        for joined in (process.cluster, process.gateways):
            if joined is not None:
                joined.resume_reading()

    def lame_duck(self) -> None:
        """Put it into lame duck mode (SIGUSR2): it takes no clients, tells those it has, closes them and ends."""
        process = self._process
        if process is None or process.lame_duck:
            return
        process.note("lame_duck")
        process.run(LameDuck(process, self._stop_listening, self._shut_down).start)

    def step_down(self) -> None:
        """Have it hand over the lead of its cluster's meta group, if it has it ($JS.API.META.LEADER.STEPDOWN)."""
        process = self._process
        if process is not None and process.jetstream is not None:
            process.run(process.jetstream.step_down)

    def reload(self, config: ServerConfig) -> None:
        """Take on another configuration (SIGHUP).

        Raises:
            ValueError: nats-server would refuse it; the old one stays in force.
        """
        check_config(config)
        check_reload(self.config, config)
        old, self.config = self.config, config
        process = self._process
        if process is not None:
            process.note("reload")
            process.run(reload, process, old, config)

    def disconnect(self, client_id: int) -> None:
        """Close a client's connection in order, as an operator may.

        Raises:
            KeyError: there is no such client.
        """
        if self._process is None or client_id not in self._process.clients:
            raise KeyError(client_id)
        self._process.run(self._process.clients[client_id].close, texts.SERVER_SHUTDOWN)

    # ------------------------------------------------------------------------------------------------ the network

    def accept(self, link: Link) -> LinkHandler | None:
        """Take a client's connection. Called by the network."""
        process = self._process
        if process is None:
            return None
        client = ClientConnection(process, link)
        process.note("accept", link=link.number, cid=client.client_id)
        if process.paused:
            client.pause_reading()
            self._waiting.append(client)
        process.run(client.welcome)
        return client

    def _stop_listening(self) -> None:
        self._network.unlisten(self.name, self.port)

    def _take_down(self, kind: str) -> Process | None:
        process, self._process = self._process, None
        if process is None:
            return None
        self._went_down.append(self._events.now())
        if self._monitoring is not None:
            self._monitoring.stop()
        process.note(kind)
        if not process.lame_duck:
            self._stop_listening()
        return process

    def _shut_down(self, process: Process) -> None:
        if process is not self._process:
            return
        self._take_down("stop")
        if process.jetstream is not None:
            process.jetstream.shut_down(telling=True)
        for client in list(process.clients.values()):
            client.close(texts.SERVER_SHUTDOWN)
        for joined in (process.cluster, process.gateways):
            if joined is not None:
                joined.stop()
        process.flush()
        process.end()
