"""What the tests of the network are made of: machines, a trace that is a list, and pairs of streams."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import pytest
import trio

from beamline_trio.simulation._events import Events
from beamline_trio.simulation._network import Conditions, LinkHandler, MachineLink, Network, SimulatedStream

LATENCY: Final = 0.0005
PORT: Final = 4222
WINDOW: Final = 262_144


def near(seconds: float) -> Any:
    """This time, but for the rounding of sums."""
    return pytest.approx(seconds, abs=1e-6)


class Lines:
    """A trace that keeps its entries."""

    stopped = False

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, str, dict[str, str | int | float | bool | None]]] = []

    def add(self, host: str, kind: str, **fields: str | int | float | bool | None) -> None:
        self.entries.append((round(trio.current_time() * 1_000_000), host, kind, fields))

    def kinds(self, host: str | None = None) -> list[str]:
        return [kind for _, where, kind, _ in self.entries if host in (None, where)]


@attrs.define(eq=False)
class Handler:
    """A link's handler that notes what it is told, and when; what it receives it may send back.

    It writes what the window takes and keeps the rest until it is told that there is room.
    """

    link: MachineLink
    echoes: bool = False
    data: bytearray = attrs.field(factory=bytearray)
    chunks: list[tuple[float, bytes]] = attrs.field(factory=list)
    told: list[tuple[float, str]] = attrs.field(factory=list)
    waiting: bytes = b""

    def received(self, data: bytes) -> None:
        assert data
        self.data += data
        self.chunks.append((trio.current_time(), data))
        if self.echoes:
            self.write(data)

    def write(self, data: bytes) -> None:
        self.waiting += data
        self.waiting = self.waiting[self.link.write(self.waiting) :]

    def ended(self) -> None:
        self.told.append((trio.current_time(), "ended"))

    def broken(self, reason: str) -> None:
        self.told.append((trio.current_time(), reason))

    def writable(self) -> None:
        self.told.append((trio.current_time(), "writable"))
        self.write(b"")


class Machine:
    """Accepts everybody, or nobody; its handlers are in the order of their links."""

    def __init__(self, *, echoes: bool = False, accepts: bool = True) -> None:
        self.echoes = echoes
        self.accepts = accepts
        self.handlers: list[Handler] = []
        self.accepted_at: list[float] = []
        self.accepted = trio.Event()

    def accept(self, link: MachineLink) -> LinkHandler | None:
        self.accepted_at.append(trio.current_time())
        self.accepted.set()
        if not self.accepts:
            return None
        handler = Handler(link, self.echoes)
        self.handlers.append(handler)
        return handler


class Rig:
    """A network of the hosts "app", "a" and "b", carried by a task of its own."""

    def __init__(self, seed: int = 0) -> None:
        self.events = Events()
        self.trace = Lines()
        self.network = Network(self.events, random.Random(seed), self.trace)
        for host in ("app", "a", "b"):
            self.network.add_host(host)

    def machine(self, host: str = "a", *, echoes: bool = False) -> Machine:
        machine = Machine(echoes=echoes)
        self.network.listen(host, PORT, machine)
        return machine

    async def connect(self, host: str = "a") -> SimulatedStream:
        return await self.network.connect("app", host, PORT)

    async def linked(self, host: str = "a", *, echoes: bool = False) -> tuple[SimulatedStream, Handler]:
        """A stream of the host "app", and the handler of its other end."""
        machine = self.machine(host, echoes=echoes)
        stream = await self.connect(host)
        await machine.accepted.wait()
        return stream, machine.handlers[-1]

    async def pair(self) -> tuple[SimulatedStream, SimulatedStream]:
        """Two streams, the ends of one connection."""
        accepted, added = trio.open_memory_channel[SimulatedStream](1)
        self.network.listen_streams("a", PORT, accepted.send_nowait)
        stream = await self.connect()
        other = await added.receive()
        self.network.unlisten("a", PORT)
        return stream, other


@asynccontextmanager
async def running(seed: int = 0, conditions: Conditions | None = None) -> AsyncGenerator[Rig]:
    """A rig whose events run inside the context."""
    rig = Rig(seed)
    if conditions is not None:
        rig.network.conditions = conditions
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.events.run)
        yield rig
        nursery.cancel_scope.cancel()
