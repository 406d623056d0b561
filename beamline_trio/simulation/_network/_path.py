"""The way from one host to another: its conditions, the faults on it, and who travels on it.

The figures that every write needs are plain attributes, computed anew when conditions or faults change. When the way
opens again, whoever travels on it is told, in the order in which they came.

Must not know what is transported.
"""

from __future__ import annotations

import random
from typing import Protocol, TypeVar

from ._conditions import Conditions, Effect
from ._host import Host

_Number = TypeVar("_Number", int, float)


class Traveller(Protocol):
    """What is on its way: a pipe of a connection, or a dial."""

    def healed(self) -> None:
        """What is sent arrives again."""
        ...

    def released(self) -> None:
        """What was held may arrive, or the window has grown."""
        ...


class Path:
    """One way between two hosts.

    Attributes:
        lost: nothing arrives now.
        held: what arrives waits now.
        latency, jitter, close_delay: seconds.
        bandwidth: bytes per second, or None.
        chunk_max: bytes that may arrive at once, or None.
        window: bytes.
        travellers: a dict for its order.
    """

    __slots__ = (
        "_conditions",
        "_effects",
        "_random",
        "bandwidth",
        "chunk_max",
        "close_delay",
        "held",
        "jitter",
        "latency",
        "lost",
        "source",
        "target",
        "travellers",
        "window",
    )

    def __init__(self, source: Host, target: Host, conditions: Conditions, random: random.Random) -> None:
        self.source = source
        self.target = target
        self.travellers: dict[Traveller, None] = {}
        self._conditions = conditions
        self._effects: dict[object, Effect] = {}
        self._random = random
        self.lost = False
        self.held = False
        self.window = conditions.window_bytes
        self.refresh()

    @property
    def conditions(self) -> Conditions:
        """Its own, without faults."""
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self.refresh()

    def add(self, cause: object, effect: Effect) -> None:
        """A fault begins."""
        self._effects[cause] = effect
        self.refresh()

    def remove(self, cause: object) -> None:
        """A fault is over."""
        del self._effects[cause]
        self.refresh()

    def delay(self) -> float:
        """How long something sent now is under way, in seconds; a draw, where there is jitter."""
        return self.latency + self.jitter * self._random.random() if self.jitter else self.latency

    def refresh(self) -> None:
        """Compute what is in force, and tell the travellers when the way is open again."""
        own, effects = self._conditions, self._effects.values()
        self.latency = own.latency_seconds + sum(effect.latency_seconds for effect in effects)
        self.jitter = own.jitter_seconds + sum(effect.jitter_seconds for effect in effects)
        self.close_delay = sum(effect.close_seconds for effect in effects)
        self.bandwidth = _least(
            own.bandwidth_bytes_per_second, *(effect.bandwidth_bytes_per_second for effect in effects)
        )
        self.chunk_max = _least(own.chunk_bytes_max, *(effect.chunk_bytes_max for effect in effects))
        was_lost, was_held, was_window = self.lost, self.held, self.window
        self.window = own.window_bytes
        self.lost = any(effect.lost for effect in effects) or self.source.powered_off > 0 or self.target.powered_off > 0
        self.held = any(effect.held for effect in effects)
        if was_lost and not self.lost:
            for traveller in list(self.travellers):
                traveller.healed()
        if (was_held and not self.held) or self.window > was_window:
            for traveller in list(self.travellers):
                traveller.released()


def _least(*bounds: _Number | None) -> _Number | None:
    """The smallest of the bounds that there are."""
    return min((bound for bound in bounds if bound is not None), default=None)
