"""Histories made by hand: the facts that journal, network and servers would have noted, for laws to judge."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import attrs

from beamline_trio import Ledger
from beamline_trio.simulation import Evidence, Law, Plan, Publication, Violation
from beamline_trio.simulation._facts import (
    Acknowledged,
    Books,
    Delivery,
    HandedOut,
    Queued,
    Stored,
    Withheld,
)
from beamline_trio.simulation._journal import Journal
from beamline_trio.simulation._laws import judge

APP_LINK, BILLING_LINK = 1, 2
FAULTS_END, ENDED = 50.0, 200.0


@attrs.define
class Connection:
    """What laws ask of a connection."""

    source: str
    number: int = 0
    target: str = "a"
    received: int = 10_000
    opened_at: float = 0.0
    ended_at: float | None = None
    how: str = ""
    told_at: float | None = None
    left_at: float | None = None


@attrs.frozen
class Dialled:
    """What laws ask of a dial."""

    at: float
    ended_at: float | None
    succeeded: bool


class History:
    """Facts, written down by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        self.journal = Journal(lambda: self.time)
        self.links = {APP_LINK: Connection("app", APP_LINK), BILLING_LINK: Connection("billing", BILLING_LINK)}
        self.journal.links = {APP_LINK: 0.0, BILLING_LINK: 0.0}
        self.plan: Plan | None = None
        self.dials: dict[str, list[Dialled]] = {}
        self.kept: list[str] = []
        self.went_down: tuple[float, ...] = ()

    def publish(self, number: int, fate: str = "confirmed", *, at: float = 1.0, reason: str = "") -> str:
        """The application published, and was told this; the network and the server saw it."""
        identity = f"app/{number}"
        self.journal.publications[identity] = Publication(identity, "app", number, "s", at, fate, at + 0.1, reason)
        self.journal.written[identity] = [APP_LINK]
        self.journal.on_link.setdefault(APP_LINK, []).append(identity)
        self.journal.taken[identity] = [(at, APP_LINK)]
        return identity

    def queue(self, number: int, end: int = 100) -> None:
        """A server queued it to billing's link."""
        self.journal.queued.append(Queued("a", BILLING_LINK, b"1", f"app/{number}", end, 1.0))

    def give(self, number: int, who: str = "billing", *, at: float = 1.2, subject: str = "s") -> None:
        """The application was given it."""
        self.journal.deliveries.append(Delivery(who, f"app/{number}", subject, at))

    def pass_on(self, *numbers: int, at: float = 1.0) -> None:
        """All goes well."""
        for number in numbers:
            self.publish(number, at=at)
            self.queue(number)
            self.give(number, at=at + 0.2)

    def book(self, at: float = 150.0, pending: int = 0, requests: int = 0, **entries: int) -> None:
        """The client's books as handed over."""
        zero = dict.fromkeys(attrs.fields_dict(Ledger), 0)
        statistics = SimpleNamespace(pending_operations=pending, pending_bytes=pending, requests_inflight=requests)
        self.journal.books.append(Books("app", Ledger(**{**zero, **entries}), statistics, at))

    def end(self, *, left: tuple[int, int] = (0, 0), told: tuple[int, int] | None = None, **entries: int) -> None:
        """The client ended, all its publishes are journaled: what it left unsent and unknown, and told of that."""
        unsent, unknown = left
        before = {"dropped": entries.get("dropped", 0) - unsent, "unknown": entries.get("unknown", 0) - unknown}
        self.book(at=149.0, **{**entries, **before})
        self.book(at=150.0, **entries)
        books = attrs.evolve(self.journal.books[-1], complete=True, undelivered=left if told is None else told)
        self.journal.books[-1] = books

    def tell_dropped(self, count: int = 1, subject: str = "s") -> None:
        """An event told of publishes that are given up."""
        self.journal.withheld.append(Withheld("app", subject, count, "full", 2.0))

    def store(self, number: int, *, sequence: int = 0) -> str:
        """The stream S has confirmed it, and has it."""
        identity = self.publish(number)
        self.journal.publications[identity].stream = "S"
        self.journal.stored.append(Stored("a", "S", sequence or number, identity, 1.0))
        self.kept.append(identity)
        return identity

    def hand_out(self, number: int, deliveries: int = 1, *, at: float = 2.0, end: int = 100) -> None:
        """Its consumer c has delivered it, to billing's link."""
        self.journal.handed_out.append(HandedOut("a", "S", "c", number, deliveries, f"app/{number}", at))
        reply = b"$JS.ACK.S.c.%d.%d.1.1.0" % (deliveries, number)
        self.journal.queued.append(Queued("a", BILLING_LINK, b"1", f"app/{number}", end, at, reply))

    def acknowledge(self, number: int, *, confirmed_at: float | None = None) -> None:
        """It was acknowledged; and the application was told that the server knows."""
        self.journal.acknowledged.append(Acknowledged("a", "S", "c", number, 3.0))
        if confirmed_at is not None:
            self.journal.settled.append(Acknowledged("", "S", "c", number, confirmed_at))

    def judged(self, law: Law) -> list[Violation]:
        """What a law says of it."""
        return judge([law], self.evidence())

    def evidence(self) -> Evidence:
        """All of it."""
        network = cast("Any", SimpleNamespace(connection=self.links.__getitem__, dials=lambda: self.dials))
        messages = [SimpleNamespace(header=f"NATS/1.0\r\nSim-Id: {one}\r\n\r\n".encode()) for one in self.kept]
        server = SimpleNamespace(streams=(SimpleNamespace(name="S", messages=messages),), went_down=self.went_down)
        return Evidence(self.journal, network, self.plan, FAULTS_END, ENDED, cast("Any", {"a": server}))
