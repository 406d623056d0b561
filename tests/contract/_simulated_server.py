"""The simulated server behind the names of `_server`: its own configuration record, and a dialer of a host.

Everything here runs inside `simulation.run`, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from beamline_trio import simulation
from beamline_trio.simulation import SimulatedServer, World
from beamline_trio.transport import Dialer

from ._script import Script
from ._server import Rule, ServerConfig, User
from ._transcript import Player, Transcript

# What a reload may take: as on the real one, it is not in force at once.
_RELOAD_SECONDS = 0.01
# A process takes its time to start, in which its clients notice that it was gone.
_START_SECONDS = 0.02
_ROUTES_SECONDS = 2.0
_HOST = "app"
_SAME = (
    "token",
    "no_auth_user",
    "auth_timeout_seconds",
    "max_payload",
    "max_control_line",
    "max_connections",
    "max_subscriptions",
    "ping_interval_seconds",
    "max_pending_bytes",
    "write_deadline_seconds",
    "lame_duck_grace_seconds",
    "lame_duck_duration_seconds",
    "jetstream",
    "jetstream_domain",
    "jetstream_ack_v2",
)


class SimulatedContractServer:
    """A `ContractServer` over a `SimulatedServer`."""

    def __init__(self, world: World, server: SimulatedServer) -> None:
        self._server = server
        self._world = world

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dialer(self) -> Dialer:
        return self._world.dialer(_HOST)  # a new one, since each client has chance of its own

    def kill(self) -> None:
        self._server.kill()

    async def start(self, config: ServerConfig | None = None) -> None:
        if config is not None:
            self._server.reload(simulated_config(config))
        await trio.sleep(_START_SECONDS)
        self._server.start()

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()

    def lame_duck(self) -> None:
        self._server.lame_duck()

    def reload(self, config: ServerConfig) -> None:
        self._server.reload(simulated_config(config))

    async def wait_reloaded(self) -> None:
        await trio.sleep(_RELOAD_SECONDS)


@asynccontextmanager
async def open_simulated_server(config: ServerConfig, world: World) -> AsyncGenerator[SimulatedContractServer]:
    """A fresh server of this world."""
    yield SimulatedContractServer(world, await world.start_server("nats", simulated_config(config)))


@asynccontextmanager
async def open_simulated_cluster(names: Sequence[str], world: World) -> AsyncGenerator[list[SimulatedContractServer]]:
    """Servers joined by routes to the first of them; they have found each other."""
    servers: list[SimulatedServer] = []
    for name in names:
        routes = [server.host for server in servers]
        servers.append(await world.start_server(name, simulation.ServerConfig(name=name, cluster="c"), routes=routes))
    await trio.sleep(_ROUTES_SECONDS)
    yield [SimulatedContractServer(world, server) for server in servers]


def simulated_config(config: ServerConfig) -> simulation.ServerConfig:
    """The same configuration in the simulation's record; None there is the default here."""
    given = {name: getattr(config, name) for name in _SAME if getattr(config, name) is not None}
    if config.unanswered_pings_max is not None:
        given["ping_max"] = config.unanswered_pings_max
    return simulation.ServerConfig(users=tuple(_user(user) for user in config.users), **given)


def _user(user: User) -> simulation.User:
    return simulation.User(
        name=user.name, password=user.password, publish=_rule(user.publish), subscribe=_rule(user.subscribe)
    )


def _rule(rule: Rule) -> simulation.Rule:
    return simulation.Rule(**attrs.asdict(rule))


def play_simulated(script: Script, seed: int = 1) -> Transcript:
    """The record of a script, in a world of its own."""

    async def play(world: World) -> Transcript:
        async with AsyncExitStack() as stack:
            if script.servers > 1:
                cluster = open_simulated_cluster([f"server-{number}" for number in range(script.servers)], world)
                servers = await stack.enter_async_context(cluster)
            else:
                servers = [await stack.enter_async_context(open_simulated_server(script.config, world))]
            return await Player(*servers).play(script)

    return simulation.run(play, seed=seed)
