"""A rig in a simulated world.

The world's journal keeps a note of every message, which a run of hours has no room for: it is taken off here, and the
scenario's ledger stands in its place. Its trace is stopped, since nobody compares runs of hours line by line.

Must not know loads or faults.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Final

import trio

from ..simulation import NetworkFault, ServerConfig, Timer, World
from ..transport import Dialer
from ._rig import End, Health, has_quorum
from ._scenario import Topology
from ._uses import Use

_SERVER: Final = "server"
_RUNNING: Final = ("running", "lame_duck")


class SimulatedRig:
    """Servers of a world. See `Rig`.

    Args:
        world: that it is in.
        topology: what there is to be.
    """

    def __init__(self, world: World, topology: Topology) -> None:
        self._world = world
        self._topology = topology
        network = world.network
        network.tap = network.tap_cut = network.tap_arrived = None
        world.trace.stop()

    @property
    def servers(self) -> Sequence[str]:
        """See `Rig`."""
        return list(self._world.servers)

    async def open(self) -> None:
        """Start the servers."""
        world, topology = self._world, self._topology
        if topology.regions:
            await world.add_regions(dict.fromkeys(topology.regions, topology.nodes), jetstream=True)
        elif topology.nodes > 1:
            await world.add_cluster(topology.cluster, servers=topology.nodes, jetstream=True)
        else:
            await world.start_server(_SERVER, ServerConfig(jetstream=True))
        for server in world.servers.values():
            server.observer = None

    def urls(self, region: str = "") -> list[str]:
        """See `Rig`."""
        return [server.url for name, server in self._world.servers.items() if name.startswith(region)]

    def dialer(self, host: str) -> Dialer:
        """See `Rig`."""
        return self._world.dialer(host)

    def random(self, name: str) -> Random:
        """See `Rig`."""
        return self._world.random(name)

    def health(self) -> Health:
        """See `Rig`."""
        servers = self._world.servers
        up = {name: server.state in _RUNNING for name, server in servers.items()}
        # What one of them has in memory nobody can tell: all are in one process.
        nodes = {name: Use(connections=len(server.connections)) for name, server in servers.items()}
        connections = sum(use.connections or 0 for use in nodes.values())
        return Health(up=up, quorum=has_quorum(up, self._topology), connections=connections, nodes=nodes)

    async def each(self, seconds: float, look: Callable[[], object]) -> None:
        """See `Rig`. An event of the world costs a fraction of a task that sleeps."""
        events = self._world.events
        timer: Timer

        def turn() -> None:
            nonlocal timer
            look()
            timer = events.call_later(seconds, turn)

        timer = events.call_soon(turn)
        try:
            await trio.sleep_forever()
        finally:
            timer.cancel()

    async def end_server(self, name: str, how: End) -> None:
        """See `Rig`."""
        server = self._world.servers[name]
        end = {End.KILL: server.kill, End.STOP: server.stop, End.LAME_DUCK: server.lame_duck}[how]
        end()
        await trio.lowlevel.checkpoint()

    async def start_server(self, name: str) -> None:
        """See `Rig`."""
        self._world.servers[name].start()
        await trio.lowlevel.checkpoint()

    def pause_server(self, name: str) -> None:
        """See `Rig`."""
        self._world.servers[name].pause()

    def resume_server(self, name: str) -> None:
        """See `Rig`."""
        self._world.servers[name].resume()

    def cut(self, one: Sequence[str], others: Sequence[str]) -> AbstractAsyncContextManager[object]:
        """See `Rig`."""
        return _in_force(self._world.network.partition(one, others))

    def cut_region(self, name: str) -> AbstractAsyncContextManager[object]:
        """See `Rig`."""
        inside = [server for server in self.servers if server.startswith(f"{name}-")]
        outside = [server for server in self.servers if server not in inside]
        return _in_force(self._world.network.partition(inside, outside))

    def lose_host(self, host: str) -> AbstractAsyncContextManager[object]:
        """See `Rig`."""
        return _in_force(self._world.network.power_off(host))


@asynccontextmanager
async def _in_force(fault: NetworkFault) -> AsyncGenerator[None]:
    with fault:
        yield
