"""One fault of a plan: what happens, to whom, when and for how long.

Must not know plans.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ._fields import host_names, member, number, require, seconds


class FaultKind(enum.StrEnum):
    """What can happen. Of two hosts, those marked `->` act on what the first sends to the second.

    Attributes:
        PARTITION: two hosts lose each other, both ways.
        BLACK_HOLE: `->` what is sent vanishes until the end, as far as anyone can tell.
        HOLD: `->` bytes wait, and are released in one piece at the end.
        SLOW: `->` latency is added; the amount is seconds.
        CHOP: `->` chunks are split and merged at random; the amount is the most bytes of one.
        RESET: every connection between two hosts breaks; an instant.
        REFUSE: a host refuses connections.
        NO_DNS: a host's name does not resolve.
        SLOW_CLOSE: `->` the end of a stream comes later; the amount is seconds.
        POWER_OFF: a host vanishes without a word; at the end its peers' bytes are answered with a reset.
        KILL: a server dies at once, and starts again at the end.
        PAUSE: a server does nothing until the end; its connections stay.
        LAME_DUCK: a server says that it leaves, and leaves; it starts again at the end.
    """

    PARTITION = enum.auto()
    BLACK_HOLE = enum.auto()
    HOLD = enum.auto()
    SLOW = enum.auto()
    CHOP = enum.auto()
    RESET = enum.auto()
    REFUSE = enum.auto()
    NO_DNS = enum.auto()
    SLOW_CLOSE = enum.auto()
    POWER_OFF = enum.auto()
    KILL = enum.auto()
    PAUSE = enum.auto()
    LAME_DUCK = enum.auto()

    @property
    def instant(self) -> bool:
        """Whether it has no duration."""
        return self is FaultKind.RESET

    @property
    def host_count(self) -> int:
        """How many hosts it concerns: 1 or 2."""
        return 1 if self in _OF_ONE_HOST else 2

    @property
    def of_a_server(self) -> bool:
        """Whether it happens to the process and not to the network: it needs a server, and that one to itself."""
        return self in (FaultKind.KILL, FaultKind.PAUSE, FaultKind.LAME_DUCK)

    @property
    def unit(self) -> str:
        """What its amount counts, or an empty string when it has none."""
        return _UNITS.get(self, "")


_OF_ONE_HOST: Final = (
    FaultKind.REFUSE,
    FaultKind.NO_DNS,
    FaultKind.POWER_OFF,
    FaultKind.KILL,
    FaultKind.PAUSE,
    FaultKind.LAME_DUCK,
)
_BOTH_WAYS: Final = (FaultKind.PARTITION, FaultKind.RESET)
_UNITS: Final = {FaultKind.SLOW: "s more", FaultKind.CHOP: "bytes at most", FaultKind.SLOW_CLOSE: "s later"}


def _kind(value: FaultKind | str) -> FaultKind:
    return member(FaultKind, value, "kind")


def _at(value: float) -> float:
    return seconds(value, "at_seconds")


def _for(value: float) -> float:
    return seconds(value, "for_seconds")


def _hosts(value: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return host_names(value, "hosts")


def _amount(value: float) -> float:
    return number(value, "amount")


@attrs.frozen
class Fault:
    """One thing that happens. Times are kept in whole milliseconds.

    Args:
        kind: what.
        at_seconds: when it begins, from the start of the plan.
        for_seconds: how long it lasts; 0 for a reset, which is an instant, and more than 0 for all others.
        hosts: whom it meets: two names for what happens between hosts, one for what happens to a host.
        amount: how much of it; see `FaultKind`. 0 where there is none.

    Raises:
        FaultPlanError: a value cannot work; its `field` is the argument's name.
    """

    kind: FaultKind = attrs.field(converter=_kind)
    at_seconds: float = attrs.field(converter=_at)
    for_seconds: float = attrs.field(converter=_for)
    hosts: tuple[str, ...] = attrs.field(converter=_hosts)
    amount: float = attrs.field(default=0, converter=_amount)

    def __attrs_post_init__(self) -> None:
        kind = self.kind
        bound = "must be 0: a reset is an instant" if kind.instant else "must be at least 0.001"
        require((self.for_seconds == 0) is kind.instant, "for_seconds", self.for_seconds, bound)
        right = len(set(self.hosts)) == len(self.hosts) == kind.host_count
        require(right, "hosts", self.hosts, f"must be {kind.host_count} for {kind}, and not the same one twice")
        bound = "must be more than 0" if kind.unit else "must be 0"
        require((self.amount > 0) is bool(kind.unit), "amount", self.amount, f"{bound} for {kind}")
        fraction = kind is FaultKind.CHOP and self.amount % 1 != 0
        require(not fraction, "amount", self.amount, "must be a whole number of bytes")

    @property
    def end_seconds(self) -> float:
        """When it is over."""
        return round(self.at_seconds + self.for_seconds, 3)

    def __str__(self) -> str:
        lasting = f"for {self.for_seconds:8.3f} s" if self.for_seconds else " " * 14
        hosts = (" <-> " if self.kind in _BOTH_WAYS else " -> ").join(self.hosts)
        amount = f", {self.amount:g} {self.kind.unit}" if self.kind.unit else ""
        return f"at {self.at_seconds:8.3f} s {lasting}  {self.kind:<10} {hosts}{amount}"
