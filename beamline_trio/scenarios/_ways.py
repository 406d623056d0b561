"""The ways of clients to real servers: each can be cut, and then nothing passes and nobody is told.

It works above the socket, by holding what is sent and what is received, and so needs no rights and no port. What is
sent while a way is cut waits; it is sent when the way is whole again, if its connection is still wanted.

Must not know NATS.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import trio

from ..transport import Dialer, Environment, ServerAddress


class _Gate:
    """Whether anything passes."""

    def __init__(self) -> None:
        self._cuts = 0
        self._whole = trio.Event()

    def close(self) -> None:
        self._cuts += 1

    def open(self) -> None:
        self._cuts -= 1
        if not self._cuts:
            self._whole.set()
            self._whole = trio.Event()

    async def passable(self) -> None:
        while self._cuts:
            await self._whole.wait()


class Ways:
    """The ways of all clients of a run.

    Attributes:
        open_count: connections that are open.
    """

    def __init__(self) -> None:
        self.open_count = 0
        self._gates: dict[str, _Gate] = {}

    def dialer(self, host: str, dialer: Dialer) -> Dialer:
        """The dialer of a client on this host."""
        return _GatedDialer(self, self._gate(host), dialer)

    @asynccontextmanager
    async def cut(self, hosts: Iterable[str]) -> AsyncGenerator[None]:
        """Nothing passes between these hosts and any server while this is entered."""
        gates = [self._gate(host) for host in hosts]
        for gate in gates:
            gate.close()
        try:
            yield
        finally:
            for gate in gates:
                gate.open()

    def _gate(self, host: str) -> _Gate:
        return self._gates.setdefault(host, _Gate())


class _GatedDialer:
    """A dialer whose connections pass a gate."""

    def __init__(self, ways: Ways, gate: _Gate, dialer: Dialer) -> None:
        self._ways = ways
        self._gate = gate
        self._dialer = dialer

    @property
    def environment(self) -> Environment:
        return self._dialer.environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        await self._gate.passable()
        async with self._dialer.open(address) as stream:
            self._ways.open_count += 1
            try:
                yield _GatedStream(stream, self._gate)
            finally:
                self._ways.open_count -= 1

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await self._dialer.start_tls(stream, host)


class _GatedStream(trio.abc.Stream):
    """A connection through a gate."""

    def __init__(self, stream: trio.abc.Stream, gate: _Gate) -> None:
        self._stream = stream
        self._gate = gate
        self._held: bytes | bytearray | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._gate.passable()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._gate.passable()
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._held is None:
            self._held = await self._stream.receive_some(max_bytes)
        await self._gate.passable()
        data, self._held = self._held, None
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
