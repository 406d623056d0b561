"""A simulated server without the network: fake links and a heap of timers, driven by hand.

A `FakeLink` takes what the test sends and keeps what the server wrote and how it ended. Time passes by `Rig.advance`.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from typing import Any

from beamline_trio.simulation._server import ServerConfig, SimulatedServer
from beamline_trio.simulation._server._surroundings import Link, LinkHandler, Listener

EPOCH = 1_735_689_600.0
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1,"headers":true,"no_responders":true}\r\n'


class FakeTimer:
    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class FakeEvents:
    """A heap that the test turns."""

    def __init__(self) -> None:
        self.time = 0.0
        self._heap: list[tuple[float, int, FakeTimer]] = []
        self._count = 0

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> FakeTimer:
        timer = FakeTimer(callback, args)
        self._count += 1
        heapq.heappush(self._heap, (self.time + seconds, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while self._heap and self._heap[0][0] <= end:
            self.time, _, timer = heapq.heappop(self._heap)
            if timer.callback is not None:
                timer.callback(*timer.args)
        self.time = end


class FakeLink:
    """The server's end of a connection, and the test's.

    Attributes:
        room: how many more bytes the server may write; None = any number.
        written: what the server wrote and the test has not taken.
        ending: "close" or "reset" once the server has ended it.
    """

    def __init__(self, number: int, host: str = "client") -> None:
        self.number = number
        self.remote_host = host
        self.local_address = "10.0.0.1"
        self.remote_address = "10.0.0.2"
        self.room: int | None = None
        self.written = b""
        self.total = 0
        self.ending: str | None = None
        self.paused = False
        self.handler: LinkHandler | None = None
        self._held = b""

    def write(self, data: bytes) -> int:
        assert self.ending is None
        taken = len(data) if self.room is None else min(self.room, len(data))
        self.written += data[:taken]
        self.total += taken
        if self.room is not None:
            self.room -= taken
        return taken

    def close(self) -> None:
        assert self.ending is None
        self.ending = "reset" if self._held else "close"
        self._held = b""

    def reset(self) -> None:
        assert self.ending is None
        self.ending = "reset"

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        held, self._held = self._held, b""
        if held:
            self.send(held)

    def send(self, data: bytes) -> None:
        """Send as the client, in one piece."""
        if self.paused:
            self._held += data
        elif self.ending is None and self.handler is not None:
            self.handler.received(data)

    def is_open(self) -> bool:
        """Whether the server has not ended it."""
        return self.ending is None

    def take(self) -> bytes:
        """What the server has written since the last time."""
        written, self.written = self.written, b""
        return written

    def talk(self, *pieces: bytes) -> bytes:
        """Send pieces and take the answer."""
        for piece in pieces:
            self.send(piece)
        return self.take()

    def make_room(self, size: int | None) -> None:
        """Let the server write more."""
        self.room = size
        if self.handler is not None:
            self.handler.writable()


class FakeNetwork:
    """Hosts and ports; links arrive at once."""

    def __init__(self) -> None:
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.count = 0

    def listen(self, host: str, port: int, machine: Listener) -> None:
        assert (host, port) not in self.listeners
        self.listeners[host, port] = machine

    def unlisten(self, host: str, port: int) -> None:
        del self.listeners[host, port]

    def open_link(
        self,
        source: str,
        host: str,
        port: int,
        opened: Callable[[Link], LinkHandler | None],
        failed: Callable[[str], None],
    ) -> None:
        failed("the fake network has no routes")


class FakeTrace:
    """Keeps what was noted."""

    stopped = False

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any]]] = []

    def add(self, host: str, kind: str, **fields: str | int | float | bool | None) -> None:
        self.entries.append((host, kind, fields))

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.entries]


class Rig:
    """A running server and its surroundings."""

    def __init__(self, config: ServerConfig | None = None, seed: int = 1, **fields: Any) -> None:
        self.events = FakeEvents()
        self.network = FakeNetwork()
        self.trace = FakeTrace()
        self.server = SimulatedServer(
            "a",
            self.network,
            self.events,
            random.Random(seed),
            self.trace,
            config or ServerConfig(**fields),
            wall_clock=lambda: EPOCH + self.events.now(),
        )
        self.server.start()

    def dial(self) -> FakeLink:
        """Connect, without a word."""
        self.network.count += 1
        link = FakeLink(self.network.count)
        link.handler = self.network.listeners["a", 4222].accept(link)
        return link

    def connect(self, **fields: object) -> FakeLink:
        """Connect and do the handshake; `fields` are added to CONNECT."""
        link = self.dial()
        link.talk(b"CONNECT %b\r\nPING\r\n" % json.dumps({**json.loads(CONNECT[8:]), **fields}).encode())
        return link
