"""What happened to a connection, for programs: records of transitions, errors and drops, never of single messages.

`EventHub` fans them out. A consumer that does not read loses its oldest events, which is counted: the client never
waits for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

import trio

from ..protocol import ServerError, frozen


@frozen
class Connected:
    """The first link is established."""

    server: str


@frozen
class Disconnected:
    """The link was lost; reconnecting begins."""

    server: str
    reason: str


@frozen
class Reconnected:
    """A link is established again: subscriptions are being replayed, and then what was pending is sent."""

    server: str
    attempts: int
    outage_seconds: float


@frozen
class ReconnectFailed:
    """One attempt on one server failed."""

    server: str
    attempt: int
    reason: str


@frozen
class ServerDiscovered:
    """The cluster told of a server that was not in the pool."""

    server: str


@frozen
class Exhausted:
    """All reconnect attempts of this outage are spent; operations fail at once until a probe succeeds."""

    attempts: int


@frozen
class Closed:
    """The client is closed; the last event."""


@frozen
class ServerErrorReceived:
    """The server sent `-ERR`."""

    error: ServerError


@frozen
class SlowConsumer:
    """A subscription is full and drops; one event when it begins to, further drops are counted in the statistics."""

    subject: str
    pending_messages: int
    pending_bytes: int


@frozen
class Dropped:
    """Operations left the pending queue unsent."""

    subject: str
    count: int
    reason: str


@frozen
class MessageSkipped:
    """A message could not be decoded and was skipped."""

    subject: str
    reason: str


@frozen
class CallbackFailed:
    """A callback of the user's raised: a subscription's (the message counts as delivered), or one of the options.

    `subject` is the subscription's, or the name of the option.
    """

    subject: str
    error: str


@frozen
class LameDuck:
    """The server announced its shutdown."""

    server: str


@frozen
class Migrated:
    """The client has moved to another server, since the one it left shuts down; it was connected all the time."""

    server: str
    left: str


@frozen
class StageEvent:
    """What a stage above the client tells: the router has records of its own, which are kinds of this."""


Event: TypeAlias = (
    Connected
    | Disconnected
    | Reconnected
    | ReconnectFailed
    | ServerDiscovered
    | Exhausted
    | Closed
    | ServerErrorReceived
    | SlowConsumer
    | Dropped
    | MessageSkipped
    | CallbackFailed
    | LameDuck
    | Migrated
    | StageEvent
)


class EventStream:
    """One consumer's events: `async with nc.events() as events: async for event in events: ...`.

    It begins when it is made and ends after `Closed`. Cancelling a `receive` loses no event.

    Attributes:
        dropped: events this consumer lost because it did not read in time.
    """

    def __init__(self, limit: int, forget: Callable[[EventStream], None]) -> None:
        self._pending: deque[Event] = deque()
        self._limit = limit
        self._forget = forget
        self._lot = trio.lowlevel.ParkingLot()
        self._ended = False
        self.dropped = 0

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Event:
        """The next event. Cancelled: it stays for the next call.

        Raises:
            trio.EndOfChannel: the client is closed and all events were read, or this stream was closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._pending:
            if self._ended:
                raise trio.EndOfChannel
            await self._lot.park()
        return self._pending.popleft()

    def close(self) -> None:
        """End it; a waiting receiver gets EndOfChannel."""
        self._forget(self)
        self.end()

    def put(self, event: Event) -> bool:
        """Append an event; False when the oldest had to go for it."""
        full = len(self._pending) >= self._limit
        if full:
            self._pending.popleft()
            self.dropped += 1
        self._pending.append(event)
        self._lot.unpark()
        return not full

    def end(self) -> None:
        """No more events come; those that are there can be read."""
        self._ended = True
        self._lot.unpark_all()


class EventHub:
    """Fans events out to the streams that are open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: list[EventStream] = []
        self._ended = False
        self.dropped = 0

    def open(self) -> EventStream:
        """A stream of the events from now on."""
        stream = EventStream(self._limit, self._forget)
        if self._ended:
            stream.end()
        else:
            self._streams.append(stream)
        return stream

    def emit(self, event: Event) -> None:
        """Give an event to every stream."""
        for stream in self._streams:
            if not stream.put(event):
                self.dropped += 1

    def end(self) -> None:
        """The client is closed."""
        self._ended = True
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.end()

    def _forget(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
