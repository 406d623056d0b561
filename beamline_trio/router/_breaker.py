"""Circuit breakers of a route, one for each key: a key whose calls fail is left alone for a while, then tried again.

A breaker is closed (all calls go), open (none goes), or half open (a few go, to see). It opens by failures in a row or
by the share of failures in a window, and a call that takes too long is a failure. A call that began before the
last transition says nothing about the state that came after it, and is not counted. Whoever was admitted settles or
withdraws, once.

Must not read a clock, and must not know what a call does.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from ..protocol import frozen
from ._rolling import RollingRate

# How many of the keys that were not used for longest are looked at for one that can be forgotten.
_LOOK_AT: Final = 16
# What `Breakers.admit` gives: nothing is guarded here, and nothing will be counted.
UNGUARDED: Final = 0


class BreakerState(enum.Enum):
    """What a breaker lets through: all, nothing, or a few calls to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


BREAKER_TRANSITIONS: Final = (
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
)


@frozen(kw_only=True)
class Breaker:
    """When a route's circuit breaker opens and closes.

    While it is open the handler is not called: a message of a stream is naked until the breaker will be tried again
    (on its last delivery it is dead-lettered, or terminated where there is no dead letter), a request is answered with
    the error 503 at once.

    A failure is a handler that raised, asked for a later try, or was cancelled by its deadline, and one that took too
    long. One that rejected its message is a success; one that was not called (a bad payload, a key that is not new) or
    was cut short by the router's end says nothing.

    Attributes:
        by: the key of a message; each key has a breaker of its own. None: one for the route.
        failures: so many in a row open it, at least 1.
        successes: so many close it when it is half open, at least 1 and at most `half_open_calls`.
        open_seconds: how long it stays open, more than 0.
        half_open_calls: calls under way at once when it is half open, at least 1.
        error_rate: this share of failures in the window opens it, more than 0 and at most 1.
        window_seconds: the window, more than 0.
        window_calls_min: with fewer calls in the window the share says nothing; at least 1.
        latency_seconds: a call that takes this long is a failure, more than 0.
        keys_max: breakers that are kept, at least 1. The one that was not used for longest makes room if it is not
            open and has no call under way; where none can, a new key is not guarded, which is counted.
    """

    by: Callable[[Any], Hashable] | None = None
    failures: int = 5
    successes: int = 2
    open_seconds: float = 60.0
    half_open_calls: int = 3
    error_rate: float = 0.5
    window_seconds: float = 60.0
    window_calls_min: int = 10
    latency_seconds: float = 5.0
    keys_max: int = 1024

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: an option is out of its bounds.
        """
        for name in ("failures", "successes", "half_open_calls", "window_calls_min", "keys_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("open_seconds", "window_seconds", "latency_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if not 0 < self.error_rate <= 1:
            raise ValueError(f"error_rate is {self.error_rate}; it must be more than 0 and at most 1")
        if self.successes > self.half_open_calls:
            raise ValueError(
                f"successes is {self.successes}, half_open_calls {self.half_open_calls}; "
                "it must be at most that, or the breaker would close late"
            )


@frozen
class BreakerTransition:
    """A breaker has changed; `key` is the one of its messages."""

    key: Hashable
    before: BreakerState
    after: BreakerState


# Told of each transition when it happens.
OnTransition: TypeAlias = Callable[[BreakerTransition], None]


class _Circuit:
    """One breaker. `epoch` is new after each transition, so that calls can be told apart."""

    __slots__ = ("epoch", "in_row", "open_until", "state", "under_way", "window")

    def __init__(self, epoch: int, window_seconds: float) -> None:
        self.state = BreakerState.CLOSED
        self.epoch = epoch
        self.in_row = 0  # failures when closed, successes when half open
        self.under_way = 0  # calls of this epoch
        self.open_until = 0.0
        self.window = RollingRate(window_seconds)


class Breakers:
    """The breakers of a route.

    Attributes:
        states: state -> breakers that are in it now.
        transitions: (before, after) -> times that a breaker made it.
        refused: calls that were not let through.
        unguarded: calls that no breaker stood for, since `keys_max` others could not be forgotten.
    """

    def __init__(self, options: Breaker, on_transition: OnTransition | None = None) -> None:
        self._options = options
        self._on_transition = on_transition
        self._circuits: OrderedDict[Hashable, _Circuit] = OrderedDict()
        self._epoch = UNGUARDED
        self.states: Counter[BreakerState] = Counter(dict.fromkeys(BreakerState, 0))
        self.transitions: Counter[tuple[BreakerState, BreakerState]] = Counter(dict.fromkeys(BREAKER_TRANSITIONS, 0))
        self.refused = 0
        self.unguarded = 0

    def __len__(self) -> int:
        return len(self._circuits)

    def admit(self, key: Hashable, now: float) -> int | None:
        """Ask for a call.

        Returns:
            What to settle or withdraw it by; None: it must not be made.
        """
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._add(key)
            if circuit is None:
                self.unguarded += 1
                return UNGUARDED
        else:
            self._circuits.move_to_end(key)
        if circuit.state is BreakerState.OPEN and now >= circuit.open_until:
            self._turn(key, circuit, BreakerState.HALF_OPEN)
        if circuit.state is BreakerState.OPEN or (
            circuit.state is BreakerState.HALF_OPEN and circuit.under_way >= self._options.half_open_calls
        ):
            self.refused += 1
            return None
        circuit.under_way += 1
        return circuit.epoch

    def settle(self, key: Hashable, admitted: int, *, failed: bool, seconds: float, now: float) -> None:
        """A call is over, after so many seconds."""
        circuit = self._of(key, admitted)
        if circuit is None:
            return
        circuit.under_way -= 1
        failed = failed or seconds >= self._options.latency_seconds
        if circuit.state is BreakerState.HALF_OPEN:
            self._settle_trial(key, circuit, failed, now)
        else:
            self._settle_normal(key, circuit, failed, now)

    def withdraw(self, key: Hashable, admitted: int) -> None:
        """A call was not made, or cut short: it says nothing."""
        circuit = self._of(key, admitted)
        if circuit is not None:
            circuit.under_way -= 1

    def retry_after(self, key: Hashable, now: float) -> float:
        """Seconds until a refused call of this key may go: to the end of open, and a tenth of it when half open."""
        circuit = self._circuits.get(key)
        if circuit is not None and circuit.state is BreakerState.OPEN:
            return min(max(0.0, circuit.open_until - now), self._options.open_seconds)
        return self._options.open_seconds / 10

    def _settle_normal(self, key: Hashable, circuit: _Circuit, failed: bool, now: float) -> None:
        options = self._options
        circuit.window.add(1, int(failed), now)
        circuit.in_row = circuit.in_row + 1 if failed else 0
        if failed and (
            circuit.in_row >= options.failures or circuit.window.exceeds(options.error_rate, options.window_calls_min)
        ):
            self._open(key, circuit, now)

    def _settle_trial(self, key: Hashable, circuit: _Circuit, failed: bool, now: float) -> None:
        if failed:
            self._open(key, circuit, now)
            return
        circuit.in_row += 1
        if circuit.in_row >= self._options.successes:
            circuit.window.clear()
            self._turn(key, circuit, BreakerState.CLOSED)

    def _open(self, key: Hashable, circuit: _Circuit, now: float) -> None:
        circuit.open_until = now + self._options.open_seconds
        self._turn(key, circuit, BreakerState.OPEN)

    def _turn(self, key: Hashable, circuit: _Circuit, state: BreakerState) -> None:
        before, circuit.state = circuit.state, state
        circuit.epoch = self._next_epoch()
        circuit.in_row = circuit.under_way = 0
        self.states[before] -= 1
        self.states[state] += 1
        self.transitions[before, state] += 1
        if self._on_transition is not None:
            self._on_transition(BreakerTransition(key, before, state))

    def _of(self, key: Hashable, admitted: int) -> _Circuit | None:
        """The breaker of a call, unless it has changed, or was forgotten, since the call began."""
        circuit = self._circuits.get(key)
        return circuit if circuit is not None and circuit.epoch == admitted else None

    def _add(self, key: Hashable) -> _Circuit | None:
        if len(self._circuits) >= self._options.keys_max and not self._forget_one():
            return None
        circuit = self._circuits[key] = _Circuit(self._next_epoch(), self._options.window_seconds)
        self.states[BreakerState.CLOSED] += 1
        return circuit

    def _forget_one(self) -> bool:
        for _ in range(min(_LOOK_AT, len(self._circuits))):
            key, circuit = next(iter(self._circuits.items()))
            if circuit.state is not BreakerState.OPEN and not circuit.under_way:
                del self._circuits[key]
                self.states[circuit.state] -= 1
                return True
            self._circuits.move_to_end(key)
        return False

    def _next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch
