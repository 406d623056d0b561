"""What a server needs of the world around it: time, chance, links, a trace. Protocols only.

The simulated network and its events fulfil them; so does a small fake, for tests of the server alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due at some time."""

    def cancel(self) -> None:
        """Do not call it; without effect when it was called or cancelled."""
        ...


class Events(Protocol):
    """Virtual time, and callbacks in its order."""

    def now(self) -> float:
        """The time in seconds."""
        ...

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after some time."""
        ...


class Link(Protocol):
    """The server's end of a connection."""

    @property
    def number(self) -> int:
        """Unique in the network."""
        ...

    @property
    def remote_host(self) -> str:
        """The name of the host at the other end."""
        ...

    @property
    def local_address(self) -> str:
        """The address of this end."""
        ...

    @property
    def remote_address(self) -> str:
        """The address of the other end."""
        ...

    def write(self, data: bytes) -> int:
        """Send what there is room for; how many bytes that was."""
        ...

    def close(self) -> None:
        """Send FIN behind what was written; RST when there are bytes that were not read."""
        ...

    def reset(self) -> None:
        """Send RST."""
        ...

    def pause_reading(self) -> None:
        """Leave what comes in the receive window."""
        ...

    def resume_reading(self) -> None:
        """Read again."""
        ...


class LinkHandler(Protocol):
    """What a server does with a connection."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        ...

    def ended(self) -> None:
        """No more will come."""
        ...

    def broken(self, reason: str) -> None:
        """The connection is gone."""
        ...

    def writable(self) -> None:
        """There is room again."""
        ...


class Listener(Protocol):
    """What takes connections to a port."""

    def accept(self, link: Link) -> LinkHandler | None:
        """Take one; None = hang up."""
        ...


class Network(Protocol):
    """What carries connections."""

    def listen(self, host: str, port: int, machine: Listener) -> None:
        """Take connections to a port."""
        ...

    def unlisten(self, host: str, port: int) -> None:
        """Refuse connections to a port."""
        ...

    def open_link(
        self,
        source: str,
        host: str,
        port: int,
        opened: Callable[[Link], LinkHandler | None],
        failed: Callable[[str], None],
    ) -> Callable[[], None] | None:
        """Dial another machine; what is returned gives it up."""
        ...


class TraceSink(Protocol):
    """Where what happens is noted."""

    @property
    def stopped(self) -> bool:
        """Nothing is noted any more."""
        ...

    def add(self, host: str, kind: str, **fields: str | int | float | bool | None) -> None:
        """Note something."""
        ...


class Observer(Protocol):
    """What the laws see of a server's side."""

    def published(self, server: str, link: int, subject: bytes, header: bytes | None) -> None:
        """A client's message was taken, and is about to be routed."""
        ...

    def delivered(self, server: str, link: int, sid: bytes, reply: bytes, header: bytes | None, end: int) -> None:
        """A message was queued to a client; `end` = all bytes queued to this link up to the end of the message."""
        ...

    def stored(self, server: str, stream: str, sequence: int, subject: bytes, header: bytes) -> None:
        """A stream has stored a message."""
        ...

    def handed_out(
        self, server: str, stream: str, consumer: str, sequence: int, deliveries: int, header: bytes
    ) -> None:
        """A consumer is about to deliver a message, for the `deliveries`-th time."""
        ...

    def acknowledged(self, server: str, stream: str, consumer: str, sequences: tuple[int, ...]) -> None:
        """A consumer has taken an acknowledgement of these messages."""
        ...
