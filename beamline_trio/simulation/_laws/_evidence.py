"""What a law is given, and what it says.

A law is a function from the evidence of a finished run to the places where it was broken, the first one first. It has a
`__name__`, by which a failure is told.

Must not know the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs

from ...faults import Plan
from .._journal import Journal
from .._network import ConnectionRecord, Network
from .._server import SimulatedServer


@attrs.frozen
class Violation:
    """A law that was broken.

    Attributes:
        law: its name.
        text: what happened instead, with identities and times.
        at: virtual seconds, where it shows a time; else the end of the run.
    """

    law: str
    text: str
    at: float


@attrs.frozen
class Evidence:
    """A finished run.

    Attributes:
        journal: the facts about messages.
        network: its connections and dials.
        plan: the faults there were, or None.
        faults_end_at: when the last of them was over, in virtual seconds.
        ended_at: when the run ended.
        servers: by name, as the run has left them.
    """

    journal: Journal
    network: Network
    plan: Plan | None
    faults_end_at: float
    ended_at: float
    servers: Mapping[str, SimulatedServer] = MappingProxyType({})
    _links: dict[int, ConnectionRecord] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def link(self, number: int) -> ConnectionRecord:
        """The network's record of a connection."""
        record = self._links.get(number)
        if record is None:
            record = self._links[number] = self.network.connection(number)
        return record

    def overlap(self, number: int, other: int) -> bool:
        """Whether a client held two links at once: it moved from one server to another without a gap."""
        one, two = self.link(number), self.link(other)
        if number == other or one.source != two.source:
            return False
        ends = [self.ended_at if link.left_at is None else link.left_at for link in (one, two)]
        return one.opened_at < ends[1] and two.opened_at < ends[0]

    def moved_from(self, number: int) -> bool:
        """Whether a client that gave a link up held the next one already."""
        left_at = self.link(number).left_at
        return left_at is not None and any(
            self.overlap(number, other) and (self.link(other).left_at or self.ended_at) > left_at
            for other in self.journal.links
        )

    def host(self, who: str) -> str:
        """The host of a publisher's or receiver's label: the part before a slash."""
        return who.split("/", 1)[0]


# What a law finds: a text, and the virtual time at which it shows.
Finding: TypeAlias = tuple[float, str]
Law: TypeAlias = Callable[[Evidence], Iterable[Finding]]


def judge(laws: Iterable[Law], evidence: Evidence, most: int = 5) -> list[Violation]:
    """The violations, at most so many of each law, in order of time."""
    found: list[Violation] = []
    for law in laws:
        findings = sorted(law(evidence), key=_time)
        name = getattr(law, "__name__", type(law).__name__)
        found += [Violation(name, text, at) for at, text in findings[:most]]
    return sorted(found, key=lambda violation: violation.at)


def named(law: Law, name: str) -> Law:
    """Give a law made by a function its name."""
    law.__name__ = name
    return law


def _time(finding: Finding) -> float:
    return finding[0]
