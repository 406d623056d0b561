"""The network: hosts, the ways between them, who listens, who connects, and what was connected.

    connect / open_link -> Dial -> Connection -> 2 x (End -> Pipe -> Path)

Everything is TCP: a connection is two directed pipes, in order and reliable until it breaks. The events' task carries
all of it; there is no task per host, link or connection.

Must not know NATS.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ...transport import Environment
from ._conditions import Conditions
from ._connect import Connecting, DialRecord
from ._connection import Connection, ConnectionRecord
from ._dial import Dial, unknown_name
from ._dialer import SimulatedDialer
from ._end import Owner
from ._faults import Faults
from ._host import Host
from ._machine import LinkHandler, Machine, MachineLink
from ._path import Path
from ._stream import SimulatedStream

if TYPE_CHECKING:
    from .._events import Events
    from ._sink import TraceSink

# So many connections and dials are remembered; the oldest are forgotten.
REMEMBERED_MAX: Final = 65_536


class Network(Faults):
    """A network. Hosts that dial or listen must be added; every way between two of them exists then.

    Args:
        events: what carries it.
        random: jitter and cuts are drawn from it.
        trace: is told what happens.

    Attributes:
        tap: called with (number of the connection, bytes) for what the stream of a task that has dialled sends, as it
            is handed over.
        tap_cut: likewise with what never will be, when a `send_all` that waits for room is cancelled or breaks.
        tap_arrived: likewise with what comes in to the host of who has dialled.
        first_connection: called once, when `connect` succeeds for the first time.
    """

    def __init__(self, events: Events, random: random.Random, trace: TraceSink) -> None:
        self.events = events
        self.random = random
        self.trace = trace
        self.tap: Callable[[int, bytes], None] | None = None
        self.tap_cut: Callable[[int, bytes], None] | None = None
        self.tap_arrived: Callable[[int, bytes], None] | None = None
        self.first_connection: Callable[[], None] | None = None
        self._conditions = Conditions()
        self._own_conditions: dict[tuple[str, str], Conditions] = {}
        self._hosts: dict[str, Host] = {}
        self._addresses: dict[str, Host] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        self._open: dict[int, Connection] = {}
        self._connections: dict[int, Connection] = {}
        self._dials: list[DialRecord] = []
        self._count = 0

    # Hosts and ways

    def add_host(self, name: str) -> Host:
        """A host of this name; the same one when it exists."""
        if name not in self._hosts:
            host = self._hosts[name] = Host(name, f"10.0.{len(self._hosts) // 254}.{len(self._hosts) % 254 + 1}")
            self._addresses[host.address] = host
        return self._hosts[name]

    def has_host(self, name: str) -> bool:
        """Whether it was added."""
        return name in self._hosts

    def host(self, name: str) -> Host:
        """A host by its name.

        Raises:
            LookupError: there is none.
        """
        if name not in self._hosts:
            known = ", ".join(self._hosts) or "none"
            raise LookupError(f"the network has no host {name!r} (it has {known}); use add_host()")
        return self._hosts[name]

    @property
    def conditions(self) -> Conditions:
        """Of every way that has none of its own. Set, they hold at once for what is sent from now on."""
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        self._conditions = conditions
        for pair, path in self._paths.items():
            if pair not in self._own_conditions:
                path.conditions = conditions

    def set_conditions(self, a: str, b: str, conditions: Conditions) -> None:
        """The way from a to b has conditions of its own from now on."""
        path = self.path(self.host(a), self.host(b))
        self._own_conditions[a, b] = path.conditions = conditions

    def path(self, source: Host, target: Host) -> Path:
        """The way from one host to another."""
        pair = (source.name, target.name)
        path = self._paths.get(pair)
        if path is None:
            path = self._paths[pair] = Path(source, target, self._conditions, self.random)
        return path

    def paths_of(self, host: Host) -> list[Path]:
        """The ways from and to a host that have been used so far."""
        return [path for path in self._paths.values() if host in (path.source, path.target)]

    # Listening

    def listen(self, host: str, port: int, machine: Machine) -> None:
        """From now on the machine takes the connections to this port; the host is added when there is none.

        Raises:
            OSError: somebody listens there.
        """
        self._listen(host, port, partial(MachineLink, machine.accept))

    def listen_streams(self, host: str, port: int, accepted: Callable[[SimulatedStream], object]) -> None:
        """From now on whoever connects to this port is given to the callback as a stream, for a task to serve.

        Raises:
            OSError: somebody listens there.
        """
        self._listen(host, port, partial(SimulatedStream, accepted))

    def unlisten(self, host: str, port: int) -> None:
        """Connections to this port are refused again; those that exist stay."""
        self.host(host).listeners.pop(port, None)

    def _listen(self, host: str, port: int, answers: Callable[[], Owner]) -> None:
        listeners = self.add_host(host).listeners
        if port in listeners:
            raise OSError(f"somebody listens on {host}:{port} already; unlisten() first, or take another port")
        listeners[port] = answers

    # Connecting

    async def connect(self, source: str, host: str, port: int) -> SimulatedStream:
        """Connect, from the host `source`, to a host by its name or address. Cancelled, nothing is left of it.

        Raises:
            socket.gaierror: the name does not resolve.
            ConnectionRefusedError: nobody listens there.
            TimeoutError: nothing came back for 127 s.
        """
        record = DialRecord(source, host, port, self.events.now())
        self._dials.append(record)
        if len(self._dials) > REMEMBERED_MAX:
            del self._dials[: REMEMBERED_MAX // 8]
        stream = await Connecting(record, self).run()
        first, self.first_connection = self.first_connection, None
        if first is not None:
            first()
        return stream

    def open_link(
        self,
        source: str,
        host: str,
        port: int,
        opened: Callable[[MachineLink], LinkHandler | None],
        failed: Callable[[str], object],
    ) -> Callable[[], None]:
        """A machine on the host `source` connects: one of the callbacks is called, later. Returns what cancels it."""
        return self.dial(source, host, port, MachineLink(opened), lambda error: failed(error.strerror or str(error)))

    def dial(
        self, source: str, host: str, port: int, owner: Owner, failed: Callable[[OSError], object]
    ) -> Callable[[], None]:
        """Begin to connect; returns what cancels it."""
        from_host, target = self.host(source), self._resolve(host)
        self.trace.add(source, "dial", to=host, port=port)

        def fail(error: OSError) -> None:
            self.trace.add(source, "dial_failed", to=host, reason=error.strerror or str(error))
            failed(error)

        if target is None:
            # What a resolver takes to answer.
            return self.events.call_later(2 * self._conditions.latency_seconds, fail, unknown_name()).cancel
        return Dial(self, from_host, target, port, owner, fail).cancel

    def _resolve(self, name: str) -> Host | None:
        if name in self._addresses:
            return self._addresses[name]
        host = self._hosts.get(name)
        return None if host is None or host.unresolved else host

    def establish(
        self, source: tuple[Host, int, Owner], target: tuple[Host, int], answers: Callable[[], Owner]
    ) -> None:
        """A dial has succeeded."""
        self._count += 1
        connection = Connection(self, self._count, source, target, answers)
        self._connections[self._count] = self._open[self._count] = connection
        self._connections.pop(self._count - REMEMBERED_MAX, None)
        self.trace.add(source[0].name, "dialled", link=self._count)
        connection.dialler.outward.put_open()
        connection.dialler.owner.opened(connection.dialler)

    def dialer(
        self, host: str, environment: Environment, *, ssl_context: ssl.SSLContext | None = None
    ) -> SimulatedDialer:
        """How a client on this host reaches servers.

        Args:
            host: where the client is; it is added when there is none.
            environment: wall clock and chance of the client.
            ssl_context: for TLS; None = the platform's trusted certificates.
        """
        self.add_host(host)
        return SimulatedDialer(partial(self.connect, host), environment, ssl_context)

    # What there is and was

    @property
    def count(self) -> int:
        """Connections made so far; also the number of the last one."""
        return self._count

    def links(self) -> list[ConnectionRecord]:
        """The connections that exist, the oldest first."""
        return [connection.record() for connection in self._open.values()]

    def connections(self) -> tuple[ConnectionRecord, ...]:
        """All connections that are remembered, also those that are over, by number."""
        return tuple(connection.record() for connection in self._connections.values())

    def connection(self, number: int) -> ConnectionRecord:
        """A connection by its number, whether it exists or not; 65,536 are remembered.

        Raises:
            LookupError: there was none of this number, or it is forgotten.
        """
        if number not in self._connections:
            raise LookupError(f"no connection {number}; there were {self._count}, and {REMEMBERED_MAX} are remembered")
        return self._connections[number].record()

    def dials(self) -> Mapping[str, Sequence[DialRecord]]:
        """By host, the calls of `connect` so far, the oldest first; 65,536 are remembered."""
        dials: dict[str, list[DialRecord]] = {}
        for record in self._dials:
            dials.setdefault(record.source, []).append(record)
        return dials

    def connections_between(self, a: Host, b: Host | None = None) -> list[Connection]:
        """The open connections between two hosts, or all of one."""
        return [connection for connection in self._open.values() if connection.touches(a, b)]

    def connection_over(self, connection: Connection) -> None:
        """Both ends are gone; its record stays."""
        self._open.pop(connection.number, None)
