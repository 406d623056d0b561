"""The stage of simulated servers, in virtual time: the model that is held beside reality.

Must not know loads or what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import final

import trio

from beamline_trio.simulation import NetworkFault, SimulatedServer, World
from beamline_trio.transport import Dialer

_SETTLE_SECONDS = 3.0


@final
class SimulatedStage:
    """See `Stage`."""

    def __init__(self, world: World, regions: Mapping[str, Sequence[str]]) -> None:
        self._world = world
        self._regions = regions
        self._clients: set[str] = set()
        self._faults: list[NetworkFault] = []

    @property
    def regions(self) -> Mapping[str, Sequence[str]]:
        return self._regions

    def url(self, name: str) -> str:
        return self._world.servers[name].url

    def dialer(self, client: int) -> Dialer | None:
        host = f"client-{client}"
        self._clients.add(host)
        return self._world.dialer(host)

    async def leader(self, stream: str) -> str | None:
        await trio.lowlevel.checkpoint()
        servers = self._world.servers.values()
        return next((s.name for s in servers if s.state == "running" and s.leads(stream)), None)

    async def healthy(self) -> bool:
        await trio.lowlevel.checkpoint()
        return all(_is_healthy(server) for server in self._world.servers.values())

    async def start(self, name: str) -> None:
        server = self._world.servers[name]
        while server.state == "lame_duck":  # noqa: ASYNC110 - it goes in its own time
            await trio.sleep(0.1)
        server.start()
        await trio.lowlevel.checkpoint()

    async def kill(self, name: str) -> None:
        self._world.servers[name].kill()
        await trio.lowlevel.checkpoint()

    async def stop(self, name: str) -> None:
        self._world.servers[name].stop()
        await trio.lowlevel.checkpoint()

    async def pause(self, name: str) -> None:
        self._world.servers[name].pause()
        await trio.lowlevel.checkpoint()

    async def resume(self, name: str) -> None:
        self._world.servers[name].resume()
        await trio.lowlevel.checkpoint()

    async def lame_duck(self, name: str) -> None:
        self._world.servers[name].lame_duck()
        await trio.lowlevel.checkpoint()

    async def link_down(self, name: str) -> None:
        others = [other for other in self._world.servers if other != name]
        await self.cut([name], [*others, *sorted(self._clients)])

    async def cut(self, these: Iterable[str], those: Iterable[str]) -> None:
        fault = self._world.network.partition(list(these), list(those))
        fault.start()
        self._faults.append(fault)
        await trio.lowlevel.checkpoint()

    async def heal(self) -> None:
        for fault in self._faults:
            fault.stop()
        self._faults.clear()
        await trio.lowlevel.checkpoint()


def _is_healthy(server: SimulatedServer) -> bool:
    try:
        status, _ = server.monitoring("/healthz")
    except OSError:
        return False
    return status == HTTPStatus.OK


async def simulated_stage(world: World, regions: Mapping[str, int]) -> SimulatedStage:
    """Servers of a world, which have found each other."""
    if len(regions) == 1:
        ((name, count),) = regions.items()
        servers = {name: await world.add_cluster(name, servers=count, jetstream=True)}
    else:
        servers = await world.add_regions(regions, jetstream=True)
    for server in world.servers.values():
        server.observer = None  # it would keep a note of every message
    world.trace.stop()
    world.network.tap = world.network.tap_cut = world.network.tap_arrived = None
    await trio.sleep(_SETTLE_SECONDS)
    return SimulatedStage(world, {name: [server.name for server in found] for name, found in servers.items()})
