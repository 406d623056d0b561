"""The faults of a network: each begins, is over, and takes back what it did and nothing else.

A fault on a way is an `Effect` under its own name, so that any number may overlap; a fault of a host is a count.

Must not draw anything, and must not know when a fault is to begin.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias

from ._conditions import Effect
from ._end import POWER_OFF, RESET_BY_PEER

if TYPE_CHECKING:
    from ._connection import Connection
    from ._host import Host
    from ._path import Path
    from ._sink import TraceSink

Hosts: TypeAlias = "str | Sequence[str]"

LOST: Final = Effect(lost=True)


class NetworkFault:
    """A fault: in force inside `with fault:`, or from `start()` to `stop()`; both may be called twice.

    A fault that is over may be started again.
    """

    def __init__(
        self, what: str, trace: TraceSink, begin: Callable[[object], None], end: Callable[[object], None]
    ) -> None:
        self._what = what
        self._trace = trace
        self._begin = begin
        self._end = end
        self._on = False

    @property
    def on(self) -> bool:
        """Whether it is in force."""
        return self._on

    def start(self) -> None:
        """It begins; nothing happens when it is in force already."""
        if not self._on:
            self._on = True
            self._trace.add("network", "fault", what=self._what, on=True)
            self._begin(self)

    def stop(self) -> None:
        """It is over; nothing happens when it is not in force."""
        if self._on:
            self._on = False
            self._trace.add("network", "fault", what=self._what, on=False)
            self._end(self)

    def __enter__(self) -> NetworkFault:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<NetworkFault {self._what}{' (on)' if self._on else ''}>"


class Faults(abc.ABC):
    """The part of `Network` that tests use against it. `a` and `b` are a host's name or a sequence of them."""

    trace: TraceSink

    @abc.abstractmethod
    def host(self, name: str) -> Host:
        """A host by its name."""

    @abc.abstractmethod
    def path(self, source: Host, target: Host) -> Path:
        """The way from one host to another."""

    @abc.abstractmethod
    def paths_of(self, host: Host) -> list[Path]:
        """The ways from and to a host that have been used so far."""

    @abc.abstractmethod
    def connections_between(self, a: Host, b: Host | None = None) -> list[Connection]:
        """The open connections between two hosts, or all of one."""

    # Of ways

    def partition(self, a: Hosts, b: Hosts) -> NetworkFault:
        """A black hole both ways between each of a and each of b."""
        return self._on_paths(f"partition {_names(a)} {_names(b)}", self._pairs(a, b) + self._pairs(b, a), LOST)

    def black_hole(self, a: Hosts, b: Hosts) -> NetworkFault:
        """Nothing from a arrives at b; nobody is told.

        As with TCP, what is not acknowledged is sent again 0.2, 0.6, 1.4, ... s after the first try (0.2 s doubled up
        to 120 s), so it arrives at the first of these moments behind the end of the fault; 924.6 s after the first try
        the sender breaks ("connection timed out"). What b sends does arrive, but a cannot acknowledge it: behind
        the first 0.2 s nothing more is sent that way either. Dials try again at 1, 3, 7, 15, 31 and 63 s and fail at
        127 s.
        """
        return self._on_paths(f"black_hole {_names(a)} {_names(b)}", self._pairs(a, b), LOST)

    def hold(self, a: Hosts, b: Hosts) -> NetworkFault:
        """What a sends to b waits, and comes in one piece when the fault is over. Nothing is lost or timed out."""
        return self._on_paths(f"hold {_names(a)} {_names(b)}", self._pairs(a, b), Effect(held=True))

    def slow(
        self,
        a: Hosts,
        b: Hosts,
        *,
        latency_seconds: float = 0.0,
        jitter_seconds: float = 0.0,
        bandwidth_bytes_per_second: float | None = None,
    ) -> NetworkFault:
        """From a to b everything takes longer than it would; of several bandwidths the smallest holds."""
        effect = Effect(
            latency_seconds=latency_seconds,
            jitter_seconds=jitter_seconds,
            bandwidth_bytes_per_second=bandwidth_bytes_per_second,
        )
        return self._on_paths(f"slow {_names(a)} {_names(b)}", self._pairs(a, b), effect)

    def chop(self, a: Hosts, b: Hosts, *, bytes_max: int) -> NetworkFault:
        """What a sends to b arrives in pieces of 1 to bytes_max bytes, which begin and end anywhere."""
        return self._on_paths(f"chop {_names(a)} {_names(b)}", self._pairs(a, b), Effect(chunk_bytes_max=bytes_max))

    def slow_close(self, a: Hosts, b: Hosts, seconds: float) -> NetworkFault:
        """FINs that a sends to b during the fault arrive so much later."""
        return self._on_paths(f"slow_close {_names(a)} {_names(b)}", self._pairs(a, b), Effect(close_seconds=seconds))

    def reset(self, a: Hosts, b: Hosts) -> None:
        """Every connection between a and b breaks now, and both its ends see that at once."""
        for source, target in self._pairs(a, b):
            self.trace.add("network", "fault", what=f"reset {source.name} {target.name}", on=True)
            for connection in self.connections_between(source, target):
                connection.dialler.break_off(RESET_BY_PEER)
                connection.listener.break_off(RESET_BY_PEER)

    # Of hosts

    def refuse(self, host: str) -> NetworkFault:
        """Connections to it are refused; those that exist stay."""
        its = self.host(host)

        def begin(_: object) -> None:
            its.refusing += 1

        def end(_: object) -> None:
            its.refusing -= 1

        return NetworkFault(f"refuse {host}", self.trace, begin, end)

    def no_dns(self, host: str) -> NetworkFault:
        """Its name does not resolve. Its address does not need to."""
        its = self.host(host)

        def begin(_: object) -> None:
            its.unresolved += 1

        def end(_: object) -> None:
            its.unresolved -= 1

        return NetworkFault(f"no_dns {host}", self.trace, begin, end)

    def power_off(self, host: str) -> NetworkFault:
        """The host vanishes with all its connections, and nobody is told: their other ends are half-open.

        While it is off it is a black hole. Later it knows nothing of the connections, and answers their bytes with a
        reset. The tasks and machines of the host see their ends broken at once. Who listens there still does.
        """
        its = self.host(host)

        def begin(_: object) -> None:
            its.powered_off += 1
            for path in self.paths_of(its):
                path.refresh()
            for connection in self.connections_between(its):
                for end in (connection.dialler, connection.listener):
                    if end.host is its:
                        end.break_off(POWER_OFF)

        def end(_: object) -> None:
            its.powered_off -= 1
            for path in self.paths_of(its):
                path.refresh()

        return NetworkFault(f"power_off {host}", self.trace, begin, end)

    def _on_paths(self, what: str, pairs: list[tuple[Host, Host]], effect: Effect) -> NetworkFault:
        def begin(fault: object) -> None:
            for source, target in pairs:
                self.path(source, target).add(fault, effect)

        def end(fault: object) -> None:
            for source, target in pairs:
                self.path(source, target).remove(fault)

        return NetworkFault(what, self.trace, begin, end)

    def _pairs(self, a: Hosts, b: Hosts) -> list[tuple[Host, Host]]:
        """Each of a with each of b, but none with itself."""
        sources, targets = [[self.host(name) for name in _listed(hosts)] for hosts in (a, b)]
        pairs = {(source, target): None for source in sources for target in targets if source is not target}
        if not pairs:
            raise ValueError(f"there is no way between {_names(a)!r} and {_names(b)!r}; name two different hosts")
        return list(pairs)


def _listed(hosts: Hosts) -> Sequence[str]:
    return (hosts,) if isinstance(hosts, str) else hosts


def _names(hosts: Hosts) -> str:
    return ",".join(_listed(hosts))
