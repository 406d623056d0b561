"""A plan: what happens to the network and its servers, and when. Drawn from a PRNG, printed, read back, shrunk.

A plan is data and knows no network: whoever runs it looks the hosts up by their names. Faults of the network may
overlap in any way, since each is undone alone; those of one server (kill, pause, lame duck) may not, since a server
that is down cannot be paused.

Must not act on anything, and must not draw from any chance but the PRNG it is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Final

import attrs

from ._errors import FaultPlanError
from ._fields import member, require, seconds, shown, whole
from ._kinds import Fault, FaultKind

_SHORTEST_SECONDS: Final = 0.01
_REDRAWS: Final = 20
# The bounds between which an amount is drawn, in thousandths.
_AMOUNTS: Final = {
    FaultKind.SLOW: (1, 1_000),
    FaultKind.CHOP: (1_000, 64_000),
    FaultKind.SLOW_CLOSE: (100, 30_000),
}


def _seconds(value: float) -> float:
    return seconds(value, "seconds")


def _longest(value: float) -> float:
    return seconds(value, "longest_seconds")


def _count(value: int) -> int:
    return whole(value, "count")


def _kinds(value: Iterable[FaultKind | str]) -> tuple[FaultKind, ...]:
    return tuple(member(FaultKind, one, "kinds") for one in value)


def _in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda one: (one.at_seconds, one.for_seconds, one.kind, one.hosts, one.amount)))


@attrs.frozen
class Draw:
    """What kind of plan is wanted.

    Args:
        seconds: all faults are over by then; at least 0.01.
        count: how many; it becomes fewer where the faults of one server would overlap.
        kinds: which, each as likely as any other.
        longest_seconds: no fault lasts longer, at least 0.01. Most are much shorter.

    Raises:
        FaultPlanError: a value cannot work; its `field` is the argument's name.
    """

    seconds: float = attrs.field(default=60.0, converter=_seconds)
    count: int = attrs.field(default=4, converter=_count)
    kinds: tuple[FaultKind, ...] = attrs.field(default=tuple(FaultKind), converter=_kinds)
    longest_seconds: float = attrs.field(default=20.0, converter=_longest)

    def __attrs_post_init__(self) -> None:
        for field, value in (("seconds", self.seconds), ("longest_seconds", self.longest_seconds)):
            require(value >= _SHORTEST_SECONDS, field, value, f"must be at least {_SHORTEST_SECONDS:g}")
        require(bool(self.kinds) or not self.count, "kinds", self.kinds, "must name at least one kind of fault")


@attrs.frozen
class Plan:
    """Faults in the order in which they begin; plans of the same faults are equal, in whatever order they were given.

    Args:
        faults: the faults.

    Raises:
        FaultPlanError: two faults of one server overlap.
    """

    faults: tuple[Fault, ...] = attrs.field(default=(), converter=_in_order)

    def __attrs_post_init__(self) -> None:
        busy_until: dict[str, float] = {}
        for index, fault in enumerate(self.faults):
            if fault.kind.of_a_server:
                host = fault.hosts[0]
                free = busy_until.get(host, 0.0)
                text = f"must be {free:g} or later: until then another fault of {host} lasts"
                require(fault.at_seconds >= free, f"faults[{index}].at_seconds", fault.at_seconds, text)
                busy_until[host] = fault.end_seconds

    @property
    def end_seconds(self) -> float:
        """When the last fault is over; 0 without any."""
        return max((fault.end_seconds for fault in self.faults), default=0.0)

    @classmethod
    def draw(cls, random: Random, draw: Draw, *, clients: Sequence[str], servers: Sequence[str]) -> Plan:
        """A plan at random, the same for the same state of the PRNG and the same arguments.

        Faults between hosts are between a client and a server or between two servers; those of one host are of servers.

        Args:
            random: all chance comes from it.
            draw: what is wanted.
            clients: hosts of clients, at least one.
            servers: hosts of servers, at least one, and none of the clients' hosts.

        Raises:
            FaultPlanError: there are no clients or no servers, or a host is given twice.
        """
        for field, hosts in (("clients", clients), ("servers", servers)):
            require(bool(hosts) and not isinstance(hosts, str), field, hosts, "must be at least one name, in a list")
        everyone = [*clients, *servers]
        require(len(set(everyone)) == len(everyone), "servers", servers, "must be hosts of their own")
        pairs = [(client, server) for client in clients for server in servers]
        pairs += [(one, other) for index, one in enumerate(servers) for other in servers[index + 1 :]]
        plan = cls()
        for _ in range(draw.count):
            plan = plan._with_one_more(random, draw, pairs, servers)
        return plan

    def _with_one_more(
        self, random: Random, draw: Draw, pairs: Sequence[tuple[str, str]], servers: Sequence[str]
    ) -> Plan:
        for _ in range(_REDRAWS):
            try:
                return Plan((*self.faults, _draw_fault(random, draw, pairs, servers)))
            except FaultPlanError:  # it overlaps another one of its server
                continue
        return self

    def to_json(self) -> str:
        """The plan as one line of JSON, which `from_json` reads."""
        return json.dumps({"faults": [attrs.asdict(fault) for fault in self.faults]})

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read what `to_json` or a person wrote; `amount` may be left out where it is 0.

        Raises:
            FaultPlanError: it is no plan; its `field` says where.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise FaultPlanError("", f"is not JSON: {exc}") from exc
        entries = _members(value, "", required=("faults",))["faults"]
        require(isinstance(entries, list), "faults", entries, "must be a list")
        return cls(tuple(_read_fault(entry, f"faults[{index}]") for index, entry in enumerate(entries)))

    def shrinks(self) -> Iterator[Plan]:
        """Smaller plans, the smallest first: no faults, half of them, all but one, each one half as long."""
        faults = self.faults
        count = len(faults)
        if count:
            yield Plan()
        if count > 1:
            yield Plan(faults[: count // 2])
            yield Plan(faults[count // 2 :])
        if count > 2:
            for index in range(count):
                yield Plan(faults[:index] + faults[index + 1 :])
        for index, fault in enumerate(faults):
            shorter = round(fault.for_seconds / 2, 3)
            if shorter >= _SHORTEST_SECONDS:
                yield Plan((*faults[:index], attrs.evolve(fault, for_seconds=shorter), *faults[index + 1 :]))

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults)) or "no faults"


def shrink(plan: Plan, fails: Callable[[Plan], bool], tries_max: int = 200) -> Plan:
    """The smallest plan that could be found under which something still fails.

    Args:
        plan: one under which it fails; it is not tried again.
        fails: whether it fails under a plan. It must answer the same plan in the same way.
        tries_max: how often `fails` may be called.

    Returns:
        `plan`, or a smaller one for which `fails` was true.
    """
    tried: set[Plan] = set()
    while True:
        for smaller in plan.shrinks():
            if smaller in tried:
                continue
            if len(tried) >= tries_max:
                return plan
            tried.add(smaller)
            if fails(smaller):
                plan = smaller
                break
        else:
            return plan


def _draw_fault(random: Random, draw: Draw, pairs: Sequence[tuple[str, str]], servers: Sequence[str]) -> Fault:
    """One fault. What is drawn is whole milliseconds: no machine rounds them otherwise."""
    kind = random.choice(draw.kinds)
    hosts: tuple[str, ...] = (random.choice(servers),)
    if kind.host_count == 2:
        pair = random.choice(pairs)
        hosts = pair if random.random() < 0.5 else pair[::-1]
    duration = 0
    if not kind.instant:
        shortest = round(_SHORTEST_SECONDS * 1000)
        longest = round(min(draw.seconds, draw.longest_seconds) * 1000)
        duration = random.randint(shortest, max(shortest, longest >> random.randrange(6)))  # most are short
    begin = random.randint(0, round(draw.seconds * 1000) - duration)
    amount: float = random.randint(*_AMOUNTS[kind]) / 1000 if kind in _AMOUNTS else 0
    if kind is FaultKind.CHOP:
        amount = round(amount)
    return Fault(kind, begin / 1000, duration / 1000, hosts, amount)


def _read_fault(entry: object, path: str) -> Fault:
    fields = _members(entry, path, required=("kind", "at_seconds", "for_seconds", "hosts"), optional=("amount",))
    try:
        return Fault(**fields)
    except FaultPlanError as error:
        raise error.below(path) from None


def _members(value: object, path: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The members of a JSON object: all that are required, and no others than those and the optional ones."""
    if not isinstance(value, dict):
        raise FaultPlanError(path, f"is {shown(value)}; it must be an object with {', '.join(required)}")
    prefix = f"{path}." if path else ""
    for name in required:
        if name not in value:
            raise FaultPlanError(f"{prefix}{name}", "is missing")
    for name in value:
        if name not in required + optional:
            raise FaultPlanError(
                f"{prefix}{shown(name)[1:-1]}", f"is unknown; the fields are {', '.join(required + optional)}"
            )
    return dict(value)
