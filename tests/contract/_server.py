"""What a test of the core contract may know of a server: the same names for a real one and a simulated one.

A test in test_core_*.py asks for the fixtures `server`, `connect` and `raw` (conftest.py), and for a configuration by
the marker `core_server`, whose arguments are the fields of `ServerConfig`. The configuration is data, so that a
simulated server need not read the configuration language of the real one.

Must not know processes, files or sockets beyond the `Dialer`: `_real_server` has what is particular to the real one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import attrs
import trio

from beamline_trio import Client, Event, EventStream, Message, Subscription
from beamline_trio.transport import Dialer, parse_address

# No test waits longer for anything: what should come within milliseconds and does not is a failure, not a hang.
LIMIT_SECONDS = 10.0


@attrs.frozen
class Rule:
    """Subjects that may be used; `allow=None` allows all but those denied. `"jobs workers"` = in that queue group."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@attrs.frozen
class User:
    """A user that the server knows."""

    name: str
    password: str
    publish: Rule = Rule()
    subscribe: Rule = Rule()


@attrs.frozen(kw_only=True)
class ServerConfig:
    """How a server is configured; None = the default of nats-server.

    Attributes:
        users: who may connect; none = everybody.
        token: a token that everybody must have.
        no_auth_user: the user who is meant by clients without credentials.
        auth_timeout_seconds: how long a client may take to say who it is.
        max_payload: bytes of headers and payload.
        max_control_line: bytes of a protocol line.
        max_connections: how many clients may be connected at once.
        max_subscriptions: how many subscriptions a client may have.
        ping_interval_seconds: how often a silent client is pinged.
        unanswered_pings_max: after how many unanswered pings a client is dropped.
        max_pending_bytes: what may wait for a client before it is dropped as too slow.
        write_deadline_seconds: how long a client may take nothing before it is dropped as too slow.
        lame_duck_grace_seconds: from the announcement of the end to the first client that is closed.
        lame_duck_duration_seconds: from the announcement to the end.
        jetstream: whether it has streams.
        jetstream_domain: the name of its JetStream.
        jetstream_ack_v2: whether deliveries have the long reply subject.
    """

    users: tuple[User, ...] = ()
    token: str | None = None
    no_auth_user: str | None = None
    auth_timeout_seconds: float | None = None
    max_payload: int | None = None
    max_control_line: int | None = None
    max_connections: int | None = None
    max_subscriptions: int | None = None
    ping_interval_seconds: float | None = None
    unanswered_pings_max: int | None = None
    max_pending_bytes: int | None = None
    write_deadline_seconds: float | None = None
    lame_duck_grace_seconds: float | None = None
    lame_duck_duration_seconds: float | None = None
    jetstream: bool = False
    jetstream_domain: str = ""
    jetstream_ack_v2: bool = False


class ContractServer(Protocol):
    """A server that a test owns. It keeps its address over restarts."""

    @property
    def url(self) -> str:
        """Where it is, without credentials: nats://host:port."""
        ...

    @property
    def dialer(self) -> Dialer:
        """How it is reached."""
        ...

    def kill(self) -> None:
        """End it at once, without a word."""
        ...

    async def start(self, config: ServerConfig | None = None) -> None:
        """Start it again after `kill`, perhaps with another configuration; ready when this returns."""
        ...

    def pause(self) -> None:
        """Let it do nothing any more; its connections stay."""
        ...

    def resume(self) -> None:
        """Let it go on where it was paused."""
        ...

    def lame_duck(self) -> None:
        """Let it tell its clients that it will shut down, which it does much later."""
        ...

    def reload(self, config: ServerConfig) -> None:
        """Ask for another configuration, which it takes on in its own time."""
        ...

    async def wait_reloaded(self) -> None:
        """Return when what `reload` asked for last is in force."""
        ...


class Connect(Protocol):
    """The fixture `connect`: `open_client` to the server of the test."""

    def __call__(self, url: str | None = None, /, **overrides: Any) -> AbstractAsyncContextManager[Client]:
        """`async with connect(name="a") as nc`; `url` is for credentials in it."""
        ...


class RawLink:
    """A client of a few bytes: it sends what it is told, and knows nothing of the library's protocol code.

    Attributes:
        infos: the JSON of each INFO of the handshake.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = b""
        self.infos: list[dict[str, Any]] = []

    async def handshake(self) -> None:
        """INFO, CONNECT and PING, PONG, INFO."""
        await self.receive_info()
        await self.send(b'CONNECT {"verbose":false,"protocol":1,"headers":true,"no_responders":true}\r\nPING\r\n')
        assert await self.receive_until(b"\r\n") == b"PONG\r\n"
        await self.receive_info()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send_all(data)

    async def receive_until(self, mark: bytes) -> bytes:
        """Everything up to and including the next `mark`."""
        with trio.fail_after(LIMIT_SECONDS):
            while mark not in self._received:
                chunk = await self._stream.receive_some()
                assert chunk, f"closed after {self._received!r}"
                self._received += chunk
        before, self._received = self._received.split(mark, 1)
        return before + mark

    async def sync(self) -> bytes:
        """What the server had to say before it answered a PING."""
        await self.send(b"PING\r\n")
        return await self.receive_until(b"PONG\r\n")

    async def receive_info(self) -> None:
        """The next line, which must be an INFO."""
        verb, text = (await self.receive_until(b"\r\n")).split(b" ", 1)
        assert verb == b"INFO"
        self.infos.append(json.loads(text))


RawConnect: TypeAlias = Callable[[], AbstractAsyncContextManager[RawLink]]


@asynccontextmanager
async def open_raw(server: ContractServer) -> AsyncGenerator[RawLink]:
    """A raw link whose handshake is done, with headers, without `verbose`; both INFO were read."""
    async with server.dialer.open(parse_address(server.url)) as stream:
        raw = RawLink(stream)
        await raw.handshake()
        yield raw


async def take(subscription: Subscription, count: int) -> list[Message]:
    """The next `count` messages."""
    with trio.fail_after(LIMIT_SECONDS):
        return [await subscription.receive() for _ in range(count)]


async def take_all(subscription: Subscription) -> list[Message]:
    """Everything up to the subscription's end."""
    with trio.fail_after(LIMIT_SECONDS):
        return [message async for message in subscription]


async def settle(*clients: Client) -> None:
    """What any of these clients sent before has reached the subscriptions of all of them.

    The server hands a message to its receivers' links before it answers a PING that was sent behind it, and the
    receiver's own PONG comes behind the message.
    """
    with trio.fail_after(LIMIT_SECONDS):
        for client in clients * 2:
            await client.flush()


async def until_event(events: EventStream, kind: type[Event]) -> Event:
    """The next event of a kind; the others go."""
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            event = await events.receive()
            if isinstance(event, kind):
                return event
