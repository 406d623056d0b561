"""A fault plan happens: each fault begins and ends by a callback at its time, without a task.

What happens to a link is the network's; what happens to a server is its own. Faults may overlap: a server that two
faults took down comes back when both are over.

Must not draw anything: the plan says it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..faults import Fault, FaultKind, Plan
from ._errors import SimulationError
from ._events import Events
from ._network import Network, NetworkFault
from ._server import SimulatedServer
from ._trace import Trace


class _Effect(Protocol):
    """Something that begins and ends."""

    def start(self) -> object: ...

    def stop(self) -> object: ...


class Injection:
    """Plans over a network and its servers.

    Args:
        servers: by host.
    """

    def __init__(self, events: Events, network: Network, servers: Mapping[str, SimulatedServer], trace: Trace) -> None:
        self._events = events
        self._network = network
        self._servers = servers
        self._trace = trace
        self._down: dict[str, int] = {}
        self._paused: dict[str, int] = {}

    def schedule(self, plan: Plan) -> None:
        """From now on the plan happens; its times count from now.

        Raises:
            SimulationError: it names a host that is not there, or a server's fault for a host without one.
        """
        effects = [(fault, self._effect(fault)) for fault in plan.faults]
        for fault, effect in effects:
            self._events.call_later(fault.at_seconds, self._begin, fault, effect)

    def _begin(self, fault: Fault, effect: _Effect) -> None:
        self._trace.add(fault.hosts[0], "fault_begin", what=str(fault.kind), hosts=" ".join(fault.hosts))
        effect.start()
        self._events.call_later(fault.for_seconds, self._end, fault, effect)

    def _end(self, fault: Fault, effect: _Effect) -> None:
        effect.stop()
        self._trace.add(fault.hosts[0], "fault_end", what=str(fault.kind), hosts=" ".join(fault.hosts))

    def _effect(self, fault: Fault) -> _Effect:
        for host in fault.hosts:
            if not self._network.has_host(host):
                raise SimulationError(f"the plan's fault {fault} names the host {host!r}, which this world has not")
        if fault.kind.of_a_server or (fault.kind is FaultKind.POWER_OFF and fault.hosts[0] in self._servers):
            return self._of_a_server(fault)
        return self._of_the_network(fault)

    def _of_a_server(self, fault: Fault) -> _Effect:
        host = fault.hosts[0]
        if host not in self._servers:
            raise SimulationError(f"the plan's fault {fault} needs a server on {host!r}, and there is none")
        server = self._servers[host]
        match fault.kind:
            case FaultKind.PAUSE:
                return _Counted(self._paused, host, server.pause, server.resume)
            case FaultKind.LAME_DUCK:
                return _Counted(self._down, host, server.lame_duck, _back(server))
            case FaultKind.POWER_OFF:
                off = self._network.power_off(host)
                return _Pair(off, _Counted(self._down, host, server.kill, _back(server)))
            case _:
                return _Counted(self._down, host, server.kill, _back(server))

    def _of_the_network(self, fault: Fault) -> _Effect:
        network, hosts = self._network, fault.hosts
        of_a_host: dict[FaultKind, Callable[[str], NetworkFault]] = {
            FaultKind.REFUSE: network.refuse,
            FaultKind.NO_DNS: network.no_dns,
            FaultKind.POWER_OFF: network.power_off,
        }
        if fault.kind in of_a_host:
            return of_a_host[fault.kind](hosts[0])
        a, b = hosts
        match fault.kind:
            case FaultKind.PARTITION:
                return network.partition(a, b)
            case FaultKind.BLACK_HOLE:
                return network.black_hole(a, b)
            case FaultKind.HOLD:
                return network.hold(a, b)
            case FaultKind.SLOW:
                return network.slow(a, b, latency_seconds=fault.amount)
            case FaultKind.CHOP:
                return network.chop(a, b, bytes_max=int(fault.amount))
            case FaultKind.SLOW_CLOSE:
                return network.slow_close(a, b, fault.amount)
            case FaultKind.RESET:
                return _Reset(network, a, b)
            case _:
                raise SimulationError(f"the simulation does not know the fault {fault.kind}")


class _Counted:
    """Faults that overlap on one server: the first begins it, the last ends it."""

    def __init__(
        self, count: dict[str, int], host: str, start: Callable[[], object], stop: Callable[[], object]
    ) -> None:
        self._count = count
        self._host = host
        self._start = start
        self._stop = stop

    def start(self) -> None:
        self._count[self._host] = before = self._count.get(self._host, 0) + 1
        if before == 1:
            self._start()

    def stop(self) -> None:
        self._count[self._host] -= 1
        if not self._count[self._host]:
            self._stop()


class _Pair:
    """Two effects: the second begins inside the first, and ends behind it."""

    def __init__(self, outer: _Effect, inner: _Effect) -> None:
        self._outer = outer
        self._inner = inner

    def start(self) -> None:
        self._outer.start()
        self._inner.start()

    def stop(self) -> None:
        self._outer.stop()
        self._inner.stop()


class _Reset:
    """An instant."""

    def __init__(self, network: Network, a: str, b: str) -> None:
        self._network = network
        self._hosts = (a, b)

    def start(self) -> None:
        self._network.reset(*self._hosts)

    def stop(self) -> None:
        pass


def _back(server: SimulatedServer) -> Callable[[], None]:
    """Whatever is left of a server that was to die goes, and it starts again."""

    def back() -> None:
        server.kill()
        server.start()

    return back
