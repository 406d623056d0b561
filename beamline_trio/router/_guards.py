"""The guards of a router at work: they look at its routes from time to time, decide, and tell.

One task for a router looks at the totals of its routes every half second, so that no message costs anything; a
breaker is asked about each message of a route that has one. Each transition is an event, a log record and a counter.

Must not handle messages, and must not stop an intake but by the routes' own holds.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import trio

from ..client import Client
from ..connection import StageEvent
from ._backpressure import Backpressure, BackpressureLevel, BackpressureMeter
from ._breaker import Breaker, Breakers, BreakerState, BreakerTransition
from ._events import BackpressureChanged, BackpressureLevelName, BreakerChanged, IntakePaused, IntakeResumed
from ._kill_switch import Intake, KillSwitch, KillSwitchState
from ._outcomes import one_line
from ._statistics import DURATION_BOUNDS_SECONDS, RouteCounters

LOOK_SECONDS: Final = 0.5
KILL_SWITCH: Final = "kill_switch"
_KEY_CHARACTERS_MAX: Final = 128
# A call that a breaker admitted, to be settled or withdrawn.
Admitted: TypeAlias = tuple[Hashable, int]


class Guarded(Protocol):
    """What the guards need of a route: its counters, what waits for it, and holds on its intake by their reasons."""

    @property
    def counters(self) -> RouteCounters: ...

    @property
    def waiting(self) -> int: ...

    def hold(self, reason: str) -> None: ...

    def release(self, reason: str) -> None: ...


class Teller:
    """Tells transitions to the log, and to the events of the client that the router runs on now."""

    def __init__(self) -> None:
        self._client: Client | None = None

    def attach(self, client: Client) -> None:
        """From now on it is this client's."""
        self._client = client

    def _log(self, level: int, event: str, **fields: str | float) -> None:
        if self._client is not None:
            self._client.connection.log(level, event, words="", exc_info=None, **fields)

    def _emit(self, event: StageEvent) -> None:
        if self._client is not None:
            self._client.connection.emit(event)


class RouteBreaker(Teller):
    """The circuit breakers of one route."""

    def __init__(self, route: str, options: Breaker) -> None:
        super().__init__()
        self._route = route
        self._by = options.by
        self.breakers = Breakers(options, self._tell)

    def admit(self, message: Any, now: float) -> Admitted | None:
        """Whether this message may go to the handler: what to settle or withdraw it by, or None.

        Raises:
            Exception: what the key function raises; no call was admitted.
        """
        key = None if self._by is None else self._by(message)
        admitted = self.breakers.admit(key, now)
        return None if admitted is None else (key, admitted)

    def settle(self, call: Admitted, *, failed: bool, seconds: float, now: float) -> None:
        """The handler is done with it, after so many seconds."""
        self.breakers.settle(*call, failed=failed, seconds=seconds, now=now)

    def withdraw(self, call: Admitted) -> None:
        """The handler did not get to an end with it."""
        self.breakers.withdraw(*call)

    def retry_after(self, message: Any, now: float) -> float:
        """Seconds until a message that was refused should come again."""
        return self.breakers.retry_after(None if self._by is None else self._by(message), now)

    def _tell(self, transition: BreakerTransition) -> None:
        key = "" if transition.key is None else one_line(transition.key, _KEY_CHARACTERS_MAX)
        if transition.after is BreakerState.OPEN:
            self._log(logging.WARNING, "ROUTER_BREAKER_OPEN", route=self._route, key=key)
        elif transition.after is BreakerState.HALF_OPEN:
            self._log(logging.INFO, "ROUTER_BREAKER_HALF_OPEN", route=self._route, key=key)
        else:
            self._log(logging.INFO, "ROUTER_BREAKER_CLOSED", route=self._route, key=key)
        self._emit(BreakerChanged(self._route, key, transition.before.value, transition.after.value))


class RouterGuards(Teller):
    """The kill switch and the backpressure level of one router.

    Attributes:
        kill_switch: None: there is none.
        meter: the backpressure level.
    """

    def __init__(self, router: str, kill_switch: KillSwitch | None, backpressure: Backpressure) -> None:
        super().__init__()
        self._router = router
        self.kill_switch = None if kill_switch is None else KillSwitchState(kill_switch)
        self.meter = BackpressureMeter(backpressure)

    async def run(self, client: Client, routes: Mapping[str, Guarded]) -> None:
        """Look at these routes, now and then, for ever. Cancelled, it holds no route any more."""
        self.attach(client)
        try:
            while True:
                self.look(routes.values(), trio.current_time())
                await trio.sleep(LOOK_SECONDS)
        finally:
            for route in routes.values():
                route.release(KILL_SWITCH)

    def look(self, routes: Iterable[Guarded], now: float) -> None:
        """Look once."""
        routes = tuple(routes)
        self._look_at_pressure(routes, now)
        if self.kill_switch is not None:
            self._look_at_failures(self.kill_switch, routes, now)

    def _look_at_pressure(self, routes: tuple[Guarded, ...], now: float) -> None:
        counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        for route in routes:
            for number, count in enumerate(route.counters.duration_counts):
                counts[number] += count
        changed = self.meter.look(
            pending=sum(route.waiting for route in routes),
            in_flight=sum(route.counters.in_flight for route in routes),
            duration_counts=counts,
            now=now,
        )
        if changed:
            self._tell_level()

    def _tell_level(self) -> None:
        status = self.meter.status
        level: BackpressureLevelName = status.level.value
        seconds = round(status.p95_seconds, 3)
        if status.level is BackpressureLevel.INACTIVE:
            self._log(logging.INFO, "ROUTER_BACKPRESSURE_OVER", router=self._router)
        else:
            self._log(
                logging.WARNING,
                "ROUTER_BACKPRESSURE",
                router=self._router,
                pressure=level,
                pending=status.pending,
                in_flight=status.in_flight,
                p95_seconds=seconds,
            )
        self._emit(BackpressureChanged(self._router, level, status.pending, status.in_flight, seconds))

    def _look_at_failures(self, switch: KillSwitchState, routes: tuple[Guarded, ...], now: float) -> None:
        counters = [route.counters for route in routes]
        tries = sum(sum(one.duration_counts) for one in counters)
        turn = switch.look(tries, sum(one.failures for one in counters), now)
        for route in routes:
            if switch.paused:
                route.hold(KILL_SWITCH)
            else:
                route.release(KILL_SWITCH)
        if turn is not None:
            self._tell_turn(turn, switch)

    def _tell_turn(self, turn: Intake, switch: KillSwitchState) -> None:
        if turn is Intake.RESUME:
            self._log(logging.INFO, "ROUTER_INTAKE_RESUMED", router=self._router)
            self._emit(IntakeResumed(self._router))
            return
        seconds = switch.pause_seconds
        self._log(
            logging.ERROR,
            "ROUTER_INTAKE_PAUSED",
            router=self._router,
            messages=switch.messages,
            failures=switch.failures,
            pause_seconds=seconds,
        )
        self._emit(IntakePaused(self._router, switch.messages, switch.failures, seconds))
