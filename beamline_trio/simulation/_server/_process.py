"""One run of a server, from its start to its end: what all its connections share.

A start makes a new one, so that nothing of an earlier run can come back. It can be stopped in its tracks and go on
(SIGSTOP, SIGCONT): then its timers are due in time and looked at late, all at once.

Must not know what the connections do.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

from ._accounts import SYSTEM, USERS
from ._config import ServerConfig
from ._info import Identity
from ._interest import Interest, Subscription

if TYPE_CHECKING:
    from ._cluster import Cluster
    from ._connection import ClientConnection
    from ._gateways import Gateways
    from ._jetstream import JetStream
    from ._outbound import Outbound
    from ._surroundings import Events, Observer, Timer, TraceSink


class Unfinished(Protocol):
    """What has something to do at the end of an event."""

    def flush(self) -> None:
        """Do it."""
        ...


class _Later:
    """A callback at the end of an event."""

    __slots__ = ("flush",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.flush = callback


class Traffic:
    """What clients that are gone have sent and received.

    Attributes:
        clients: how many they are.
        slow: how many of them were closed since they did not read.
    """

    def __init__(self) -> None:
        self.in_messages = self.in_bytes = self.out_messages = self.out_bytes = self.clients = self.slow = 0

    def end(self, client: ClientConnection, *, slow: bool) -> None:
        """A client is gone."""
        self.clients += 1
        self.in_messages += client.in_messages
        self.in_bytes += client.in_bytes
        self.out_messages += client.out_messages
        self.out_bytes += client.out_bytes
        self.slow += slow


class Process:
    """The state of a running server.

    Attributes:
        host: the server's name, and its host's.
        identity: what INFO says of it.
        interest: all subscriptions.
        clients: connections of clients by client id, in order of their coming.
        dirty: what has something to write, or to do, at the end of this event.
        closing: what is closed as soon as its peer has read enough.
        running: False once it was killed or has ended.
        paused: it does nothing.
        lame_duck: it takes no more clients.
        observer: what is told of messages.
        cluster: its routes; None = it has none and takes none.
        gateways: its links to other regions; None = it has none and takes none.
        traffic: of clients that are gone, by account.
        on_server_message: told of messages of other servers, with the sender's name; None = they are dropped.
        jetstream: its streams; None = it has no JetStream.
    """

    def __init__(
        self,
        host: str,
        config: ServerConfig,
        identity: Identity,
        events: Events,
        random: Random,
        trace: TraceSink,
    ) -> None:
        self.host = host
        self.config = config
        self.identity = identity
        self.random = random
        self.interest = Interest()
        self.clients: dict[int, ClientConnection] = {}
        self.dirty: list[Unfinished | _Later] = []
        self.closing: dict[Outbound, None] = {}
        self.running = True
        self.paused = False
        self.lame_duck = False
        self.observer: Observer | None = None
        self.cluster: Cluster | None = None
        self.gateways: Gateways | None = None
        self.jetstream: JetStream | None = None
        self.on_server_message: Callable[[str, bytes], None] | None = None
        self._events = events
        self._trace = trace
        self._late: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._last_client_id = 0
        self.traffic = {USERS: Traffic(), SYSTEM: Traffic()}

    def now(self) -> float:
        """The time in seconds."""
        return self._events.now()

    def next_client_id(self) -> int:
        """An id that no connection of this run had; routes take theirs from the same row."""
        self._last_client_id += 1
        return self._last_client_id

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after some time, or when the process goes on if it is paused then."""
        return self._events.call_later(seconds, self.run, callback, *args)

    def run(self, callback: Callable[..., object], *args: object) -> None:
        """Do something now, or as soon as the process goes on, and write what comes of it."""
        if not self.running:
            return
        if self.paused:
            self._late.append((callback, args))
            return
        callback(*args)
        if self.dirty:
            self.flush()

    def go_on(self) -> None:
        """End a pause: everything that was due meanwhile happens now."""
        self.paused = False
        late, self._late = self._late, []
        for callback, args in late:
            if self.running:
                callback(*args)
        self.flush()

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back at the end of this event."""
        self.dirty.append(_Later(callback))

    def flush(self) -> None:
        """Write what was queued in this event."""
        while self.dirty:
            dirty, self.dirty = self.dirty, []
            for unfinished in dirty:
                unfinished.flush()

    def region_of(self, server: str) -> str:
        """The cluster that a server is in."""
        return self.identity.cluster if self.gateways is None else self.gateways.region_of(server)

    def reaches(self, peer: str) -> bool:
        """Whether there is a way to another server now."""
        if self.cluster is not None and peer in self.cluster.peers():
            return True
        return self.gateways is not None and self.gateways.reaches(peer)

    def connect_urls(self) -> tuple[str, ...]:
        """What clients are told of the cluster's servers, as host:port."""
        return () if self.cluster is None else self.cluster.connect_urls()

    def end(self) -> None:
        """Nothing happens any more; what was being closed is closed by the kernel."""
        self.running = False
        for outbound in list(self.closing):
            outbound.cut_off()

    @property
    def notes(self) -> bool:
        """Whether anything is done with what is noted."""
        return not self._trace.stopped

    def note(self, kind: str, **fields: str | int | float | bool | None) -> None:
        """Note something in the trace."""
        if self.notes:
            self._trace.add(self.host, kind, **fields)

    def subscribed(self, sub: Subscription) -> None:
        """A client, or a part of the server, has a new subscription."""
        if self.cluster is not None:
            self.cluster.interest_changed(sub.subject, sub.queue, 1)
            if self.gateways is not None:
                self.gateways.ways_back.subscribed(sub)
                self.region_subscribed(sub)

    def unsubscribed(self, sub: Subscription) -> None:
        """A subscription has ended."""
        if self.cluster is not None:
            self.cluster.interest_changed(sub.subject, sub.queue, -1)
            self.region_unsubscribed(sub)

    def region_subscribed(self, sub: Subscription) -> None:
        """This region has a new subscription, here or behind a route."""
        if self.gateways is not None:
            self.gateways.interest_changed(sub.subject, sub.queue, 1)

    def region_unsubscribed(self, sub: Subscription) -> None:
        """A subscription of this region has ended."""
        if self.gateways is not None:
            self.gateways.interest_changed(sub.subject, sub.queue, -1)

    def send_to_server(self, name: str, data: bytes) -> bool:
        """Send a message to another server, by route or by gateway; False when it is out of reach."""
        if self.cluster is not None and self.cluster.send_to(name, self.host, data):
            return True
        return self.gateways is not None and self.gateways.send_to(name, self.host, data)

    def server_message(self, receiver: str, sender: str, data: bytes) -> None:
        """A message of another server has come, for this one or for one behind a route."""
        if receiver != self.host:
            if self.cluster is not None:
                self.cluster.send_to(receiver, sender, data)
        elif self.on_server_message is not None:
            self.on_server_message(sender, data)
